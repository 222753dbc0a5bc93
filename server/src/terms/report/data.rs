//! What the page is drawn from.

use std::collections::HashMap;

use lexivec_terms::clusters::Cluster;
use serde::Serialize;

use super::Report;
use super::packed::Packed;
use crate::terms::analysis::Map;
use crate::terms::{MapKind, Summary};

/// The longest term of the page, in characters. Longer ones are cut, so that a file of documents makes no page of gigabytes.
const MOST_CHARACTERS: usize = 160;
/// Steps of a coordinate: finer than a screen, even if it shows a hundredth of the map.
const STEPS: f32 = 65_535.0;
/// How many points the curve of explained variance has at most.
const MOST_POINTS: usize = 200;

/// The page's data. Lists have an entry for each term, in the order of the file.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    program: &'static str,
    file: String,
    summary: &'a Summary,
    settings: Vec<(&'a str, String)>,
    terms: Vec<String>,
    /// 0 for noise, else the cluster's number and 1.
    labels: Packed,
    /// 0 to 255.
    probabilities: Packed,
    languages: Option<Column>,
    domains: Option<Column>,
    map: Option<Places>,
    /// By number. `medoid` is the place of the term that is the label.
    clusters: &'a [Cluster],
    /// The variance that the first components explain together: their number and the share.
    variance: Vec<(usize, f64)>,
}

/// A column with few different values.
#[derive(Debug, Serialize)]
struct Column {
    /// The most frequent value first.
    values: Vec<String>,
    /// 0 for terms without a value, else the place of the value and 1.
    of: Packed,
}

/// The map in a square, whose longer side has [`STEPS`] steps. y grows upwards.
#[derive(Debug, Serialize)]
struct Places {
    kind: MapKind,
    x: Packed,
    y: Packed,
}

impl<'a> Data<'a> {
    pub(super) fn new(report: &'a Report<'a>) -> anyhow::Result<Self> {
        let (terms, analysis) = (report.terms, report.analysis);
        let labels = analysis.clustering.labels.iter();
        let labels: Vec<u32> = labels
            .map(|label| u32::try_from(label + 1))
            .collect::<Result<_, _>>()?;
        let probabilities = analysis.clustering.probabilities.iter();
        let probabilities: Vec<u32> = probabilities.map(|p| (p * 255.0).round() as u32).collect();
        let settings = report.origin.settings.iter();
        Ok(Self {
            program: concat!("lexivec ", env!("CARGO_PKG_VERSION")),
            file: shortened(&report.origin.file),
            summary: report.summary,
            settings: settings
                .map(|(name, value)| (*name, shortened(value)))
                .collect(),
            terms: (0..labels.len())
                .map(|row| shortened(terms.term(row)))
                .collect(),
            labels: Packed::new(&labels),
            probabilities: Packed::new(&probabilities),
            languages: Column::new(&terms.languages()),
            domains: Column::new(&terms.domains()),
            map: analysis.map.as_ref().map(Places::new),
            clusters: &analysis.clusters,
            variance: curve(&analysis.pca.explained_variance_ratio()),
        })
    }
}

impl Column {
    /// `None` if no term has a value.
    fn new(values: &[Option<&str>]) -> Option<Self> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for value in values.iter().flatten() {
            *counts.entry(value).or_default() += 1;
        }
        if counts.is_empty() {
            return None;
        }
        let mut known: Vec<(&str, usize)> = counts.into_iter().collect();
        known.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let numbers = (1..)
            .zip(&known)
            .map(|(number, (value, _))| (*value, number));
        let numbers: HashMap<&str, u32> = numbers.collect();
        let of = values
            .iter()
            .map(|value| value.map_or(0, |value| numbers[value]));
        Some(Self {
            of: Packed::new(&of.collect::<Vec<_>>()),
            values: known.iter().map(|(value, _)| shortened(value)).collect(),
        })
    }
}

impl Places {
    fn new(map: &Map) -> Self {
        let range = |axis: usize| {
            let numbers = map.places.column(axis).into_iter();
            let ends = (f32::INFINITY, f32::NEG_INFINITY);
            numbers.fold(ends, |(low, high), number| {
                (low.min(*number), high.max(*number))
            })
        };
        let ranges = [range(0), range(1)];
        let extent = ranges
            .iter()
            .map(|(low, high)| high - low)
            .fold(f32::MIN_POSITIVE, f32::max);
        let steps = |axis: usize| {
            let numbers = map.places.column(axis);
            let step = |number: &f32| ((number - ranges[axis].0) / extent * STEPS).round() as u32;
            Packed::new(&numbers.iter().map(step).collect::<Vec<_>>())
        };
        Self {
            kind: map.kind,
            x: steps(0),
            y: steps(1),
        }
    }
}

/// The sums of the first components' shares, at most [`MOST_POINTS`] of them.
fn curve(ratios: &[f64]) -> Vec<(usize, f64)> {
    let sums = ratios.iter().scan(0.0, |sum, ratio| {
        *sum += ratio;
        Some(*sum)
    });
    let every = ratios.len().div_ceil(MOST_POINTS).max(1);
    let points = (1..).zip(sums);
    let shown =
        |number: usize| number.is_multiple_of(every) || number == 1 || number == ratios.len();
    points.filter(|(number, _)| shown(*number)).collect()
}

/// A text for the page, cut after [`MOST_CHARACTERS`].
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::{Column, Places, curve, shortened};
    use crate::terms::MapKind;
    use crate::terms::analysis::Map;
    use crate::terms::report::packed::Packed;

    #[test]
    fn values_are_numbered_by_frequency() {
        let column = Column::new(&[Some("zh"), None, Some("en"), Some("en"), Some("de")]).unwrap();
        assert_eq!(column.values, ["en", "de", "zh"]);
        assert_eq!(column.of, Packed::new(&[3, 0, 1, 1, 2]));
        assert!(Column::new(&[None, None]).is_none());
    }

    #[test]
    fn places_fill_a_square_and_keep_their_proportions() {
        let map = |places| {
            Places::new(&Map {
                kind: MapKind::Pca,
                places,
                trust: None,
            })
        };
        let places = map(array![[-1.0, 3.0], [1.0, 4.0], [0.0, 3.0]]);
        assert_eq!(places.x, Packed::new(&[0, 65_535, 32_768]));
        assert_eq!(places.y, Packed::new(&[0, 32_768, 0]));
        let one = map(array![[2.0, 2.0], [2.0, 2.0]]);
        assert_eq!(one.x, Packed::new(&[0, 0]));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("利率"), "利率");
        let cut = shortened(&"利".repeat(500));
        assert_eq!(cut.chars().count(), 161);
    }

    #[test]
    fn the_curve_has_both_ends_and_few_points() {
        assert_eq!(curve(&[0.5, 0.25]), [(1, 0.5), (2, 0.75)]);
        let long = curve(&vec![1e-4; 10_000]);
        assert!(long.len() <= 202, "{}", long.len());
        assert_eq!((long[0].0, long.last().unwrap().0), (1, 10_000));
    }
}
