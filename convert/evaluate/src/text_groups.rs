//! Groups of texts by script, length and kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unicode_script::{Script, UnicodeScript as _};

use crate::sample_texts::Sample;

/// The inclusive upper ends of the length buckets.
const LENGTHS: [usize; 5] = [8, 32, 128, 512, 2048];

/// A property by which texts are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// The script of most letters.
    Script,
    /// The length in tokens, or in characters if no system reports tokens.
    Length,
    /// The kind of a built-in text.
    Kind,
}

/// A group of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextGroup {
    /// The property by which texts are grouped.
    pub axis: Axis,
    /// The value of the property.
    pub name: String,
    /// Their positions, ascending.
    pub members: Vec<usize>,
}

/// All groups with at least one text, axis by axis. Scripts are ordered by their number of texts, lengths and kinds ascending.
#[must_use]
pub(super) fn groups(samples: &[Sample], lengths: &[usize]) -> Vec<TextGroup> {
    let mut scripts = BTreeMap::<String, Vec<usize>>::new();
    let mut buckets = BTreeMap::<usize, Vec<usize>>::new();
    let mut kinds = BTreeMap::<_, Vec<usize>>::new();
    for (i, sample) in samples.iter().enumerate() {
        scripts.entry(script(&sample.text)).or_default().push(i);
        let length = lengths.get(i).copied();
        let length = length.unwrap_or_else(|| sample.text.chars().count());
        buckets.entry(bucket(length)).or_default().push(i);
        if let Some(kind) = sample.kind {
            kinds.entry(kind).or_default().push(i);
        }
    }
    let group = |axis, name, members| TextGroup {
        axis,
        name,
        members,
    };
    let mut scripts: Vec<TextGroup> = scripts
        .into_iter()
        .map(|(name, members)| group(Axis::Script, name, members))
        .collect();
    scripts.sort_by_key(|g| std::cmp::Reverse(g.members.len()));
    let buckets = buckets
        .into_iter()
        .map(|(i, members)| group(Axis::Length, bucket_name(i), members));
    let kinds = kinds
        .into_iter()
        .map(|(kind, members)| group(Axis::Kind, kind.as_str().to_owned(), members));
    scripts.into_iter().chain(buckets).chain(kinds).collect()
}

fn bucket(length: usize) -> usize {
    LENGTHS.partition_point(|end| *end < length)
}

fn bucket_name(bucket: usize) -> String {
    let from = bucket.checked_sub(1).map_or(1, |below| LENGTHS[below] + 1);
    match LENGTHS.get(bucket) {
        Some(end) => format!("{from}–{end}"),
        None => format!("{from} and more"),
    }
}

/// The Unicode name of the script of most letters. Texts with kana are "Japanese", texts without letters "none".
#[must_use]
pub(super) fn script(text: &str) -> String {
    let mut counts = BTreeMap::<&'static str, usize>::new();
    let mut kana = false;
    for letter in text.chars() {
        let script = letter.script();
        kana |= matches!(script, Script::Hiragana | Script::Katakana);
        if !matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
            *counts.entry(script.full_name()).or_default() += 1;
        }
    }
    if kana {
        return "Japanese".to_owned();
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or("none", |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_texts::TextKind;

    #[test]
    fn a_text_has_the_script_of_most_of_its_letters() {
        assert_eq!(script("cardiac arrest"), "Latin");
        assert_eq!(script("инфаркт (MI)"), "Cyrillic");
        assert_eq!(script("心臓が止まる"), "Japanese");
        assert_eq!(script("心脏骤停"), "Han");
        assert_eq!(script("3.14 × 10⁻⁶ 🫀"), "none");
        assert_eq!(script(""), "none");
    }

    #[test]
    fn every_text_is_in_one_group_of_each_axis() {
        let sample = |text: &str| Sample {
            text: text.to_owned(),
            place: String::new(),
            kind: Some(TextKind::Term),
        };
        let samples = [sample("one"), sample("два"), sample("two")];
        let found = groups(&samples, &[8, 9, 5000]);
        let names: Vec<_> = found
            .iter()
            .map(|g| (g.name.as_str(), g.members.as_slice()))
            .collect();
        let expected: [(&str, &[usize]); 6] = [
            ("Latin", &[0, 2]),
            ("Cyrillic", &[1]),
            ("1–8", &[0]),
            ("9–32", &[1]),
            ("2049 and more", &[2]),
            ("term", &[0, 1, 2]),
        ];
        assert_eq!(names, expected);
    }
}
