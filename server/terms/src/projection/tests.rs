use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use safetensors::tensor::{Dtype, TensorView};

use super::Projection;
use crate::Error;
use crate::pca::{Components, Moments};

fn projection(model: Option<&str>) -> Projection {
    let mut random = fastrand::Rng::with_seed(6);
    let rows = Array2::from_shape_simple_fn((50, 6), || random.f32() - 0.3);
    let mut moments = Moments::new(6).unwrap();
    moments.push(rows.view()).unwrap();
    let pca = moments.decompose().unwrap();
    let model = model.map(str::to_owned);
    pca.projection(Components::Count(3), model).unwrap()
}

fn in_folder(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

fn reason(path: &Path, bytes: &[u8]) -> String {
    fs_err::write(path, bytes).unwrap();
    let error = Projection::load(path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    error
}

#[test]
fn one_vector_is_projected_as_many_are() {
    let mut random = fastrand::Rng::with_seed(8);
    // Widths that leave a rest of lanes, and ones that do not.
    for width in [1, 7, 16, 21] {
        let rows = Array2::from_shape_simple_fn((40, width), || random.f32() + 2.0);
        let mut moments = Moments::new(width).unwrap();
        moments.push(rows.view()).unwrap();
        let pca = moments.decompose().unwrap();
        let kept = Components::Count(width.min(5));
        let projection = pca.projection(kept, None).unwrap();
        let expected = projection.reduce(rows.view()).unwrap();
        for (row, expected) in rows.rows().into_iter().zip(expected.rows()) {
            let found = projection.reduce_one(row.as_slice().unwrap()).unwrap();
            let pairs = found.iter().zip(expected);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
    let projection = projection(None);
    let wrong = projection.reduce_one(&[1.0; 5]).unwrap_err();
    assert!(matches!(
        wrong,
        Error::Width {
            expected: 6,
            found: 5
        }
    ));
    let wrong = projection.reduce_one(&[f32::NAN; 6]).unwrap_err();
    assert!(matches!(wrong, Error::NotFinite { .. }));
    let mean: Vec<f32> = projection.mean.to_vec();
    let wrong = projection.reduce_one(&mean).unwrap_err();
    assert!(matches!(wrong, Error::ZeroVector { .. }));
}

#[test]
fn a_saved_projection_is_the_same() {
    for model in [Some("abc"), None] {
        let (folder, path) = in_folder("projection.safetensors");
        let saved = projection(model);
        saved.save(&path).unwrap();
        saved.save(&path).unwrap();
        assert_eq!(Projection::load(&path).unwrap(), saved);
        let files = fs_err::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "no temporary file stays");
    }
}

#[test]
fn another_models_vectors_are_rejected() {
    let known = projection(Some("abc"));
    assert!(known.check_model("abc").is_ok());
    assert!(matches!(
        known.check_model("abd"),
        Err(Error::OtherModel { .. })
    ));
    assert!(projection(None).check_model("abd").is_ok());
}

#[test]
fn impossible_rows_are_rejected() {
    let projection = projection(None);
    let wide = projection.reduce(Array2::zeros((2, 7)).view());
    assert!(matches!(
        wide,
        Err(Error::Width {
            expected: 6,
            found: 7
        })
    ));
    let mut rows = Array2::ones((3, 6));
    rows[[2, 4]] = f32::INFINITY;
    let infinite = projection.reduce(rows.view());
    assert!(matches!(
        infinite,
        Err(Error::NotFinite {
            row: 2,
            column: 4,
            ..
        })
    ));
    let mean = projection.mean.clone().insert_axis(ndarray::Axis(0));
    assert!(matches!(
        projection.reduce(mean.view()),
        Err(Error::ZeroVector { row: 0 })
    ));
    assert_eq!(
        projection
            .reduce(Array2::zeros((0, 6)).view())
            .unwrap()
            .dim(),
        (0, 3)
    );
}

#[test]
fn reduced_rows_are_unit_vectors() {
    let rows = array![
        [0.5, 0.1, 0.2, 0.3, 0.4, 0.5],
        [9.0, -3.0, 0.0, 1.0, 2.0, 7.0]
    ];
    let reduced = projection(None).reduce(rows.view()).unwrap();
    for row in reduced.rows() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn equal_projections_are_equal_files() {
    let first = projection(Some("abc")).to_bytes().unwrap();
    for _ in 0..20 {
        assert_eq!(projection(Some("abc")).to_bytes().unwrap(), first);
    }
}

#[test]
fn files_that_are_no_projection_are_rejected() {
    let (_folder, path) = in_folder("p.safetensors");
    assert!(matches!(Projection::load(&path), Err(Error::File(_))));
    assert!(reason(&path, b"mean").contains("not a complete .safetensors file"));

    let good = projection(Some("abc")).to_bytes().unwrap();
    let cut = reason(&path, &good[..good.len() - 8]);
    assert!(cut.contains("not a complete .safetensors file"), "{cut}");
    let newer = replaced(&good, br#""version":"1""#, br#""version":"2""#);
    assert!(reason(&path, &newer).contains("has version 2"));
    let wide = replaced(&good, br#""dimensions":"6""#, br#""dimensions":"7""#);
    assert!(reason(&path, &wide).contains("`dimensions` says otherwise"));
    let unnamed = replaced(&good, br#""mean""#, br#""meen""#);
    assert!(reason(&path, &unnamed).contains("there is no tensor `mean`"));
    let infinite = good.len() - 4;
    let mut bad = good.clone();
    bad[infinite..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(reason(&path, &bad).contains("numbers that no projection has"));

    let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    let other = safetensors::serialize([("weight", view)], None).unwrap();
    assert!(reason(&path, &other).contains("its metadata has no `format`"));
}

#[test]
fn numbers_that_overflow_are_an_error() {
    let mut projection = projection(None);
    projection.mean.fill(3e38);
    let vector = vec![0.5; projection.input_width()];
    for result in [
        projection.reduce_one(&vector),
        projection.coordinates_of(&vector),
    ] {
        // The sum of large numbers may be finite, but never NaN, infinite, or a zero vector.
        match result {
            Ok(numbers) => {
                assert!(numbers.iter().all(|n| n.is_finite()) && numbers.iter().any(|n| *n != 0.0))
            }
            Err(error) => assert!(matches!(
                error,
                Error::NotFinite { .. } | Error::ZeroVector { .. }
            )),
        }
    }
    projection.components.fill(3e38);
    assert!(matches!(
        projection.coordinates_of(&vector),
        Err(Error::NotFinite { .. })
    ));
}

/// A device has no size, and no end.
#[test]
fn a_file_without_an_end_is_rejected() {
    let error = Projection::load(Path::new("/dev/zero")).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn an_unwritable_folder_names_the_file() {
    let path = Path::new("/no/such/folder/p.safetensors");
    let error = projection(None).save(path).unwrap_err().to_string();
    assert!(
        error.starts_with("/no/such/folder/p.safetensors: it cannot be written"),
        "{error}"
    );
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from);
    let at = at.unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
