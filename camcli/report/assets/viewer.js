// One image, large: picture, map, a slider between them, and all that is known of it.

const viewer = document.getElementById("viewer");
const LARGE_SIDE = 720;
let openedImage = null;

function openImage(image) {
  openedImage = image;
  state.image = image.id;
  roving = image;
  showViewer();
  if (!viewer.open) {
    viewer.showModal();
    viewer.focus();
  }
  document.getElementById("panel").scrollTop = 0;
  writeHash();
}

viewer.addEventListener("close", () => {
  const image = openedImage;
  openedImage = null;
  state.image = "";
  writeHash();
  if (image?.element?.isConnected && state.tab === "images") focusTile(image);
});

/** The images that the arrow keys go through, in the order of the page. */
function viewerOrder() {
  const parts = groups();
  return parts ? parts.flatMap((part) => part.images) : shown;
}

function turn(step) {
  const order = viewerOrder();
  const next = order[order.indexOf(openedImage) + step];
  if (next) openImage(next);
}

/** Take the next map of the image: the next method or layer, or the next target. */
function nextMap(step = 1) {
  const image = openedImage;
  const maps = (image || images[0])?.m ?? [];
  const keys = [...new Set(maps.map((map) => map.k))];
  const steps = keys.flatMap((key) => mapsOf(image || images[0], key).map((_, target) => [key, target]));
  const place = steps.findIndex(([key, target]) => key === state.map && target === state.target);
  if (steps.length) [state.map, state.target] = steps[(place + step + steps.length) % steps.length];
}

function showViewer() {
  const image = openedImage;
  const stages = document.getElementById("stages");
  if (image.a) {
    stages.replaceChildren(
      stage(image, earlierMap(image), image.a.v, `before: ${META.against.name}`),
      stage(image, shownMap(image), image.v, `now: ${META.run}`));
  } else stages.replaceChildren(stage(image, shownMap(image), image.v, null));
  placeDivider();
  const order = viewerOrder(), place = order.indexOf(image);
  document.getElementById("place").textContent = `${place + 1} of ${order.length}`;
  document.getElementById("previous").disabled = place <= 0;
  document.getElementById("next").disabled = place < 0 || place >= order.length - 1;
  document.getElementById("panel").replaceChildren(...panel(image));
}

function stage(image, map, view, title) {
  const frame = h("div", { className: "frame" });
  if (isFailed(image)) frame.append(h("p", { className: "none alone" }, "This image could not be explained."));
  else {
    const picture = basePicture(image, frame);
    if (picture) frame.append(picture);
    if (image.wh && state.view !== "original" && !(image.td && state.view === "overlay")) {
      const canvas = canvasFor(image.wh, LARGE_SIDE);
      drawMap(canvas, map, view, image.wh, picture ? opacityOf(state.view) : 2);
      frame.append(canvas);
    }
    if (state.view !== "original") frame.append(h("div", { className: "bar", "aria-hidden": "true", onpointerdown: dragDivider }));
    if (image.x) frame.append(h("p", { className: "none" }, problemWords(image)));
    else if (map?.st) frame.append(h("p", { className: "none" }, STATUS_SENTENCES[map.st] ?? map.st));
  }
  return h("div", { className: "stage" }, title ? h("h3", {}, bdi(title)) : null, frame);
}

/** The original, or a copy of it, or the thumbnail; the next one where one cannot be loaded. */
function basePicture(image, frame) {
  const sources = [image.o, image.oc, image.t].filter(Boolean);
  if (!sources.length) return null;
  const picture = h("img", { alt: `${image.n}, the original`, decoding: "async", draggable: false });
  const next = () => {
    const source = sources.shift();
    if (source) picture.src = source;
    else picture.remove();
    if (!image.td && source === image.t && image.o) frame.append(h("p", { className: "none" }, "The original is not where it was; its thumbnail is shown."));
  };
  picture.onerror = next;
  picture.onload = () => {
    // The file was replaced, or a browser that does not turn it upright.
    const [width, height] = image.wh;
    const same = Math.abs(picture.naturalWidth / picture.naturalHeight - width / height) < 0.05 * (width / height);
    if (!same && sources.length) next();
  };
  next();
  return picture;
}

const problemWords = (image) =>
  image.x === "changed"
    ? "The original has another content than in the run."
    : image.td ? "Original missing: the overlay of the run is shown." : image.t ? "Original missing: its thumbnail is shown." : "Original missing: the map alone is shown.";

