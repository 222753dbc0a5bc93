//! How similar the vectors of two systems are, at each width.

use lexivec_runtime::vector::cosine;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval};
use crate::neighbours::{nearest, overlap};
use crate::statistics::{mean, quantile, spearman};
use crate::text_groups::{Axis, TextGroup};
use crate::vectors::{Similarities, Vectors};

/// The numbers of nearest neighbours that are compared.
pub const NEIGHBOURS: [usize; 3] = [1, 10, 100];

/// How similar the vectors of two systems are at one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The width of the candidate's vectors, and of the baseline's unless it is full width.
    pub dimensions: usize,
    /// Whether this is full width.
    pub full: bool,
    /// Over all texts.
    pub all: Measures,
    /// Over the texts of each group.
    pub groups: Vec<GroupMeasures>,
}

/// A group of texts, and how similar the vectors of two systems are on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMeasures {
    /// The property by which texts are grouped.
    pub axis: Axis,
    /// The value of the property.
    pub name: String,
    /// The measures of the group.
    #[serde(flatten)]
    pub measures: Measures,
}

/// How similar the vectors of two systems are on some texts. Undefined figures are `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Number of texts.
    pub texts: usize,
    /// The cosines of each text's two vectors; `None` if the widths differ.
    pub cosine: Option<Cosines>,
    /// The mean share of a text's nearest neighbours on which both systems agree, for 1, 10 and 100 neighbours
    /// ([`NEIGHBOURS`]).
    pub overlap: [Option<f64>; 3],
    /// The interval of the overlap at 10.
    pub overlap_interval: Option<Interval>,
    /// Spearman's correlation between the similarities of all pairs of these texts in the two systems.
    pub similarity_spearman: Option<f64>,
}

/// Statistics of cosines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cosines {
    /// The least cosine.
    pub min: f64,
    /// The first percentile.
    pub p1: f64,
    /// The mean.
    pub mean: f64,
    /// The confidence interval of the mean.
    pub mean_interval: Option<Interval>,
}

impl Cosines {
    fn of(cosines: &[f64], bootstrap: Bootstrap) -> Option<Self> {
        Some(Self {
            min: cosines.iter().copied().min_by(f64::total_cmp)?,
            p1: quantile(cosines, 0.01)?,
            mean: mean(cosines)?,
            mean_interval: bootstrap.mean(cosines),
        })
    }
}

/// The cosine of each text's two vectors over their first `width` components.
#[must_use]
pub(super) fn cosines(baseline: &Vectors, candidate: &Vectors, width: usize) -> Vec<f64> {
    (0..baseline.len())
        .map(|i| cosine(baseline.first(i, width), candidate.first(i, width)))
        .collect()
}

/// Compares a candidate's vectors with the baseline's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measuring<'a> {
    /// The baseline's vectors, at full width.
    pub baseline: &'a Vectors,
    /// The candidate's vectors, at full width.
    pub candidate: &'a Vectors,
    /// Groups that get figures of their own.
    pub groups: &'a [TextGroup],
    /// The positions of the texts among which neighbours and pairs are compared, ascending: all, or a sample of many.
    pub sample: &'a [usize],
    /// How intervals are drawn.
    pub bootstrap: Bootstrap,
}

