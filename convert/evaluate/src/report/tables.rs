//! The tables of a report, for the terminal and Markdown.

use super::{Candidate, Change, ComparisonReport};
use crate::quality::{Cosines, GroupMeasures, Quality};
use crate::retrieval::RetrievalMeasures;
use crate::scored_pairs::PairMeasures;
use crate::speed::{Ratio, SystemSpeed};
use crate::system::SystemFacts;
use crate::text_groups::Axis;
use lexivec_convert::text_preview;

use super::numbers::{
    NONE, megabytes, rounded, rounded_or_none, share, share_or_none, signed, similarity,
    similarity_or_none, with_interval,
};

/// A table: rows under named columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// Explains the figures in a sentence or two; may be empty.
    pub(crate) note: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &str, note: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            note: note.to_owned(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            rows: Vec::new(),
        }
    }
}

/// How much of a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// As much as fits a screen.
    Brief,
    /// Everything.
    Whole,
}

/// The tables of a report, without empty ones.
pub(crate) fn tables(report: &ComparisonReport, extent: Extent) -> Vec<Table> {
    let mut tables = vec![costs(report), quality(report), dimensions(report)];
    tables.extend(pairs(report));
    tables.extend(retrieval(report));
    if extent == Extent::Whole {
        let axes = [Axis::Script, Axis::Length, Axis::Kind];
        tables.extend(axes.map(|axis| groups(report, axis)));
        tables.extend(layers(report));
    }
    let worst = match extent {
        Extent::Brief => 5,
        Extent::Whole => usize::MAX,
    };
    tables.extend(report.candidates.iter().map(|c| worst_texts(c, worst)));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn precision(facts: &SystemFacts) -> String {
    facts.precision.clone().unwrap_or(NONE.to_owned())
}

/// The median of the baseline's speeds, which were measured beside each candidate.
fn baseline_speed(report: &ComparisonReport) -> Option<SystemSpeed> {
    let mut speeds: Vec<SystemSpeed> = report
        .candidates
        .iter()
        .filter_map(|c| c.speed.as_ref().map(|s| s.baseline))
        .collect();
    speeds.sort_by(|a, b| a.texts_per_second.total_cmp(&b.texts_per_second));
    speeds.get(speeds.len() / 2).copied()
}

fn costs(report: &ComparisonReport) -> Table {
    let mut table = Table::new(
        "Size and speed",
        "Memory is the growth of the resident set by loading the model, and its peak while 64 texts were embedded together. \
         Speed is measured in turns with the baseline; factors above 1 are faster than the baseline.",
        &[
            "system",
            "precision",
            "size MB",
            "load s",
            "memory MB",
            "peak MB",
            "tokens/s",
            "throughput ×",
            "latency ms p50",
            "p95",
            "latency ×",
        ],
    );
    let row = |facts: &SystemFacts, speed: Option<SystemSpeed>, ratios: [String; 2]| {
        let load = facts.footprint.map(|f| f.load_seconds);
        let [throughput, latency] = ratios;
        vec![
            facts.name.clone(),
            precision(facts),
            megabytes(facts.bytes),
            rounded_or_none(load),
            megabytes(facts.footprint.map(|f| f.loaded_bytes)),
            megabytes(facts.footprint.map(|f| f.peak_bytes)),
            rounded_or_none(speed.and_then(|s| s.tokens_per_second)),
            throughput,
            rounded_or_none(speed.map(|s| s.latency_p50_ms)),
            rounded_or_none(speed.map(|s| s.latency_p95_ms)),
            latency,
        ]
    };
    let one = || "1".to_owned();
    table.rows.push(row(
        &report.baseline.facts,
        baseline_speed(report),
        [one(), one()],
    ));
    for candidate in &report.candidates {
        let speed = candidate.speed.as_ref();
        let ratio = |ratio: Option<Ratio>| {
            ratio.map_or(NONE.to_owned(), |r| {
                with_interval(r.median, r.interval, rounded)
            })
        };
        let ratios = [
            ratio(speed.map(|s| s.throughput_ratio)),
            ratio(speed.map(|s| s.latency_ratio)),
        ];
        table
            .rows
            .push(row(&candidate.facts, speed.map(|s| s.candidate), ratios));
    }
    table
}

fn quality(report: &ComparisonReport) -> Table {
    let mut table = Table::new(
        "Similarity to the baseline at full width",
        "Cosine of each text's two vectors; share of its nearest texts on which both systems agree; Spearman's correlation \
         of the similarities of all pairs.",
        &[
            "candidate",
            "precision",
            "cosine min",
            "p1",
            "mean",
            "neighbours at 1",
            "at 10",
            "at 100",
            "Spearman",
        ],
    );
    for candidate in &report.candidates {
        let Some(quality) = candidate.quality.iter().find(|q| q.full) else {
            continue;
        };
        let all = &quality.all;
        let cosine = |of: fn(&Cosines) -> f64| similarity_or_none(all.cosine.as_ref().map(of));
        let mean = all.cosine.map_or(NONE.to_owned(), |c| {
            with_interval(c.mean, c.mean_interval, similarity)
        });
        let at_10 = all.overlap[1].map_or(NONE.to_owned(), |overlap| {
            with_interval(overlap, all.overlap_interval, share)
        });
        table.rows.push(vec![
            candidate.facts.name.clone(),
            precision(&candidate.facts),
            cosine(|c| c.min),
            cosine(|c| c.p1),
            mean,
            share_or_none(all.overlap[0]),
            at_10,
            share_or_none(all.overlap[2]),
            similarity_or_none(all.similarity_spearman),
        ]);
    }
    table
}

fn dimensions(report: &ComparisonReport) -> Table {
    let mut table = Table::new(
        "By output dimension",
        "Vectors of both systems truncated to a width and normalised, as servers do for `dimensions`.",
        &[
            "candidate",
            "dimensions",
            "cosine min",
            "p1",
            "mean",
            "neighbours at 1",
            "at 10",
            "at 100",
            "Spearman",
        ],
    );
    for candidate in &report.candidates {
        let row = |quality: &Quality| {
            let all = &quality.all;
            vec![
                candidate.facts.name.clone(),
                quality.dimensions.to_string(),
                similarity_or_none(all.cosine.map(|c| c.min)),
                similarity_or_none(all.cosine.map(|c| c.p1)),
                similarity_or_none(all.cosine.map(|c| c.mean)),
                share_or_none(all.overlap[0]),
                share_or_none(all.overlap[1]),
                share_or_none(all.overlap[2]),
                similarity_or_none(all.similarity_spearman),
            ]
        };
        table.rows.extend(candidate.quality.iter().map(row));
    }
    table
}

/// A row for each width of each system's measures, the baseline first. A candidate's first row, at full width, ends with the change
/// against the baseline.
fn system_rows<M>(
    report: &ComparisonReport,
    baseline: &[M],
    candidate: fn(&Candidate) -> (&[M], Option<Change>),
    cells: impl Fn(&M) -> Vec<String>,
) -> Vec<Vec<String>> {
    let rows = |facts: &SystemFacts, measures: &[M], change: Option<Change>| -> Vec<Vec<String>> {
        let row = |(i, measures): (usize, &M)| {
            let change = change.filter(|_| i == 0);
            let change =
                change.map_or(String::new(), |c| with_interval(c.mean, c.interval, signed));
            [vec![facts.name.clone()], cells(measures), vec![change]].concat()
        };
        measures.iter().enumerate().map(row).collect()
    };
    let candidates = report.candidates.iter().flat_map(|c| {
        let (measures, change) = candidate(c);
        rows(&c.facts, measures, change)
    });
    let mut all = rows(&report.baseline.facts, baseline, None);
    all.extend(candidates);
    all
}

fn pairs(report: &ComparisonReport) -> Option<Table> {
    let facts = report.data.pairs.as_ref()?;
    let mut table = Table::new(
        &format!("Scored pairs: {} of {}", facts.pairs, facts.source),
        "Correlation of the cosines of pairs with their scores; change against the baseline at full width.",
        &[
            "system",
            "dimensions",
            "Spearman",
            "Pearson",
            "change of Spearman",
        ],
    );
    let cells = |measures: &PairMeasures| {
        vec![
            measures.dimensions.to_string(),
            similarity_or_none(measures.spearman),
            similarity_or_none(measures.pearson),
        ]
    };
    let pairs = &report.baseline.pairs;
    table.rows = system_rows(report, pairs, |c| (&c.pairs, c.spearman_change), cells);
    Some(table)
}

fn retrieval(report: &ComparisonReport) -> Option<Table> {
    let facts = report.data.retrieval.as_ref()?;
    let instruction = match &facts.instruction {
        Some(instruction) => format!("Queries have the instruction {instruction:?}."),
        None => {
            "Queries have no instruction, although Qwen3-Embedding is trained with one.".to_owned()
        }
    };
    let mut table = Table::new(
        &format!(
            "Retrieval: {} queries, {} documents of {}",
            facts.queries, facts.documents, facts.source
        ),
        &format!("{instruction} Change against the baseline at full width, over the same queries."),
        &[
            "system",
            "dimensions",
            "nDCG@10",
            "recall@10",
            "recall@100",
            "MRR@10",
            "change of nDCG@10",
        ],
    );
    let cells = |measures: &RetrievalMeasures| {
        vec![
            measures.dimensions.to_string(),
            similarity(measures.ndcg_at_10),
            share(measures.recall_at_10),
            share(measures.recall_at_100),
            similarity(measures.mrr_at_10),
        ]
    };
    let retrieval = &report.baseline.retrieval;
    table.rows = system_rows(report, retrieval, |c| (&c.retrieval, c.ndcg_change), cells);
    Some(table)
}

fn groups(report: &ComparisonReport, axis: Axis) -> Table {
    let (title, column) = match axis {
        Axis::Script => ("By script".to_owned(), "script"),
        Axis::Length => (
            format!("By length in {}", report.data.length_unit),
            "length",
        ),
        Axis::Kind => ("By kind of text".to_owned(), "kind"),
    };
    let note = "At full width; neighbours at 10, among all texts.";
    let columns = [
        "candidate",
        column,
        "texts",
        "cosine min",
        "mean",
        "neighbours",
        "Spearman",
    ];
    let mut table = Table::new(&title, note, &columns);
    for candidate in &report.candidates {
        let full = candidate.quality.iter().filter(|q| q.full);
        let of_axis = full.flat_map(|q| &q.groups).filter(|g| g.axis == axis);
        let row = |group: &GroupMeasures| {
            let measures = &group.measures;
            vec![
                candidate.facts.name.clone(),
                group.name.clone(),
                measures.texts.to_string(),
                similarity_or_none(measures.cosine.map(|c| c.min)),
                similarity_or_none(measures.cosine.map(|c| c.mean)),
                share_or_none(measures.overlap[1]),
                similarity_or_none(measures.similarity_spearman),
            ]
        };
        table.rows.extend(of_axis.map(row));
    }
    table
}

fn layers(report: &ComparisonReport) -> Vec<Table> {
    let table = |candidate: &Candidate| {
        let mut table = Table::new(
            &format!("Error by layer: {}", candidate.facts.name),
            "The distance of a layer's keys and values from the baseline's, relative to their length. Values are compared after \
             one factor per channel, because smoothing moves such factors.",
            &["layer", "keys", "values"],
        );
        for error in candidate.layers.iter().flatten() {
            table.rows.push(vec![
                error.layer.to_string(),
                format!("{:.2e}", error.key),
                format!("{:.2e}", error.value),
            ]);
        }
        table
    };
    report.candidates.iter().map(table).collect()
}

fn worst_texts(candidate: &Candidate, most: usize) -> Table {
    let mut table = Table::new(
        &format!("Worst texts: {}", candidate.facts.name),
        "",
        &["cosine", "length", "script", "where", "text"],
    );
    for worst in candidate.worst.iter().take(most) {
        table.rows.push(vec![
            similarity(worst.cosine),
            worst.length.to_string(),
            worst.script.clone(),
            worst.place.clone(),
            one_line(&worst.text),
        ]);
    }
    table
}

/// The preview of a text on one line.
fn one_line(text: &str) -> String {
    const SHOWN: usize = 72;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text_preview(&line, SHOWN)
}
