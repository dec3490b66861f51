// What the page says of an open image: predictions, maps, figures in words, files, and the command.

function panel(image) {
  const slash = image.n.lastIndexOf("/");
  const parts = [h("section", {}, h("h2", { id: "viewer-name" }, h("bdi", {}, h("span", { className: "folder" }, image.n.slice(0, slash + 1)), image.n.slice(slash + 1))), badges(image),
    h("p", { className: "muted" }, bdi(fileWords(image))))];
  if (isFailed(image)) parts.push(h("section", {}, h("h3", {}, "Why it failed"), h("p", { className: "error" }, h("strong", {}, image.e?.[0]), ": ", bdi(image.e?.[1] ?? ""))));
  if (image.a) parts.push(changeSection(image));
  if (image.p?.length) parts.push(h("section", {}, h("h3", {}, META.values ? "Outputs" : "Predictions"), predictionBars(image.p, shownMap(image)?.t)));
  if (image.m.length) parts.push(mapsSection(image));
  if (shownMap(image)) parts.push(wordsSection(image, shownMap(image)));
  if (image.no) parts.push(h("section", {}, h("h3", {}, "Notes"), ...image.no.map((note) => h("p", {}, bdi(note)))));
  parts.push(filesSection(image), commandSection(image));
  return parts.filter(Boolean);
}

function badges(image) {
  const badge = (kind, words) => h("span", { className: `badge ${kind}` }, bdi(words));
  return h("p", { className: "badges" },
    isFailed(image) ? badge("bad", "failed") : null,
    image.c === 1 ? badge("good", "✓ right") : null,
    image.c === 0 ? badge("bad", "✗ wrong") : null,
    image.l != null ? badge("", `label: ${className(image.l)}`) : null,
    image.x ? badge("warn", `original ${image.x}`) : null,
    image.a && hasChanged(image) ? badge("warn", "prediction changed") : null);
}

function fileWords(image) {
  const source = META.sources.length > 1 ? `from ${META.sources[image.s]}` : null;
  const size = image.wh ? `${image.wh[0]} × ${image.wh[1]} pixels` : null;
  const bytes = image.by ? `${(image.by / 1024).toFixed(image.by < 10240 ? 1 : 0)} KiB` : null;
  return [source, image.f, size, bytes].filter(Boolean).join(" · ");
}

function predictionBars(predictions, target) {
  const largest = Math.max(...predictions.map((one) => Math.abs(one[2] ?? 0)), 1e-9);
  return h("ul", { className: "bars" }, predictions.map(([k, probability, logit]) => {
    const share = probability ?? Math.abs(logit ?? 0) / largest;
    const fillBar = h("div", { className: "fill" });
    fillBar.style.width = `${Math.max(0.5, 100 * share)}%`;
    const name = h("span", { className: k === target ? "target" : "" }, bdi(className(k)), k === target ? h("span", { className: "muted" }, " · explained") : null);
    return h("li", {}, name, h("span", { className: "number" }, probability == null ? fixed(logit, 3) : percent(probability)), h("div", { className: "track" }, fillBar));
  }));
}

function changeSection(image) {
  const distances = image.a.d[state.map];
  const [before, now] = [image.a.p[0], prediction(image)];
  const row = (words, value) => h("div", {}, h("dt", {}, words), h("dd", {}, value));
  const predictions = before && now ? row("prediction", hasChanged(image)
    ? h("span", {}, bdi(className(before[0])), ` ${percent(before[1])} → `, bdi(className(now[0])), ` ${percent(now[1])}`)
    : h("span", {}, bdi(className(now[0])), ` in both: ${percent(before[1])} → ${percent(now[1])}`)) : null;
  const rows = distances ? [
    row("order", `rank correlation ${fixed(distances[0])} (1: the same order of heat)`),
    row("hottest", `the hottest 20 % overlap by ${percent(distances[1])}`),
    row("mass", `divergence ${fixed(distances[2])} (0: the same, 1: nothing in common)`),
    row("centre", `moved by ${percent(distances[3])} of the diagonal`),
  ] : [row("map", earlierMap(image) ? "cannot be compared: one of the two shows nothing" : `the other run has none of ${META.maps[state.map][0]}`)];
  return h("section", {}, h("h3", {}, "What is different"), h("dl", { className: "words" }, predictions, rows));
}

function mapsSection(image) {
  const keys = [...new Set(image.m.map((map) => map.k))];
  const minis = keys.flatMap((key) => mapsOf(image, key).map((map, target) => {
    const picture = h("span", { className: "picture" });
    if (image.t) picture.append(h("img", { src: image.t, alt: "" }));
    if (image.wh) {
      const canvas = canvasFor(image.wh, 96);
      drawMap(canvas, map, image.v, image.wh, image.t && !image.td ? Math.max(0.35, state.opacity / 100) : 2);
      picture.append(canvas);
    }
    const words = [mapName(key), map.t != null ? className(map.t) : null].filter(Boolean).join(" · ");
    return h("button", { type: "button", className: "mini", "data-map": `${mapName(key)}`, "aria-pressed": String(key === state.map && target === state.target),
      onclick: () => setState({ map: key, target }) }, picture, h("span", {}, bdi(words)));
  }));
  return h("section", {}, h("h3", {}, "Methods, layers and targets"), h("div", { className: "minis" }, minis));
}

const STATUS_SENTENCES = {
  zero: "The map is zero: nothing in this layer speaks for the class.",
  constant: "The map is the same everywhere, so it points nowhere.",
  nonfinite: "The map holds values that are not finite; it cannot be drawn.",
};

