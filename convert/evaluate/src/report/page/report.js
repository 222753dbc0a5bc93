/* The sections of the page, from top to bottom. */

/* ---- head ---- */

function describe(facts) {
  const kind = {model: "", checkpoint: "checkpoint, ", endpoint: "server, "}[facts.kind];
  return `${facts.name} (${kind}${facts.precision ? `${facts.precision}, ` : ""}${facts.width} dimensions)`;
}

function head() {
  const names = candidates.map(c => c.facts.name).join(", ");
  document.getElementById("title").textContent = `${names} against ${baseline.facts.name}`;
  document.title = `${names} against ${baseline.facts.name}`;
  document.getElementById("program").textContent = `${report.program} · ${report.machine}`;
  const parts = [`${number(data.texts, "text")} of ${data.source}`];
  if (data.duplicates) parts.push(`${data.duplicates} duplicates left out`);
  if (data.sampled < data.texts) parts.push(`neighbours and pairs among ${data.sampled.toLocaleString("en")} of them`);
  if (data.pairs) parts.push(number(data.pairs.pairs, "scored pair"));
  if (data.retrieval) parts.push(`${number(data.retrieval.queries, "query").replace("querys", "queries")} on ${number(data.retrieval.documents, "document")}`);
  document.getElementById("lead").textContent = `Baseline: ${describe(baseline.facts)}. ${parts.join("; ")}.`;

  const gates = [...report.gates].sort((a, b) => a.passed - b.passed).map(gate => make("div", {class: `gate ${gate.passed ? "passed" : "failed"}`},
    make("b", {}, `${gate.passed ? "✓" : "✗"} ${gate.gate} ${gate.bound}`),
    make("span", {}, `  ${gate.candidate}: ${gate.value == null ? "" : `${similarity(gate.value)}, `}${gate.detail}`)));
  if (gates.length) main.append(make("div", {class: "gates"}, gates));

  const notes = [];
  for (const system of [baseline, ...candidates]) {
    const own = [...system.facts.notes, ...(system.notes ?? [])];
    if (system.truncated) own.push(`${number(system.truncated, "text")} truncated to its maximum length`);
    if (system.not_finite.length) {
      own.push(`the vectors of ${number(system.not_finite.length, "text")} are not finite, the first that of “${system.not_finite[0].text}” (${system.not_finite[0].place})`);
    }
    notes.push(...own.map(note => make("li", {}, make("b", {}, system.facts.name), `: ${note}`)));
  }
  if (notes.length) main.append(make("ul", {class: "notes"}, notes));
}

/* ---- figures at full width ---- */

const cell = (value, remark, kind) => make("td", {class: kind}, value, remark ? make("small", {}, remark) : null);
/** A table with a row per system. Columns are `[name, function from a system to its cell]`. */
function table(columns, systems) {
  const name = system => {
    const i = candidates.indexOf(system);
    return make("th", {class: "left"}, i < 0 ? null : swatch(i), system.facts.name, i < 0 ? make("small", {class: "soft"}, "baseline") : null);
  };
  const rows = systems.map(system => make("tr", {}, name(system), columns.map(([, write]) => write(system))));
  const heads = [make("th", {class: "left"}, "System"), ...columns.map(([title, , kind]) => make("th", {class: kind}, title))];
  return make("div", {class: "wide"}, make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows)));
}

