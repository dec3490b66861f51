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
  const place = order.indexOf(openedImage);
  const next = place < 0 ? order[0] : order[place + step];
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
      stage(image, earlierMap(image), image.a.v, runWords(META.against.name, META.against.options, earlierMap(image))),
      stage(image, shownMap(image), image.v, runWords(META.run, META.options, shownMap(image))));
  } else stages.replaceChildren(stage(image, shownMap(image), image.v, null));
  placeDivider();
  const order = viewerOrder(), place = order.indexOf(image);
  document.getElementById("place").textContent = place < 0 ? "not among those shown" : `${place + 1} of ${order.length}`;
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
    else if (!map && state.view !== "original") frame.append(h("p", { className: "none" }, "This run has no such map."));
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
