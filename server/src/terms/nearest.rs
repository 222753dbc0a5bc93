//! The terms that are nearest to queries.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use lexivec_terms::{Lookup, Metric};
use ndarray::Array2;
use serde::Serialize;

use super::{Terms, Vectors, damaged};
use crate::embed::{MOST_TEXTS, listed};

/// The most hits, of all queries, that memory holds at a time.
const MOST_HITS: usize = 1 << 20;

/// A query and the terms that are nearest to it, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) query: &'a str,
    pub(crate) nearest: Vec<Hit<'a>>,
}

/// A term that is near a query.
#[derive(Debug, Serialize)]
pub(crate) struct Hit<'a> {
    /// The row of the term, the first being 0.
    pub(crate) row: usize,
    /// The cosine of the angle between the vectors.
    pub(crate) cosine: f64,
    pub(crate) term: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<&'a str>,
    /// The other columns of the row.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<&'a str, String>,
}

/// Terms and their vectors, some of which can be found.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    terms: &'a Terms,
    vectors: &'a Vectors,
    languages: Vec<Option<&'a str>>,
    domains: Vec<Option<&'a str>>,
    /// The language of the terms that are found, if it is given.
    language: Option<&'a str>,
    /// The index that has the vectors, if one has.
    index: Option<&'a Path>,
}

impl<'a> Search<'a> {
    /// # Errors
    /// There is another number of vectors than terms.
    pub(crate) fn new(
        terms: &'a Terms,
        vectors: &'a Vectors,
        language: Option<&'a str>,
        index: Option<&'a Path>,
    ) -> anyhow::Result<Self> {
        let checked = terms.check_vectors(vectors);
        checked.map_err(|error| match index {
            Some(folder) => error.context(damaged(folder)),
            None => error,
        })?;
        Ok(Self {
            terms,
            vectors,
            languages: terms.languages(),
            domains: terms.domains(),
            language,
            index,
        })
    }

    /// The queries that [`nearest`](Self::nearest) should be given at a time to find `count` terms for each.
    pub(crate) fn queries_at_a_time(&self, count: usize) -> usize {
        queries_at_a_time(count.min(self.terms.rows().len()))
    }

    /// Finds the `count` terms nearest to each query. An answer has many texts, so each is built when it is asked for.
    ///
    /// # Errors
    /// The vectors cannot be read or compared.
    pub(crate) fn nearest<'q>(
        &'q self,
        queries: &'q [&'q str],
        vectors: &Array2<f32>,
        count: usize,
    ) -> anyhow::Result<impl Iterator<Item = Answer<'q>> + use<'a, 'q>> {
        let count = count.min(self.terms.rows().len());
        let lookup = Lookup::new(vectors.view(), count, Metric::Cosine);
        let mut lookup = lookup.context("the queries cannot be compared")?;
        let is_eligible =
            |_: usize, row: usize| self.language.is_none() || self.languages[row] == self.language;
        self.vectors.for_each_block(|_, block| {
            let pushed = lookup.push(block, is_eligible);
            pushed.with_context(|| {
                let reason = || "the vectors of the terms cannot be compared".to_owned();
                self.index.map_or_else(reason, damaged)
            })
        })?;
        let found = lookup.finish().into_iter().zip(queries);
        Ok(found.map(|(list, query)| Answer {
            query,
            nearest: list.into_iter().map(|hit| self.hit(hit)).collect(),
        }))
    }

    fn hit(&self, (row, distance): (u32, f64)) -> Hit<'_> {
        let row = row as usize;
        Hit {
            row,
            // An angle of 0 may have a distance of a rounding error.
            cosine: (1.0 - distance).clamp(-1.0, 1.0),
            term: self.terms.term(row),
            language: self.languages[row],
            domain: self.domains[row],
            columns: self.terms.other_columns(row),
        }
    }
}

impl Answer<'_> {
    /// The query, and a line for each term.
    pub(crate) fn to_text(&self) -> String {
        let mut text = one_line(self.query);
        for hit in &self.nearest {
            let about: Vec<&str> = [hit.language, hit.domain].into_iter().flatten().collect();
            text += &format!("\n  {:>7.4}  {}", hit.cosine, one_line(hit.term));
            if !about.is_empty() {
                text += &format!("  ({})", one_line(&about.join(", ")));
            }
        }
        text
    }
}

fn queries_at_a_time(count: usize) -> usize {
    (MOST_HITS / count.max(1)).clamp(1, MOST_TEXTS)
}

/// A text without line feeds and tabs, which would break the table.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\t', '\r'], " ")
}

/// Checks that there are terms of a language.
///
/// # Errors
/// There is no column of languages, or no term of this one.
pub(crate) fn check_language(terms: &Terms, language: &str, column: &str) -> anyhow::Result<()> {
    ensure!(
        terms.has_languages(),
        "{}: there is no column `{column}` of languages for --language: name it with --language-column; there are {}",
        terms.path().display(),
        terms.columns().join(", ")
    );
    let mut found: Vec<&str> = terms.languages().into_iter().flatten().collect();
    if found.contains(&language) {
        return Ok(());
    }
    found.sort_unstable();
    found.dedup();
    bail!(
        "{}: no term has the language `{language}`; there are {}",
        terms.path().display(),
        listed(&found)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_with_many_hits_are_answered_few_at_a_time() {
        assert_eq!(queries_at_a_time(0), MOST_TEXTS);
        assert_eq!(queries_at_a_time(1024), 1024);
        assert_eq!(queries_at_a_time(10_000), 104);
        assert_eq!(queries_at_a_time(2 * MOST_HITS), 1);
    }
}
