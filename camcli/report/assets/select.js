// Which images are shown, in which order, in which groups.

let shown = [];

/** Everything that the search looks at, lower case. */
function searchText(image) {
  if (image.text === undefined) {
    const classes = [...(image.p || []).slice(0, 1).map((one) => one[0]), image.l, ...image.m.map((map) => map.t)];
    image.text = [image.n, META.sources.length > 1 ? META.sources[image.s] : "", ...classes.filter((k) => k != null).map(className), ...(image.e || []),
      ...(image.no || []), isFailed(image) ? "failed" : ""].join("\n").toLowerCase();
  }
  return image.text;
}

const hasClass = (image, name) =>
  [image.p?.[0]?.[0], image.l, ...image.m.map((map) => map.t)].some((k) => k != null && className(k) === name);

const VERDICTS = {
  right: ["predicted right", (image) => image.c === 1],
  wrong: ["predicted wrong", (image) => image.c === 0],
  none: ["no label", (image) => image.c == null],
};
const STATUSES = {
  ok: ["explained", (image) => !isFailed(image)],
  failed: ["failed", isFailed],
  degenerate: ["map shows nothing", (image) => Boolean(shownMap(image)?.st)],
  improbable: ["target improbable", (image) => Boolean(shownMap(image)?.im)],
  notes: ["with notes", (image) => Boolean(image.no)],
  missing: ["original missing", (image) => Boolean(image.x)],
  changed: ["prediction changed", (image) => hasChanged(image)],
};
const hasChanged = (image) =>
  Boolean(image.a?.p[0] && image.p?.[0] && className(image.a.p[0][0]) !== className(image.p[0][0]));

function matches(image, words) {
  if (state.status && !STATUSES[state.status]?.[1](image)) return false;
  if (state.verdict && !VERDICTS[state.verdict]?.[1](image)) return false;
  if (state.pred && !(image.p?.[0] && className(image.p[0][0]) === state.pred)) return false;
  if (state.label && !(image.l != null && className(image.l) === state.label)) return false;
  if (state.class && !hasClass(image, state.class)) return false;
  if (state.method && !image.m.some((map) => META.maps[map.k][0] === state.method)) return false;
  if (!words.length) return true;
  const text = searchText(image);
  return words.every((word) => text.includes(word));
}

const probabilityOf = (predictions, k) =>
  predictions?.find((one) => className(one[0]) === className(k))?.[1] ?? (predictions?.length ? 0 : null);

/** How far the confidence falls short: of the other run's prediction in this one, or of the label behind the top one. */
function lostConfidence(image) {
  if (image.a?.p[0]) return image.a.p[0][1] == null ? null : image.a.p[0][1] - probabilityOf(image.p, image.a.p[0][0]);
  const top = prediction(image);
  if (!top || top[1] == null || image.l == null) return null;
  return top[1] - probabilityOf(image.p, image.l);
}
const change = (image) => {
  const distances = image.a?.d[state.map];
  return distances ? 1 - distances[0] : null;
};

/** Key → [words, value of an image, whether large values come first]. */
const SORTS = {
  order: ["order of the run", (image) => image.i, false],
  name: ["name", (image) => image.n, false],
  probability: [META.values ? "output" : "probability", (image) => prediction(image)?.[META.values ? 2 : 1], true],
  loss: [META.against ? "loss of confidence against the other run" : "loss of confidence (against the label)", lostConfidence, true],
  margin: ["margin to the second class", (image) => (image.p?.[1] && image.p[0][1] != null ? image.p[0][1] - image.p[1][1] : null), false],
  entropy: ["entropy of the map", (image) => shownMap(image)?.en, true],
  border: ["heat at the border", (image) => shownMap(image)?.bo, true],
  disagreement: ["disagreement of the methods", (image) => image.d, true],
  change: ["change of the map", change, true],
};
const SORT_SHOWN = { entropy: fixed, border: fixed, disagreement: fixed, change: fixed, loss: percent, margin: percent };

function isDescending() {
  const usual = SORTS[state.sort][2];
  return state.dir === "reverse" ? !usual : usual;
}

function compareBy(value, descending) {
  const sign = descending ? -1 : 1;
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x == null || y == null) return (x == null) - (y == null) || a.i - b.i;
    if (typeof x === "string") return sign * COLLATOR.compare(x, y) || a.i - b.i;
    return sign * (x - y) || a.i - b.i;
  };
}
const COLLATOR = new Intl.Collator("en", { numeric: true });

function select() {
  if (!SORTS[state.sort]) state.sort = DEFAULTS.sort;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const left = images.filter((image) => matches(image, words));
  if (state.sort !== "order" || isDescending()) left.sort(compareBy(SORTS[state.sort][1], isDescending()));
  shown = left;
}

/** Key → [words, [order, title] of an image]. Groups of a lower order come first, larger groups before smaller ones. */
const GROUPS = {
  pred: ["predicted class", (image) => (isFailed(image) ? [2, "failed"] : image.p?.[0] ? [0, className(image.p[0][0])] : [1, "no prediction"])],
  label: ["label", (image) => (image.l != null ? [0, className(image.l)] : [1, "no label"])],
  pair: ["confusion pair", confusion],
  verdict: ["verdict", (image) => (isFailed(image) ? [3, "failed"] : image.c === 0 ? [0, "wrong"] : image.c === 1 ? [1, "right"] : [2, "no label"])],
  change: ["change of the prediction", (image) => {
    if (!image.a) return [2, "not in the other run"];
    if (!hasChanged(image)) return [1, "same prediction"];
    return [0, `${className(image.a.p[0][0])} → ${className(image.p[0][0])}`];
  }],
};

function confusion(image) {
  if (isFailed(image)) return [3, "failed"];
  if (image.c == null) return [2, "no label"];
  return image.c ? [1, "right"] : [0, `${className(image.l)} taken for ${className(image.p[0][0])}`];
}

/** [[title, images]], or null where nothing is grouped. */
function groups() {
  if (!GROUPS[state.group]) return null;
  const found = new Map();
  for (const image of shown) {
    const [order, title] = GROUPS[state.group][1](image);
    const key = `${order} ${title}`;
    if (!found.has(key)) found.set(key, { order, title, images: [] });
    found.get(key).images.push(image);
  }
  return [...found.values()].sort(
    (a, b) => a.order - b.order || b.images.length - a.images.length || COLLATOR.compare(a.title, b.title),
  );
}
