// The images that the filters show, taken together.

const MOST_CLASSES = 48;
const MOST_PAIRS = 25;
const MATRIX_CLASSES = 16;
const OUTLIERS = 12;

function showSummary() {
  const section = document.getElementById("tab-summary");
  const explained = shown.filter((image) => !isFailed(image));
  const note = shown.length < images.length
    ? h("p", { className: "muted" }, `Of the ${count(shown.length, "image")} that the filters show. `, h("button", { type: "button", className: "link", onclick: clearFilters }, "Take all"))
    : null;
  section.replaceChildren(...[
    note, keyFigures(explained), META.choice ? choiceLine() : null, META.against ? againstCard(explained) : null, mapsCard(explained), distributions(explained), classesCard(explained),
    confusionCard(explained), outliersCard(explained), failedCard(),
  ].filter(Boolean));
}

const card = (title, words, ...content) => h("div", { className: "card" }, h("h2", {}, title), words ? h("p", {}, words) : null, content);
const mapsAt = (list, key = state.map) => list.map((image) => mapsOf(image, key)[state.target]).filter(Boolean);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const present = (values) => values.filter((value) => value != null);

function keyFigures(explained) {
  const labelled = explained.filter((image) => image.c != null);
  const right = labelled.filter((image) => image.c === 1).length;
  const probabilities = present(explained.map((image) => prediction(image)?.[1]));
  const maps = explained.flatMap((image) => image.m);
  const degenerate = maps.filter((map) => map.st).length;
  const figure = (value, words) => h("div", {}, h("strong", {}, value), h("span", {}, words));
  return h("div", { className: "card figures" },
    figure(String(explained.length), "images explained"),
    labelled.length ? figure(percent(right / labelled.length), `accuracy: ${right} of ${labelled.length} with a label`) : null,
    probabilities.length ? figure(percent(mean(probabilities)), "mean probability of the top class") : null,
    figure(String(maps.length), `maps${degenerate ? `, ${degenerate} of which show nothing` : ""}`),
    figure(String(shown.length - explained.length), "images failed"));
}

const choiceLine = () => h("p", {}, bdi(META.choice), ". ", h("button", { type: "button", className: "link", onclick: () => setState({ tab: "run" }) }, "All candidates"));

function againstCard(explained) {
  const both = explained.filter((image) => image.a);
  const changed = both.filter(hasChanged);
  const won = changed.filter((image) => image.c === 1).length, lost = changed.filter((image) => image.c === 0 && image.a.p[0][0] === image.l).length;
  const figure = (value, words) => h("div", {}, h("strong", {}, value), h("span", {}, words));
  const changes = present(both.map(change));
  const only = [META.against.only_new ? `${META.against.only_new} images are only in this run` : null, META.against.only_base ? `${META.against.only_base} only in the other` : null].filter(Boolean).join(", ");
  return card("Against the other run", h("span", {}, bdi(META.against.name), " → ", bdi(META.run), only ? `; ${only}` : ""),
    h("div", { className: "figures" }, figure(String(both.length), "images in both"),
      figure(String(changed.length), "predictions changed"),
      both.some((image) => image.c != null) ? figure(`+${won} −${lost}`, "became right, became wrong") : null,
      figure(fixed(median(changes)), "median change of the map (1 − rank correlation)")),
    h("div", { className: "pair" }, histogram("Change of the map", changes, 0, Math.max(1, ...changes), "1 − rank correlation: 0 is no change")),
    strip("Largest changes", [...both].sort(compareBy(change, true)).slice(0, OUTLIERS), (image) => `change ${fixed(change(image))}`),
    META.against.notes.length ? h("ul", {}, META.against.notes.map((line) => h("li", { className: "muted" }, bdi(line)))) : null);
}

/** A grid as a square: what the model saw, whatever its shape in the original. */
function meanPicture(grid, title, words, onclick) {
  const canvas = h("canvas", { width: 168, height: 168, role: "img", "aria-label": `mean map: ${title}` });
  drawMap(canvas, grid, null, [168, 168], 2);
  const inside = [canvas, h("strong", {}, bdi(title)), h("small", {}, words)];
  return onclick ? h("button", { type: "button", className: "mean", onclick }, inside) : h("div", { className: "mean" }, inside);
}

