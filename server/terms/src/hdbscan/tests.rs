use ndarray::{Array2, Axis};
use proptest::prelude::*;
use serde_json::Value;

use super::{Clustering, NOISE, Options, Selection};
use crate::agreement::adjusted_rand;
use crate::golden::{numbers, rows, terms};
use crate::{Error, Metric, Neighbours, Search};

/// Options from scikit-learn's parameters.
fn options(settings: &Value) -> Options {
    let count = |name: &str| settings[name].as_u64().map(|count| count as usize);
    let default = Options::default();
    Options {
        min_cluster_size: count("min_cluster_size").unwrap(),
        min_samples: count("min_samples"),
        metric: serde_json::from_value(settings["metric"].clone()).unwrap(),
        selection: match settings["cluster_selection_method"].as_str() {
            Some("leaf") => Selection::Leaf,
            _ => Selection::Eom,
        },
        epsilon: settings["cluster_selection_epsilon"]
            .as_f64()
            .unwrap_or(default.epsilon),
        allow_single_cluster: settings["allow_single_cluster"]
            .as_bool()
            .unwrap_or_default(),
    }
}

fn labels(value: &Value) -> Vec<i32> {
    numbers(value).iter().map(|label| *label as i32).collect()
}

/// Where equal reachability decides, the labels agree with scikit-learn's as well as these do with those of permuted rows.
fn check_ties(found: &Clustering, with_ties: &Value, case: &str) {
    if !with_ties.is_null() {
        let index = adjusted_rand(&found.labels, &labels(&with_ties["labels"])).unwrap();
        let own = with_ties["own_agreement"].as_f64().unwrap();
        assert!(
            index > own - 0.01,
            "{case}: {index}, scikit-learn itself {own}"
        );
    }
}

#[test]
fn agrees_with_scikit_learn() {
    let mut compared = 0;
    for set in terms()["clusterings"].as_array().unwrap() {
        let rows = rows(&set["rows"]);
        for result in set["results"].as_array().unwrap() {
            let case = format!("{}, {}", set["name"], result["settings"]);
            let found = options(&result["settings"]).cluster(rows.view()).unwrap();
            let labels = labels(&result["labels"]);
            let index = adjusted_rand(&found.labels, &labels).unwrap();
            assert!(index == 1.0, "{case}: {index}");
            let noise = |labels: &[i32]| labels.iter().filter(|l| **l == NOISE).count();
            assert_eq!(noise(&found.labels), noise(&labels), "{case}");
            check_ties(&found, &result["with_ties"], &case);
            if !result["probabilities"].is_null() {
                let expected = numbers(&result["probabilities"]);
                for (found, expected) in found.probabilities.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 2e-5,
                        "{case}: {found} {expected}"
                    );
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 50);
}

fn options_of(min_cluster_size: usize, min_samples: usize, metric: Metric) -> Options {
    Options {
        min_cluster_size,
        min_samples: Some(min_samples),
        metric,
        ..Options::default()
    }
}

fn check_invariants(found: &Clustering, rows: usize, options: &Options) {
    assert_eq!(
        (found.labels.len(), found.probabilities.len()),
        (rows, rows)
    );
    let mut sizes = vec![0_usize; found.clusters];
    for (label, probability) in found.labels.iter().zip(&found.probabilities) {
        assert!((0.0..=1.0).contains(probability));
        assert_eq!(*label == NOISE, *probability == 0.0);
        if *label != NOISE {
            sizes[*label as usize] += 1;
        }
    }
    // Labels are contiguous, the largest cluster first.
    assert!(sizes.iter().all(|size| *size >= options.min_cluster_size));
    assert!(sizes.is_sorted_by(|a, b| a >= b));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permuted_rows_have_permuted_labels(
        seed: u64,
        count in 12_usize..80,
        min_samples in 1_usize..6,
        leaf: bool,
        cosine: bool,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = Array2::from_shape_fn((count, 3), |(row, column)| {
            ((row % 4 + column) % 3) as f32 + random.f32()
        });
        let metric = if cosine { Metric::Cosine } else { Metric::Euclidean };
        let selection = if leaf { Selection::Leaf } else { Selection::Eom };
        let options = Options { selection, ..options_of(4, min_samples, metric) };
        let found = options.cluster(rows.view()).unwrap();
        check_invariants(&found, count, &options);

        let mut order: Vec<usize> = (0..count).collect();
        random.shuffle(&mut order);
        let permuted = options.cluster(rows.select(Axis(0), &order).view()).unwrap();
        let expected: Vec<i32> = order.iter().map(|row| found.labels[*row]).collect();
        prop_assert_eq!(adjusted_rand(&permuted.labels, &expected).unwrap(), 1.0);
        prop_assert_eq!(permuted.clusters, found.clusters);
        for (place, row) in order.iter().enumerate() {
            prop_assert!((permuted.probabilities[place] - found.probabilities[*row]).abs() < 1e-9);
        }
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let mut random = fastrand::Rng::with_seed(9);
    let rows = Array2::from_shape_fn((1600, 10), |(row, column)| {
        ((row % 30 * 7 + column * 3) % 11) as f32 + 0.8 * random.f32()
    });
    let cluster = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let options = options_of(5, 3, Metric::Euclidean);
        pool.unwrap()
            .install(|| options.cluster(rows.view()).unwrap())
    };
    let one = cluster(1);
    assert!(one.clusters > 5);
    assert_eq!(one, cluster(2));
    assert_eq!(one, cluster(5));
}

#[test]
fn equal_rows_are_one_cluster() {
    // 40 equal rows, 40 others that are equal, and a few scattered ones.
    let mut random = fastrand::Rng::with_seed(10);
    let rows = Array2::from_shape_fn((90, 2), |(row, column)| match row {
        0..40 => [1.0, 2.0][column],
        40..80 => [2.0, 1.0][column],
        _ => random.f32() * 3.0,
    });
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let options = options_of(5, 4, metric);
        let found = options.cluster(rows.view()).unwrap();
        check_invariants(&found, 90, &options);
        assert!(
            found.labels[..40]
                .iter()
                .all(|label| *label == found.labels[0])
        );
        assert!(
            found.labels[40..80]
                .iter()
                .all(|label| *label == found.labels[40])
        );
        assert_ne!(found.labels[0], found.labels[40]);
        assert_ne!(found.labels[0], NOISE);
        assert!(found.probabilities[..80].iter().all(|p| *p == 1.0));
    }
    let all = Options {
        allow_single_cluster: true,
        ..options_of(5, 4, Metric::Cosine)
    };
    let found = all.cluster(Array2::ones((20, 3)).view()).unwrap();
    assert_eq!((found.clusters, &found.labels), (1, &vec![0; 20]));
}