function figures() {
  const systems = [baseline, ...candidates];
  const largest = Math.max(...systems.map(system => system.facts.bytes ?? 0));
  const size = system => {
    const {bytes} = system.facts, i = candidates.indexOf(system);
    const width = bytes == null ? 0 : Math.max(bytes / largest * 100, 2);
    return make("td", {}, megabytes(bytes), make("span", {class: "bar", style: `width:${width}%;background:${i < 0 ? "var(--soft)" : colour(i)}`}));
  };
  // The baseline was measured beside each candidate; shows the median.
  const speeds = candidates.map(c => c.speed).filter(speed => speed).sort((a, b) => a.baseline.texts_per_second - b.baseline.texts_per_second);
  const speed = system => system === baseline ? speeds[speeds.length >> 1]?.baseline : system.speed?.candidate;
  const factor = of => system => {
    const found = system.speed?.[of];
    return found ? cell(`${rounded(found.median)}×`, range(found.interval, rounded)) : cell(system === baseline ? "1×" : NONE);
  };
  const paid = [
    ["Precision", system => cell(system.facts.precision ?? NONE, null, "left"), "left"],
    ["Size, MB", size],
    ["Memory, MB", system => cell(megabytes(system.facts.footprint?.loaded_bytes))],
    ["Peak, MB", system => cell(megabytes(system.facts.footprint?.peak_bytes))],
    ["Load, s", system => cell(rounded(system.facts.footprint?.load_seconds))],
    ["Tokens/s", system => cell(rounded(speed(system)?.tokens_per_second))],
    ["Throughput", factor("throughput_ratio")],
    ["Latency p50, ms", system => cell(rounded(speed(system)?.latency_p50_ms))],
    ["Latency p95, ms", system => cell(rounded(speed(system)?.latency_p95_ms))],
    ["Latency", factor("latency_ratio")],
  ];
  const all = system => full(system).all;
  const got = [
    ["Precision", system => cell(system.facts.precision ?? NONE, null, "left"), "left"],
    ["Cosine, least", system => cell(similarity(all(system).cosine?.min))],
    ["Cosine, p1", system => cell(similarity(all(system).cosine?.p1))],
    ["Cosine, mean", system => cell(similarity(all(system).cosine?.mean), range(all(system).cosine?.mean_interval, similarity))],
    ["Nearest kept", system => cell(share(all(system).overlap[0]))],
    ["Ten nearest", system => cell(share(all(system).overlap[1]), range(all(system).overlap_interval, share))],
    ["Hundred nearest", system => cell(share(all(system).overlap[2]))],
    ["Spearman of all pairs", system => cell(similarity(all(system).similarity_spearman))],
  ];
  const confidence = `Small figures are ${Math.round(data.confidence * 100)} % confidence intervals.`;
  section("Size and speed", `Factors of speed are against the baseline, measured by turns on the same texts: above 1× is faster. ${confidence}`, table(paid, systems));
  section("Similarity to the baseline", `Over all texts, at full width. 1 is exactly 1; ≈1 differs from 1 only by float32 rounding. ${confidence}`, table(got, candidates));
}

/* ---- quality against size and speed ---- */

/** A plot of least and mean cosine against a cost. */
function tradeOff(title, remark, unit, costOf, baselineCost) {
  const points = candidates.map((c, i) => ({i, name: c.facts.name, cost: costOf(c), cosine: full(c).all.cosine}))
    .filter(point => point.cost != null && point.cosine);
  if (!points.length) return null;
  return figure(title, remark, 330, (picture, width) => {
    const [left, right, top, bottom] = [66, width - 16, 14, 278];
    const most = Math.max(...points.map(p => p.cost), baselineCost ?? 0) * 1.12;
    const x = linear([0, most], [left, right]);
    const y = similarityScale(points.flatMap(p => [p.cosine.min, p.cosine.mean]), [bottom, top + 8]);
    leftAxis(picture, y.ticks, left, right);
    bottomAxis(picture, steps(0, most, Math.min(8, width / 80)).map(s => [x(s), s.toLocaleString("en")]), top, bottom, unit);
    if (baselineCost != null) {
      const at = x(baselineCost);
      picture.append(line(at, top, at, bottom, {class: "base"}),
        label(at + (at > right - 70 ? -6 : 6), bottom - 8, "baseline", at > right - 70 ? "end" : "start", "halo"));
    }
    const taken = [];
    for (const {i, name, cost, cosine} of points) {
      const at = x(cost), fill = colour(i);
      const mark = make("g", {},
        line(at, y(cosine.min), at, y(cosine.mean), {stroke: fill, "stroke-width": 2}),
        line(at - 6, y(cosine.min), at + 6, y(cosine.min), {stroke: fill, "stroke-width": 2}),
        line(at - 4, y(cosine.p1), at + 4, y(cosine.p1), {stroke: fill, "stroke-width": 2}),
        make("circle", {cx: at, cy: y(cosine.mean), r: 6, fill, stroke: "var(--panel)", "stroke-width": 1.5}));
      picture.append(explain(mark, `${name}\n${unit}: ${rounded(cost)}\nmean ${similarity(cosine.mean)}\np1 ${similarity(cosine.p1)}\nmin ${similarity(cosine.min)}`));
      // Puts each name beside its point, and lower if another name is already there.
      const end = at > right - 110;
      let height = y(cosine.mean) + 4;
      while (taken.some(([a, h]) => Math.abs(a - at) < 130 && Math.abs(h - height) < 15)) height += 15;
      taken.push([at, height]);
      picture.append(label(at + (end ? -11 : 11), height, name, end ? "end" : "start", "strong halo"));
    }
  });
}

