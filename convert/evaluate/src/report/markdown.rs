//! A report in Markdown.

use std::fmt::Write as _;

use lexivec_convert::compare::{Facts, Report, SideKind, TextName};

use super::tables::{Extent, Table, tables};

/// The whole report.
#[must_use]
pub fn write(report: &Report) -> String {
    // Writing to a String does not fail, here and below.
    let mut out = format!("# {} compared\n\n", report.baseline.facts.name);
    for line in data_lines(report) {
        let _ = writeln!(out, "* {}", escaped(&line));
    }
    for table in tables(report, Extent::Whole) {
        let _ = write!(out, "\n## {}\n\n", escaped(&table.title));
        if !table.note.is_empty() {
            let _ = write!(out, "{}\n\n", escaped(&table.note));
        }
        out.push_str(&grid(&table));
    }
    if !report.gates.is_empty() {
        out.push_str("\n## Gates\n\n");
        for verdict in &report.gates {
            let _ = writeln!(out, "* {}", escaped(&verdict.to_string()));
        }
    }
    out
}

/// What was compared on what, and what the reader should know: a sentence each.
pub(super) fn data_lines(report: &Report) -> Vec<String> {
    let data = &report.data;
    let mut lines = vec![format!("baseline: {}", side(&report.baseline.facts))];
    let candidates = report.candidates.iter();
    lines.extend(candidates.map(|c| format!("candidate: {}", side(&c.facts))));
    let sample = match data.sampled < data.texts {
        true => format!("; neighbours and pairs among {} of them", data.sampled),
        false => String::new(),
    };
    let duplicates = match data.duplicates {
        0 => String::new(),
        n => format!("; {n} that were there twice are left out"),
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
        baseline.cut,
        &baseline.not_finite,
        &[],
    ));
    for candidate in &report.candidates {
        lines.extend(notes(
            &candidate.facts,
            candidate.cut,
            &candidate.not_finite,
            &candidate.notes,
        ));
    }
    lines
}

fn side(facts: &Facts) -> String {
    let kind = match facts.kind {
        SideKind::Model => "model directory",
        SideKind::Checkpoint => "checkpoint, as its fp32 graph",
        SideKind::Endpoint => "server",
    };
    let precision = facts
        .precision
        .as_deref()
        .map_or(String::new(), |p| format!(", {p}"));
    let provider = facts.execution_provider.as_deref();
    let provider = provider.map_or(String::new(), |p| format!(" on {p}"));
    let source = match &facts.source {
        Some(source) if facts.kind == SideKind::Model => format!(" of {source}"),
        _ => String::new(),
    };
    format!(
        "{} ({kind}{source}{precision}{provider}, {} dimensions)",
        facts.name, facts.width
    )
}

fn notes(facts: &Facts, cut: usize, not_finite: &[TextName], notes: &[String]) -> Vec<String> {
    let mut all: Vec<String> = facts.notes.iter().chain(notes).cloned().collect();
    if cut > 0 {
        all.push(format!("{cut} texts were cut to what it takes"));
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

/// A user's text is no markup: what Markdown or HTML would read as such is escaped.
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
    fn a_text_cannot_break_its_table() {
        assert_eq!(
            escaped("a|b\n<script>*x*</script> & `c`"),
            "a\\|b &lt;script>\\*x\\*&lt;/script> &amp; \\`c\\`"
        );
    }
}