impl Measuring<'_> {
    /// The figures at a width, or at full width for `None`.
    #[must_use]
    pub(super) fn at(&self, width: Option<usize>) -> Quality {
        let full = width.is_none();
        let widths = [self.baseline, self.candidate].map(|v| width.unwrap_or(v.width()));
        let cosines =
            (widths[0] == widths[1]).then(|| cosines(self.baseline, self.candidate, widths[0]));
        let similarities = [
            Similarities::of(&self.baseline.select(self.sample).truncated(widths[0])),
            Similarities::of(&self.candidate.select(self.sample).truncated(widths[1])),
        ];
        let most = NEIGHBOURS.iter().copied().max().unwrap_or(0);
        let [before, after] = similarities.each_ref().map(|s| nearest(s, most));
        let overlaps = NEIGHBOURS.map(|k| -> Vec<Option<f64>> {
            let lists = before.iter().zip(&after);
            lists.map(|(b, a)| overlap(b, a, k)).collect()
        });
        let at = AtWidth {
            cosines: cosines.as_deref(),
            overlaps: &overlaps,
            similarities: &similarities,
            sample: self.sample,
        };
        let everything: Vec<usize> = (0..self.baseline.len()).collect();
        // Intervals of groups below full width are of little interest, and take long over many texts.
        let for_groups = Bootstrap {
            resamples: if full { self.bootstrap.resamples } else { 0 },
            ..self.bootstrap
        };
        let groups = self.groups.iter().map(|group| GroupMeasures {
            axis: group.axis,
            name: group.name.clone(),
            measures: at.measures(&group.members, for_groups),
        });
        Quality {
            dimensions: widths[1],
            full,
            all: at.measures(&everything, self.bootstrap),
            groups: groups.collect(),
        }
    }
}

/// The figures of single texts and pairs, from which those of groups are made.
struct AtWidth<'a> {
    /// The cosine of every text.
    cosines: Option<&'a [f64]>,
    /// The overlaps of every text of the sample.
    overlaps: &'a [Vec<Option<f64>>; 3],
    similarities: &'a [Similarities; 2],
    sample: &'a [usize],
}

