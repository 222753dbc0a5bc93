//! The texts that a comparison is made on, and the built-in ones.

use serde::{Deserialize, Serialize};

/// What a text is; known of the built-in ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A word or a few.
    Term,
    /// A sentence.
    Sentence,
    /// Source code, in a programming language or a format.
    Code,
    /// Some hundred words.
    Document,
}

impl Kind {
    /// As it is written in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::Sentence => "sentence",
            Self::Code => "code",
            Self::Document => "document",
        }
    }
}

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The text.
    pub text: String,
    /// Where it stands, for reports: `terms.csv:12`.
    pub place: String,
    /// What it is, where that is known.
    pub kind: Option<Kind>,
}

/// The texts' file, a JSON object per line.
const BUILT_IN: &str = include_str!("../../data/comparison.jsonl");

#[derive(Deserialize)]
struct Line {
    language: String,
    kind: Kind,
    text: String,
}

/// Terms, sentences, code and long documents in some fifty languages and all their scripts, written for this purpose
/// and under this project's licence. Conversions see none of them: they are for measuring alone.
///
/// # Panics
/// Never: a test reads the file.
#[must_use]
pub fn built_in() -> Vec<Sample> {
    let lines = BUILT_IN.lines().enumerate();
    lines
        .map(|(i, line)| {
            let line: Line = serde_json::from_str(line).expect("the file parses, as a test checks");
            Sample {
                place: format!("built-in:{} ({})", i + 1, line.language),
                text: line.text,
                kind: Some(line.kind),
            }
        })
        .collect()
}

/// Leaves out what was there before: a text's own double would be its nearest neighbour in any model. Returns how
/// many went.
pub fn drop_duplicates(samples: &mut Vec<Sample>) -> usize {
    let before = samples.len();
    let mut seen = std::collections::HashSet::new();
    samples.retain(|sample| seen.insert(sample.text.clone()));
    before - samples.len()
}

/// At most `count` positions of `n`, drawn evenly without replacement; ascending, and the same for the same seed.
#[must_use]
pub fn draw(n: usize, count: usize, seed: u64) -> Vec<usize> {
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
    use crate::compare::groups::script;

    /// A comparison would flatter a model that was calibrated on its texts.
    #[test]
    fn no_built_in_text_is_calibrated_on() {
        let calibration = include_str!("../../data/calibration.txt");
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
