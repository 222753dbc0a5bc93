use ndarray::{Array2, array};

use super::{Neighbours, Search};
use crate::space::Space;
use crate::{Error, Metric};

fn random(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    Array2::from_shape_simple_fn((rows, width), || random.f32() - 0.5)
}

/// The nearest rows by sorting all distances.
fn brute(rows: &Array2<f32>, count: usize, metric: Metric) -> Vec<Vec<(u32, f64)>> {
    let space = Space::new(rows.view(), metric).unwrap();
    let others = |row: u32| (0..rows.nrows() as u32).filter(move |other| *other != row);
    let list = |row| {
        let mut list: Vec<_> = others(row).map(|o| (o, space.squared(row, o))).collect();
        list.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        list.truncate(count);
        list.iter()
            .map(|(o, squared)| (*o, metric.of_squared(*squared)))
            .collect()
    };
    (0..rows.nrows() as u32).map(list).collect()
}

fn check(rows: &Array2<f32>, count: usize) {
    check_with(rows, count, &[Metric::Cosine, Metric::Euclidean]);
}

fn check_with(rows: &Array2<f32>, count: usize, metrics: &[Metric]) {
    for metric in metrics.iter().copied() {
        let found = Neighbours::find(rows.view(), count, metric).unwrap();
        assert_eq!(found.len(), rows.nrows());
        for (row, expected) in brute(rows, count, metric).iter().enumerate() {
            assert_eq!(
                found.of(row).collect::<Vec<_>>(),
                *expected,
                "{metric:?}, row {row}"
            );
        }
    }
}

#[test]
fn finds_what_sorting_all_distances_finds() {
    // Less than a tile, and several tiles.
    check(&random(37, 3, 1), 36);
    check(&random(1300, 20, 2), 7);
}

#[test]
fn equal_rows_and_nearly_equal_ones_are_sorted_exactly() {
    let mut rows = random(600, 8, 3);
    for row in 0..300 {
        let mut copy = rows.row(row % 5).to_owned();
        // The float32 product cannot tell these apart.
        copy[0] += (row / 50) as f32 * 1e-6;
        rows.row_mut(row + 300).assign(&copy);
    }
    check(&rows, 12);
    check(&Array2::ones((530, 4)), 3);
}

#[test]
fn rows_far_from_zero_and_tiny_ones_are_found_exactly() {
    check(&(random(100, 5, 4) + 1000.0), 4);
    check(&(random(100, 5, 5) * 1e-11), 4);
    check(&(random(100, 5, 6) * 1e11), 4);
    for scale in [1e-20, 1e-30, 1e-40] {
        check_with(&(random(100, 5, 7) * scale), 4, &[Metric::Euclidean]);
    }
    // Long and short ones together.
    let mut mixed = random(100, 5, 8);
    for (row, mut numbers) in mixed.rows_mut().into_iter().enumerate() {
        numbers *= [1e-11, 1.0, 1e11][row % 3];
    }
    check(&mixed, 4);
}

#[test]
fn a_transposed_view_is_read_in_its_own_order() {
    let rows = random(6, 40, 7);
    let found = Neighbours::find(rows.t(), 3, Metric::Cosine).unwrap();
    let copy = rows.t().as_standard_layout().into_owned();
    assert_eq!(
        found,
        Neighbours::find(copy.view(), 3, Metric::Cosine).unwrap()
    );
}

#[test]
fn cosine_distance_ignores_lengths() {
    let rows = array![[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]];
    let found = Neighbours::find(rows.view(), 2, Metric::Cosine).unwrap();
    assert_eq!(found.of(0).collect::<Vec<_>>(), [(1, 1.0), (2, 2.0)]);
    assert_eq!(found.of(3).count(), 0);
}

#[test]
fn impossible_input_is_an_error() {
    let mut rows = array![[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]];
    let find = |rows: &Array2<f32>, count, metric| Neighbours::find(rows.view(), count, metric);
    let zero = find(&rows, 1, Metric::Cosine);
    assert!(matches!(zero, Err(Error::ZeroVector { row: 2 })));
    assert!(find(&rows, 1, Metric::Euclidean).is_ok());
    let many = find(&rows, 3, Metric::Euclidean).unwrap_err();
    assert!(many.to_string().contains("at least 4 are needed"), "{many}");
    assert!(matches!(
        find(&rows, 0, Metric::Euclidean),
        Err(Error::Setting { .. })
    ));
    rows[[1, 1]] = f32::MAX;
    assert!(matches!(
        find(&rows, 1, Metric::Euclidean),
        Err(Error::Length { row: 1, .. })
    ));
    rows[[1, 1]] = 1.0;
    rows.row_mut(2).fill(1e-13);
    let short = find(&rows, 1, Metric::Cosine).unwrap_err().to_string();
    assert!(
        short.starts_with("row 2: its length 1.4e-13 is outside"),
        "{short}"
    );
    rows[[1, 0]] = f32::NAN;
    let nan = find(&rows, 1, Metric::Euclidean);
    assert!(matches!(
        nan,
        Err(Error::NotFinite {
            row: 1,
            column: 0,
            ..
        })
    ));
}

/// Rows on a surface of `inner` dimensions, as embeddings are: their neighbours in `width` dimensions are those on the surface.
fn surface(rows: usize, inner: usize, width: usize, seed: u64) -> Array2<f32> {
    let waves = random(inner, width, seed) * 6.0;
    (random(rows, inner, seed + 1).dot(&waves)).mapv(f32::sin)
}

#[test]
fn an_approximate_search_finds_nearly_all_neighbours_and_measures_it() {
    let rows = surface(20_000, 6, 32, 10);
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let [exact, found] = [Search::Exact, Search::Approximate]
            .map(|search| Neighbours::find_by(search, rows.view(), 16, metric).unwrap());
        let ids = |neighbours: &Neighbours, row| -> Vec<u32> {
            neighbours.of(row).map(|(other, _)| other).collect()
        };
        let hits: usize = (0..20_000)
            .map(|row| {
                let exact = ids(&exact, row);
                let found = ids(&found, row);
                assert_eq!(found.len(), 16);
                assert!(!found.contains(&(row as u32)));
                found.iter().filter(|other| exact.contains(other)).count()
            })
            .sum();
        let share = hits as f64 / (16.0 * 20_000.0);
        assert!(share > 0.97 && share < 1.0, "{share}");
        let recall = found.recall(rows.view(), 2000).unwrap();
        assert!((recall - share).abs() < 0.01, "{recall} {share}");
        assert_eq!(exact.recall(rows.view(), 100).unwrap(), 1.0);
        assert!(exact.are_exact() && !found.are_exact());
    }
}

#[test]
fn an_approximate_search_of_few_rows_is_exact() {
    let rows = random(1300, 20, 2);
    let [exact, found] = [Search::Exact, Search::Approximate]
        .map(|search| Neighbours::find_by(search, rows.view(), 7, Metric::Cosine).unwrap());
    for row in 0..1300 {
        assert!(found.of(row).eq(exact.of(row)));
    }
}
