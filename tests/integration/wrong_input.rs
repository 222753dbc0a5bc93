//! Damaged checkpoints: each has a message of its own, and nothing is left at the output path.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use lexivec_convert::{ConvertOptions, Progress, Silent, convert};
use lexivec_models::{Checkpoint, Precision};
use safetensors::tensor::{Dtype, View, serialize_to_file};
use tempfile::TempDir;

use crate::support::{options, project};

/// A tensor to write.
#[derive(Clone)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

type Tensors = BTreeMap<String, Tensor>;

/// A copy of the tiny Qwen3 checkpoint in a folder of its own.
fn checkpoint() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = project("tests/fixtures/tiny/qwen3");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs_err::copy(source.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn rewrite(dir: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = dir.join("model.safetensors");
    let bytes = fs_err::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let (dtype, shape, data) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, Tensor { dtype, shape, data })
        })
        .collect();
    change(&mut tensors);
    serialize_to_file(tensors, None, &path).unwrap();
}

/// Converts and returns the message; the output path and its siblings must stay empty.
fn rejected(dir: &Path, precision: Precision) -> String {
    let parent = tempfile::tempdir().unwrap();
    let options = ConvertOptions {
        verify: false,
        ..options(precision)
    };
    let outcome = Checkpoint::open(dir)
        .map_err(lexivec_convert::Error::from)
        .and_then(|c| convert(&c, &parent.path().join("model"), &options, &Silent));
    let message = outcome.unwrap_err().to_string();
    assert_eq!(
        fs_err::read_dir(parent.path()).unwrap().count(),
        0,
        "{message}"
    );
    message
}

const NORM: &str = "layers.0.input_layernorm.weight";
const QUERY: &str = "layers.1.self_attn.q_proj.weight";

#[test]
fn a_missing_tensor_is_named() {
    let dir = checkpoint();
    rewrite(dir.path(), |t| drop(t.remove(QUERY)));
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(
        message.contains(QUERY) && message.contains("missing"),
        "{message}"
    );
}

#[test]
fn a_tensor_that_is_there_twice_is_named() {
    let dir = checkpoint();
    rewrite(dir.path(), |t| {
        let other = t[QUERY].clone();
        t.insert(format!("model.{QUERY}"), other);
    });
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(
        message.contains(QUERY) && message.contains("twice"),
        "{message}"
    );
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let dir = checkpoint();
    rewrite(dir.path(), |t| {
        let norm = t.get_mut(NORM).unwrap();
        norm.shape = vec![32];
        norm.data.truncate(64);
    });
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(
        message.contains(NORM) && message.contains("[32]") && message.contains("[64]"),
        "{message}"
    );
}

#[test]
fn an_unknown_type_is_named() {
    let dir = checkpoint();
    rewrite(dir.path(), |t| {
        let norm = t.get_mut(NORM).unwrap();
        norm.dtype = Dtype::F8_E4M3;
        norm.data.truncate(64);
    });
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(
        message.contains(NORM) && message.contains("F8_E4M3"),
        "{message}"
    );
}

#[test]
fn nan_weights_are_named_at_every_precision() {
    let dir = checkpoint();
    rewrite(dir.path(), |t| {
        t.get_mut(QUERY).unwrap().data[100..102].copy_from_slice(&[0xc0, 0x7f])
    });
    for precision in [
        Precision::Fp32,
        Precision::Fp16,
        Precision::Bf16,
        Precision::Int8,
    ] {
        let message = rejected(dir.path(), precision);
        assert!(
            message.contains(QUERY) && message.contains("NaN"),
            "{precision}: {message}"
        );
    }
}

#[test]
fn a_weight_beyond_float16_is_named() {
    let dir = checkpoint();
    // 1e30 in bfloat16.
    rewrite(dir.path(), |t| {
        t.get_mut(QUERY).unwrap().data[100..102].copy_from_slice(&[0x4a, 0x71])
    });
    let message = rejected(dir.path(), Precision::Fp16);
    assert!(
        message.contains(QUERY) && message.contains("65504"),
        "{message}"
    );
}