function tradeOffs() {
  const figures = [
    tradeOff("Quality against size", "dot: mean; bar: down to the least", "size on disk, MB",
      c => c.facts.bytes == null ? null : c.facts.bytes / 1e6, baseline.facts.bytes == null ? null : baseline.facts.bytes / 1e6),
    tradeOff("Quality against speed", "dot: mean; bar: down to the least", "throughput, times the baseline's",
      c => c.speed?.throughput_ratio.median, 1),
  ].filter(f => f);
  if (figures.length) {
    section("Quality against cost", "Cosine to the baseline, over all texts. Up is nearer to it: each step of the scale leaves a tenth of the error.",
      make("div", {class: "grid"}, figures));
  }
}

/* ---- histogram ---- */

function histograms() {
  const shown = candidates.map((c, i) => ({c, i})).filter(({c}) => c.histogram);
  if (!shown.length) return;
  const {edges} = shown[0].c.histogram;
  // Shows the bins from the worst text to the best one, without empty bins at the ends.
  const used = shown.flatMap(({c}) => c.histogram.counts.flatMap((count, bin) => count ? [bin] : []));
  const low = Math.max(Math.min(...used) - 1, 0), high = Math.min(Math.max(...used) + 1, edges.length);
  const bins = Array.from({length: high - low + 1}, (_, n) => high - n);
  const name = bin => bin === 0 ? `1 − 10⁻⁸ and nearer` : bin === edges.length ? "0 and less"
    : `${similarity(1 - edges[bin])} to ${similarity(1 - edges[bin - 1])}`;
  const row = 92, height = shown.length * row + 34;
  section("Spread of the cosines", "Each text's two vectors at full width. The nearer a bar to the right, the more alike; the scale grows by nines.",
    figure("Texts by cosine", "line: mean; triangle: least", height, (picture, width) => {
      const [left, right] = [10, width - 10];
      const step = (right - left) / bins.length;
      const place = bin => left + (high - bin) * step;
      const ticks = bins.flatMap(bin => {
        const power = bin < edges.length ? Math.log10(edges[bin]) : NaN;
        // Labels the edges at whole decades. An edge is the left end of its bin's left neighbour.
        return Math.abs(power - Math.round(power)) < 1e-6 ? [[place(bin), nines(-Math.round(power))]] : [];
      });
      bottomAxis(picture, spaced(ticks, 58), 6, height - 34);
      const at = cosine => {
        const error = Math.max(1 - cosine, edges[0] * 0.8);
        const power = Math.log10(error), size = Math.log10(edges[1] / edges[0]);
        const bin = (power - Math.log10(edges[0])) / size;
        return Math.max(left, Math.min(place(bin), right));
      };
      shown.forEach(({c, i}, n) => {
        const bottom = (n + 1) * row, most = Math.max(...c.histogram.counts);
        picture.append(line(left, bottom, right, bottom, {stroke: "var(--line)"}));
        for (const bin of bins) {
          const count = c.histogram.counts[bin];
          const tall = count / most * (row - 34);
          if (count) {
            const bar = make("g", {}, make("rect", {x: place(bin) + 1, y: 12 + n * row, width: Math.max(step - 2, 1), height: row - 12, class: "hit"}),
              make("rect", {x: place(bin) + 1, y: bottom - Math.max(tall, 1.5), width: Math.max(step - 2, 1), height: Math.max(tall, 1.5), fill: colour(i), rx: 1.5}));
            picture.append(explain(bar, `${c.facts.name}\ncosine ${name(bin)}\n${number(count, "text")}`));
          }
        }
        const {min, mean} = full(c).all.cosine;
        picture.append(line(at(mean), bottom, at(mean), bottom - row + 26, {stroke: "var(--ink)", "stroke-width": 1.2, "stroke-dasharray": "3 2"}));
        picture.append(make("path", {d: `M${at(min)} ${bottom - 2}l-5 -9h10z`, fill: "var(--ink)"}));
        picture.append(label(left + 2, bottom - row + 24, c.facts.name, "start", "strong halo"));
      });
    }));
}