/** The figures of a map in sentences. */
function wordsSection(image, map) {
  const row = (words, value) => (value ? h("div", {}, h("dt", {}, words), h("dd", {}, value)) : null);
  const rows = [
    row("explains", targetWords(map)),
    row("hottest", map.pk ? `${placeWords(image, map.pk)}, at pixel ${map.pk.map(Math.round).join(", ")}` : null),
    row("spread", map.hs ? spreadWords(map.hs) : null),
    row("entropy", map.en == null ? null : `${fixed(map.en)}${map.g && !map.rd ? ` on ${map.g.join(" × ")} cells` : ""} (0: all heat in one cell, 1: everywhere alike; a finer map comes nearer to 1 by weak heat alone)`),
    row("border", map.bo == null ? null : `${fixed(map.bo)} times the heat of an even map: ${borderWords(map.bo)}`),
    row("extent", map.bx && image.wh ? `the largest hot spot (half the maximum or more) lies in a box over ${percent(((map.bx[2] - map.bx[0]) * (map.bx[3] - map.bx[1])) / (image.wh[0] * image.wh[1]))} of the image` : null),
    row("agreement", image.d == null ? null : `the methods' maps correlate by ${fixed(1 - image.d)}: ${image.d < 0.3 ? "they agree" : image.d < 0.6 ? "they agree in part" : "they contradict each other, so rely on neither alone"}`),
    row("raw values", map.r ? `${map.r.map((value) => value.toPrecision(3).replace("-", "−")).join(" to ")}, on ${map.g ? map.g.join(" × ") : "?"} cells${map.rd ? " (averaged for the index)" : ""}` : null),
    row("note", map.im ? "The model practically rules this class out; its map says little." : map.st ? STATUS_SENTENCES[map.st] : null),
  ];
  return h("section", {}, h("h3", {}, `The map of ${mapName(map.k)} in words`), h("dl", { className: "words" }, rows));
}

function targetWords(map) {
  if (map.t == null) return "the image as a whole, no single class";
  return h("span", {}, bdi(className(map.t)), map.tp == null ? "" : ` (${percent(map.tp)})`, map.tb ? h("span", { className: "muted" }, `, ${chosenWords(map.tb)}`) : null);
}
/** Why this class: `chosen_by` of the index. */
function chosenWords(by) {
  const rank = /^top:(\d+)$/.exec(by)?.[1];
  if (rank) return rank === "1" ? "the most probable class" : `number ${rank} of the most probable classes`;
  return { predicted: "the predicted class", label: "the label of the image", index: "given by its index", name: "given by its name" }[by] ?? by;
}
function placeWords(image, [x, y]) {
  const row = ["top", "middle", "bottom"][Math.min(2, Math.floor((3 * y) / image.wh[1]))];
  const column = ["left", "centre", "right"][Math.min(2, Math.floor((3 * x) / image.wh[0]))];
  return row === "middle" && column === "centre" ? "in the centre" : `${row} ${column}`;
}
/** By the share of the view at half the maximum or more, and of the heat that lies there: the same for coarse and fine maps. */
function spreadWords([area, heat]) {
  const size = area < 0.05 ? "small hot spots" : area < 0.2 ? "concentrated" : area < 0.5 ? "over a part of the view" : area < 0.8 ? "spread over much of the view" : "nearly even, so it says little";
  const rest = heat < 0.3 ? ", with weaker heat around" : "";
  return `${size}${rest}: ${percent(area)} of the view has half the maximum or more; ${percent(heat)} of the heat lies there`;
}
const borderWords = (border) => (border < 0.7 ? "the heat keeps off the edge" : border < 1.3 ? "about as much as anywhere" : "much of the heat lies at the edge");

/** An artefact of the run, relative to the page. */
function fileAddress(image, number) {
  const [, start, extension] = META.files[number];
  return `${META.folder}/${`${start}${image.fs}.${extension}`.split("/").map(encodeURIComponent).join("/")}`;
}

function filesSection(image) {
  const map = shownMap(image);
  const link = (href, words) => h("a", { href, target: "_blank", rel: "noopener" }, words);
  const links = [image.o ? link(image.o, "original") : null, ...(map?.fi ?? []).map((file) => link(fileAddress(image, file), META.files[file][0]))].filter(Boolean);
  if (!links.length) return null;
  return h("section", {}, h("h3", {}, "Files"), h("p", {}, links.flatMap((one, place) => (place ? [" · ", one] : [one]))));
}

/** A word as a POSIX shell takes it. */
function quoted(word) {
  if (/^[\w@%+=:,.\/-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'"'"'`)}'`;
}

function commandSection(image) {
  if (!image.cmd) return h("section", {}, h("h3", {}, "Make it again"), h("p", { className: "muted" }, "The image lies in an archive: extract it to explain it alone."));
  if (image.n.includes("\ufffd")) return h("section", {}, h("h3", {}, "Make it again"), h("p", { className: "muted" }, "The name of this file is not UTF-8: rename it to explain it alone."));
  const path = image.cmd.startsWith("-") ? `./${image.cmd}` : image.cmd;
  const line = ["cam run", "--image-path", quoted(path), ...META.flags.map(quoted), "--output-dir", "again"].join(" ");
  const button = h("button", { type: "button", className: "copy", onclick: () => copyText(line, button) }, "Copy");
  return h("section", {}, h("h3", {}, isFailed(image) ? "Try it again" : "Make it again"), h("pre", { className: "command" }, line), button);
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { value: text });
    viewer.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
