//! The texts of a comparison, and a built-in set of them.

use serde::{Deserialize, Serialize};

/// The kind of a text, which only built-in texts have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextKind {
    /// One or a few words.
    Term,
    /// A sentence.
    Sentence,
    /// Source code or a data format.
    Code,
    /// A few hundred words.
    Document,
}

impl TextKind {
    /// Its name in reports.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::Sentence => "sentence",
            Self::Code => "code",
            Self::Document => "document",
        }
    }
}

/// A text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The text.
    pub text: String,
    /// Its file and line for reports: `terms.csv:12`.
    pub place: String,
    /// Its kind, if known.
    pub kind: Option<TextKind>,
}

/// The built-in texts, a JSON object per line.
const BUILT_IN: &str = include_str!("../data/comparison.jsonl");

#[derive(Deserialize)]
struct Line {
    language: String,
    kind: TextKind,
    text: String,
}

/// The built-in set: terms, sentences, code and long documents in some fifty languages and all their scripts. They were
/// written for this purpose, under this project's licence. Calibration uses none of them.
///
/// # Panics
/// Never, because a test parses the file.
///
/// # Example
/// ```
/// use lexivec_evaluate::TextKind;
///
/// let texts = lexivec_evaluate::built_in();
/// assert!(texts.len() >= 50);
/// assert!(texts.iter().any(|text| text.kind == Some(TextKind::Code)));
/// assert!(texts[0].place.starts_with("built-in:1 ("));
/// ```
#[must_use]
pub fn built_in() -> Vec<Sample> {
    let lines = BUILT_IN.lines().enumerate();
    lines
        .map(|(i, line)| {
            let line: Line = serde_json::from_str(line).expect("a test parses the file");
            Sample {
                place: format!("built-in:{} ({})", i + 1, line.language),
                text: line.text,
                kind: Some(line.kind),
            }
        })
        .collect()
}

/// Drops duplicates, because a text's duplicate would be its nearest neighbour in any model. Returns their number.
///
/// ```
/// use lexivec_evaluate::{Sample, drop_duplicates};
///
/// let sample = |text: &str| Sample { text: text.to_owned(), place: String::new(), kind: None };
/// let mut samples = vec![sample("stroke"), sample("sepsis"), sample("stroke")];
/// assert_eq!(drop_duplicates(&mut samples), 1);
/// assert_eq!(samples, [sample("stroke"), sample("sepsis")]);
/// ```
pub fn drop_duplicates(samples: &mut Vec<Sample>) -> usize {
    let before = samples.len();
    let mut seen = std::collections::HashSet::new();
    samples.retain(|sample| seen.insert(sample.text.clone()));
    before - samples.len()
}

/// At most `count` positions out of `n`, drawn uniformly without replacement, ascending. The same seed draws the same.
#[must_use]
pub(crate) fn draw(n: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..n).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut positions);
    positions.truncate(count);
    positions.sort_unstable();
    positions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::text_groups::script;

    /// A comparison on calibration texts would be biased.
    #[test]
    fn no_built_in_text_is_calibrated_on() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/calibration.txt");
        let calibration = fs_err::read_to_string(path).unwrap();
        let lines: BTreeSet<&str> = calibration.lines().collect();
        let samples = built_in();
        let mut shared = samples.iter().filter(|s| lines.contains(s.text.as_str()));
        assert_eq!(shared.next(), None);
    }

    #[test]
    fn the_built_in_texts_are_many_different_and_of_every_kind() {
        let mut samples = built_in();
        assert!((300..600).contains(&samples.len()), "{}", samples.len());
        assert_eq!(drop_duplicates(&mut samples), 0);
        let kinds: BTreeSet<_> = samples.iter().filter_map(|s| s.kind).collect();
        assert_eq!(kinds.len(), 4);
        let scripts: BTreeSet<_> = samples.iter().map(|s| script(&s.text)).collect();
        assert!(scripts.len() >= 20, "{scripts:?}");
        let languages: BTreeSet<_> = samples.iter().map(|s| s.place.rsplit('(').next()).collect();
        assert!(languages.len() >= 40, "{languages:?}");
        let long = samples.iter().filter(|s| s.text.len() > 1500).count();
        assert!(long >= 8, "{long}");
        assert!(samples.iter().all(|s| !s.text.trim().is_empty()));
    }

    #[test]
    fn a_draw_is_even_ascending_and_repeatable() {
        assert_eq!(draw(3, 10, 1), [0, 1, 2]);
        let found = draw(1000, 50, 1);
        assert_eq!(found, draw(1000, 50, 1));
        assert_ne!(found, draw(1000, 50, 2));
        assert!(found.is_sorted_by(|a, b| a < b) && found.len() == 50);
    }
}