function mapsCard(explained) {
  const parts = META.maps.map((_, key) => {
    const grid = meanGrid(mapsAt(explained, key));
    return grid ? meanPicture(grid, mapName(key), `mean of ${grid.used} maps; hottest ${cellWords(grid)}`) : null;
  });
  const peaks = peakGrid(explained);
  if (!peaks && !parts.some(Boolean)) return null;
  return card("Where the heat lies", "In the frame that the model saw: each map has the same weight. A bright spot away from the middle is where many images have their heat, whatever they show.",
    h("div", { className: "means large" }, parts, peaks ? meanPicture(peaks, "Hottest points", `where the maps of ${mapName(state.map)} peak, ${peaks.used} images`) : null));
}

function cellWords(grid) {
  const best = grid.mean.indexOf(Math.max(...grid.mean)), [rows, columns] = grid.g;
  const y = (Math.floor(best / columns) + 0.5) / rows, x = ((best % columns) + 0.5) / columns;
  return placeWords({ wh: [1, 1] }, [x, y]);
}

function peakGrid(explained, cells = 14) {
  const counts = new Float64Array(cells * cells);
  let used = 0;
  for (const image of explained) {
    const peak = mapsOf(image, state.map)[state.target]?.pk;
    if (!peak || !image.v) continue;
    const [x0, y0, x1, y1] = image.v;
    const column = Math.min(cells - 1, Math.max(0, Math.floor(((peak[0] - x0) / (x1 - x0)) * cells)));
    const row = Math.min(cells - 1, Math.max(0, Math.floor(((peak[1] - y0) / (y1 - y0)) * cells)));
    counts[row * cells + column]++;
    used++;
  }
  return used ? { ...asGrid(counts, [cells, cells]), used, mean: counts } : null;
}

function distributions(explained) {
  const maps = mapsAt(explained).filter((map) => !map.st);
  const entropies = present(maps.map((map) => map.en)), borders = present(maps.map((map) => map.bo));
  const probabilities = present(explained.map((image) => prediction(image)?.[1]));
  if (!maps.length) return null;
  const disagreements = present(explained.map((image) => image.d));
  return card(`Distributions: ${mapName(state.map)}`, "The dashed line is the median.",
    h("div", { className: "pair" },
      histogram("Entropy", entropies, 0, 1, "0: heat in one cell, 1: everywhere alike"),
      histogram("Heat at the border", borders, 0, Math.max(2, ...borders), "1: as much as an even map"),
      probabilities.length ? histogram("Probability of the top class", probabilities, 0, 1, "") : null,
      disagreements.length ? histogram("Disagreement of the methods", disagreements, 0, Math.max(1, ...disagreements), "0: the same order of cells") : null));
}

