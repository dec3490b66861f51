// The grid. Every image that is shown is an element; what is in it is made when it comes near the window.

const HEAT_SIDE = 128;
const grid = document.getElementById("grid");
const filled = new Set();
let roving = null; // the tile that the Tab key reaches

const AHEAD = 600; // pixels above and below the window in which tiles have their content
let waitingForFrame = false;

/** All rows of a list are of one height, so where a tile is follows from its number; nothing has to be measured. */
function fillNear() {
  waitingForFrame = false;
  if (state.tab !== "images") return;
  const wanted = new Set();
  for (const list of grid.querySelectorAll(".tiles")) {
    const box = list.getBoundingClientRect();
    if (box.bottom < -AHEAD || box.top > innerHeight + AHEAD) continue;
    const style = getComputedStyle(list);
    const columns = style.gridTemplateColumns.split(" ").length;
    const height = parseFloat(style.gridAutoRows) + parseFloat(style.rowGap);
    const first = Math.max(0, Math.floor((-AHEAD - box.top) / height)) * columns;
    const last = Math.min(list.children.length, Math.ceil((innerHeight + AHEAD - box.top) / height) * columns);
    for (let place = first; place < last; place++) wanted.add(list.children[place]);
  }
  for (const element of filled) if (!wanted.has(element)) empty(element);
  for (const element of wanted) fill(element);
}

function fillSoon() {
  if (waitingForFrame) return;
  waitingForFrame = true;
  requestAnimationFrame(fillNear);
}
addEventListener("scroll", fillSoon, { passive: true });
addEventListener("resize", () => {
  if (shown.length > MANY && columnsNow() !== columns) showGrid();
  else fillSoon();
});

function tileOf(image) {
  if (image.element) return image.element;
  const element = h("li", { "data-image": image.n, "data-status": isFailed(image) ? "failed" : "ok" });
  element.record = image;
  image.element = element;
  return element;
}

function showGrid() {
  for (const element of filled) element.replaceChildren();
  filled.clear();
  columns = columnsNow(); // before the lists are made
  // Thousands of elements are moved many times faster while they have no boxes.
  const focused = grid.contains(document.activeElement);
  grid.style.display = "none";
  void grid.offsetHeight;
  grid.replaceChildren();
  const parts = groups();
  if (!shown.length) {
    const words = images.length ? "No image fits these filters." : "This run has no images.";
    const clear = h("button", { type: "button", textContent: "Clear the filters", onclick: clearFilters });
    grid.replaceChildren(h("div", { className: "empty" }, h("p", {}, words), images.length ? clear : null));
  } else if (parts) {
    grid.replaceChildren(h("div", { className: "groups" }, parts.map(groupSection)));
  } else {
    grid.replaceChildren(...lists(shown));
  }
  grid.style.display = "";
  roving = shown.includes(roving) ? roving : shown[0];
  fillNear();
  if (focused && roving) focusTile(roving);
}

/** A group with its title; several small groups stand side by side. */
function groupSection(part) {
  const { length } = part.images;
  const section = h("section", { className: "group" }, h("h2", {}, bdi(part.title), ": ", h("span", {}, count(length, "image"))), lists(part.images));
  section.style.width = length < columns ? `${length * state.size + (length - 1) * GAP}px` : "100%";
  return section;
}

const GAP = 14; // as in page.css
const MANY = 500; // images, from which on they are in several lists
const ROWS = 10; // in each of them
let columns = 1;

const columnsNow = () => Math.max(1, Math.floor((grid.clientWidth + GAP) / (Math.min(state.size, grid.clientWidth) + GAP)));

/** Many images in lists of whole rows: the browser skips those that are far from the window. */
function lists(some) {
  if (some.length <= MANY) return [h("ul", { className: "tiles" }, some.map(tileOf))];
  const parts = [];
  for (let start = 0; start < some.length; start += ROWS * columns) {
    const part = some.slice(start, start + ROWS * columns);
    const list = h("ul", { className: "tiles part" }, part.map(tileOf));
    list.style.setProperty("--rows", Math.ceil(part.length / columns));
    parts.push(list);
  }
  return parts;
}

function fill(element) {
  if (filled.has(element)) return;
  filled.add(element);
  element.append(tileContent(element.record));
}

function empty(element) {
  if (!filled.has(element) || element.contains(document.activeElement)) return;
  filled.delete(element);
  element.replaceChildren();
}

/** Draw the tiles that are there again, after another map, view or opacity was chosen. */
function refreshTiles() {
  for (const element of filled) {
    const focused = element.contains(document.activeElement);
    element.replaceChildren(tileContent(element.record));
    if (focused) element.firstChild.focus();
  }
}

