/* The panel beside the map: a term, a cluster, or what a search found. It lists what the map shows, for keyboards and screen readers. */

const panel = $("panel"), MOST_LISTED = 100;
let marked = null; // the legend's pressed button

const swatch = (colour, kind = "") => make("span", {class: `swatch ${kind}`, style: `background:${colour}`});
/** The colour of a cluster, while the map is coloured by clusters. */
const clusterSwatch = cluster => swatch(clusterColour(cluster), "of-cluster");
const flagged = some => {
  const flags = new Uint8Array(count);
  for (const term of some) flags[term] = 1;
  return flags;
};

/** A list of terms, in steps of [`MOST_LISTED`]. */
function listed(some, remark = () => null) {
  const list = make("ul"), more = make("button", {type: "button"});
  let next = 0;
  const extend = () => {
    list.append(...some.slice(next, next + MOST_LISTED).map(term => make("li", {},
      make("button", {type: "button", class: "plain", onclick: () => choose(term)}, quoted(terms[term]), remark(term)))));
    next += MOST_LISTED;
    more.hidden = next >= some.length;
    more.textContent = `Show more of ${number(some.length, "term")}`;
  };
  more.addEventListener("click", extend);
  extend();
  return [list, more];
}

const clusterButton = (cluster, note) => make("button", {type: "button", class: "plain", onclick: () => openCluster(cluster)},
  clusterSwatch(cluster), quoted(labelOf(cluster)), note ? make("span", {class: "soft"}, note) : null);
const fact = (name, value) => value === null ? [] : [make("dt", {}, name), make("dd", {}, value)];
const tally = (name, some, most) => columns[name]
  ? frequent(name, some, most).flatMap(([value, n], i) => [i ? ", " : "", quoted(value), ` ${n.toLocaleString("en")}`]) : null;

function fill(...content) {
  // The focus would be lost with a button of the panel.
  const focused = panel.contains(document.activeElement);
  panel.replaceChildren(...content);
  if (focused) panel.focus({preventScroll: true});
  panel.scrollTop = 0;
}

/** Shows a term, or nothing in particular. */
function choose(term) {
  unmark();
  if (term === null) return idle();
  emphasise(null);
  point(hasMap ? term : null);
  const value = name => columns[name]?.of[term] ? quoted(columns[name].values[columns[name].of[term] - 1]) : null;
  const cluster = labels[term];
  fill(make("p", {class: "soft small"}, "Term"), make("h3", {}, quoted(terms[term])),
    make("dl", {}, fact("cluster", clusterButton(cluster)),
      fact("probability", cluster ? (probabilities[term] / 255).toFixed(2) : null),
      fact("language", value("language")), fact("domain", value("domain")), fact("row", (term + 1).toLocaleString("en"))),
    hasMap ? make("button", {type: "button", onclick: () => { showTerms([term]); point(term); }}, "Show on the map") : null,
    make("button", {type: "button", onclick: () => choose(null)}, "Close"));
}

/** Shows a cluster and its terms, or (0) the terms that are in none. */
function openCluster(cluster) {
  unmark();
  const some = members[cluster], facts = clusters[cluster - 1];
  const sorted = [...some].sort((a, b) => probabilities[b] - probabilities[a]);
  emphasise(flagged(some));
  point(null);
  showTerms(some);
  fill(make("p", {class: "soft small"}, cluster ? `Cluster ${cluster - 1}` : "Noise"),
    make("h3", {}, clusterSwatch(cluster), cluster ? quoted(labelOf(cluster)) : "Terms in no cluster"),
    make("dl", {}, fact("size", number(some.length, "term")), fact("languages", tally("language", some, 10)), fact("domains", tally("domain", some, 10))),
    facts?.nearest.length ? make("div", {}, make("p", {class: "soft small"}, "Nearest clusters"), make("ul", {},
      facts.nearest.map(near => make("li", {}, clusterButton(near.cluster + 1, `cosine ${cosine(near.similarity)}`))))) : null,
    make("button", {type: "button", onclick: () => choose(null)}, "Show all terms"),
    make("div", {}, make("p", {class: "soft small"}, "Terms"), listed(sorted)));
  panel.focus({preventScroll: true});
  document.querySelector(".board").scrollIntoView({block: "nearest"});
}

function idle() {
  emphasise(null);
  point(null);
  fill(make("p", {class: "soft small"}, hasMap ? "Point at a term, or choose a cluster." : "Choose a cluster."),
    make("h3", {}, number(clusters.length, "cluster")),
    make("ul", {}, clusters.slice(0, 30).map(({cluster, size}) => make("li", {}, clusterButton(cluster + 1, size.toLocaleString("en")))),
      members[0].length ? make("li", {}, clusterButton(0, members[0].length.toLocaleString("en"))) : null));
}

/* ---- search ---- */

/** A text without differences of case and accents. */
const folded = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
let searchable = null;
function search() {
  unmark();
  const query = folded($("query").value.trim());
  if (!query) return choose(null);
  searchable ??= terms.map(folded);
  const found = [];
  for (let term = 0; term < count; term++) if (searchable[term].includes(query)) found.push(term);
  // Terms that begin with the query come first, short ones before long ones.
  const rank = term => (searchable[term].startsWith(query) ? 0 : 1000) + Math.min(searchable[term].length, 999);
  found.sort((a, b) => rank(a) - rank(b) || a - b);
  emphasise(flagged(found));
  point(null);
  $("found").textContent = `${number(found.length, "term")} found`;
  fill(make("p", {class: "soft small"}, $("found").textContent),
    make("div", {}, listed(found, term => labels[term] ? make("span", {class: "soft"}, quoted(labelOf(labels[term]))) : null)));
  return found;
}
$("query").addEventListener("input", search);
$("search").addEventListener("submit", event => {
  event.preventDefault();
  const found = search();
  if (found?.length) showTerms(found);
});
$("query").addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  $("query").value = "";
  choose(null);
});

/* ---- colours and legend ---- */

function unmark() {
  marked?.setAttribute("aria-pressed", "false");
  marked = null;
}

/** The colours of languages or domains. The panel lists those of clusters. */
function legend(by) {
  const shades = by === "cluster" ? [] : [...painted.keys()].filter(colour => colours.amount(colour));
  // None comes last.
  const sorted = [...shades.filter(colour => colour), ...shades.filter(colour => !colour)];
  $("legend").hidden = !sorted.length;
  $("legend").replaceChildren(...sorted.map(colour => {
    const button = make("button", {type: "button", "aria-pressed": "false"}, swatch(painted[colour]), quoted(colours.name(colour)),
      make("span", {class: "soft"}, ` ${colours.amount(colour).toLocaleString("en")}`));
    button.addEventListener("click", () => {
      const again = marked === button;
      choose(null);
      if (again) return;
      marked = button;
      button.setAttribute("aria-pressed", "true");
      emphasise(Uint8Array.from(colours.of, of => of === colour));
    });
    return button;
  }));
}
function recolour(by) {
  marked = null;
  document.body.dataset.colour = by;
  colourBy(by);
  legend(by);
}
const choices = ["cluster", ...["domain", "language"].filter(name => columns[name])];
$("colours").append(...choices.map(by => {
  const input = make("input", {type: "radio", name: "colour", value: by});
  input.checked = by === "cluster";
  input.addEventListener("change", () => recolour(by));
  return make("label", {}, input, by);
}));
dark.addEventListener("change", () => recolour(document.querySelector("[name=colour]:checked").value));
