// Results of `cam check` and `cam diff` that lie in the run folder, worst first.

const CHECK_BADGES = { fail: "bad", warn: "warn", inconclusive: "warn", pass: "good", skipped: "" };

function showChecks() {
  const section = document.getElementById("tab-checks");
  section.replaceChildren(...[
    META.check ? checkCard("Checks", META.check, h("span", {}, "Of ", mapWords(META.check), " – ", countWords(META.check.checks))) : null,
    META.diff ? diffCard(META.diff) : null,
  ].filter(Boolean));
}

const mapWords = (document) => bdi([document.method, document.layer].filter(Boolean).join(" at "));

function countWords(checks) {
  const counts = new Map();
  for (const one of checks) counts.set(one.effective, (counts.get(one.effective) || 0) + 1);
  const words = { fail: "failed", warn: "warned", inconclusive: "inconclusive", pass: "passed", skipped: "skipped" };
  return [...counts].map(([status, number]) => `${number} ${words[status] ?? status}`).join(", ");
}

function checkCard(title, document, words, ...more) {
  return card(title, words, more, h("div", {}, document.checks.map(checkResult)));
}

function checkResult(one) {
  const worst = one.worst.map(([name, source, words]) => [images.find((image) => image.n === name && META.sources[image.s] === source) ?? images.find((image) => image.n === name), words]);
  const tiles = worst.filter(([image]) => image && one.status !== "pass");
  return h("div", { className: "check", "data-check": one.check },
    h("h3", {}, h("span", { className: `badge ${CHECK_BADGES[one.effective] ?? ""}` }, one.status), one.check, one.question ? h("span", { className: "muted" }, one.question) : null),
    h("p", {}, bdi(one.why)),
    one.shortcuts.length ? h("div", { className: "patches" }, one.shortcuts.map(shortcut)) : null,
    tiles.length ? strip("Worst images", tiles.map(([image]) => image), (image) => tiles.find(([other]) => other === image)[1]) : null);
}

function shortcut(one) {
  const picture = String(one.patch ?? "").startsWith("data:image/") ? h("img", { src: one.patch, alt: `the patch by which ${one.class} is recognised` }) : null;
  const effect = [one.without == null ? null : `without it the probability falls by ${fixed(one.without)}`, one.with == null ? null : `put into other images it raises it by ${fixed(one.with)}`].filter(Boolean).join("; ");
  return h("figure", {}, picture, h("figcaption", {}, h("strong", {}, bdi(one.class ?? "")), h("br"), one.decides === false ? "the model does not depend on it: " : "", `in ${percent(one.share)} of its images${effect ? `; ${effect}` : ""}`));
}

function diffCard(document) {
  const moved = (document.moved ?? []).map((one) => [images.find((image) => image.n === one.image && META.sources[image.s] === one.source) ?? images.find((image) => image.n === one.image), one]).filter(([image]) => image);
  const words = h("span", {}, bdi(document.base ?? ""), " → ", bdi(document.new ?? ""), `: ${document.images ?? 0} images compared, ${document.changed_predictions ?? 0} predictions changed`);
  const found = new Map(moved);
  return checkCard("Difference", document, words, moved.length ? strip("Largest changes", [...found.keys()], (image) => `${found.get(image).base_prediction === found.get(image).new_prediction ? "" : `was ${found.get(image).base_prediction}; `}correlation ${fixed(found.get(image).spearman)}`) : null);
}