function tileContent(image) {
  return h("button", { type: "button", className: "tile", tabIndex: image === roving ? 0 : -1, onclick: () => openImage(image) },
    picturesOf(image),
    caption(image));
}

/** The picture with its map; that of the other run first where there is one. */
const picturesOf = (image) => h("span", { className: "pictures" },
  image.a ? pictureOf(image, earlierMap(image), image.a.v) : null, pictureOf(image, shownMap(image), image.v));

/** The same map in the other run. */
const earlierMap = (image) =>
  image.a?.m.filter((map) => map.k === state.map)[state.target] ??
  image.a?.m.filter((map) => META.maps[map.k][0] === META.maps[state.map]?.[0])[state.target];

/** A small picture with its map. */
function pictureOf(image, map, view) {
  const box = h("span", { className: "picture" });
  if (isFailed(image)) {
    box.append(h("span", { className: "none" }, image.e?.[0] ?? "failed"));
    return box;
  }
  if (image.t) box.append(h("img", { src: image.t, alt: "", loading: "lazy", decoding: "async", draggable: false }));
  if (state.view !== "original" && image.wh && !(image.td && state.view === "overlay") && (map?.h || image.v)) {
    const canvas = canvasFor(image.wh, HEAT_SIDE);
    drawMap(canvas, map, view, image.wh, image.t ? opacityOf(state.view) : 2);
    box.append(canvas);
  }
  if (!image.t && state.view === "original") box.append(h("span", { className: "none" }, "original missing"));
  if (map?.st) box.append(h("span", { className: "corner" }, WORDS_OF_STATUS[map.st] ?? map.st));
  else if (image.x) box.append(h("span", { className: "corner" }, `original ${image.x}`));
  return box;
}

const WORDS_OF_STATUS = { zero: "no heat", constant: "constant map", nonfinite: "not finite" };

function caption(image) {
  const name = image.n.split("/").pop();
  const first = h("span", { className: "first" }), second = h("span", { className: "second" });
  const top = prediction(image);
  if (isFailed(image)) {
    first.append(bdi("not explained"));
    second.append(bdi(`${name}: ${image.e?.[1] ?? ""}`));
  } else if (image.a?.p[0] && hasChanged(image)) {
    first.append(bdi(`${className(image.a.p[0][0])} → ${className(top[0])}`), number(image));
    second.append(verdictMark(image, bdi(name)), sortValue(image));
  } else {
    if (top) first.append(bdi(className(top[0])), number(image));
    else first.append(bdi(name));
    const words = image.c === 0 ? bdi(`label: ${className(image.l)}`) : bdi(top ? name : "");
    second.append(verdictMark(image, words), sortValue(image));
  }
  return h("span", { className: "caption", title: image.n }, first, second);
}

function verdictMark(image, words) {
  if (image.c != null) {
    words.className = image.c ? "right" : "wrong";
    words.title = image.c ? "predicted right" : "predicted wrong";
  }
  return words;
}
const number = (image) =>
  h("span", { className: "number" }, prediction(image)[1] == null ? fixed(prediction(image)[2]) : percent(prediction(image)[1]));

/** The value that the images are sorted by. */
function sortValue(image) {
  const write = SORT_SHOWN[state.sort];
  const value = write && SORTS[state.sort][1](image);
  return value == null ? "" : h("span", { className: "number" }, `${state.sort} ${write(value)}`);
}

function focusTile(image) {
  const before = roving;
  roving = image;
  if (before?.element?.firstChild) before.element.firstChild.tabIndex = -1;
  fill(image.element);
  image.element.firstChild.tabIndex = 0;
  image.element.firstChild.focus({ preventScroll: true });
  image.element.scrollIntoView({ block: "nearest" });
}

/** The arrow keys within the grid. */
function moveInGrid(key) {
  const order = [...grid.querySelectorAll("li[data-image]")];
  const place = order.indexOf(roving?.element);
  if (place < 0) return;
  let next = place + { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (key === "Home") next = 0;
  if (key === "End") next = order.length - 1;
  if (key === "ArrowUp" || key === "ArrowDown") next = rowNeighbour(order, place, key === "ArrowDown" ? 1 : -1);
  if (order[next]) focusTile(order[next].record);
}

/** The tile above or below: the next one in that direction that overlaps horizontally. */
function rowNeighbour(order, place, step) {
  const here = order[place].getBoundingClientRect();
  for (let i = place + step; order[i]; i += step) {
    const there = order[i].getBoundingClientRect();
    if (there.top !== here.top && there.left <= here.left + 2 && there.right > here.left + 2) return i;
  }
  return -1;
}
