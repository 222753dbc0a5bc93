//! Retrieval: queries, documents, judgements of which document is relevant to which query, and the scores of a search.

use lexivec_runtime::vector::dot;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval};
use crate::ranking::{ndcg, recall, reciprocal_rank};
use crate::statistics::mean;
use crate::vectors::Vectors;

/// The number of results that are scored.
const RESULTS: usize = 100;

/// A retrieval set.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// Its name.
    pub name: String,
    /// Queries with at least one relevant document.
    pub queries: Vec<Query>,
    /// All documents.
    pub documents: Vec<String>,
    /// The instruction before each query. Documents have none.
    pub instruction: Option<String>,
}

/// A query and its judgements.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its name in the set.
    pub id: String,
    /// Its text, without an instruction.
    pub text: String,
    /// Judged documents, by position, and their gain: 0 if the document is not relevant.
    pub judged: Vec<(usize, f64)>,
    /// The document that is the query itself, if any. As in BEIR, a query must not find itself.
    pub itself: Option<usize>,
}

/// The scores of a search at one width: means over the queries, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetrievalMeasures {
    /// The width of the vectors.
    pub dimensions: usize,
    /// Normalised discounted cumulated gain of the first ten results.
    pub ndcg_at_10: f64,
    /// The share of relevant documents that are among the first ten results.
    pub recall_at_10: f64,
    /// The share of relevant documents that are among the first hundred results.
    pub recall_at_100: f64,
    /// One over the rank of the first relevant result among the first ten, or 0.
    pub mrr_at_10: f64,
}

/// The scores of each query, in the order of the set's queries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueryScores {
    /// The means.
    pub(crate) measures: RetrievalMeasures,
    /// nDCG@10 of each query.
    pub(crate) ndcg_at_10: Vec<f64>,
}

impl Retrieval {
    /// The texts of the queries with their instruction.
    #[must_use]
    pub(crate) fn prompts(&self) -> Vec<String> {
        let prompt = |query: &Query| match &self.instruction {
            Some(instruction) => lexivec_models::with_instruction(instruction, &query.text),
            None => query.text.clone(),
        };
        self.queries.iter().map(prompt).collect()
    }

    /// Searches with vectors truncated to a width, and scores the results. Equally near documents keep their order.
    #[must_use]
    pub(crate) fn score(
        &self,
        queries: &Vectors,
        documents: &Vectors,
        width: usize,
    ) -> QueryScores {
        let (queries, documents) = (queries.truncated(width), documents.truncated(width));
        let scores: Vec<[f64; 4]> = self
            .queries
            .par_iter()
            .enumerate()
            .map(|(i, query)| {
                let found = search(queries.row(i), &documents, query.itself);
                let gain = |document: &usize| {
                    let judged = query.judged.iter().find(|(judged, _)| judged == document);
                    judged.map_or(0.0, |(_, gain)| *gain)
                };
                let gains: Vec<f64> = found.iter().map(gain).collect();
                let judged: Vec<f64> = query.judged.iter().map(|(_, gain)| *gain).collect();
                [
                    ndcg(&gains, &judged, 10).unwrap_or(0.0),
                    recall(&gains, &judged, 10).unwrap_or(0.0),
                    recall(&gains, &judged, 100).unwrap_or(0.0),
                    reciprocal_rank(&gains, 10),
                ]
            })
            .collect();
        let column = |place: usize| -> Vec<f64> { scores.iter().map(|s| s[place]).collect() };
        let average = |place| mean(&column(place)).unwrap_or(0.0);
        QueryScores {
            measures: RetrievalMeasures {
                dimensions: width,
                ndcg_at_10: average(0),
                recall_at_10: average(1),
                recall_at_100: average(2),
                mrr_at_10: average(3),
            },
            ndcg_at_10: column(0),
        }
    }
}

/// The interval of the mean difference between the candidate's nDCG@10 and the baseline's, over the same queries.
#[must_use]
pub(super) fn ndcg_change(
    baseline: &QueryScores,
    candidate: &QueryScores,
    bootstrap: Bootstrap,
) -> Option<Interval> {
    let pairs = baseline.ndcg_at_10.iter().zip(&candidate.ndcg_at_10);
    let changes: Vec<f64> = pairs.map(|(before, after)| after - before).collect();
    bootstrap.mean(&changes)
}