#[test]
fn fewer_rows_than_a_cluster_are_noise() {
    let rows = Array2::from_shape_fn((4, 2), |(row, column)| (row * row + column + 1) as f32);
    let found = options_of(5, 2, Metric::Euclidean)
        .cluster(rows.view())
        .unwrap();
    assert_eq!((found.labels, found.clusters), (vec![NOISE; 4], 0));
}

#[test]
fn impossible_settings_are_errors() {
    let rows = Array2::from_shape_fn((6, 2), |(row, column)| (row + column + 1) as f32);
    let fails = |options: Options| options.cluster(rows.view()).unwrap_err().to_string();
    let good = options_of(3, 2, Metric::Euclidean);
    let size = fails(Options {
        min_cluster_size: 1,
        ..good.clone()
    });
    assert_eq!(
        size,
        "the smallest cluster size is 1, and must be at least 2"
    );
    let samples = fails(Options {
        min_samples: Some(0),
        ..good.clone()
    });
    assert_eq!(
        samples,
        "the number of samples is 0, and must be at least 1"
    );
    let many = fails(Options {
        min_samples: Some(7),
        ..good.clone()
    });
    assert!(many.starts_with("6 rows are too few"), "{many}");
    for epsilon in [-0.1, f64::NAN, f64::INFINITY] {
        let error = fails(Options {
            epsilon,
            ..good.clone()
        });
        assert!(error.contains("must be a finite number"), "{error}");
    }
    let one = good.cluster(rows.slice(ndarray::s![..1, ..]));
    assert!(matches!(
        one,
        Err(Error::TooFewRows {
            rows: 1,
            needed: 2,
            ..
        })
    ));
}

#[test]
fn neighbours_that_are_known_already_give_the_same_clusters() {
    let rows = rows(&terms()["clusterings"][2]["rows"]);
    let options = Options::default();
    let find = |count, metric| crate::Neighbours::find(rows.view(), count, metric).unwrap();
    let listed = options.listed(rows.nrows());
    let found = options.cluster_with(rows.view(), &find(listed + 3, Metric::Cosine));
    assert_eq!(found.unwrap(), options.cluster(rows.view()).unwrap());
    let few = find(listed - 1, Metric::Cosine);
    let other = find(listed, Metric::Euclidean);
    for wrong in [&few, &other] {
        let found = options.cluster_with(rows.view(), wrong);
        assert!(matches!(found, Err(Error::Setting { .. })));
    }
    let part = rows.slice(ndarray::s![1.., ..]);
    let found = options.cluster_with(part, &find(listed, Metric::Cosine));
    assert!(matches!(found, Err(Error::Count { .. })));
}

#[test]
fn clusters_of_an_approximate_search_are_nearly_those_of_an_exact_one() {
    let mut random = fastrand::Rng::with_seed(11);
    let centers = Array2::from_shape_simple_fn((300, 10), || random.f32() - 0.5);
    let rows = Array2::from_shape_fn((20_000, 10), |(row, column)| {
        centers[[row % 300, column]] + 0.1 * (random.f32() - 0.5)
    });
    let options = Options {
        min_cluster_size: 10,
        ..Options::default()
    };
    let listed = options.listed(20_000);
    let cluster = |search| {
        let neighbours = Neighbours::find_by(search, rows.view(), listed, options.metric).unwrap();
        options.cluster_with(rows.view(), &neighbours).unwrap()
    };
    let [exact, found] = [Search::Exact, Search::Approximate].map(cluster);
    let index = adjusted_rand(&exact.labels, &found.labels).unwrap();
    assert!(
        exact.clusters > 250 && index > 0.99,
        "{} {index}",
        exact.clusters
    );
}