/* ---- by dimension ---- */

/** Lines over the widths, one per candidate, and one for the baseline if it has values. */
function curves(title, of, kind, baselineOf) {
  const lines = candidates.map((c, i) => ({i, name: c.facts.name, points: of(c).filter(([, value]) => value != null)}));
  const reference = baselineOf ? baselineOf().filter(([, value]) => value != null) : [];
  const all = [...lines.flatMap(l => l.points), ...reference];
  if (!all.length) return null;
  const widths = [...new Set(all.map(([width]) => width))].sort((a, b) => a - b);
  return figure(title, null, 232, (picture, width) => {
    const [left, right, top, bottom] = [60, width - 14, 12, 184];
    const x = at => widths.length === 1 ? (left + right) / 2 : left + 12 + widths.indexOf(at) / (widths.length - 1) * (right - left - 24);
    let y;
    if (kind === "similarity") {
      y = similarityScale(all.map(([, value]) => value), [bottom, top + 4]);
      leftAxis(picture, y.ticks, left, right);
    } else {
      const values = all.map(([, value]) => value);
      const least = Math.min(...values), most = Math.max(...values);
      const room = Math.max((most - least) * 0.15, 0.01);
      const low = Math.max(least < 0 ? -1 : 0, least - room), high = Math.min(1, most + room);
      y = linear([low, high], [bottom, top + 4]);
      leftAxis(picture, steps(low, high, 5).map(s => [y(s), s.toString().replace("-", "−")]), left, right);
    }
    bottomAxis(picture, widths.map(w => [x(w), w]), bottom, bottom, "dimensions");
    const path = points => points.map(([w, value], n) => `${n ? "L" : "M"}${x(w)} ${y(value)}`).join("");
    if (reference.length) {
      picture.append(make("path", {d: path([...reference].sort((a, b) => a[0] - b[0])), fill: "none", class: "base"}));
    }
    for (const {i, name, points} of lines) {
      points.sort((a, b) => a[0] - b[0]);
      picture.append(make("path", {d: path(points), fill: "none", stroke: colour(i), "stroke-width": 2}));
      for (const [w, value] of points) {
        const dot = make("circle", {cx: x(w), cy: y(value), r: 4, fill: colour(i), stroke: "var(--panel)", "stroke-width": 1.2});
        picture.append(explain(dot, `${name}\n${w} dimensions: ${similarity(value)}`));
      }
    }
    for (const [w, value] of reference) {
      const ring = make("circle", {cx: x(w), cy: y(value), r: 3, fill: "var(--panel)", stroke: "var(--soft)"});
      picture.append(explain(ring, `${baseline.facts.name} (baseline)\n${w} dimensions: ${similarity(value)}`));
    }
  });
}

