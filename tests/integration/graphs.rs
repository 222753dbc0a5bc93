//! What the written directories hold: linked weights, aligned data, operators of the target alone.

use lexivec_convert::ConvertOptions;
use lexivec_models::{Manifest, Precision, Target, Verification, WeightStorage};
use lexivec_runtime::{Error, Library, SessionSettings, open_network};

use crate::support::{converted, nano, options};

/// Whether the bytes of a graph mention a name; operator names and domains are stored as plain text.
fn mentions(graph: &[u8], name: &str) -> bool {
    graph.windows(name.len()).any(|w| w == name.as_bytes())
}

#[test]
fn bf16_shares_the_checkpoints_file_and_is_rejected_on_a_cpu() {
    use std::os::unix::fs::MetadataExt as _;
    // In a folder on the same file system as the output, so that a hard link can be made.
    let source = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs_err::copy(nano().join(name), source.path().join(name)).unwrap();
    }
    let model = converted(source.path(), &options(Precision::Bf16));
    assert!(matches!(
        model.report.weights,
        WeightStorage::Linked | WeightStorage::Cloned
    ));
    let inode = |dir: &std::path::Path| {
        fs_err::metadata(dir.join("model.safetensors"))
            .unwrap()
            .ino()
    };
    assert_eq!(inode(source.path()), inode(&model.report.dir));
    let Verification::Skipped { reason } = &model.report.verification else {
        panic!()
    };
    assert!(reason.contains("bfloat16"), "{reason}");
    // Without sentence-transformers files, last-token pooling is an assumption, and said.
    assert!(!model.report.notes.is_empty());

    let library = Library::load(None, false).unwrap();
    let rejected = open_network(library, &model.report.dir, &SessionSettings::default());
    assert!(matches!(
        rejected,
        Err(Error::UnsupportedModel {
            provider: "cpu",
            ..
        })
    ));
}

#[test]
fn the_standard_target_has_no_operator_of_onnx_runtimes_own() {
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        for (target, contrib) in [(Target::Ort, true), (Target::Standard, false)] {
            let model = converted(
                &nano(),
                &ConvertOptions {
                    target,
                    calibration: None,
                    verify: false,
                    ..options(precision)
                },
            );
            let graph = fs_err::read(model.report.dir.join("model.onnx")).unwrap();
            assert_eq!(mentions(&graph, "com.microsoft"), contrib);
            assert_eq!(mentions(&graph, "GroupQueryAttention"), contrib);
            assert_eq!(mentions(&graph, "RMSNormalization"), !contrib);
        }
    }
}

#[test]
fn the_manifest_describes_every_file() {
    let model = converted(&nano(), &options(Precision::Int8));
    let dir = &model.report.dir;
    let manifest = Manifest::read(dir).unwrap();
    manifest.verify_digests(dir).unwrap();
    assert!(manifest.source.files.contains_key("model.safetensors"));
    for name in [
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        assert!(manifest.files.contains_key(name), "{name}");
    }
    let Verification::Passed { min_cosine, .. } = manifest.verification else {
        panic!()
    };
    assert!(min_cosine > 0.99);

    let data = dir.join("model.onnx.data");
    let mut bytes = fs_err::read(&data).unwrap();
    bytes[1000] ^= 1;
    fs_err::write(&data, &bytes).unwrap();
    assert!(Manifest::read(dir).unwrap().verify_digests(dir).is_err());
    fs_err::write(&data, &bytes[1..]).unwrap();
    assert!(Manifest::read(dir).unwrap().check(dir).is_err());
}
