use ndarray::{Array2, ArrayView2, array, s};
use serde_json::Value;

use super::{Components, Moments, Pca};
use crate::golden::{matrix, numbers, rows, terms};
use crate::{Error, MAX_WIDTH};

fn pca(rows: ArrayView2<'_, f32>) -> Pca {
    let mut moments = Moments::new(rows.ncols()).unwrap();
    moments.push(rows).unwrap();
    moments.decompose().unwrap()
}

fn random(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    Array2::from_shape_simple_fn((rows, width), || random.f32() - 0.5)
}

fn largest_difference<'a>(
    left: impl IntoIterator<Item = &'a f64>,
    right: impl IntoIterator<Item = &'a f64>,
) -> f64 {
    let pairs = left.into_iter().zip(right);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn agrees_with_scikit_learn() {
    for case in terms()["pca"].as_array().unwrap() {
        let rows = rows(&case["rows"]);
        let pca = pca(rows.view());
        let expected = matrix(&case["components"]);
        for (index, component) in expected.rows().into_iter().enumerate() {
            let found = pca.component(index).unwrap();
            assert!(
                largest_difference(found, component) < 1e-5,
                "component {index}"
            );
        }
        assert!(largest_difference(pca.mean(), &numbers(&case["mean"])) < 1e-5);
        let variance = numbers(&case["explained_variance"]);
        assert!(largest_difference(pca.explained_variance(), &variance) < 1e-5 * variance[0]);
        let ratio = numbers(&case["explained_variance_ratio"]);
        assert!(largest_difference(&pca.explained_variance_ratio(), &ratio) < 1e-5);
        for share in case["components_for"].as_array().unwrap() {
            let (share, count) = (share[0].as_f64().unwrap(), share[1].as_u64().unwrap());
            assert_eq!(pca.components_for(share), count as usize, "for {share}");
            let projection = pca.projection(Components::Variance(share), None).unwrap();
            assert_eq!(projection.output_width(), count as usize);
            assert!(projection.explained_share() > share);
        }
        projects_as_scikit_learn(&pca, &rows, case);
    }
}

fn projects_as_scikit_learn(pca: &Pca, rows: &Array2<f32>, case: &Value) {
    let expected = matrix(&case["coordinates"]);
    let projection = pca
        .projection(Components::Count(expected.ncols()), None)
        .unwrap();
    let found = projection.coordinates(rows.view()).unwrap();
    assert!(largest_difference(&found.mapv(f64::from), &expected) < 1e-5);
    let reduced = projection.reduce(rows.view()).unwrap().mapv(f64::from);
    assert!(largest_difference(&reduced, &matrix(&case["reduced"])) < 1e-5);
    for (row, expected) in rows.rows().into_iter().zip(matrix(&case["reduced"]).rows()) {
        let one = projection.reduce_one(row.as_slice().unwrap()).unwrap();
        let one: Vec<f64> = one.into_iter().map(f64::from).collect();
        assert!(largest_difference(&one, expected) < 1e-5);
    }
}

#[test]
fn parts_and_threads_do_not_change_a_bit() {
    let rows = random(2500, 300, 1);
    let whole = pca(rows.view());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let parts = pool.unwrap().install(|| {
        let mut moments = Moments::new(300).unwrap();
        for start in (0..2500).step_by(70) {
            let part = rows.slice(s![start..2500.min(start + 70), ..]);
            moments.push(part).unwrap();
        }
        assert_eq!(moments.count(), 2500);
        moments.decompose().unwrap()
    });
    assert_eq!(whole.explained_variance(), parts.explained_variance());
    assert_eq!(whole.component(7), parts.component(7));
}

#[test]
fn a_mean_far_from_zero_costs_no_accuracy() {
    // Multiples of 1/64 stay exact in float32 after the shift.
    let rows = random(3000, 5, 2).mapv(|number| (number * 64.0).round() / 64.0);
    let shifted = &rows + 4096.0;
    let (near, far) = (pca(rows.view()), pca(shifted.view()));
    let variances = (near.explained_variance(), far.explained_variance());
    assert!(largest_difference(variances.0, variances.1) < 1e-12);
}

#[test]
fn fewer_rows_than_dimensions_have_fewer_components() {
    let pca = pca(random(4, 10, 3).view());
    assert!(pca.projection(Components::Count(3), None).is_ok());
    let error = pca.projection(Components::Count(4), None).unwrap_err();
    let message = "4 rows are too few for so many principal components: at least 5 are needed";
    assert_eq!(error.to_string(), message);
    assert_eq!(&pca.explained_variance()[3..], [0.0; 7]);
    assert_eq!(pca.components_for(1.0), 3);
}

#[test]
fn a_constant_dimension_has_no_variance() {
    let mut rows = random(30, 3, 4);
    rows.column_mut(1).fill(0.25);
    let pca = pca(rows.view());
    assert!(pca.explained_variance()[2] < 1e-15);
    let component = pca.component(2).unwrap();
    assert!(largest_difference(component, &[0.0, 1.0, 0.0]) < 1e-12);
    assert!(pca.component(3).is_none());
}

#[test]
fn impossible_input_is_an_error() {
    assert!(matches!(
        Moments::new(0),
        Err(Error::UnsupportedWidth { .. })
    ));
    assert!(matches!(
        Moments::new(MAX_WIDTH + 1),
        Err(Error::UnsupportedWidth { .. })
    ));

    let mut moments = Moments::new(2).unwrap();
    let wide = moments.push(array![[1.0, 2.0, 3.0]].view());
    assert!(matches!(
        wide,
        Err(Error::Width {
            expected: 2,
            found: 3
        })
    ));
    moments.push(array![[1.0, 2.0]].view()).unwrap();
    let bad = moments.push(array![[1.0, 2.0], [0.0, f32::NAN]].view());
    assert!(matches!(
        bad,
        Err(Error::NotFinite {
            row: 2,
            column: 1,
            ..
        })
    ));
    assert_eq!(moments.count(), 1, "none of the rejected rows is added");
    let one = moments.decompose();
    assert!(matches!(
        one,
        Err(Error::TooFewRows {
            rows: 1,
            needed: 2,
            ..
        })
    ));

    let mut equal = Moments::new(2).unwrap();
    let rows = Array2::from_shape_fn((1001, 2), |(_, column)| [0.1, 1e4][column]);
    equal.push(rows.view()).unwrap();
    let equal = equal.decompose();
    assert!(matches!(equal, Err(Error::NoVariance { rows: 1001 })));

    let pca = pca(random(9, 3, 5).view());
    for (count, range) in [(0, "must be at least 1"), (4, "must be from 1 to 3")] {
        let error = pca.projection(Components::Count(count), None).unwrap_err();
        assert!(error.to_string().contains(range), "{error}");
    }
    for share in [0.0, 1.0, f64::NAN] {
        let error = pca.projection(Components::Variance(share), None);
        assert!(matches!(error, Err(Error::Setting { .. })));
    }
}
