// What the page shows, kept in location.hash so that a link holds it.

/** The first map that the other run has as well. */
const COMPARED = META.against ? META.maps.findIndex((key) => key.join("\n") in META.against.maps) : 0;

const DEFAULTS = {
  tab: "images", q: "", class: "", pred: "", label: "", verdict: "", status: "", method: "", sort: META.against ? "change" : "order",
  dir: "", group: "", map: Math.max(0, COMPARED), target: 0, view: "overlay", opacity: Math.round(100 * META.alpha), divider: 0, size: META.against ? 300 : 200, image: "",
};
const state = { ...DEFAULTS };
const NUMBERS = ["map", "target", "opacity", "divider", "size"];

/** Class numbers of the page are its own; a link names the class. */
const CLASS_FILTERS = ["class", "pred", "label"];

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, DEFAULTS);
  for (const [name, value] of given) {
    if (!(name in DEFAULTS)) continue;
    if (name === "map") {
      const place = META.maps.findIndex((key) => key.join(" ").trim() === value);
      if (place >= 0) state.map = place;
    } else if (NUMBERS.includes(name)) {
      const number = Number(value);
      if (Number.isFinite(number)) state[name] = Math.max(0, Math.round(number));
    } else state[name] = value;
  }
  state.opacity = Math.min(100, state.opacity);
  state.divider = Math.min(100, state.divider);
}

function writeHash() {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value === DEFAULTS[name]) continue;
    words.set(name, name === "map" ? META.maps[value]?.join(" ").trim() ?? "" : value);
  }
  const hash = words.toString();
  if (hash === location.hash.slice(1)) return;
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search + "#");
}