function dimensions() {
  const quality = pick => c => c.quality.map(q => [q.dimensions, pick(q.all)]);
  const measured = (list, key) => system => system[list].map(m => [m.dimensions, m[key]]);
  const own = (list, key) => [measured(list, key), "score", () => measured(list, key)(baseline)];
  const figures = [
    curves("Cosine, mean", quality(m => m.cosine?.mean), "similarity"),
    curves("Cosine, least", quality(m => m.cosine?.min), "similarity"),
    curves("Spearman of all pairs", quality(m => m.similarity_spearman), "similarity"),
    curves("Nearest neighbour kept", quality(m => m.overlap[0]), "score"),
    curves("Ten nearest kept", quality(m => m.overlap[1]), "score"),
    curves("Hundred nearest kept", quality(m => m.overlap[2]), "score"),
    ...(data.retrieval ? [["nDCG@10", "ndcg_at_10"], ["Recall@100", "recall_at_100"], ["MRR@10", "mrr_at_10"]]
      .map(([title, key]) => curves(`Retrieval: ${title}`, ...own("retrieval", key))) : []),
    ...(data.pairs ? [["Spearman", "spearman"], ["Pearson", "pearson"]]
      .map(([title, key]) => curves(`Scored pairs: ${title}`, ...own("pairs", key))) : []),
  ].filter(f => f);
  const scored = data.retrieval || data.pairs ? " Dashed: the baseline’s own score." : "";
  section("By output dimension", `Vectors truncated to a width and normalised, as servers do for “dimensions”.${scored}`, legend(), make("div", {class: "grid"}, figures));
}

/* ---- by group ---- */

function groupRows(axis) {
  const names = [...new Set(candidates.flatMap(c => full(c).groups.filter(g => g.axis === axis).map(g => g.name)))];
  return names.map(name => {
    const found = candidates.map(c => full(c).groups.find(g => g.axis === axis && g.name === name));
    return {name, texts: found.find(g => g).texts, found};
  });
}

/** A row per group: the least to mean cosine and the neighbours kept, for each candidate. */
function groups(title, axis) {
  const rows = groupRows(axis);
  if (!rows.length) return null;
  const row = Math.max(23, candidates.length * 8 + 9), height = rows.length * row + 42;
  const cosines = rows.flatMap(r => r.found.flatMap(g => g?.cosine ? [g.cosine.min, g.cosine.mean] : []));
  const overlaps = rows.flatMap(r => r.found.flatMap(g => g?.overlap[1] ?? []));
  return figure(title, null, height, (picture, width) => {
    const names = Math.min(150, width * 0.27), top = 6, bottom = height - 36;
    const split = overlaps.length ? names + (width - names) * 0.64 : width - 12;
    const x = cosines.length ? similarityScale(cosines, [names + 26, split - 22]) : null;
    const low = Math.max(0, Math.min(...overlaps, 1) - 0.05);
    const share_ = linear([low, 1], [split + 26, width - 12]);
    if (x) bottomAxis(picture, spaced(x.ticks, 54), top, bottom, "cosine");
    if (overlaps.length) bottomAxis(picture, steps(low, 1, Math.max(2, (width - split) / 90)).map(s => [share_(s), s.toString().replace("-", "−")]), top, bottom);
    if (overlaps.length) picture.append(label(width - 2, bottom + 36, "ten nearest kept", "end"));
    rows.forEach(({name, texts, found}, n) => {
      const middle = top + n * row + row / 2;
      if (n % 2 === 0) picture.prepend(make("rect", {x: 0, y: middle - row / 2, width, height: row, fill: "var(--faint)", opacity: .45}));
      const shown = name.length > names / 7.2 ? `${name.slice(0, Math.floor(names / 7.2) - 1)}…` : name;
      picture.append(label(8, middle + 4, shown, "start", "strong"), label(names + 8, middle + 4, texts, "end"));
      found.forEach((group, i) => {
        if (!group) return;
        const y = middle + (i - (found.length - 1) / 2) * 8, fill = colour(i);
        const {cosine} = group;
        const words = `${candidates[i].facts.name}, ${name}\n${number(texts, "text")}` + (cosine ? `\nmean ${similarity(cosine.mean)}\nmin ${similarity(cosine.min)}` : "")
          + (group.overlap[1] == null ? "" : `\nten nearest kept ${share(group.overlap[1])}`);
        if (x && cosine) {
          picture.append(explain(make("g", {}, line(x(cosine.min), y, x(cosine.mean), y, {stroke: fill, "stroke-width": 2.5, "stroke-linecap": "round", opacity: .65}),
            line(x(cosine.min), y - 3.5, x(cosine.min), y + 3.5, {stroke: fill, "stroke-width": 2}),
            make("circle", {cx: x(cosine.mean), cy: y, r: 4, fill})), words));
        }
        if (group.overlap[1] != null) picture.append(explain(make("circle", {cx: share_(group.overlap[1]), cy: y, r: 4, fill}), words));
      });
    });
  });
}

