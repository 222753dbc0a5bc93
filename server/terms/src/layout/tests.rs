use ndarray::{Array2, array, s};
use serde_json::Value;

use super::{NEIGHBOURS, place, trustworthiness};
use crate::golden::{matrix, numbers, rows, terms};
use crate::pca::{Components, Moments};
use crate::{Error, Metric, Neighbours};

fn random(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    Array2::from_shape_simple_fn((rows, width), || random.f32() - 0.5)
}

fn mapped(rows: &Array2<f32>, seed: u64) -> Array2<f32> {
    let count = NEIGHBOURS.min(rows.nrows() - 1);
    let neighbours = Neighbours::find(rows.view(), count, Metric::Cosine).unwrap();
    let mut moments = Moments::new(rows.ncols()).unwrap();
    moments.push(rows.view()).unwrap();
    let pca = moments.decompose().unwrap();
    let projection = pca.projection(Components::Count(2), None).unwrap();
    let first = projection.coordinates(rows.view()).unwrap();
    place(&neighbours, first.view(), seed).unwrap()
}

/// The golden maps, and the rows that they show.
fn golden() -> Vec<(Value, Array2<f32>)> {
    let terms = terms();
    let rows_of = |name: &Value| {
        let all = terms["clusterings"].as_array().unwrap().iter();
        let found = all.clone().find(|case| case["name"] == *name).unwrap();
        rows(&found["rows"])
    };
    let maps = terms["maps"].as_array().unwrap().iter();
    maps.map(|case| (case.clone(), rows_of(&case["name"])))
        .collect()
}

#[test]
fn trustworthiness_agrees_with_scikit_learn() {
    for (case, rows) in golden() {
        let places = matrix(&case["places"]).mapv(|number| number as f32);
        let counts = numbers(&case["neighbours"]);
        for (count, expected) in counts.iter().zip(numbers(&case["pca"])) {
            let count = *count as usize;
            let trust = |sample| {
                trustworthiness(rows.view(), Metric::Cosine, places.view(), count, sample).unwrap()
            };
            assert!((trust(usize::MAX) - expected).abs() < 1e-6, "{expected}");
            // A sample of two thirds.
            assert!(
                (trust(rows.nrows() * 2 / 3) - expected).abs() < 0.02,
                "{expected}"
            );
        }
    }
}

#[test]
fn a_map_is_as_trustworthy_as_that_of_umap_learn() {
    for (case, rows) in golden() {
        let maps: Vec<_> = (1..=5).map(|seed| mapped(&rows, seed)).collect();
        let counts = numbers(&case["neighbours"]);
        for (count, umap) in counts.iter().zip(numbers(&case["umap"])) {
            let trust = |places: &Array2<f32>| {
                let count = *count as usize;
                trustworthiness(
                    rows.view(),
                    Metric::Cosine,
                    places.view(),
                    count,
                    usize::MAX,
                )
                .unwrap()
            };
            let mean = maps.iter().map(trust).sum::<f64>() / maps.len() as f64;
            println!("{}, {count} neighbours: {mean:.3}", case["name"]);
            assert!(
                mean > umap - 0.002,
                "{}: {mean}, umap-learn {umap}",
                case["name"]
            );
        }
    }
}

#[test]
fn threads_do_not_change_a_bit_and_seeds_do() {
    let rows = random(700, 12, 1);
    let map = mapped(&rows, 1);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let again = pool.unwrap().install(|| mapped(&rows, 1));
        assert_eq!(map, again);
    }
    assert_ne!(map, mapped(&rows, 2));
}

#[test]
fn equal_rows_and_few_rows_have_finite_places() {
    for count in [2, 3, 40] {
        let mut rows = Array2::ones((count, 4));
        let neighbours = Neighbours::find(rows.view(), NEIGHBOURS.min(count - 1), Metric::Cosine);
        let first = Array2::zeros((count, 2));
        let places = place(&neighbours.unwrap(), first.view(), 1).unwrap();
        assert!(places.iter().all(|number| number.is_finite()), "{places}");
        assert_ne!(
            places.row(0),
            places.row(1),
            "equal rows do not hide each other"
        );
        if count == 2 {
            // Two rows have one principal component.
            continue;
        }
        rows.row_mut(0).assign(&array![0.0, 1.0, 0.0, 0.0]);
        assert!(mapped(&rows, 1).iter().all(|number| number.is_finite()));
    }
}

#[test]
fn groups_are_apart() {
    let mut rows = random(90, 6, 4) * 0.2;
    for (row, mut numbers) in rows.rows_mut().into_iter().enumerate() {
        numbers[row % 3] += 1.0;
    }
    let map = mapped(&rows, 1);
    let centre = |group: usize| {
        map.slice(s![group..;3, ..])
            .mean_axis(ndarray::Axis(0))
            .unwrap()
    };
    for (row, place) in map.rows().into_iter().enumerate() {
        let distance = |group: usize| {
            let difference = &place - &centre(group);
            difference.dot(&difference)
        };
        let nearest = (0..3).min_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        assert_eq!(nearest, Some(row % 3));
    }
}

#[test]
fn impossible_input_is_an_error() {
    let rows = random(6, 3, 5);
    let neighbours = Neighbours::find(rows.view(), 2, Metric::Cosine).unwrap();
    let few = place(&neighbours, rows.slice(s![..5, ..2]), 1);
    assert!(matches!(
        few,
        Err(Error::Count {
            expected: 6,
            found: 5,
            ..
        })
    ));
    let wide = place(&neighbours, rows.view(), 1);
    assert!(matches!(
        wide,
        Err(Error::Width {
            expected: 2,
            found: 3
        })
    ));
    let mut first = rows.slice(s![.., ..2]).to_owned();
    first[[2, 1]] = f32::NAN;
    assert!(matches!(
        place(&neighbours, first.view(), 1),
        Err(Error::NotFinite { row: 2, .. })
    ));

    let trust = |count, places: &Array2<f32>| {
        trustworthiness(rows.view(), Metric::Cosine, places.view(), count, 6)
    };
    let places = random(6, 2, 6);
    assert!(trust(2, &places).is_ok());
    for count in [0, 3] {
        assert!(matches!(trust(count, &places), Err(Error::Setting { .. })));
    }
    let short = random(5, 2, 6);
    assert!(matches!(trust(2, &short), Err(Error::Count { .. })));
}
