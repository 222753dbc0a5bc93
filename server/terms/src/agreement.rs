//! How well two labellings of the same rows agree.

use std::collections::HashMap;
use std::hash::Hash;

use crate::{Error, Result};

/// The adjusted Rand index (Hubert & Arabie 1985, "Comparing partitions"): 1 if both divide the rows alike, near 0 if they agree as much
/// as by chance, and below 0 if they agree less. Labels' names do not matter. All rows with one label are one group, noise as well, as in
/// scikit-learn's `adjusted_rand_score`. Fewer than two rows agree.
///
/// ```
/// use lexivec_terms::agreement::adjusted_rand;
///
/// assert_eq!(adjusted_rand(&[0, 0, 1, 1], &["law", "law", "law", "finance"])?, 0.0);
/// assert_eq!(adjusted_rand(&[0, 0, 1, 1], &[7, 7, 3, 3])?, 1.0);
/// # Ok::<(), lexivec_terms::Error>(())
/// ```
///
/// # Errors
/// The labellings differ in length.
pub fn adjusted_rand<A: Eq + Hash, B: Eq + Hash>(left: &[A], right: &[B]) -> Result<f64> {
    check(left, right)?;
    let pairs = |counts: &mut dyn Iterator<Item = u64>| -> f64 {
        counts
            .map(|count| count as f64 * (count as f64 - 1.0) / 2.0)
            .sum()
    };
    let both = pairs(&mut counted(left.iter().zip(right)).into_values());
    let in_left = pairs(&mut counted(left).into_values());
    let in_right = pairs(&mut counted(right).into_values());
    let all = pairs(&mut std::iter::once(left.len() as u64));
    let expected = if all > 0.0 {
        in_left * in_right / all
    } else {
        0.0
    };
    let most = f64::midpoint(in_left, in_right);
    if most == expected {
        // Both have one group, or a group for each row.
        return Ok(1.0);
    }
    Ok((both - expected) / (most - expected))
}

/// The share of rows that belong to the most frequent class of their cluster, 0 to 1 (Manning, Raghavan & Schütze 2008, "Introduction
/// to Information Retrieval", section 16.3). Rows with a negative label are noise, and do not count. `None` if all rows are noise.
///
/// More clusters make it easier to be pure, so it is read together with their number.
///
/// # Errors
/// The lists differ in length.
pub fn purity<C: Eq + Hash>(labels: &[i32], classes: &[C]) -> Result<Option<f64>> {
    check(labels, classes)?;
    let rows = labels.iter().zip(classes);
    let counts = counted(rows.filter(|(label, _)| **label >= 0));
    let mut largest: HashMap<i32, u64> = HashMap::new();
    for ((label, _), count) in &counts {
        let most = largest.entry(**label).or_default();
        *most = (*most).max(*count);
    }
    let clustered: u64 = counts.values().sum();
    let pure: u64 = largest.values().sum();
    Ok((clustered > 0).then(|| pure as f64 / clustered as f64))
}

fn check<A, B>(left: &[A], right: &[B]) -> Result<()> {
    if left.len() == right.len() {
        return Ok(());
    }
    Err(Error::Count {
        name: "labels",
        expected: left.len(),
        found: right.len(),
    })
}

fn counted<T: Eq + Hash>(items: impl IntoIterator<Item = T>) -> HashMap<T, u64> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::{adjusted_rand, purity};
    use crate::Error;
    use crate::golden::{numbers, terms};

    #[test]
    fn agrees_with_scikit_learn() {
        for case in terms()["adjusted_rand"].as_array().unwrap() {
            let labels = |side: &str| -> Vec<i64> {
                numbers(&case[side])
                    .iter()
                    .map(|label| *label as i64)
                    .collect()
            };
            let found = adjusted_rand(&labels("left"), &labels("right")).unwrap();
            assert!((found - case["value"].as_f64().unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn trivial_labellings_agree() {
        assert_eq!(adjusted_rand(&[1, 2, 3], &[4, 5, 6]).unwrap(), 1.0);
        assert_eq!(adjusted_rand(&[1, 1, 1], &[4, 4, 4]).unwrap(), 1.0);
        assert_eq!(adjusted_rand(&[1], &[2]).unwrap(), 1.0);
        assert_eq!(adjusted_rand::<u8, u8>(&[], &[]).unwrap(), 1.0);
        assert_eq!(adjusted_rand(&[1, 1, 1], &[1, 2, 3]).unwrap(), 0.0);
    }

    #[test]
    fn purity_counts_the_most_frequent_class_and_no_noise() {
        let classes = ["law", "law", "finance", "finance", "finance", "law"];
        let found = purity(&[0, 0, 0, 1, 1, -1], &classes).unwrap();
        assert_eq!(found, Some(0.8));
        assert_eq!(purity(&[-1, -1], &["law", "law"]).unwrap(), None);
    }

    #[test]
    fn lists_of_different_lengths_are_an_error() {
        assert!(matches!(
            adjusted_rand(&[1], &[1, 2]),
            Err(Error::Count {
                expected: 1,
                found: 2,
                ..
            })
        ));
        assert!(matches!(purity(&[1, 2], &[1]), Err(Error::Count { .. })));
    }
}
