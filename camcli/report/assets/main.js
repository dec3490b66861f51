// Controls, keys, and what happens when something is chosen.

const at = (id) => document.getElementById(id);
const VIEWS = [["original", "Original"], ["overlay", "Overlay"], ["heatmap", "Heatmap"]];
const TABS = ["images", "summary", "checks", "run"];

/** Change what the page shows. */
function setState(changes) {
  const image = openedImage;
  Object.assign(state, changes);
  apply(Object.keys(changes), image);
}

const SELECTING = ["q", "class", "pred", "label", "verdict", "status", "method", "sort", "dir", "group"];

function apply(names, image = openedImage) {
  const depends = ["map", "target"].some((name) => names.includes(name)) && (state.sort === "entropy" || state.sort === "border" || state.sort === "change" || state.status);
  if (names.includes("tab")) {
    if (viewer.open && state.tab !== "images") viewer.close();
    showTab();
  }
  if (depends || SELECTING.some((name) => names.includes(name))) refresh();
  else if (["map", "target", "view", "opacity"].some((name) => names.includes(name))) {
    refreshTiles();
    if (state.tab === "summary") showSummary();
  }
  if (names.includes("size")) document.documentElement.style.setProperty("--tile", `${state.size}px`);
  if (names.includes("size") && shown.length > MANY) showGrid();
  else if (names.includes("size") || names.includes("tab")) fillNear();
  syncControls();
  if (openedImage) {
    if (names.every((name) => name === "divider")) placeDivider();
    else showViewer();
  }
  writeHash();
}

function refresh() {
  select();
  showGrid();
  at("count").textContent = String(shown.length);
  at("of").textContent = shown.length === images.length ? (images.length === 1 ? "image" : "images") : `of ${images.length} images`;
  if (state.tab === "summary") showSummary();
  if (state.tab === "checks") showChecks();
}

function showTab() {
  if (!TABS.includes(state.tab) || !document.querySelector(`[data-tab="${state.tab}"]`)) state.tab = "images";
  for (const tab of TABS) at(`tab-${tab}`).hidden = tab !== state.tab;
  for (const button of document.querySelectorAll("[data-tab]")) button.setAttribute("aria-pressed", String(button.dataset.tab === state.tab));
  if (state.tab === "summary") showSummary();
  if (state.tab === "checks") showChecks();
}

function clearFilters() {
  setState({ q: "", class: "", pred: "", label: "", verdict: "", status: "", method: "" });
}

function options(select, pairs, any) {
  select.replaceChildren(...(any ? [h("option", { value: "" }, any)] : []), ...pairs.map(([value, words]) => h("option", { value }, words)));
}

/** Class names with the number of their images, for a filter. */
function classOptions(classesOf) {
  const counts = new Map();
  for (const image of images) for (const name of new Set(classesOf(image).filter((k) => k != null).map(className))) counts.set(name, (counts.get(name) || 0) + 1);
  return [...counts].sort((a, b) => COLLATOR.compare(a[0], b[0])).map(([name, number]) => [name, `${name} (${number})`]);
}

function fillControls() {
  options(at("class"), classOptions((image) => [image.p?.[0]?.[0], image.l, ...image.m.map((map) => map.t)]), "any");
  options(at("pred"), classOptions((image) => [image.p?.[0]?.[0]]), "any");
  options(at("label"), classOptions((image) => [image.l]), "any");
  const some = (table) => Object.entries(table).map(([key, [words, test]]) => [key, words, images.filter(test).length]).filter((one) => one[2]).map(([key, words, number]) => [key, `${words} (${number})`]);
  options(at("verdict"), some(VERDICTS), "any");
  options(at("status"), some(STATUSES), "any");
  const methods = new Map();
  for (const image of images) for (const method of new Set(image.m.map((map) => META.maps[map.k][0]))) methods.set(method, (methods.get(method) || 0) + 1);
  options(at("method"), [...methods].map(([method, number]) => [method, `${method} (${number})`]), "any");
  options(at("sort"), Object.entries(SORTS).filter(([key, [, value]]) => key === "order" || key === DEFAULTS.sort || images.some((image) => value(image) != null)).map(([key, [words]]) => [key, words]));
  const labelled = images.some((image) => image.c != null);
  options(at("group"), Object.entries(GROUPS).filter(([key]) => (key === "change" ? META.against : labelled || key === "pred")).map(([key, [words]]) => [key, words]), "none");
  options(at("map"), META.own.map((key) => [key, mapName(key)]));
  const most = images.reduce((number, image) => Math.max(number, mapsOf(image, 0).length), 1);
  const sample = images.find((image) => mapsOf(image, 0).length === most);
  options(at("target"), Array.from({ length: most }, (_, place) => [place, targetName(sample && mapsOf(sample, 0)[place], place)]));
  const needs = { labels: labelled, maps: META.own.length > 1, targets: most > 1 };
  for (const element of document.querySelectorAll("[data-needs]")) element.hidden = !needs[element.dataset.needs];
  for (const box of [at("view"), at("viewer-view")]) {
    box.append(h("span", {}, VIEWS.map(([value, words]) => h("button", { type: "button", "data-view": value, onclick: () => setState({ view: value }) }, words))));
  }
}

/** Of a target that all images have: how its class is chosen, or the class where it was given. */
function targetName(map, place) {
  const rank = /^top:(\d+)$/.exec(map?.tb ?? "")?.[1];
  if (rank) return `number ${rank}`;
  if (map?.tb === "index" || map?.tb === "name") return className(map.t);
  return { predicted: "predicted class", label: "label" }[map?.tb] ?? `${place + 1}`;
}

