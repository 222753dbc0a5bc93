//! A report in Markdown.

use std::fmt::Write as _;

use super::tables::{Extent, Table, tables};
use super::{ComparisonReport, TextName};
use crate::system::{SystemFacts, SystemKind};

impl ComparisonReport {
    /// The whole report in Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        // Writing to a String cannot fail, here and below.
        let mut out = format!("# {} compared\n\n", self.baseline.facts.name);
        for line in data_lines(self) {
            let _ = writeln!(out, "* {}", escaped(&line));
        }
        for table in tables(self, Extent::Whole) {
            let _ = write!(out, "\n## {}\n\n", escaped(&table.title));
            if !table.note.is_empty() {
                let _ = write!(out, "{}\n\n", escaped(&table.note));
            }
            out.push_str(&grid(&table));
        }
        if !self.gates.is_empty() {
            out.push_str("\n## Gates\n\n");
            for verdict in &self.gates {
                let _ = writeln!(out, "* {}", escaped(&verdict.to_string()));
            }
        }
        out
    }
}

/// The systems, the data and the notes of a comparison, a line each.
pub(super) fn data_lines(report: &ComparisonReport) -> Vec<String> {
    let data = &report.data;
    let mut lines = vec![format!("baseline: {}", system(&report.baseline.facts))];
    let candidates = report.candidates.iter();
    lines.extend(candidates.map(|c| format!("candidate: {}", system(&c.facts))));
    let sample = match data.sampled < data.texts {
        true => format!("; neighbours and pairs among {} of them", data.sampled),
        false => String::new(),
    };
    let duplicates = match data.duplicates {
        0 => String::new(),
        n => format!("; {n} duplicates are left out"),
    };
    lines.push(format!(
        "texts: {} of {}{sample}{duplicates}",
        data.texts, data.source
    ));
    lines.push(format!(
        "intervals: {:.0} %, bootstrap of {} resamples, seed {}",
        data.confidence * 100.0,
        data.resamples,
        data.seed
    ));
    lines.push(format!("machine: {}; {}", report.machine, report.program));
    let baseline = &report.baseline;
    lines.extend(notes(
        &baseline.facts,
        baseline.truncated,
        &baseline.not_finite,
        &[],
    ));
    for candidate in &report.candidates {
        lines.extend(notes(
            &candidate.facts,
            candidate.truncated,
            &candidate.not_finite,
            &candidate.notes,
        ));
    }
    lines
}

fn system(facts: &SystemFacts) -> String {
    let kind = match facts.kind {
        SystemKind::Model => "model directory",
        SystemKind::Checkpoint => "checkpoint, as its fp32 graph",
        SystemKind::Endpoint => "server",
    };
    let precision = facts
        .precision
        .as_deref()
        .map_or(String::new(), |p| format!(", {p}"));
    let provider = facts.execution_provider.as_deref();
    let provider = provider.map_or(String::new(), |p| format!(" on {p}"));
    let source = match &facts.source {
        Some(source) if facts.kind == SystemKind::Model => format!(" of {source}"),
        _ => String::new(),
    };
    format!(
        "{} ({kind}{source}{precision}{provider}, {} dimensions)",
        facts.name, facts.width
    )
}

fn notes(
    facts: &SystemFacts,
    truncated: usize,
    not_finite: &[TextName],
    notes: &[String],
) -> Vec<String> {
    let mut all: Vec<String> = facts.notes.iter().chain(notes).cloned().collect();
    if truncated > 0 {
        all.push(format!(
            "{truncated} texts were truncated to its maximum length"
        ));
    }
    if let Some(first) = not_finite.first() {
        all.push(format!(
            "the vectors of {} texts are not finite, the first that of {:?} ({})",
            not_finite.len(),
            first.text,
            first.place
        ));
    }
    all.iter()
        .map(|note| format!("note on {}: {note}", facts.name))
        .collect()
}

fn grid(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut out = line(&table.columns);
    let _ = writeln!(out, "|{}", "---|".repeat(table.columns.len()));
    table.rows.iter().for_each(|row| out.push_str(&line(row)));
    out
}

/// Escapes characters that Markdown or HTML would interpret, because a user's text must not be markup.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_tables() {
        assert_eq!(
            escaped("a|b\n<script>*x*</script> & `c`"),
            "a\\|b &lt;script>\\*x\\*&lt;/script> &amp; \\`c\\`"
        );
    }
}
