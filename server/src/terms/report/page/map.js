/* The map: which part of it is visible, and how it is drawn. */

const canvas = $("map"), pen = canvas.getContext("2d");
const hasMap = data.map !== null;
const xs = hasMap ? unpack(data.map.x) : [], ys = hasMap ? unpack(data.map.y) : [];
const EDGE = 26, REACH = 14, MOST_ZOOM = 400, MOST_LABELS = 40;
let widest = 1, tallest = 1;
for (let term = 0; term < xs.length; term++) {
  widest = Math.max(widest, xs[term]);
  tallest = Math.max(tallest, ys[term]);
}

/** Pixels per step of the map, and where its corner is. */
const view = {scale: 1, left: 0, top: 0, whole: 1};
let width = 0, height = 0, colours = null, order = [], painted = [], ends = [], shown = null, current = null, asked = false;
const atX = term => view.left + xs[term] * view.scale;
const atY = term => view.top + (tallest - ys[term]) * view.scale;

/** Colours the terms by cluster, language or domain. Terms are sorted by colour, those without one below the others. */
function colourBy(by) {
  colours = colouring(by);
  ends = new Array(colours.size + 1).fill(0);
  for (const colour of colours.of) ends[colour + 1]++;
  for (let colour = 0; colour < colours.size; colour++) ends[colour + 1] += ends[colour];
  const next = ends.slice();
  order = new Uint32Array(count);
  for (let term = 0; term < count; term++) order[next[colours.of[term]]++] = term;
  repaint();
}
function repaint() {
  painted = Array.from({length: colours.size}, (_, colour) => colours.colour(colour));
  sprites.clear();
  draw();
}

/** Emphasises terms: an array of a flag for each, or null for all. */
function emphasise(flags) {
  shown = flags;
  draw();
}

/* ---- drawing ---- */

function draw() {
  if (asked || !hasMap) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; paint(); });
}

const sprites = new Map();
let spriteSize = 0;
/** A dot as a picture: copying it is faster than filling a circle. */
function sprite(colour, radius, ratio) {
  if (spriteSize !== radius * ratio) {
    sprites.clear();
    spriteSize = radius * ratio;
  }
  if (!sprites.has(colour)) {
    const size = Math.ceil(2 * radius * ratio) + 2, dot = make("canvas", {width: size, height: size}), ink = dot.getContext("2d");
    ink.fillStyle = painted[colour];
    ink.beginPath();
    ink.arc(size / 2, size / 2, radius * ratio, 0, 7);
    ink.fill();
    sprites.set(colour, dot);
  }
  return sprites.get(colour);
}

function dots(radius, ratio, wanted) {
  const square = radius < 1.5, side = 2 * radius;
  for (let colour = 0; colour < colours.size; colour++) {
    let dot = null;
    pen.fillStyle = painted[colour];
    for (let place = ends[colour]; place < ends[colour + 1]; place++) {
      const term = order[place], x = atX(term), y = atY(term);
      if (x < -radius || y < -radius || x > width + radius || y > height + radius) continue;
      if (shown && Boolean(shown[term]) !== wanted) continue;
      if (square) pen.fillRect(x - radius, y - radius, side, side);
      else {
        dot ??= sprite(colour, radius, ratio);
        pen.drawImage(dot, x - dot.width / ratio / 2, y - dot.height / ratio / 2, dot.width / ratio, dot.height / ratio);
      }
    }
  }
}

function paint() {
  if (!width) return;
  const ratio = devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  // Dots cover a small part of the map, and grow slower than the distances between them.
  const zoom = view.scale / view.whole, area = Math.sqrt(width * height / count);
  const radius = Math.round(2 * Math.max(.75, Math.min(6, .11 * area * zoom ** .8))) / 2;
  pen.globalAlpha = shown ? .13 : .9;
  dots(radius, ratio, false);
  pen.globalAlpha = 1;
  if (shown) dots(Math.max(radius, 2.5), ratio, true);
  names();
  if (current !== null) ring(atX(current), atY(current), radius + 4);
  if (document.activeElement === canvas && byKey) ring(width / 2, height / 2, REACH);
}

function ring(x, y, radius) {
  pen.strokeStyle = style("--ink");
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.stroke();
}

/** Writes the labels of the largest clusters that are visible, where no other label is. */
function names() {
  const taken = [], ink = style("--ink"), halo = style("--panel");
  pen.font = "12.5px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  pen.lineWidth = 3.5;
  for (let cluster = 1; cluster < members.length && taken.length < MOST_LABELS; cluster++) {
    const {medoid} = clusters[cluster - 1], x = atX(medoid), y = atY(medoid);
    if (x < 0 || y < 8 || x > width || y > height - 8 || (shown && !shown[medoid])) continue;
    const label = [...terms[medoid]], text = label.length > 26 ? `${label.slice(0, 25).join("")}…` : label.join("");
    const half = pen.measureText(text).width / 2 + 5;
    const middle = Math.max(half, Math.min(x, width - half));
    if (taken.some(([a, b, other]) => Math.abs(a - middle) < half + other && Math.abs(b - y) < 19)) continue;
    taken.push([middle, y, half]);
    pen.strokeStyle = halo;
    pen.globalAlpha = .85;
    pen.strokeText(text, middle, y);
    pen.globalAlpha = 1;
    pen.fillStyle = ink;
    pen.fillText(text, middle, y);
  }
}

/* ---- moving ---- */

function showAll() {
  view.whole = Math.min((width - 2 * EDGE) / widest, (height - 2 * EDGE) / tallest);
  show(0, 0, widest, tallest);
}
/** Shows a rectangle of the map, in steps from its corner at the left and top. */
function show(left, top, wide, tall) {
  const fit = Math.min((width - 2 * EDGE) / Math.max(wide, 1), (height - 2 * EDGE) / Math.max(tall, 1));
  view.scale = Math.max(view.whole, Math.min(fit, view.whole * MOST_ZOOM));
  view.left = width / 2 - (left + wide / 2) * view.scale;
  view.top = height / 2 - (top + tall / 2) * view.scale;
  draw();
}
/** Shows terms, without the few that are far from the others. */
function showTerms(some) {
  if (!hasMap || !some.length) return;
  const range = of => {
    const sorted = Float64Array.from(some, of).sort(), out = Math.floor(sorted.length * .02);
    return [sorted[out], sorted[sorted.length - 1 - out]];
  };
  const [left, right] = range(term => xs[term]), [top, bottom] = range(term => tallest - ys[term]);
  // A single term or a small group keeps its surroundings.
  const least = Math.max(widest, tallest) / 16, wide = Math.max(right - left, least), tall = Math.max(bottom - top, least);
  show((left + right - wide * 1.3) / 2, (top + bottom - tall * 1.3) / 2, wide * 1.3, tall * 1.3);
}
function zoom(factor, x = width / 2, y = height / 2) {
  const scale = Math.max(view.whole / 2, Math.min(view.scale * factor, view.whole * MOST_ZOOM));
  view.left = x - (x - view.left) * scale / view.scale;
  view.top = y - (y - view.top) * scale / view.scale;
  view.scale = scale;
  draw();
}
function move(x, y) {
  view.left += x;
  view.top += y;
  draw();
}