/// The documents nearest to a query, nearest first.
fn search(query: &[f32], documents: &Vectors, itself: Option<usize>) -> Vec<usize> {
    let scores: Vec<f64> = (0..documents.len())
        .map(|i| dot(query, documents.row(i)))
        .collect();
    let mut found: Vec<usize> = (0..scores.len()).filter(|i| Some(*i) != itself).collect();
    let nearer = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if found.len() > RESULTS {
        found.select_nth_unstable_by(RESULTS, nearer);
        found.truncate(RESULTS);
    }
    found.sort_unstable_by(nearer);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(rows: &[Vec<f32>]) -> Vectors {
        let mut all = Vectors::new(rows[0].len());
        rows.iter().for_each(|row| all.push(row));
        all
    }

    fn query(judged: Vec<(usize, f64)>, itself: Option<usize>) -> Query {
        Query {
            id: "q".to_owned(),
            text: "what is it?".to_owned(),
            judged,
            itself,
        }
    }

    fn set(queries: Vec<Query>, documents: usize) -> Retrieval {
        Retrieval {
            name: "set".to_owned(),
            queries,
            documents: vec![String::new(); documents],
            instruction: None,
        }
    }

    #[test]
    fn trec_eval_agrees_on_a_whole_search() {
        #[derive(Deserialize)]
        struct Golden {
            queries: Vec<Vec<f32>>,
            documents: Vec<Vec<f32>>,
            judgements: Vec<Vec<(usize, f64)>>,
            ndcg_at_10: f64,
            recall_at_10: f64,
            recall_at_100: f64,
            mrr_at_10: f64,
        }
        let golden = crate::golden::measures();
        let golden: Golden = serde_json::from_value(golden["retrieval"].clone()).unwrap();
        let queries = golden.judgements.into_iter().map(|j| query(j, None));
        let set = set(queries.collect(), golden.documents.len());
        let (queries, documents) = (vectors(&golden.queries), vectors(&golden.documents));
        let found = set.score(&queries, &documents, queries.width()).measures;
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(found.ndcg_at_10, golden.ndcg_at_10);
        near(found.recall_at_10, golden.recall_at_10);
        near(found.recall_at_100, golden.recall_at_100);
        near(found.mrr_at_10, golden.mrr_at_10);
    }

    #[test]
    fn a_query_does_not_find_itself() {
        let set = set(vec![query(vec![(1, 1.0)], Some(0))], 2);
        let documents = vectors(&[vec![1.0, 0.0], vec![0.0, 1.0]]);
        let queries = vectors(&[vec![1.0, 0.0]]);
        assert_eq!(set.score(&queries, &documents, 2).measures.ndcg_at_10, 1.0);
    }

    #[test]
    fn the_change_is_paired_and_zero_against_itself() {
        let set = set(vec![query(vec![(0, 1.0)], None); 3], 2);
        let documents = vectors(&[vec![1.0, 0.0], vec![0.0, 1.0]]);
        let good = set.score(&vectors(&vec![vec![1.0, 0.1]; 3]), &documents, 2);
        let bad = set.score(&vectors(&vec![vec![0.1, 1.0]; 3]), &documents, 2);
        let bootstrap = Bootstrap {
            resamples: 20,
            seed: 1,
        };
        let same = ndcg_change(&good, &good, bootstrap).unwrap();
        assert_eq!((same.low, same.high), (0.0, 0.0));
        // The relevant document of every query falls from the first to the second place.
        let fall = 1.0 / 3f64.log2() - 1.0;
        let worse = ndcg_change(&good, &bad, bootstrap).unwrap();
        assert!((worse.low - fall).abs() < 1e-12 && (worse.high - fall).abs() < 1e-12);
    }

    #[test]
    fn queries_get_the_instruction() {
        let mut set = set(vec![query(vec![(0, 1.0)], None)], 1);
        assert_eq!(set.prompts(), ["what is it?"]);
        set.instruction = Some("Find it:".to_owned());
        assert_eq!(set.prompts(), ["Instruct: Find it:\nQuery:what is it?"]);
    }
}
