// Maps drawn over pictures: the grid of the index, interpolated between the centres of its cells, through the run's
// colours, at the place that the model saw.

const COLOURS = bytesOf(META.colours); // red, green, blue, and the share of heat, which is smaller near zero with a sign
const OUTSIDE = Math.round(255 * (1 - META.outside)); // how dark what the model did not see becomes

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/**
 * Draw a map.
 * @param canvas receives it; its size in pixels is kept
 * @param grid {g: [rows, columns], h: base64} with values from 0 to 255
 * @param view x0, y0, x1, y1 in pixels of the original, or null for a map alone
 * @param size [width, height] of the original
 * @param opacity from 0 to 1; beyond 1: the colours alone, and black around them
 */
function drawMap(canvas, grid, view, size, opacity) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const pixels = picture.data;
  const alone = opacity > 1;
  const heat = Math.round(255 * Math.min(1, opacity));
  const [x0, y0, x1, y1] = view || [0, 0, size[0], size[1]];
  const sx = width / size[0], sy = height / size[1];
  const left = Math.max(0, Math.ceil(x0 * sx - 0.5)), right = Math.min(width, Math.ceil(x1 * sx - 0.5));
  const top = Math.max(0, Math.ceil(y0 * sy - 0.5)), bottom = Math.min(height, Math.ceil(y1 * sy - 0.5));
  const outside = alone ? 255 : OUTSIDE;
  for (let place = 3; place < pixels.length; place += 4) pixels[place] = outside;
  if (!alone) frame(pixels, width, height, [left, top, right, bottom]);
  if (grid?.h) {
    const [rows, columns] = grid.g;
    const values = (grid.values ??= bytesOf(grid.h));
    const column = new Int32Array(width), share = new Float32Array(width);
    for (let x = left; x < right; x++) {
      const u = Math.min(columns - 1, Math.max(0, (((x + 0.5) / sx - x0) / (x1 - x0)) * columns - 0.5));
      column[x] = Math.min(columns - 2, Math.floor(u));
      if (columns === 1) column[x] = 0;
      share[x] = u - column[x];
    }
    const next = columns > 1 ? 1 : 0;
    for (let y = top; y < bottom; y++) {
      const v = Math.min(rows - 1, Math.max(0, (((y + 0.5) / sy - y0) / (y1 - y0)) * rows - 0.5));
      const row = rows > 1 ? Math.min(rows - 2, Math.floor(v)) : 0, below = v - row;
      const upper = row * columns, lower = rows > 1 ? upper + columns : upper;
      for (let x = left; x < right; x++) {
        const c = column[x], s = share[x];
        const above = values[upper + c] * (1 - s) + values[upper + c + next] * s;
        const under = values[lower + c] * (1 - s) + values[lower + c + next] * s;
        const colour = 4 * Math.round(above * (1 - below) + under * below);
        const place = 4 * (y * width + x);
        pixels[place] = COLOURS[colour];
        pixels[place + 1] = COLOURS[colour + 1];
        pixels[place + 2] = COLOURS[colour + 2];
        pixels[place + 3] = alone ? 255 : Math.round((heat * COLOURS[colour + 3]) / 255);
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

/** A thin line around what the model saw, outside of it. */
function frame(pixels, width, height, [left, top, right, bottom]) {
  const thickness = Math.max(1, Math.round(Math.max(width, height) / 512));
  const strong = Math.max(width, height) > 300 ? 255 : 110;
  for (let y = Math.max(0, top - thickness); y < Math.min(height, bottom + thickness); y++) {
    for (let x = Math.max(0, left - thickness); x < Math.min(width, right + thickness); x++) {
      if (y >= top && y < bottom && x >= left && x < right) {
        x = right - 1;
        continue;
      }
      const place = 4 * (y * width + x);
      pixels[place] = pixels[place + 1] = pixels[place + 2] = 255;
      pixels[place + 3] = strong;
    }
  }
}

/** The heat of a level, what speaks against the class left out. */
const heatOf = (level) => (META.signed ? Math.max(0, level - 127.5) : level);

/** A canvas of the shape of an image, its longer side as given. */
function canvasFor(size, side) {
  const scale = side / Math.max(...size);
  return h("canvas", {
    width: Math.max(1, Math.round(size[0] * scale)), height: Math.max(1, Math.round(size[1] * scale)),
    "aria-hidden": "true",
  });
}

/** The opacity to draw with: the original alone is not drawn over. */
const opacityOf = (view) => (view === "heatmap" ? 2 : state.opacity / 100);

/** A mean of maps, each with a mass of 1, as a grid that can be drawn; null without maps of one shape. */
function meanGrid(maps) {
  const first = maps.find((map) => map.h && !map.st);
  if (!first) return null;
  const sum = new Float64Array(first.g[0] * first.g[1]);
  let used = 0;
  for (const map of maps) {
    if (!map.h || map.st || map.g[0] !== first.g[0] || map.g[1] !== first.g[1]) continue;
    const values = (map.values ??= bytesOf(map.h));
    let mass = 0;
    for (const value of values) mass += heatOf(value);
    if (!mass) continue;
    for (let i = 0; i < sum.length; i++) sum[i] += heatOf(values[i]) / mass;
    used++;
  }
  return used ? { ...asGrid(sum, first.g), used, mean: sum.map((value) => value / used) } : null;
}

function asGrid(values, shape) {
  const low = Math.min(...values), high = Math.max(...values);
  const least = META.signed ? 128 : 0;
  const level = (v) => least + (high > low ? ((255 - least) * (v - low)) / (high - low) : 0);
  return { g: shape, h: "-", values: Uint8Array.from(values, level) };
}
