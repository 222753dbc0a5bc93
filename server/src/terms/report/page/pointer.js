/* The term under the pointer; moving the map by pointer and keyboard. */

/* ---- the nearest term ---- */

/** Terms sorted into the cells of a grid over the map. */
const SIDE = 256, cellSize = Math.max(widest, tallest) / SIDE;
const cellOf = (x, y) => Math.min(Math.floor(y / cellSize), SIDE - 1) * SIDE + Math.min(Math.floor(x / cellSize), SIDE - 1);
const cellEnds = new Uint32Array(SIDE * SIDE + 1), cells = new Uint32Array(xs.length);
for (let term = 0; term < xs.length; term++) cellEnds[cellOf(xs[term], ys[term]) + 1]++;
for (let cell = 0; cell < SIDE * SIDE; cell++) cellEnds[cell + 1] += cellEnds[cell];
for (let term = 0, next = cellEnds.slice(); term < xs.length; term++) cells[next[cellOf(xs[term], ys[term])]++] = term;

/** The emphasised term nearest to a point of the canvas, if one is in reach. */
function nearest(x, y) {
  const stepX = (x - view.left) / view.scale, stepY = tallest - (y - view.top) / view.scale, reach = REACH / view.scale;
  const range = at => [Math.max(0, Math.floor((at - reach) / cellSize)), Math.min(SIDE - 1, Math.floor((at + reach) / cellSize))];
  const [left, right] = range(stepX), [low, high] = range(stepY);
  let found = null, best = reach * reach;
  for (let row = low; row <= high; row++) {
    for (let place = cellEnds[row * SIDE + left] ?? 0; left <= right && place < cellEnds[row * SIDE + right + 1]; place++) {
      const term = cells[place], distance = (xs[term] - stepX) ** 2 + (ys[term] - stepY) ** 2;
      if (distance <= best && (!shown || shown[term])) [found, best] = [term, distance];
    }
  }
  return found;
}

const tip = $("tip");
/** Shows a tooltip at a term, or none. */
function point(term) {
  if (term !== current) draw();
  current = term;
  tip.hidden = term === null;
  if (term === null) return;
  const facts = [labels[term] ? `in “${labelOf(labels[term])}”` : "in no cluster"];
  for (const name of ["language", "domain"]) if (columns[name]?.of[term]) facts.push(`${name} ${columns[name].values[columns[name].of[term] - 1]}`);
  tip.replaceChildren(make("b", {}, quoted(terms[term])), ...facts.map(fact => make("div", {}, quoted(fact))));
  const box = canvas.getBoundingClientRect(), x = box.left + atX(term), y = box.top + atY(term);
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - tip.offsetWidth - 6))}px`;
  tip.style.top = `${y + 16 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 16}px`;
}

/* ---- pointer and keyboard ---- */

const held = new Map();
let byKey = false, moved = 0;
const spread = () => {
  const [a, b] = [...held.values()];
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
};
canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  held.set(event.pointerId, [event.offsetX, event.offsetY]);
  [moved, byKey] = [0, false];
  canvas.classList.add("held");
});
canvas.addEventListener("pointermove", event => {
  const before = held.get(event.pointerId), now = [event.offsetX, event.offsetY];
  if (!before) return point(nearest(...now));
  const old = held.size === 2 && spread();
  held.set(event.pointerId, now);
  moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
  if (moved > 4) point(null);
  // Two fingers move the map by half each.
  move((now[0] - before[0]) / held.size, (now[1] - before[1]) / held.size);
  if (old) zoom(spread() / old, ...[0, 1].map(axis => [...held.values()].reduce((sum, one) => sum + one[axis] / 2, 0)));
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => {
  const clicked = end === "pointerup" && held.size === 1 && moved <= 4;
  held.delete(event.pointerId);
  if (!held.size) canvas.classList.remove("held");
  if (clicked) choose(nearest(event.offsetX, event.offsetY));
});
canvas.addEventListener("pointerleave", () => point(null));
canvas.addEventListener("wheel", event => {
  // The page scrolls until the map is clicked.
  if (document.activeElement !== canvas && !event.ctrlKey) return;
  event.preventDefault();
  point(null);
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? .05 : .0018)), event.offsetX, event.offsetY);
}, {passive: false});

const KEYS = {
  ArrowLeft: () => move(width / 10, 0), ArrowRight: () => move(-width / 10, 0), ArrowUp: () => move(0, height / 10), ArrowDown: () => move(0, -height / 10),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), "0": showAll, Enter: () => choose(nearest(width / 2, height / 2)),
  Escape: () => choose(null),
};
canvas.addEventListener("keydown", event => {
  if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byKey = true;
  KEYS[event.key]();
  point(nearest(width / 2, height / 2));
});
canvas.addEventListener("focus", () => { byKey = canvas.matches(":focus-visible"); draw(); });
canvas.addEventListener("blur", () => { point(null); draw(); });
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => ({in: () => zoom(1.6), out: () => zoom(1 / 1.6), all: showAll})[button.dataset.zoom]());
}

if (hasMap) new ResizeObserver(() => {
  const first = !width, ratio = devicePixelRatio || 1, before = [width, height];
  [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  if (first) showAll();
  else {
    // The middle stays in the middle.
    const whole = view.whole;
    view.whole = Math.min((width - 2 * EDGE) / widest, (height - 2 * EDGE) / tallest);
    move((width - before[0]) / 2, (height - before[1]) / 2);
    zoom(view.whole / whole);
  }
}).observe(canvas);