function byGroup() {
  const figures = [groups("By script", "script"), make("div", {style: "display:grid;gap:18px;align-content:start"},
    groups(`By length in ${data.length_unit}`, "length"), groups("By kind of text", "kind"))];
  section("Where the error is", "At full width: the mean cosine of each group’s texts, and a bar down to the least; at the right, the share of their ten nearest neighbours kept. Beside the name, the number of texts.", legend(),
    make("div", {class: "grid", style: "grid-template-columns:repeat(auto-fit,minmax(min(470px,100%),1fr))"}, figures.filter(f => f)));
}

/* ---- by layer ---- */

function layers() {
  const shown = candidates.map((c, i) => ({c, i})).filter(({c}) => c.layers?.length);
  const missing = candidates.filter(c => !c.layers?.length && c.layers_missing)
    .map(c => make("li", {}, make("b", {}, c.facts.name), `: ${c.layers_missing}`));
  const chart = (title, key) => figure(title, "relative to their length", 270, (picture, width) => {
    const values = shown.flatMap(({c}) => c.layers.map(l => l[key])).filter(v => v > 0);
    const [left, right, top, bottom] = [60, width - 14, 12, 222];
    const last = Math.max(...shown.map(({c}) => c.layers.length - 1));
    const low = values.length ? Math.floor(Math.log10(Math.min(...values))) : -3;
    const high = values.length ? Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1) : 0;
    const exact = shown.some(({c}) => c.layers.some(l => l[key] === 0));
    const scale = linear([low, high], [bottom - (exact ? 24 : 0), top]);
    const y = value => value > 0 ? scale(Math.log10(value)) : bottom;
    const x = linear([0, Math.max(last, 1)], [left + 10, right - 10]);
    const powers = Array.from({length: high - low + 1}, (_, n) => low + n);
    const name = power => power >= -3 && power <= 0 ? `${10 ** power}` : `10⁻${[...`${-power}`].map(d => SUPERSCRIPT[d]).join("")}`;
    leftAxis(picture, [...powers.map(p => [scale(p), name(p)]), ...(exact ? [[bottom, "0"]] : [])], left, right);
    bottomAxis(picture, steps(0, last, Math.min(last, 9)).filter(Number.isInteger).map(l => [x(l), l]), bottom, bottom, "layer");
    for (const {c, i} of shown) {
      picture.append(make("path", {d: c.layers.map((l, n) => `${n ? "L" : "M"}${x(l.layer)} ${y(l[key])}`).join(""), fill: "none", stroke: colour(i), "stroke-width": 2}));
      for (const l of c.layers) {
        picture.append(explain(make("circle", {cx: x(l.layer), cy: y(l[key]), r: 4, fill: colour(i), stroke: "var(--panel)", "stroke-width": 1.2}),
          `${c.facts.name}\nlayer ${l.layer}: ${l[key] === 0 ? "0" : l[key].toExponential(2)}`));
      }
    }
  });
  section("By layer", "How far each layer’s keys and values are from the baseline’s: the error of all layers before it, and of its own projection. Down is better.",
    shown.length ? legend() : null, shown.length ? make("div", {class: "grid"}, chart("Keys", "key"), chart("Values", "value")) : null,
    missing.length ? make("ul", {class: "notes"}, missing) : null);
}

/* ---- searches and scored pairs ---- */

