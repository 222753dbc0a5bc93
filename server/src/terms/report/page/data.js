"use strict";
/* The data, elements and colours. What the page shows is in map.js, panel.js and sections.js. */

const data = JSON.parse(document.getElementById("data").textContent);
const {terms, clusters, summary} = data;
const count = terms.length;
const $ = id => document.getElementById(id);

/** Numbers from base64 of little-endian integers. */
function unpack({bits, base64}) {
  const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
  if (bits === 8) return bytes;
  const view = new DataView(bytes.buffer);
  return bits === 16 ? Uint16Array.from({length: bytes.length / 2}, (_, i) => view.getUint16(2 * i, true))
    : Uint32Array.from({length: bytes.length / 4}, (_, i) => view.getUint32(4 * i, true));
}

/* In labels, languages and domains, 0 is none. */
const labels = unpack(data.labels);
const probabilities = unpack(data.probabilities);
const column = given => given && {values: given.values, of: unpack(given.of)};
const columns = {language: column(data.languages), domain: column(data.domains)};

/** The terms of each cluster, with noise at 0. */
const members = Array.from({length: clusters.length + 1}, () => []);
for (let term = 0; term < count; term++) members[labels[term]].push(term);

/** The most frequent values of a column among some terms: `[value, count]`. */
function frequent(name, among, most = Infinity) {
  const {values, of} = columns[name], counts = new Map();
  for (const term of among) if (of[term]) counts.set(of[term], (counts.get(of[term]) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, most).map(([value, n]) => [values[value - 1], n]);
}

/* ---- the document ---- */

const SVG = "http://www.w3.org/2000/svg";
const TAGS = new Set(["svg", "path", "line", "text"]);
/** Creates an element. Children are elements or texts, so that no term is read as HTML; `null` children are skipped. */
function make(tag, attributes = {}, ...children) {
  const element = TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined));
  return element;
}
/** A user's text. `bdi` keeps its direction from the text around it. */
const quoted = text => make("bdi", {}, text);
const number = (value, name) => `${value.toLocaleString("en")} ${name}${value === 1 ? "" : "s"}`;
const cosine = value => value.toFixed(2).replace("-", "−");
const percent = value => `${(100 * value).toFixed(1)} %`;
const labelOf = cluster => cluster ? terms[clusters[cluster - 1].medoid] : "no cluster";

/* ---- colours ---- */

const CATEGORIES = 8;
const dark = matchMedia("(prefers-color-scheme: dark)");
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The colour of a cluster: hues a golden angle apart, so that clusters of similar size differ most. */
const clusterColour = cluster => cluster
  ? `oklch(${style("--light")} ${style("--chroma")} ${((cluster - 1) * 137.508 + 255) % 360})` : style("--noise");

/** What terms are coloured by: the number of colours, each term's, and each colour's name. Colour 0 is that of none. */
function colouring(by) {
  if (by === "cluster") {
    return {of: labels, size: clusters.length + 1, colour: clusterColour, name: labelOf, amount: cluster => members[cluster].length};
  }
  const {values, of} = columns[by], other = CATEGORIES + 1, some = values.length > CATEGORIES;
  const capped = of.map(value => Math.min(value, other));
  const amounts = new Array(other + 1).fill(0);
  for (const value of capped) amounts[value]++;
  return {
    of: capped,
    size: Math.min(values.length, other) + 1,
    colour: value => value === 0 ? style("--noise") : value > CATEGORIES ? style("--soft") : style(`--c${value}`),
    name: value => value === 0 ? `no ${by}` : value > CATEGORIES && some ? `other ${by}s` : values[value - 1],
    amount: value => amounts[value],
  };
}
