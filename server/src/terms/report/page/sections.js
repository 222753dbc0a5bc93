/* The head of the page, the table of clusters, the principal components and the settings. */

function head() {
  $("title").textContent = data.file;
  document.title = `${data.file}: ${number(clusters.length, "cluster")}`;
  $("program").textContent = `${data.program} terms`;
  const parts = [`${number(count, "term")} in ${number(clusters.length, "cluster")}, ${members[0].length.toLocaleString("en")} in none.`];
  if (summary.domains) {
    const {purity, adjusted_rand} = summary.domains;
    parts.push(`Against the column of domains: ${purity === null ? "" : `purity ${purity.toFixed(3)}, `}adjusted Rand index ${adjusted_rand.toFixed(3)}.`);
  }
  if (summary.search.kind === "approximate")
    parts.push(`An approximate search found ${percent(summary.search.recall)} of the nearest terms.`);
  $("lead").textContent = parts.join(" ");

  if (!hasMap) {
    for (const id of ["figure", "zoom", "colours", "legend"]) $(id).hidden = true;
    $("h-map").textContent = "Terms";
    $("about-map").textContent = "The analysis made no map (--map).";
    document.querySelector(".board").classList.add("alone");
    return;
  }
  const kinds = {
    neighbours: "Each point is a term, near the terms of similar meaning. Distances between groups that are far apart mean little.",
    pca: "Each point is a term, at its first two principal components. Terms that differ in other components may lie in one place.",
  };
  const {trustworthiness, neighbours} = summary.map;
  const trust = trustworthiness === undefined ? ""
    : ` Trustworthiness of its neighbourhoods: ${percent(trustworthiness)} (${neighbours} neighbours; 100 % if the map shows no false ones, 50 % by chance).`;
  $("about-map").textContent = kinds[data.map.kind] + trust;
}

/* ---- clusters ---- */

const STEP = 100;
function clusterTable() {
  const cell = (kind, ...content) => make("td", {class: kind}, ...content);
  const names = ["Cluster", "Terms", "Probability", ...(columns.language ? ["Languages"] : []), ...(columns.domain ? ["Domains"] : []), "Nearest clusters"];
  const isNumber = name => name === "Terms" || name === "Probability";
  const row = cluster => {
    const facts = clusters[cluster - 1], some = members[cluster];
    return make("tr", {}, make("th", {class: "left", scope: "row"}, clusterButton(cluster)), cell("", some.length.toLocaleString("en")),
      cell("", facts ? facts.mean_probability.toFixed(2) : "–"),
      ["language", "domain"].map(name => columns[name] && cell("left values", tally(name, some, 4))),
      cell("left near", facts?.nearest.slice(0, 3).map(near => clusterButton(near.cluster + 1, cosine(near.similarity)))));
  };
  const body = make("tbody"), more = $("more-clusters");
  const all = [...clusters.keys()].map(cluster => cluster + 1).concat(members[0].length ? [0] : []);
  const extend = () => {
    const next = body.childElementCount;
    body.append(...all.slice(next, next + STEP).map(row));
    more.hidden = body.childElementCount >= all.length;
    more.textContent = `Show ${Math.min(STEP, all.length - body.childElementCount)} more of ${number(clusters.length, "cluster")}`;
  };
  more.addEventListener("click", extend);
  extend();
  $("clusters").append(make("thead", {}, make("tr", {}, names.map(name => make("th", {class: isNumber(name) ? null : "left", scope: "col"}, name)))), body);
}

/* ---- principal components ---- */

function variance() {
  const {components, dimensions, explained_variance, components_for} = summary;
  $("about-variance").textContent =
    `${components.toLocaleString("en")} of ${number(dimensions, "dimension")} are kept: ${percent(explained_variance)} of the variance.`;
  const rows = components_for.map(needed => make("tr", {}, make("th", {class: "left", scope: "row"}, `${Math.round(100 * needed.share)} %`),
    make("td", {}, needed.components.toLocaleString("en"))));
  const heads = make("tr", {}, make("th", {class: "left", scope: "col"}, "Variance above"), make("th", {scope: "col"}, "Components"));
  const [wide, tall, left, bottom] = [520, 200, 44, 172];
  const most = data.variance.at(-1)[0];
  const x = n => left + (n - 1) / Math.max(most - 1, 1) * (wide - left - 12), y = share => bottom - share * (bottom - 10);
  const line = (x1, y1, x2, y2, kind) => make("line", {x1, y1, x2, y2, class: kind});
  const label = (at, down, text, anchor) => make("text", {x: at, y: down, "text-anchor": anchor}, text);
  const scale = [0, .5, 1].flatMap(share => [line(left, y(share), wide - 12, y(share), "rule"), label(left - 8, y(share) + 4, `${100 * share} %`, "end")]);
  const path = data.variance.map(([n, share], i) => `${i ? "L" : "M"}${x(n).toFixed(1)} ${y(share).toFixed(1)}`).join("");
  const picture = make("svg", {viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": "Share of the variance that the first components explain together"},
    scale, line(x(components), 10, x(components), bottom, "kept"), make("path", {d: path, class: "curve"}),
    label(left, bottom + 20, "1", "middle"), label(wide - 12, bottom + 20, most.toLocaleString("en"), "end"),
    components > most * .12 && components < most * .85 ? label(x(components), bottom + 20, `${components.toLocaleString("en")} kept`, "middle") : null);
  $("variance").append(make("div", {class: "panel"}, make("table", {}, make("thead", {}, heads), make("tbody", {}, rows))),
    make("figure", {}, make("figcaption", {}, "Variance explained by the first components"), picture));
}

head();
recolour("cluster");
clusterTable();
variance();
$("settings").append(...data.settings.flatMap(([name, value]) => fact(name, quoted(value))));
choose(null);
