//! Pairs of similar terms: duplicates within a language, and translations between languages.

use std::cmp::Ordering;

use ndarray::ArrayView2;
use serde::Serialize;

use crate::partition::Partition;
use crate::space::Space;
use crate::{Error, Metric, Neighbours, Result, Search};

/// Rows on which an approximate search is checked against an exact one.
const RECALL_SAMPLE: usize = 500;

/// Two rows that are similar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// The lower row.
    pub left: usize,
    /// The higher row.
    pub right: usize,
    /// The cosine of the angle between them, -1 to 1.
    pub similarity: f64,
}

impl Pair {
    /// The order of pairs: the most similar first, those of equal similarity by their rows.
    #[must_use]
    pub fn by_similarity(&self, other: &Self) -> Ordering {
        let similarity = other.similarity.total_cmp(&self.similarity);
        similarity.then_with(|| (self.left, self.right).cmp(&(other.left, other.right)))
    }
}

/// Which pairs are searched.
///
/// ```
/// use lexivec_terms::{Search, pairs::Options};
/// use ndarray::array;
///
/// let rows = array![[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]];
/// let languages = [Some("en"), Some("zh"), Some("en"), Some("en")];
/// let options = Options { least_similarity: 0.9, most_per_term: 1, search: Search::Exact };
/// assert_eq!(options.find(rows.view())?.pairs.len(), 2);
/// let found = options.find_by_groups(rows.view(), &languages)?;
/// let translations = found.between.pairs;
/// assert_eq!((translations[0].left, translations[0].right), (0, 1));
/// let duplicates = found.others.pairs;
/// assert_eq!((duplicates[0].left, duplicates[0].right), (2, 3));
/// # Ok::<(), lexivec_terms::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The smallest similarity, -1 to 1.
    pub least_similarity: f64,
    /// How many partners of each row are searched, from 1: its most similar ones. A pair is returned if either row has the other among
    /// these, so that there are at most as many pairs as rows times this number. Memory: 16 bytes for each row and partner.
    pub most_per_term: usize,
    /// How partners are searched.
    pub search: Search,
}

/// The pairs that were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The most similar first.
    pub pairs: Vec<Pair>,
    /// The share of a row's partners that were found, measured on a sample of rows: 1 for an exact search.
    pub recall: f64,
}

impl Found {
    /// What is found where there is nothing to find.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            pairs: Vec::new(),
            recall: 1.0,
        }
    }
}

/// The pairs that were found of rows in groups.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundByGroups {
    /// Pairs whose rows are in different groups.
    pub between: Found,
    /// Those whose rows are in the same group, or of which one has no group.
    pub others: Found,
}

/// Rows, and the blocks of an approximate search among them.
struct Searched<'a> {
    space: Space<'a>,
    partition: Option<Partition>,
}

impl Options {
    /// Finds pairs among all rows, the most similar first.
    ///
    /// # Errors
    /// A setting is outside its range, a number is not finite, a row is a zero vector, or there are too many rows.
    pub fn find(&self, rows: ArrayView2<'_, f32>) -> Result<Found> {
        let searched = self.prepare(rows)?;
        self.search(&searched, |_, _| true)
    }