function syncControls() {
  for (const name of ["q", "class", "pred", "label", "verdict", "status", "method", "sort", "group", "map", "target", "opacity", "size"]) {
    if (at(name).value !== String(state[name])) at(name).value = state[name];
  }
  at("viewer-opacity").value = state.opacity;
  at("divider").value = state.divider;
  at("dir").textContent = isDescending() ? "↓" : "↑";
  at("dir").title = isDescending() ? "Largest first; reverse" : "Smallest first; reverse";
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
  at("reset").disabled = !["q", "class", "pred", "label", "verdict", "status", "method"].some((name) => state[name]);
}

function listen() {
  let waiting = 0;
  at("q").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => setState({ q: at("q").value }), images.length > 3000 ? 120 : 0);
  });
  for (const name of ["class", "pred", "label", "verdict", "status", "method", "group"]) at(name).addEventListener("change", () => setState({ [name]: at(name).value }));
  at("sort").addEventListener("change", () => setState({ sort: at("sort").value, dir: "" }));
  for (const name of ["map", "target"]) at(name).addEventListener("change", () => setState({ [name]: Number(at(name).value) }));
  for (const [id, name] of [["opacity", "opacity"], ["viewer-opacity", "opacity"], ["divider", "divider"], ["size", "size"]]) {
    at(id).addEventListener("input", () => setState({ [name]: Number(at(id).value) }));
  }
  at("dir").addEventListener("click", () => setState({ dir: state.dir ? "" : "reverse" }));
  at("reset").addEventListener("click", clearFilters);
  at("more").addEventListener("click", () => {
    const open = document.body.classList.toggle("all-controls");
    at("more").setAttribute("aria-expanded", String(open));
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-tab]")) button.addEventListener("click", () => setState({ tab: button.dataset.tab }));
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  at("close").addEventListener("click", () => viewer.close());
  at("theme").addEventListener("click", switchTheme);
  at("skip").addEventListener("click", (event) => {
    event.preventDefault();
    if (shown[0]) focusTile(roving ?? shown[0]);
  });
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => {
    readHash();
    showAll();
  });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input[type=search], select, textarea");
  if (typing) {
    if (event.key === "Escape" && event.target === at("q")) event.target.value ? setState({ q: "" }) : event.target.blur();
    return;
  }
  const sliding = event.target.matches?.("input[type=range]");
  const action = (viewer.open ? viewerKey(event, sliding) : pageKey(event, sliding)) ?? commonKey(event);
  if (!action) return;
  event.preventDefault();
  action();
}

const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

function viewerKey({ key }, sliding) {
  if (sliding && ARROWS.includes(key)) return null;
  return {
    ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), ArrowUp: () => stepMap(-1), ArrowDown: () => stepMap(1),
    Escape: () => viewer.close(),
  }[key];
}

function stepMap(step) {
  nextMap(step);
  apply(["map", "target"]);
}

function pageKey({ key, target }, sliding) {
  if (key === "/") return () => {
    setState({ tab: "images" });
    at("q").focus();
    at("q").select();
  };
  if (key === "i" || key === "s" || key === "r") return () => setState({ tab: { i: "images", s: "summary", r: "run" }[key] });
  if (sliding || state.tab !== "images") return undefined;
  const inGrid = grid.contains(target);
  if ((ARROWS.includes(key) || key === "Home" || key === "End") && inGrid) return () => moveInGrid(key);
  if (ARROWS.includes(key) && key !== "ArrowUp" && shown.length) return () => focusTile(roving ?? shown[0]);
  return undefined;
}

function commonKey({ key }) {
  return {
    1: () => setState({ view: "original" }), 2: () => setState({ view: "overlay" }), 3: () => setState({ view: "heatmap" }),
    "[": () => setState({ opacity: Math.max(0, state.opacity - 10) }), "]": () => setState({ opacity: Math.min(100, state.opacity + 10) }),
    m: () => setState({ map: META.own[(META.own.indexOf(state.map) + 1) % META.own.length] ?? 0 }),
    t: () => setState({ target: (state.target + 1) % Math.max(1, at("target").options.length) }),
    d: switchTheme, "?": () => at("keys").togglePopover(),
  }[key];
}

/** Light, dark, and back to what the system says. */
function switchTheme() {
  setTheme(isDark() ? "light" : "dark");
}
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
function nameTheme() {
  at("theme").textContent = isDark() ? "Light" : "Dark";
}
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  nameTheme();
  try {
    localStorage.setItem("cam-theme", theme);
  } catch {} // a browser that keeps nothing for pages from disk
}
function startTheme() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  let theme = null;
  try {
    theme = localStorage.getItem("cam-theme");
  } catch {}
  if (theme) setTheme(theme);
  nameTheme();
}

function showAll() {
  if (!META.own.includes(state.map)) state.map = META.own[0] ?? 0;
  if (!VIEWS.some(([value]) => value === state.view)) state.view = "overlay";
  document.documentElement.style.setProperty("--tile", `${state.size}px`);
  document.documentElement.style.setProperty("--pictures", META.against ? 2 : 1);
  const wanted = state.image;
  refresh();
  showTab();
  syncControls();
  const image = wanted && images.find((one) => one.id === wanted || one.n === wanted);
  if (image) openImage(image);
  else if (viewer.open) viewer.close();
  writeHash();
}

function start() {
  document.querySelectorAll("script.piece").forEach((piece, place) => camData(place + 1, piece.textContent));
  takePieces();
  readHash();
  fillControls();
  listen();
  startTheme();
  showAll();
  document.documentElement.dataset.ready = "true";
}
addEventListener("DOMContentLoaded", start);