function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function histogram(title, values, low, high, words, bins = 24) {
  const counts = new Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * bins)))]++;
  const most = Math.max(...counts, 1), width = 420, height = 120, middle = median(values);
  const x = (value) => 4 + ((value - low) / (high - low)) * (width - 8);
  const columns = counts.map((number, bin) => svg("rect", {
    class: "column", x: x(low + ((high - low) * bin) / bins) + 0.75, width: (width - 8) / bins - 1.5, y: height - (number / most) * (height - 12),
    height: (number / most) * (height - 12), rx: 1.5,
  }, svg("title", {}, `${fixed(low + ((high - low) * bin) / bins)} to ${fixed(low + ((high - low) * (bin + 1)) / bins)}: ${count(number, "image")}`)));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => svg("text", {
    x: x(low + share * (high - low)), y: height + 16, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle",
  }, (low + share * (high - low)).toFixed(2)));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height + 22}`, role: "img", "aria-label": `${title}: ${values.length} images, median ${fixed(middle)}` },
    svg("line", { class: "axis", x1: 0, x2: width, y1: height + 0.5, y2: height + 0.5 }), ...columns, ...ticks);
  if (middle != null) picture.append(svg("line", { class: "median", x1: x(middle), x2: x(middle), y1: 4, y2: height }));
  return h("div", {}, h("h3", {}, `${title} `, h("span", { className: "muted" }, `median ${fixed(middle)}${words ? `; ${words}` : ""}`)), picture);
}

function classesCard(explained) {
  const byClass = new Map();
  for (const image of explained) {
    const map = mapsOf(image, state.map)[state.target];
    if (map?.t == null) continue;
    if (!byClass.has(map.t)) byClass.set(map.t, []);
    byClass.get(map.t).push(image);
  }
  const largest = [...byClass].sort((a, b) => b[1].length - a[1].length);
  const parts = largest.slice(0, MOST_CLASSES).map(([k, list]) => {
    const grid = meanGrid(mapsAt(list));
    if (!grid) return null;
    const labelled = list.filter((image) => image.c != null), right = labelled.filter((image) => image.c).length;
    const words = `${count(list.length, "image")}${labelled.length ? `, ${right} right` : ""}`;
    return meanPicture(grid, className(k), words, () => setState({ class: className(k), tab: "images" }));
  }).filter(Boolean);
  if (!parts.length) return null;
  const more = largest.length > MOST_CLASSES ? ` The ${MOST_CLASSES} with the most images of ${largest.length} classes.` : "";
  return card("Mean map of each explained class", `A class that has its heat at one place, where others have not, may be recognised by a mark there.${more}`, h("div", { className: "means" }, parts));
}

function confusionCard(explained) {
  const labelled = explained.filter((image) => image.c != null && image.p?.[0]);
  if (!labelled.length) return null;
  const pairs = new Map();
  for (const image of labelled.filter((one) => one.c === 0)) {
    const key = `${image.l} ${image.p[0][0]}`;
    pairs.set(key, [...(pairs.get(key) || []), image]);
  }
  const right = labelled.filter((image) => image.c === 1).length;
  const rows = [...pairs.values()].sort((a, b) => b.length - a.length).slice(0, MOST_PAIRS).map((list) => h("tr", {},
    h("td", {}, h("button", { type: "button", className: "link", onclick: () => setState({ tab: "images", label: className(list[0].l), pred: className(list[0].p[0][0]) }) }, bdi(`${className(list[0].l)} taken for ${className(list[0].p[0][0])}`))),
    h("td", { className: "n" }, String(list.length)), h("td", { className: "n" }, percent(mean(present(list.map((image) => image.p[0][1])))))));
  const table = rows.length
    ? h("div", { className: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "confusion"), h("th", { className: "n" }, "images"), h("th", { className: "n" }, "mean probability"))), h("tbody", {}, rows)))
    : h("p", {}, "No prediction is wrong.");
  return card("Accuracy and confusion", `${right} of ${labelled.length} labelled images have their label as top prediction (${percent(right / labelled.length)}).${pairs.size > MOST_PAIRS ? ` The ${MOST_PAIRS} most frequent of ${pairs.size} confusions.` : ""}`,
    matrix(labelled), table);
}

function matrix(labelled) {
  const classes = [...new Set(labelled.flatMap((image) => [image.l, image.p[0][0]]))].sort((a, b) => COLLATOR.compare(className(a), className(b)));
  if (classes.length > MATRIX_CLASSES || classes.length < 2) return null;
  const counts = new Map();
  const totals = new Map();
  for (const image of labelled) {
    const key = `${image.l} ${image.p[0][0]}`;
    counts.set(key, (counts.get(key) || 0) + 1);
    totals.set(image.l, (totals.get(image.l) || 0) + 1);
  }
  const cell = (row, column) => {
    const number = counts.get(`${row} ${column}`) || 0;
    if (!number) return h("td", {}, "");
    const button = h("button", { type: "button", onclick: () => setState({ tab: "images", label: className(row), pred: className(column) }), title: `${className(row)} → ${className(column)}` }, String(number));
    button.style.background = `color-mix(in srgb, var(${row === column ? "--good-soft" : "--bad-soft"}) ${Math.round(40 + (60 * number) / totals.get(row))}%, transparent)`;
    return h("td", {}, button);
  };
  return h("div", { className: "scroll" }, h("table", { className: "matrix" },
    h("thead", {}, h("tr", {}, h("th", { className: "row" }, "label ↓ predicted →"), classes.map((k) => h("th", {}, bdi(className(k)))))),
    h("tbody", {}, classes.map((row) => h("tr", {}, h("th", { className: "row" }, bdi(className(row))), classes.map((column) => cell(row, column)))))));
}

function strip(title, list, words) {
  if (!list.length) return null;
  return h("div", {}, h("h3", {}, title), h("div", { className: "strip" }, list.map((image) =>
    h("button", { type: "button", className: "tile", onclick: () => openImage(image) }, picturesOf(image),
      h("span", { className: "caption" }, h("span", { className: "first" }, bdi(prediction(image) ? className(prediction(image)[0]) : image.n)), h("span", { className: "second" }, words(image)))))));
}

function outliersCard(explained) {
  const best = (value, descending) => [...explained].filter((image) => value(image) != null).sort(compareBy(value, descending)).slice(0, OUTLIERS);
  const wrong = explained.filter((image) => image.c === 0).sort(compareBy((image) => prediction(image)?.[1], true)).slice(0, OUTLIERS);
  const byClass = groupMaps(mapsAt(explained).filter((map) => map.t != null), (map) => map.t);
  const means = new Map([...byClass].map(([k, maps]) => [k, maps.length < 5 ? null : meanGrid(maps)]));
  const distances = new Map(explained.map((image) => {
    const map = shownMap(image), grid = means.get(map?.t);
    return [image, grid && map.h && !map.st && grid.g[0] === map.g[0] && grid.g[1] === map.g[1] ? distance(map, grid) : null];
  }));
  const unusual = (image) => distances.get(image);
  const parts = [
    strip("Wrong with the most confidence", wrong, (image) => `${percent(prediction(image)[1])}, label: ${className(image.l)}`),
    strip("Most heat at the border", best((image) => shownMap(image)?.bo, true), (image) => `border ${fixed(shownMap(image).bo)}`),
    strip("Most concentrated", best((image) => shownMap(image)?.en, false), (image) => `entropy ${fixed(shownMap(image).en)}`),
    strip("Nearly even", best((image) => shownMap(image)?.en, true), (image) => `entropy ${fixed(shownMap(image).en)}`),
    strip("Methods disagree most", best((image) => image.d, true), (image) => `disagreement ${fixed(image.d)}`),
    strip("Least like the other maps of their class", best(unusual, true), (image) => `distance ${fixed(unusual(image))}`),
  ].filter(Boolean);
  return parts.length ? card("Images that stand out", `By the maps of ${mapName(state.map)}.`, parts) : null;
}

/** Half the sum of the differences of two maps, each with a mass of 1: 0 the same, 1 nothing in common. */
function distance(map, grid) {
  const values = (map.values ??= bytesOf(map.h));
  let mass = 0, sum = 0;
  for (const value of values) mass += heatOf(value);
  for (let i = 0; i < values.length; i++) sum += Math.abs(heatOf(values[i]) / (mass || 1) - grid.mean[i]);
  return sum / 2;
}

function failedCard() {
  const failed = shown.filter(isFailed);
  if (!failed.length) return null;
  const kinds = new Map();
  for (const image of failed) kinds.set(image.e?.[0], [...(kinds.get(image.e?.[0]) || []), image]);
  const rows = [...kinds].sort((a, b) => b[1].length - a[1].length).flatMap(([kind, list]) => list.slice(0, 50).map((image, place) => h("tr", {},
    h("td", {}, place ? "" : `${kind} (${list.length})`), h("td", {}, h("button", { type: "button", className: "link", onclick: () => openImage(image) }, bdi(image.n))), h("td", {}, bdi(image.e?.[1] ?? "")))));
  return card("Images that failed", `${count(failed.length, "image")} could not be explained.`,
    h("div", { className: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "reason"), h("th", {}, "image"), h("th", {}, "message"))), h("tbody", {}, rows))));
}
