//! int8 with default options keeps its quality on nano, and on checkpoints that compute the same function but are hard to
//! quantise: rounding to nearest fails on them.

use lexivec_convert::{AccuracyTarget, Calibration, ConvertOptions};
use lexivec_models::{LinearPrecision, MANIFEST_FILE, Manifest, Precision, Target};
use lexivec_runtime::Library;
use lexivec_tests::surgery::Surgery;
use ort::session::Session;

use crate::quality::{Quality, hard_case};
use crate::support::{converted, nano, options, options_for};

const REQUIRED: Quality = Quality {
    min: 0.995,
    mean: 0.999,
};

/// Checks a case on which rounding to nearest fails.
fn hard(name: &str, surgery: &Surgery) {
    let plain = hard_case(name, surgery, Precision::Int8, REQUIRED);
    assert!(!plain.reaches(REQUIRED), "{name} is not hard: {plain:?}");
}

#[test]
fn nano_keeps_its_vectors() {
    let model = converted(&nano(), &options(Precision::Int8));
    let quality = Quality::of(&model.report.dir);
    assert!(quality.reaches(REQUIRED), "{quality:?}");
    computes_integers(&model.report.dir, Target::Cpu);
}

#[test]
fn inputs_are_rotated_where_the_graph_can_and_the_manifest_says_so() {
    for target in [Target::Cpu, Target::Ort] {
        let options = ConvertOptions {
            target,
            ..options(Precision::Int8)
        };
        let model = converted(&nano(), &options);
        let plan = Manifest::read(&model.report.dir)
            .unwrap()
            .quantization
            .unwrap();
        let rotated = plan.linear_groups.iter().filter(|g| g.rotation.is_some());
        let expected = target == Target::Cpu;
        assert_eq!(rotated.count() > 0, expected, "{target}: {plan:?}");
        assert_eq!(plan.rotation_seed.is_some(), expected);
    }
}

#[test]
fn channel_outliers_are_smoothed_away() {
    hard("channel outliers", &Surgery::on(&nano()).channel_outliers());
}

#[test]
fn large_up_and_small_down_are_balanced() {
    hard(
        "large up, small down",
        &Surgery::on(&nano()).large_up_small_down(),
    );
}

#[test]
fn heavy_tails_are_smoothed() {
    hard("heavy tails", &Surgery::on(&nano()).heavy_tails());
}

#[test]
fn massive_activations_do_not_drown_other_tokens() {
    hard("massive tokens", &Surgery::on(&nano()).massive_tokens());
}

#[test]
fn a_calibration_is_reproducible_and_cached() {
    let cache = tempfile::tempdir().unwrap();
    let kept = ConvertOptions {
        calibration: Some(Calibration {
            cache: Some(cache.path().to_path_buf()),
            ..Calibration::default()
        }),
        ..options(Precision::Int8)
    };
    let digest = |options: &ConvertOptions| {
        let model = converted(&nano(), options);
        Manifest::read(&model.report.dir).unwrap().digest()
    };
    let first = digest(&kept);
    // Once from the cache, and once from scratch.
    assert_eq!(digest(&kept), first);
    assert_eq!(digest(&options(Precision::Int8)), first);
    assert_eq!(fs_err::read_dir(cache.path()).unwrap().count(), 1);
}

#[test]
fn a_manifest_with_the_former_names_of_linear_groups_is_read() {
    let model = converted(&nano(), &options(Precision::Int8));
    let dir = &model.report.dir;
    let current = Manifest::read(dir).unwrap();
    let path = dir.join(MANIFEST_FILE);
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.contains("\"linear_groups\"") && text.contains("\"sensitivity\""));
    let former = text
        .replace("\"linear_groups\"", "\"products\"")
        .replace("\"sensitivity\"", "\"effect\"");
    fs_err::write(&path, former).unwrap();
    assert_eq!(Manifest::read(dir).unwrap(), current);
}

/// The number of nodes of an operator in a graph file. Only the field of a node's type has this tag and text.
fn count_of(graph: &[u8], operator: &str) -> usize {
    let field = [
        &[0x22, u8::try_from(operator.len()).unwrap()],
        operator.as_bytes(),
    ]
    .concat();
    graph.windows(field.len()).filter(|w| *w == field).count()
}

/// Checks that every linear layer of a model's plan is computed with integers: by our own operator, or by ONNX Runtime's after its
/// optimisations.
fn computes_integers(dir: &std::path::Path, target: Target) {
    let plan = Manifest::read(dir).unwrap().quantization.unwrap();
    // The layers of `q_proj+k_proj+v_proj` are separate nodes that share a quantised input.
    let layers_of = |precision| -> usize {
        let groups = plan.linear_groups.iter();
        let groups = groups.filter(|group| group.precision == precision);
        groups.map(|group| group.name.split('+').count()).sum()
    };
    let (coarse, fine) = (
        layers_of(LinearPrecision::Int8),
        layers_of(LinearPrecision::Int8x2),
    );
    if target == Target::Cpu {
        let graph = fs_err::read(dir.join("model.onnx")).unwrap();
        assert_eq!(count_of(&graph, "Int8Linear"), coarse + fine);
        assert_eq!(count_of(&graph, "MatMul"), 0);
        return;
    }
    let library = Library::load(None, false).unwrap();
    let optimized = tempfile::tempdir().unwrap().keep().join("optimized.onnx");
    let session = Session::builder(library.environment())
        .unwrap()
        .with_optimized_model_path(&optimized)
        .unwrap()
        .commit_from_file(dir.join("model.onnx"))
        .unwrap();
    drop(session);
    let graph = fs_err::read(&optimized).unwrap();
    fs_err::remove_dir_all(optimized.parent().unwrap()).unwrap();
    assert_eq!(count_of(&graph, "MatMulIntegerToFloat"), coarse + 2 * fine);
    assert_eq!(count_of(&graph, "MatMul"), 0);
}

#[test]
fn a_higher_cosine_is_reached_by_finer_linear_groups() {
    for target in [Target::Cpu, Target::Ort, Target::Standard] {
        let asked = ConvertOptions {
            target,
            ..options_for(Precision::Int8, AccuracyTarget::at_least(0.9999))
        };
        let model = converted(&nano(), &asked);
        let plan = Manifest::read(&model.report.dir)
            .unwrap()
            .quantization
            .unwrap();
        assert!(plan.min_cosine >= 0.9999, "{plan:?}");
        // Where ONNX Runtime's products saturate, more bits for activations do not help, and finer groups are float32.
        let finer = |p: LinearPrecision| match target {
            Target::Cpu => p == LinearPrecision::Int8x2,
            _ => p != LinearPrecision::Int8,
        };
        assert!(plan.linear_groups.iter().any(|p| finer(p.precision)));
        let quality = Quality::of(&model.report.dir);
        assert!(quality.min > 0.9995, "{target}: {quality:?}");
        if target != Target::Standard {
            computes_integers(&model.report.dir, target);
        }
    }
}
