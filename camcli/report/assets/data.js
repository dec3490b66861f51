"use strict";
// The images of the run, loaded piece by piece. A record has the keys that camcli/report/records.py writes.

const META = JSON.parse(document.getElementById("meta").textContent);
const images = [];
const pieces = new Map();

/** Called by each data file. Pieces may come in any order; images are kept in that of the run. */
function camData(number, text) {
  pieces.set(number, JSON.parse(text));
}

function takePieces() {
  const names = new Map();
  for (const number of [...pieces.keys()].sort((a, b) => a - b)) {
    for (const image of pieces.get(number)) {
      image.i = images.length;
      images.push(image);
      names.set(image.n, (names.get(image.n) || 0) + 1);
    }
  }
  pieces.clear();
  for (const image of images) image.id = names.get(image.n) > 1 ? `${image.n} @ ${META.sources[image.s]}` : image.n;
}

const className = (number) => {
  const [index, name] = META.classes[number];
  return name ?? (META.values ? `output ${index}` : `class ${index}`);
};
const mapName = (key) => {
  const [method, layer] = META.maps[key];
  const layers = META.maps.filter((other) => other[0] === method).length;
  return layers > 1 && layer ? `${method} at ${layer}` : method;
};
/** A run by its name, and the method, options and layers of a map of it. */
function runWords(name, options, map) {
  if (!map) return name;
  const [method, layer] = META.maps[map.k];
  const own = options.filter((text) => text.startsWith(`${method}.`)).map((text) => text.slice(method.length + 1));
  return `${name} · ${method}${own.length ? ` (${own.join(", ")})` : ""}${layer ? ` at ${layer}` : ""}`;
}
const prediction = (image) => image.p?.[0];
const isFailed = (image) => image.st === 1;

/** The maps of an image by one method and layer, a target each. */
function mapsOf(image, key) {
  image.maps ??= groupMaps(image.m, (map) => map.k);
  return image.maps.get(key) || [];
}
function groupMaps(maps, keyOf) {
  const groups = new Map();
  for (const map of maps) {
    const key = keyOf(map);
    if (groups.has(key)) groups.get(key).push(map);
    else groups.set(key, [map]);
  }
  return groups;
}

/** The map that the page shows of an image now. */
const shownMap = (image) => mapsOf(image, state.map)[state.target];

function percent(value) {
  if (value == null) return "–";
  const share = 100 * value;
  return `${share >= 99.95 || share < 0.005 ? share.toFixed(0) : share >= 10 ? share.toFixed(1) : share.toFixed(2)} %`;
}
const fixed = (value, digits = 2) => (value == null ? "–" : value.toFixed(digits).replace(/^-/, "−"));
const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** An element with properties, attributes (`data-`, `aria-`) and children; text is always text. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value == null) continue;
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}
const bdi = (text) => h("bdi", {}, text);
