//! Measures of a ranked list of search results, given judgements of relevance.
//!
//! The definitions are those of trec_eval, which BEIR uses: gains are the judgements themselves, and documents without a
//! judgement have a gain of 0.

/// Normalised discounted cumulated gain of the first `k` results, 0 to 1 (Järvelin & Kekäläinen 2002): the sum of
/// `gain / log2(rank + 1)`, over that of the best order there is. `found` are the gains of the results in their order,
/// `judged` those of everything that was judged. `None` if nothing is relevant.
#[must_use]
pub(crate) fn ndcg(found: &[f64], judged: &[f64], k: usize) -> Option<f64> {
    let mut ideal = judged.to_vec();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let best = discounted(&ideal, k);
    (best > 0.0).then(|| discounted(found, k) / best)
}

fn discounted(gains: &[f64], k: usize) -> f64 {
    let terms = gains.iter().take(k).enumerate();
    terms
        .map(|(place, gain)| gain.max(0.0) / (place as f64 + 2.0).log2())
        .sum()
}

/// The share of relevant documents that are among the first `k` results, 0 to 1. `None` if nothing is relevant.
#[must_use]
pub(crate) fn recall(found: &[f64], judged: &[f64], k: usize) -> Option<f64> {
    let relevant = |gains: &[f64]| gains.iter().filter(|gain| **gain > 0.0).count();
    let all = relevant(judged);
    (all > 0).then(|| relevant(&found[..k.min(found.len())]) as f64 / all as f64)
}

/// One over the rank of the first relevant result among the first `k`, or 0 without one (its mean over queries is
/// the MRR of TREC-8's question answering track, Voorhees 1999).
#[must_use]
pub(crate) fn reciprocal_rank(found: &[f64], k: usize) -> f64 {
    let first = found.iter().take(k).position(|gain| *gain > 0.0);
    first.map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        /// Gains of all documents, in the order of a system's scores.
        found: Vec<f64>,
        ndcg: Vec<(usize, f64)>,
        recall: Vec<(usize, f64)>,
        reciprocal_rank: f64,
    }

    #[test]
    fn scikit_learn_and_trec_eval_agree() {
        let golden = crate::golden::measures();
        let cases: Vec<Case> = serde_json::from_value(golden["rankings"].clone()).unwrap();
        assert!(cases.len() >= 5);
        for case in cases {
            for (k, expected) in case.ndcg {
                let found = ndcg(&case.found, &case.found, k).unwrap();
                assert!(
                    (found - expected).abs() < 1e-12,
                    "ndcg@{k}: {found} {expected}"
                );
            }
            for (k, expected) in case.recall {
                let found = recall(&case.found, &case.found, k).unwrap();
                assert!((found - expected).abs() < 1e-12, "recall@{k}");
            }
            let found = reciprocal_rank(&case.found, case.found.len());
            assert!((found - case.reciprocal_rank).abs() < 1e-12);
        }
    }

    #[test]
    fn known_orders_have_the_values_worked_out_by_hand() {
        // Gains 3, 2, 1; found as 2, 3, 0: (2 + 3/log2 3) / (3 + 2/log2 3 + 1/2).
        let log3 = 3f64.log2();
        let expected = (2.0 + 3.0 / log3) / (3.0 + 2.0 / log3 + 0.5);
        let found = ndcg(&[2.0, 3.0, 0.0, 1.0], &[1.0, 2.0, 3.0], 3).unwrap();
        assert!((found - expected).abs() < 1e-15);
        assert_eq!(ndcg(&[3.0, 2.0, 1.0], &[1.0, 3.0, 2.0], 10), Some(1.0));
        assert_eq!(recall(&[0.0, 1.0, 0.0, 1.0], &[1.0, 1.0], 2), Some(0.5));
        assert_eq!(reciprocal_rank(&[0.0, 0.0, 1.0], 10), 1.0 / 3.0);
        assert_eq!(reciprocal_rank(&[0.0, 0.0, 1.0], 2), 0.0);
    }

    #[test]
    fn where_nothing_is_relevant_there_is_nothing_to_measure() {
        assert_eq!(ndcg(&[0.0], &[0.0], 10), None);
        assert_eq!(recall(&[], &[], 10), None);
        assert_eq!(reciprocal_rank(&[], 10), 0.0);
    }
}