    /// Finds pairs whose rows are in different groups, such as languages, and all other pairs, both the most similar first. A row's partners in
    /// other groups are the most similar rows of those, however many rows of its own group are more similar, and the other way round. A row
    /// without a group is in no other group than any row.
    ///
    /// # Errors
    /// As [`find`](Self::find), or there is another number of groups than rows.
    pub fn find_by_groups(
        &self,
        rows: ArrayView2<'_, f32>,
        groups: &[Option<&str>],
    ) -> Result<FoundByGroups> {
        let are_apart = apart(groups, rows.nrows())?;
        let searched = self.prepare(rows)?;
        Ok(FoundByGroups {
            between: self.search(&searched, &are_apart)?,
            others: self.search(&searched, |left, right| !are_apart(left, right))?,
        })
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// One is outside its range.
    pub fn check(&self) -> Result<()> {
        if !(-1.0..=1.0).contains(&self.least_similarity) {
            let value = self.least_similarity;
            return Err(Error::setting(
                "the least similarity",
                value,
                "from -1 to 1",
            ));
        }
        if self.most_per_term == 0 {
            return Err(Error::setting("the most pairs per term", 0, "at least 1"));
        }
        Ok(())
    }

    fn prepare<'a>(&self, rows: ArrayView2<'a, f32>) -> Result<Searched<'a>> {
        self.check()?;
        let space = Space::new(rows, Metric::Cosine)?;
        let partition = match space.len() {
            0 => None,
            _ => self.search.partition(&space),
        };
        Ok(Searched { space, partition })
    }

    fn search(
        &self,
        Searched { space, partition }: &Searched<'_>,
        is_eligible: impl Fn(u32, u32) -> bool + Sync,
    ) -> Result<Found> {
        let most = self.most_per_term.min(space.len().saturating_sub(1));
        if most == 0 {
            return Ok(Found::nothing());
        }
        // Equal directions may differ by the rounding of their lengths.
        let within = Metric::Cosine.to_squared(1.0 - self.least_similarity) + 1e-12;
        let found = Neighbours::search_in(space, partition.as_ref(), most, within, &is_eligible);
        let recall = match self.search {
            Search::Exact => 1.0,
            Search::Approximate => {
                found.recall_among(space, RECALL_SAMPLE, within, &is_eligible)?
            }
        };
        let mut pairs: Vec<Pair> = (0..found.len())
            .flat_map(|row| {
                let list = found.of(row);
                list.map(move |(other, distance)| Pair {
                    left: row.min(other as usize),
                    right: row.max(other as usize),
                    similarity: 1.0 - distance,
                })
            })
            .collect();
        pairs.sort_unstable_by(Pair::by_similarity);
        pairs.dedup();
        Ok(Found { pairs, recall })
    }
}

/// Whether two rows are in different groups.
fn apart(groups: &[Option<&str>], rows: usize) -> Result<impl Fn(u32, u32) -> bool + Sync + use<>> {
    if groups.len() != rows {
        return Err(Error::Count {
            name: "groups",
            expected: rows,
            found: groups.len(),
        });
    }
    let numbers = numbers(groups);
    Ok(move |left: u32, right: u32| {
        let groups = [numbers[left as usize], numbers[right as usize]];
        groups[0] != groups[1] && !groups.contains(&None)
    })
}