function scored() {
  const systems = [baseline, ...candidates];
  const score = (list, key, write) => system => cell(write(system[list][0]?.[key]));
  const change = of => system => system[of] ? cell(signed(system[of].mean), range(system[of].interval, signed)) : cell("");
  if (data.retrieval) {
    const {source, instruction} = data.retrieval;
    section("Retrieval", `${source}, at full width; ${instruction ? `queries have the instruction “${instruction}”` : "queries have no instruction"}. The change is paired by query.`,
      table([
        ["nDCG@10", score("retrieval", "ndcg_at_10", similarity)], ["Recall@10", score("retrieval", "recall_at_10", share)],
        ["Recall@100", score("retrieval", "recall_at_100", share)], ["MRR@10", score("retrieval", "mrr_at_10", similarity)],
        ["Change of nDCG@10", change("ndcg_change")],
      ], systems));
  }
  if (data.pairs) {
    section("Scored pairs", `${data.pairs.source}, at full width: whether cosines follow the scores. The change is paired.`,
      table([["Spearman", score("pairs", "spearman", similarity)], ["Pearson", score("pairs", "pearson", similarity)],
        ["Change of Spearman", change("spearman_change")]], systems));
  }
}

/* ---- worst texts ---- */

function worst() {
  const shown = candidates.map((c, i) => ({c, i})).filter(({c}) => c.worst.length);
  if (!shown.length) return;
  // Starts with the candidate that has the worst text of all.
  const first = shown.reduce((a, b) => b.c.worst[0].cosine < a.c.worst[0].cosine ? b : a);
  const body = make("tbody");
  const show = ({c}) => body.replaceChildren(...c.worst.map(w => make("tr", {}, make("td", {class: "mono"}, similarity(w.cosine)), cell(w.length),
    make("td", {class: "left"}, w.script), make("td", {class: "left mono"}, w.place), make("td", {class: "text", dir: "auto"}, w.text))));
  const buttons = shown.map(one => {
    const button = make("button", {type: "button", "aria-pressed": one === first}, swatch(one.i), one.c.facts.name);
    button.addEventListener("click", () => {
      buttons.forEach(b => b.setAttribute("aria-pressed", b === button));
      show(one);
    });
    return button;
  });
  show(first);
  const unit = data.length_unit[0].toUpperCase() + data.length_unit.slice(1);
  section("Worst texts", "Those whose vectors moved most, at full width.", many ? make("div", {class: "tabs"}, buttons) : null,
    make("div", {class: "wide"}, make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "Cosine"), make("th", {}, unit),
      ...["Script", "Where", "Text"].map(n => make("th", {class: "left"}, n)))), body)));
}

/* ---- how to read it ---- */

function reading() {
  const terms = [
    ["Cosine", "The cosine of the angle between a text’s vectors from the candidate and from the baseline; 1 if they point the same way. p1 is the first percentile."],
    ["Neighbours kept", "The share of a text’s nearest 1, 10 or 100 other texts that candidate and baseline agree on, on average."],
    ["Spearman of all pairs", "Rank correlation of the similarities of every two texts, in the candidate and in the baseline."],
    ["nDCG@10, recall, MRR", "As trec_eval and BEIR define them (Järvelin & Kekäläinen 2002), gains being the judgements themselves."],
    ["Intervals", `Percentile bootstrap (Efron 1979) over texts, queries, pairs or rounds, ${number(data.resamples, "resample")}, seed ${data.seed}.`],
    ["Speed", "Both systems embed the same texts in turns, and they alternate in who starts a round. Every text is new, so that no cache responds. Latency is the time of a single text."],
    ["Memory, load", "Growth of the resident set by loading the model and embedding texts with it, in a process of its own with the files in the page cache. It is memory of the host, not of a GPU."],
    ["Keys and values", "The keys and values of each layer, after norm and rotation. Values are compared after one factor per channel, because smoothing moves such factors into the next linear layer."],
  ];
  main.append(make("section", {}, make("details", {class: "panel"}, make("summary", {}, "What the figures mean"),
    make("dl", {}, terms.map(([term, meaning]) => make("div", {}, make("dt", {}, term), make("dd", {}, meaning)))))));
}

head();
figures();
tradeOffs();
histograms();
dimensions();
scored();
byGroup();
layers();
worst();
reading();
