"use strict";
/* The report, elements and numbers, scales and parts of plots. What the sections are is in report.js. */

const report = JSON.parse(document.getElementById("report").textContent);
const {baseline, candidates, data} = report;
const many = candidates.length > 1;

/* ---- the document ---- */

const SVG = "http://www.w3.org/2000/svg";
const TAGS = new Set(["svg", "g", "path", "line", "rect", "circle", "text"]);

/** Creates an element. Children are elements or texts; `null` children are skipped. */
function make(tag, attributes = {}, ...children) {
  const element = TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter(child => child != null));
  return element;
}

const main = document.getElementById("main");
function section(title, explanation, ...content) {
  main.append(make("section", {}, make("h2", {}, title), make("p", {class: "soft"}, explanation), ...content));
}

const colour = i => `var(--c${i % 8 + 1})`;
const swatch = i => make("span", {class: "swatch", style: `background:${colour(i)}`});
const legend = () => many
  ? make("div", {class: "legend"}, candidates.map((c, i) => make("span", {}, swatch(i), c.facts.name)))
  : null;

const tip = document.getElementById("tip");
/** Shows a tooltip while the pointer is over an element or the element has the focus. */
function explain(element, text) {
  element.setAttribute("tabindex", "0");
  element.setAttribute("aria-label", text.replaceAll("\n", ", "));
  const show = (x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - tip.offsetWidth - 6))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 10 : y + 18}px`;
  };
  element.addEventListener("pointermove", event => show(event.clientX, event.clientY));
  element.addEventListener("focus", () => {
    const box = element.getBoundingClientRect();
    show(box.right, box.top);
  });
  for (const end of ["pointerleave", "blur"]) element.addEventListener(end, () => { tip.hidden = true; });
  return element;
}

/** A figure that is redrawn whenever its width changes. `draw` gets the svg and its width. */
function figure(title, remark, height, draw) {
  const picture = make("svg", {height, role: "group", "aria-label": title});
  const caption = make("figcaption", {}, title, remark ? make("span", {}, remark) : null);
  const whole = make("figure", {}, caption, picture);
  let drawn = 0;
  new ResizeObserver(() => {
    const width = picture.clientWidth;
    if (width === drawn || width === 0) return;
    drawn = width;
    picture.replaceChildren();
    draw(picture, width);
  }).observe(whole);
  return whole;
}

/* ---- numbers ---- */

const NONE = "–";
/** Values closer to 1 than this differ from 1 only by float32 rounding. */
const NEAREST = 1e-8;
/** A cosine or correlation. Values closer to 1 get more digits, so that only exactly 1 is written as 1. */
function similarity(value) {
  if (value == null) return NONE;
  const error = Math.abs(1 - value);
  if (error === 0) return "1";
  if (error < NEAREST) return "≈1";
  const digits = Math.max(1 - Math.floor(Math.log10(error)), 4);
  return Math.min(value, 1 - 10 ** -digits).toFixed(digits);
}
const share = value => value == null ? NONE : value === 1 ? "1" : Math.min(value, 0.999).toFixed(3);
const rounded = value => value == null ? NONE : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
const megabytes = bytes => bytes == null ? NONE : (bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0);
const signed = value => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(4);
/** An interval, unless it is a point. */
function range(interval, write) {
  if (!interval) return null;
  const [low, high] = [write(interval.low), write(interval.high)];
  return low === high ? null : `${low} … ${high}`;
}
const full = candidate => candidate.quality.find(quality => quality.full);
const number = (value, count) => `${value.toLocaleString("en")} ${count}${value === 1 ? "" : "s"}`;

/* ---- scales ---- */

function linear([low, high], [from, to]) {
  const scale = value => from + (value - low) / (high - low || 1) * (to - from);
  return scale;
}

/** Round steps over a range. */
function steps(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(step => step >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(+at.toPrecision(10));
  return found;
}

/** A scale on which 0.999 is as far from 0.99 as 0.99 from 0.9. Exactly 1 has a place of its own. */
function similarityScale(values, [worst, best]) {
  const errors = values.filter(value => value != null).map(value => 1 - value);
  const real = errors.filter(error => error >= NEAREST);
  const exact = real.length < errors.length;
  let low = real.length ? Math.floor(Math.log10(Math.min(...real)) + 1e-9) : -4;
  let high = real.length ? Math.min(Math.ceil(Math.log10(Math.max(...real)) - 1e-9), Math.log10(2)) : -2;
  if (high - low < 1) high = low + 1;
  const room = exact ? 26 * Math.sign(worst - best) : 0;
  const inner = linear([high, low], [worst, best + room]);
  const scale = value => 1 - value < NEAREST ? best : inner(Math.log10(1 - value));
  scale.ticks = [];
  for (let power = Math.floor(high); power >= low; power--) scale.ticks.push([inner(power), nines(-power)]);
  if (high > 0) scale.ticks.push([worst, "−1"]);
  if (exact) scale.ticks.push([best, "1"]);
  return scale;
}
const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const nines = count => count === 0 ? "0" : count <= 5 ? "0." + "9".repeat(count) : `1 − 10⁻${[...`${count}`].map(d => SUPERSCRIPT[d]).join("")}`;

/* ---- parts of plots ---- */

const line = (x1, y1, x2, y2, attributes) => make("line", {x1, y1, x2, y2, ...attributes});
const label = (x, y, text, anchor = "middle", kind) => make("text", {x, y, "text-anchor": anchor, class: kind}, text);

function leftAxis(picture, ticks, left, right) {
  for (const [y, text] of ticks) {
    picture.append(line(left, y, right, y, {class: "rule"}), label(left - 8, y + 4, text, "end"));
  }
}
function bottomAxis(picture, ticks, top, bottom, name) {
  for (const [x, text] of ticks) {
    picture.append(line(x, top, x, bottom, {class: "rule"}), label(x, bottom + 17, text));
  }
  if (name) {
    const xs = ticks.map(([x]) => x);
    picture.append(label((Math.min(...xs) + Math.max(...xs)) / 2, bottom + 36, name));
  }
}
/** The ticks of a line that fit without overlap. */
function spaced(ticks, gap) {
  const kept = [];
  for (const tick of [...ticks].sort((a, b) => a[0] - b[0])) {
    if (!kept.length || tick[0] - kept.at(-1)[0] >= gap) kept.push(tick);
  }
  return kept;
}