impl AtWidth<'_> {
    fn measures(&self, members: &[usize], bootstrap: Bootstrap) -> Measures {
        let sampled: Vec<usize> = members
            .iter()
            .filter_map(|i| self.sample.binary_search(i).ok())
            .collect();
        let of = |values: &[Option<f64>]| -> Vec<f64> {
            sampled.iter().filter_map(|place| values[*place]).collect()
        };
        let cosines: Option<Vec<f64>> = self
            .cosines
            .map(|cosines| members.iter().map(|i| cosines[*i]).collect());
        let [before, after] = self.similarities.each_ref().map(|s| s.pairs(&sampled));
        Measures {
            texts: members.len(),
            cosine: cosines.and_then(|cosines| Cosines::of(&cosines, bootstrap)),
            overlap: self.overlaps.each_ref().map(|values| mean(&of(values))),
            overlap_interval: bootstrap.mean(&of(&self.overlaps[1])),
            similarity_spearman: spearman(&before, &after),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap {
        resamples: 100,
        seed: 1,
    };

    fn vectors(rows: &[Vec<f32>]) -> Vectors {
        let mut all = Vectors::new(rows[0].len());
        rows.iter().for_each(|row| all.push(row));
        all
    }

    fn random(texts: usize, width: usize, seed: u64) -> Vectors {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut row = || (0..width).map(|_| random.f32() - 0.5).collect();
        let rows: Vec<Vec<f32>> = (0..texts).map(|_| row()).collect();
        vectors(&rows)
    }

    fn measure(
        baseline: &Vectors,
        candidate: &Vectors,
        groups: &[TextGroup],
        width: Option<usize>,
    ) -> Quality {
        let sample: Vec<usize> = (0..baseline.len()).collect();
        let measuring = Measuring {
            baseline,
            candidate,
            groups,
            sample: &sample,
            bootstrap: BOOTSTRAP,
        };
        measuring.at(width)
    }

    #[test]
    fn a_system_is_identical_to_itself_at_every_width_and_in_every_group() {
        let system = random(150, 64, 3);
        let groups = [TextGroup {
            axis: Axis::Script,
            name: "Latin".to_owned(),
            members: (0..40).collect(),
        }];
        for width in [None, Some(32), Some(7)] {
            let found = measure(&system, &system, &groups, width);
            let interval = found.all.cosine.unwrap().mean_interval.unwrap();
            assert_eq!((interval.low, interval.high), (1.0, 1.0));
            for measures in [&found.all, &found.groups[0].measures] {
                let cosine = measures.cosine.unwrap();
                assert_eq!((cosine.min, cosine.p1, cosine.mean), (1.0, 1.0, 1.0));
                assert_eq!(measures.overlap, [Some(1.0); 3]);
                assert_eq!(measures.similarity_spearman, Some(1.0));
            }
        }
    }

    #[test]
    fn scikit_learn_and_scipy_agree() {
        #[derive(Deserialize)]
        struct Golden {
            baseline: Vec<Vec<f32>>,
            candidate: Vec<Vec<f32>>,
            widths: Vec<Width>,
        }
        #[derive(Deserialize)]
        struct Width {
            width: usize,
            cosines: Vec<f64>,
            p1: f64,
            overlaps: [(usize, f64); 2],
            spearman: f64,
        }
        let golden = crate::golden::measures();
        let golden: Golden = serde_json::from_value(golden["embeddings"].clone()).unwrap();
        let (baseline, candidate) = (vectors(&golden.baseline), vectors(&golden.candidate));
        for expected in golden.widths {
            let each = cosines(&baseline, &candidate, expected.width);
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
            assert!(
                each.iter()
                    .zip(&expected.cosines)
                    .all(|(a, b)| near(*a, *b))
            );
            let found = measure(&baseline, &candidate, &[], Some(expected.width)).all;
            assert!(near(found.cosine.unwrap().p1, expected.p1));
            assert!(near(found.overlap[0].unwrap(), expected.overlaps[0].1));
            assert!(near(found.overlap[1].unwrap(), expected.overlaps[1].1));
            // Unit vectors are float32 here, as servers send them, and float64 in the golden values.
            assert!((found.similarity_spearman.unwrap() - expected.spearman).abs() < 1e-4);
            assert_eq!(found.overlap[2], None);
        }
    }

    #[test]
    fn a_rotation_by_a_known_angle_gives_its_cosine_at_the_widths_that_it_affects() {
        // Text 3 is rotated by 10 degrees in the plane of two components beyond the width 4.
        let baseline = random(20, 8, 5);
        let mut rows: Vec<Vec<f32>> = (0..20).map(|i| baseline.row(i).to_vec()).collect();
        rows[3] = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let baseline = vectors(&rows);
        let (sin, cos) = 10f64.to_radians().sin_cos();
        (rows[3][4], rows[3][5]) = (cos as f32, sin as f32);
        let candidate = vectors(&rows);
        let full = measure(&baseline, &candidate, &[], None)
            .all
            .cosine
            .unwrap();
        assert!((full.min - (1.0 + cos) / 2.0).abs() < 1e-7);
        assert!((full.mean - (19.0 + full.min) / 20.0).abs() < 1e-12);
        let truncated = measure(&baseline, &candidate, &[], Some(4));
        assert_eq!(truncated.all.cosine.unwrap().min, 1.0);
    }

    #[test]
    fn zeros_ties_and_too_few_texts_give_no_nan() {
        let zeros = vectors(&vec![vec![0.0; 4]; 3]);
        let found = measure(&zeros, &zeros, &[], None).all;
        assert_eq!(found.cosine.unwrap().mean, 0.0);
        assert_eq!(found.similarity_spearman, None);
        assert_eq!(found.overlap, [Some(1.0), None, None]);
        let one = vectors(&[vec![1.0, 2.0]]);
        let found = measure(&one, &one, &[], None).all;
        assert_eq!(found.cosine.unwrap().mean, 1.0);
        assert_eq!(
            (found.overlap, found.similarity_spearman),
            ([None; 3], None)
        );
        let text = serde_json::to_string(&found).unwrap();
        assert!(!text.contains("NaN"));
    }

    #[test]
    fn vectors_of_different_widths_have_neighbours_and_no_cosine() {
        let baseline = random(30, 16, 1);
        let candidate = random(30, 8, 2);
        let full = measure(&baseline, &candidate, &[], None);
        assert_eq!((full.dimensions, full.all.cosine), (8, None));
        assert!(full.all.overlap[1].is_some());
        assert!(
            measure(&baseline, &candidate, &[], Some(4))
                .all
                .cosine
                .is_some()
        );
    }
}