/// A number for each group, so that comparing them is fast.
fn numbers(groups: &[Option<&str>]) -> Vec<Option<usize>> {
    let mut known = std::collections::HashMap::new();
    let number = |group: &Option<&str>| {
        let next = known.len();
        (*group).map(|group| *known.entry(group.to_owned()).or_insert(next))
    };
    groups.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::{Found, Options, Pair};
    use crate::{Error, Search};

    const ALL: Options = Options {
        least_similarity: 0.8,
        most_per_term: 50,
        search: Search::Exact,
    };

    fn random(rows: usize) -> Array2<f32> {
        let mut random = fastrand::Rng::with_seed(8);
        Array2::from_shape_simple_fn((rows, 4), || random.f32() - 0.5)
    }

    fn cosine(rows: &Array2<f32>, pair: &Pair) -> f32 {
        let (a, b) = (rows.row(pair.left), rows.row(pair.right));
        a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
    }

    #[test]
    fn all_pairs_above_the_threshold_are_found_once() {
        let rows = random(51);
        let Found {
            pairs: found,
            recall,
        } = ALL.find(rows.view()).unwrap();
        assert_eq!(recall, 1.0);
        let all = (0..51).flat_map(|left| (left + 1..51).map(move |right| (left, right)));
        let expected = all.filter(|(left, right)| {
            let (left, right, similarity) = (*left, *right, 0.0);
            cosine(
                &rows,
                &Pair {
                    left,
                    right,
                    similarity,
                },
            ) >= 0.8
        });
        assert_eq!(found.len(), expected.count());
        assert!(found.is_sorted_by(|a, b| a.similarity >= b.similarity));
        for pair in found {
            assert!(pair.left < pair.right);
            assert!((f64::from(cosine(&rows, &pair)) - pair.similarity).abs() < 1e-6);
        }
    }

    #[test]
    fn an_approximate_search_finds_nearly_all_pairs_and_measures_it() {
        // More blocks than each is compared with, of terms that each have a partner.
        let mut random = fastrand::Rng::with_seed(9);
        let one = Array2::from_shape_simple_fn((10_000, 12), || random.f32() - 0.5);
        let other = one.mapv(|number| number + 0.05 * (random.f32() - 0.5));
        let rows = ndarray::concatenate![ndarray::Axis(0), one, other];
        let groups: Vec<_> = (0..20_000)
            .map(|row| Some(if row < 10_000 { "en" } else { "zh" }))
            .collect();
        let exact = Options {
            least_similarity: 0.98,
            most_per_term: 2,
            ..ALL
        };
        let approximate = Options {
            search: Search::Approximate,
            ..exact
        };
        let exact = exact.find_by_groups(rows.view(), &groups).unwrap().between;
        let found = approximate
            .find_by_groups(rows.view(), &groups)
            .unwrap()
            .between;
        let pairs: std::collections::HashSet<_> = found
            .pairs
            .iter()
            .map(|pair| (pair.left, pair.right))
            .collect();
        let hits = exact
            .pairs
            .iter()
            .filter(|pair| pairs.contains(&(pair.left, pair.right)));
        let share = hits.count() as f64 / exact.pairs.len() as f64;
        assert!(
            exact.pairs.len() > 9_000 && share > 0.95 && share < 1.0,
            "{share}"
        );
        assert!(
            (found.recall - share).abs() < 0.03,
            "{share} {}",
            found.recall
        );
    }

    #[test]
    fn a_term_has_a_bounded_number_of_pairs() {
        let rows = random(300);
        let one = Options {
            most_per_term: 1,
            ..ALL
        };
        let found = one.find(rows.view()).unwrap().pairs;
        assert!(found.len() <= 300 && found.len() > 100);
        assert!(ALL.find(rows.view()).unwrap().pairs.len() > 300);
    }

    #[test]
    fn translations_are_found_among_nearer_terms_of_the_same_language() {
        let rows = array![[1.0, 0.0], [1.0, 0.01], [1.0, 0.02], [0.9, 0.2], [1.0, 0.0]];
        let languages = [Some("en"), Some("en"), Some("en"), Some("zh"), None];
        let one = Options {
            most_per_term: 1,
            ..ALL
        };
        let found = one
            .find_by_groups(rows.view(), &languages)
            .unwrap()
            .between
            .pairs;
        let ends: Vec<(usize, usize)> = found.iter().map(|pair| (pair.left, pair.right)).collect();
        assert_eq!(ends, [(2, 3), (1, 3), (0, 3)]);

        // All other pairs are within a language, or have a term without one.
        let all = ALL.find(rows.view()).unwrap().pairs;
        let mut both = ALL
            .find_by_groups(rows.view(), &languages)
            .unwrap()
            .others
            .pairs;
        assert_eq!(both.len() + 3, all.len());
        both.extend(found);
        both.sort_by_key(|pair| (pair.left, pair.right));
        let mut all = all;
        all.sort_by_key(|pair| (pair.left, pair.right));
        assert_eq!(both, all);
    }

    #[test]
    fn equal_directions_have_similarity_one() {
        let rows = array![[0.1, 0.3, 0.7], [0.2, 0.6, 1.4], [0.0, 0.0, 1.0]];
        let exact = Options {
            least_similarity: 1.0,
            ..ALL
        };
        let found = exact.find(rows.view()).unwrap().pairs;
        assert_eq!(found.len(), 1);
        assert!((found[0].similarity - 1.0).abs() < 1e-12);
    }

    #[test]
    fn impossible_input_is_an_error() {
        let rows = random(3);
        let groups = ALL.find_by_groups(rows.view(), &[None]);
        assert!(matches!(
            groups,
            Err(Error::Count {
                expected: 3,
                found: 1,
                ..
            })
        ));
        for least_similarity in [1.5, f64::NAN] {
            let options = Options {
                least_similarity,
                ..ALL
            };
            assert!(matches!(
                options.find(rows.view()),
                Err(Error::Setting { .. })
            ));
        }
        let none = Options {
            most_per_term: 0,
            ..ALL
        };
        assert!(matches!(none.find(rows.view()), Err(Error::Setting { .. })));
        assert_eq!(ALL.find(random(1).view()).unwrap().pairs, []);
        assert_eq!(ALL.find(random(0).view()).unwrap().pairs, []);
    }
}