#[test]
fn a_truncated_file_is_rejected() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let bytes = fs_err::read(&path).unwrap();
    for length in [0, 4, 100, bytes.len() - 1] {
        fs_err::write(&path, &bytes[..length]).unwrap();
        let message = rejected(dir.path(), Precision::Fp32);
        assert!(
            message.contains("download is incomplete"),
            "{length}: {message}"
        );
    }
}

#[test]
fn a_header_that_lies_about_offsets_is_rejected() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let bytes = fs_err::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes[..4096]).into_owned();
    let start = text.find("\"data_offsets\":[").unwrap();
    let mut lying = bytes.clone();
    // The first range's first digit: it no longer begins where the one before ends.
    lying[start + 16] = b'9';
    fs_err::write(&path, &lying).unwrap();
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(
        message.contains("not a readable safetensors file"),
        "{message}"
    );
}

#[test]
fn an_unsupported_architecture_and_a_missing_tokenizer_are_named() {
    let dir = checkpoint();
    let config = dir.path().join("config.json");
    let text = fs_err::read_to_string(&config).unwrap();
    fs_err::write(&config, text.replace("\"qwen3\"", "\"bert\"")).unwrap();
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(message.contains("bert"), "{message}");
    fs_err::write(&config, text).unwrap();
    fs_err::remove_file(dir.path().join("tokenizer.json")).unwrap();
    let message = rejected(dir.path(), Precision::Fp32);
    assert!(message.contains("tokenizer.json"), "{message}");
}

#[test]
fn an_unreadable_weight_file_is_named() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    fs_err::remove_file(&path).unwrap();
    fs_err::create_dir_all(&path).unwrap();
    assert!(rejected(dir.path(), Precision::Fp32).contains("model.safetensors"));
}

#[test]
fn a_full_device_is_reported_as_such() {
    // Every write to /dev/full fails with ENOSPC.
    use std::io::Write as _;
    let error = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .write_all(b"x")
        .unwrap_err();
    let message = lexivec_models::Error::io(Path::new("/models/out"), error).to_string();
    assert!(
        message.contains("/models/out") && message.to_lowercase().contains("space"),
        "{message}"
    );
}

/// Truncates a file when the conversion's first stage begins.
struct Truncating<'a>(&'a Path);

impl Progress for Truncating<'_> {
    fn stage(&self, _name: &str, _total: u64) {
        let file = fs_err::OpenOptions::new();
        let file = { file }.write(true).open(self.0).unwrap();
        file.set_len(4096).unwrap();
    }
}

#[test]
fn weights_that_are_truncated_during_the_conversion() {
    let dir = checkpoint();
    let parent = tempfile::tempdir().unwrap();
    let output = parent.path().join("model");
    let truncating = Truncating(&dir.path().join("model.safetensors"));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let options = ConvertOptions {
        verify: false,
        ..options(Precision::Fp32)
    };
    let error = convert(&checkpoint, &output, &options, &truncating).unwrap_err();
    assert!(error.to_string().contains("changed during"), "{error}");
    assert!(fs_err::read_dir(parent.path()).unwrap().next().is_none());
}

/// Writes into a file when the conversion's first stage begins.
struct Overwriting<'a>(&'a Path);

impl Progress for Overwriting<'_> {
    fn stage(&self, _name: &str, _total: u64) {
        let mut bytes = fs_err::read(self.0).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0);
        let file = fs_err::OpenOptions::new();
        let mut file = { file }.write(true).open(self.0).unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
    }
}

#[test]
fn weights_that_are_overwritten_during_the_conversion() {
    for verify in [false, true] {
        let dir = checkpoint();
        let parent = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let options = ConvertOptions {
            verify,
            ..options(Precision::Fp32)
        };
        let output = parent.path().join("model");
        let error = convert(&checkpoint, &output, &options, &Overwriting(&path)).unwrap_err();
        assert!(error.to_string().contains("changed during"), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        assert!(fs_err::read_dir(parent.path()).unwrap().next().is_none());
    }
}