/** The divider: on its left the original, on its right what is chosen. */
function placeDivider() {
  const right = state.view === "heatmap" ? "heatmap" : "overlay";
  document.getElementById("divider-words").textContent = `Original ◂ ▸ ${right}`;
  document.getElementById("divider").value = state.divider;
  document.getElementById("divider").disabled = state.view === "original";
  for (const frame of viewer.querySelectorAll(".frame")) {
    const size = openedImage.wh;
    if (!size) continue;
    const { clientWidth: width, clientHeight: height } = frame;
    const shownWidth = Math.min(width, (height * size[0]) / size[1]) || width;
    const shownHeight = (shownWidth * size[1]) / size[0];
    const left = (width - shownWidth) / 2 + (shownWidth * state.divider) / 100;
    const canvas = frame.querySelector("canvas"), bar = frame.querySelector(".bar");
    if (canvas) canvas.style.clipPath = `inset(0 0 0 ${left}px)`;
    if (bar) Object.assign(bar.style, { left: `${left}px`, top: `${(height - shownHeight) / 2}px`, height: `${shownHeight}px` });
  }
}

function dragDivider(event) {
  const bar = event.currentTarget, frame = bar.parentElement;
  bar.setPointerCapture(event.pointerId);
  bar.onpointermove = (move) => {
    const box = frame.getBoundingClientRect(), size = openedImage.wh;
    const width = Math.min(box.width, (box.height * size[0]) / size[1]);
    const share = (move.clientX - box.left - (box.width - width) / 2) / width;
    state.divider = Math.round(100 * Math.min(1, Math.max(0, share)));
    placeDivider();
  };
  bar.onpointerup = () => {
    bar.onpointermove = null;
    writeHash();
  };
  event.preventDefault();
}
new ResizeObserver(() => openedImage && placeDivider()).observe(document.getElementById("stages"));

function panel(image) {
  const slash = image.n.lastIndexOf("/");
  const parts = [h("section", {}, h("h2", { id: "viewer-name" }, bdi(image.n.slice(slash + 1))), badges(image),
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
  const slash = image.n.lastIndexOf("/");
  const folder = slash > 0 ? `in ${image.n.slice(0, slash)}` : null;
  const size = image.wh ? `${image.wh[0]} × ${image.wh[1]} pixels` : null;
  const bytes = image.by ? `${(image.by / 1024).toFixed(image.by < 10240 ? 1 : 0)} KiB` : null;
  return [folder, image.f, size, bytes].filter(Boolean).join(" · ");
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
    : h("span", {}, bdi(className(now[0])), `, as before: ${percent(before[1])} → ${percent(now[1])}`)) : null;
  const rows = distances ? [
    row("order", `rank correlation ${fixed(distances[0])} (1: the heat has kept its order)`),
    row("hottest", `the hottest 20 % overlap by ${percent(distances[1])}`),
    row("mass", `divergence ${fixed(distances[2])} (0: the same, 1: nothing in common)`),
    row("centre", `moved by ${percent(distances[3])} of the diagonal`),
  ] : [row("map", "cannot be compared: one of the two shows nothing")];
  return h("section", {}, h("h3", {}, "What changed"), h("dl", { className: "words" }, predictions, rows));
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
    row("spread", map.en == null ? null : `entropy ${fixed(map.en)}: ${spreadWords(map.en)} (0: one cell, 1: everywhere alike)`),
    row("border", map.bo == null ? null : `${fixed(map.bo)} times the heat of an even map: ${borderWords(map.bo)}`),
    row("extent", map.bx && image.wh ? `half the maximum or more in a box over ${percent(((map.bx[2] - map.bx[0]) * (map.bx[3] - map.bx[1])) / (image.wh[0] * image.wh[1]))} of the image` : null),
    row("agreement", image.d == null ? null : `the methods' maps correlate by ${fixed(1 - image.d)}: ${image.d < 0.3 ? "they agree" : image.d < 0.6 ? "they agree in part" : "they contradict each other, so rely on neither alone"}`),
    row("raw values", map.r ? `${map.r[0].toPrecision(3)} to ${map.r[1].toPrecision(3)}, on ${map.g ? map.g.join(" × ") : "?"} cells${map.rd ? " (averaged for the index)" : ""}` : null),
    row("note", map.im ? "The model practically rules this class out; its map says little." : map.st ? STATUS_SENTENCES[map.st] : null),
  ];
  return h("section", {}, h("h3", {}, `The map of ${mapName(map.k)} in words`), h("dl", { className: "words" }, rows));
}

function targetWords(map) {
  if (map.t == null) return "the image as a whole, no single class";
  return h("span", {}, bdi(className(map.t)), map.tp == null ? "" : ` (${percent(map.tp)})`, map.tb ? h("span", { className: "muted" }, `, chosen by ${map.tb}`) : null);
}
function placeWords(image, [x, y]) {
  const row = ["top", "middle", "bottom"][Math.min(2, Math.floor((3 * y) / image.wh[1]))];
  const column = ["left", "centre", "right"][Math.min(2, Math.floor((3 * x) / image.wh[0]))];
  return row === "middle" && column === "centre" ? "in the centre" : `${row} ${column}`;
}
const spreadWords = (entropy) => (entropy < 0.5 ? "concentrated" : entropy < 0.75 ? "moderately concentrated" : entropy < 0.92 ? "spread over much of the view" : "nearly even, so it says little");
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
