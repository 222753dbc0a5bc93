//! A report on the terminal.

use std::fmt::Write as _;

use super::ComparisonReport;
use super::markdown::data_lines;
use super::tables::{Extent, Table, tables};

impl ComparisonReport {
    /// The brief form of the report, which fits a screen.
    #[must_use]
    pub fn to_terminal(&self) -> String {
        let mut out = String::new();
        for line in data_lines(self) {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(out, "{line}");
        }
        for table in tables(self, Extent::Brief) {
            let _ = writeln!(out, "\n{}", table.title);
            out.push_str(&aligned(&table));
        }
        if !self.gates.is_empty() {
            out.push('\n');
        }
        for verdict in &self.gates {
            let _ = writeln!(out, "{verdict}");
        }
        out
    }
}

/// A table with aligned columns. The last column is not padded, so texts in wide scripts do not disturb the alignment.
fn aligned(table: &Table) -> String {
    let all = || std::iter::once(&table.columns).chain(&table.rows);
    let widths: Vec<usize> = (0..table.columns.len())
        .map(|i| all().map(|row| row[i].chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in all() {
        let last = row.len() - 1;
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, width))| {
                if i == last {
                    cell.clone()
                } else {
                    format!("{cell:<width$}")
                }
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "  {}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_except_the_last() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = Table {
            title: String::new(),
            note: String::new(),
            columns: row(["a", "text"]),
            rows: vec![row(["1234", "心臓"]), row(["–", "x"])],
        };
        assert_eq!(aligned(&table), "  a     text\n  1234  心臓\n  –     x\n");
    }
}
