//! Written manifests read back; damaged, foreign and incomplete ones are rejected by name.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

mod files;

/// A model folder.
fn model() -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let tables = [("embed_tokens.weight", [64, 32]), ("rotary.cos", [128, 4])];
    let graph = graph::encoded(&tables, "model.onnx.data");
    fs_err::write(dir.path().join("model.onnx"), graph).unwrap();
    fs_err::write(dir.path().join("model.onnx.data"), "data").unwrap();
    fs_err::write(dir.path().join("tokenizer.json"), "abc").unwrap();
    let decoder = json!({"model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64,
        "max_position_embeddings": 128});
    let files = ["model.onnx", "model.onnx.data", "tokenizer.json"].map(|name| {
        let record = FileRecord::blake3(&dir.path().join(name)).unwrap();
        (name.to_owned(), record)
    });
    let manifest = Manifest {
        format: FORMAT_VERSION,
        program: "lexivec 0.1.0".into(),
        source: Source {
            id: SourceId {
                name: "Qwen/Qwen3-Embedding-0.6B".into(),
                revision: Some("abc".into()),
            },
            files: BTreeMap::new(),
        },
        decoder: Decoder::parse(&decoder.to_string(), Path::new("config.json")).unwrap(),
        precision: Precision::Int8,
        target: Target::Ort,
        attention: AttentionForm::default(),
        layout: Layout::Packed,
        max_length: 128,
        dimensions: Dimensions { min: 8, max: 32 },
        prompts: BTreeMap::from([("query".into(), "Q:".into())]),
        default_prompt: None,
        weights: WeightStorage::Own,
        files: files.into(),
        verification: Verification::Passed {
            on: "cpu".to_owned(),
            against: "fp32".into(),
            texts: 2,
            min_cosine: 0.99,
            mean_cosine: 0.995,
            worst_text: "a\nb".into(),
        },
        known_answer: Some(KnownAnswer {
            tokens: vec![1, 2],
            vector: vec![0.6, 0.8],
        }),
        blocks: None,
        quantization: None,
        notes: vec![],
    };
    (dir, manifest)
}

/// The manifest as JSON with one change, written into the folder and read.
fn altered(change: impl FnOnce(&mut Value)) -> Result<Manifest> {
    let (dir, manifest) = model();
    let mut value = serde_json::to_value(&manifest).unwrap();
    change(&mut value);
    fs_err::write(dir.path().join(MANIFEST_FILE), value.to_string()).unwrap();
    Manifest::read(dir.path())
}

#[test]
fn a_written_manifest_reads_back_and_no_other_file_is_left() {
    let (dir, mut manifest) = model();
    assert!(!Manifest::is_model_dir(dir.path()));
    manifest.write(dir.path()).unwrap();
    manifest.verification = Verification::Skipped {
        reason: "asked for".into(),
    };
    manifest.write(dir.path()).unwrap();
    assert!(Manifest::is_model_dir(dir.path()));
    assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn the_words_in_the_file_are_the_documented_ones() {
    let value = serde_json::to_value(model().1).unwrap();
    assert_eq!(value["source"]["name"], "Qwen/Qwen3-Embedding-0.6B");
    assert_eq!(value["source"]["revision"], "abc");
    assert_eq!(value["verification"]["result"], "passed");
    assert_eq!(
        (&value["precision"], &value["weights"]),
        (&json!("int8"), &json!("own"))
    );
    assert_eq!(value["dimensions"], json!({"min": 8, "max": 32}));
}

#[test]
fn the_error_for_another_format_names_its_program_and_a_remedy() {
    for format in [OLDEST_FORMAT - 1, FORMAT_VERSION + 1] {
        // The other fields are not parsed.
        let error = altered(|value| {
            *value = json!({"format": format, "program": "lexivec 9.0.0", "decoder": 7});
        })
        .unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Format { .. }));
        assert!(
            message.contains("lexivec 9.0.0") && message.contains("convert the model again"),
            "{message}"
        );
    }
}

#[test]
fn older_formats_are_read() {
    assert!(altered(|value| value["format"] = json!(OLDEST_FORMAT)).is_ok());
}

#[test]
fn unknown_fields_are_ignored() {
    assert!(altered(|value| value["colour"] = json!("blue")).is_ok());
}

#[test]
fn damaged_fields_are_rejected_by_name() {
    let field = |result: Result<Manifest>| match result.unwrap_err() {
        Error::Invalid { field, .. } => field,
        error => panic!("{error:?}"),
    };
    let record = json!({"size": 1, "digest": "00"});
    assert_eq!(
        field(altered(|value| value["files"]["../x"] = record.clone())),
        "files"
    );
    assert_eq!(
        field(altered(
            |value| value["files"]["/etc/passwd"] = record.clone()
        )),
        "files"
    );
    assert_eq!(
        field(altered(|value| value["dimensions"]["max"] = json!(64))),
        "dimensions"
    );
    assert_eq!(
        field(altered(|value| value["dimensions"]["min"] = json!(0))),
        "dimensions"
    );
    assert_eq!(
        field(altered(|value| value["max_length"] = json!(0))),
        "max_length"
    );
    assert_eq!(
        field(altered(|value| value["default_prompt"] = json!("x"))),
        "default_prompt"
    );
}

#[test]
fn fields_of_another_type_or_out_of_range_are_named() {
    let digest = format!("blake3:{}", "0".repeat(64));
    for (field, value) in [
        ("format", json!("2")),
        ("precision", json!("int5")),
        ("target", json!(7)),
        ("layout", json!(null)),
        ("attention", json!("flash")),
        ("decoder", json!([])),
        ("decoder.family", json!("bert")),
        ("decoder.vocab_size", json!(-1)),
        ("decoder.vocab_size", json!(1u64 << 60)),
        ("decoder.hidden_size", json!("32")),
        ("decoder.hidden_size", json!(0)),
        ("decoder.layers", json!(1_000_000)),
        ("decoder.heads", json!(1.5)),
        ("decoder.kv_heads", json!(3)),
        ("decoder.kv_heads", json!(8)),
        ("decoder.head_dim", json!(1_000_000)),
        ("decoder.max_positions", json!(u64::MAX)),
        ("decoder.rope_theta", json!(-10_000.0)),
        ("decoder.rms_norm_eps", json!(0)),
        ("decoder.qk_norm", json!(1)),
        ("max_length", json!(-5)),
        ("max_length", json!(129)),
        ("dimensions.min", json!("8")),
        ("dimensions.max", json!(-8)),
        ("prompts", json!(["Q:"])),
        ("prompts.query", json!(1)),
        ("weights", json!("stolen")),
        ("files", json!(null)),
        ("files.model.onnx.size", json!(-1)),
        ("files.model.onnx.digest", json!("blake3:00")),
        ("files.model.onnx.digest", json!("0".repeat(71))),
        ("source", json!("nano")),
        (
            "source.files",
            json!({"../x": {"size": 1, "digest": digest}}),
        ),
        ("verification", json!({"result": "perhaps"})),
        ("verification.min_cosine", json!(1e300)),
        ("verification.mean_cosine", json!(-2)),
        ("known_answer.tokens.0", json!("a")),
        (
            "blocks",
            json!({"size": 32, "zero_points": false, "compute": "fp32"}),
        ),
        ("quantization", json!({})),
        ("notes.0", json!(1)),
    ] {
        let pointer = match field {
            "files.model.onnx.size" => "/files/model.onnx/size".to_owned(),
            "files.model.onnx.digest" => "/files/model.onnx/digest".to_owned(),
            _ => format!("/{}", field.replace('.', "/")),
        };
        let error = altered(|manifest| {
            manifest["notes"] = json!(["a note"]);
            match manifest.pointer_mut(&pointer) {
                Some(place) => *place = value.clone(),
                None => manifest[field] = value.clone(),
            }
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains(MANIFEST_FILE), "{field}: {message}");
        let named = field.trim_start_matches("source.files");
        assert!(message.contains(&format!("`{named}")), "{field}: {message}");
    }
}

#[test]
fn a_missing_field_is_named() {
    let value = serde_json::to_value(model().1).unwrap();
    let optional = ["attention", "known_answer", "default_prompt"];
    let required = value.as_object().unwrap().keys();
    for field in required.filter(|field| !optional.contains(&field.as_str())) {
        let error = altered(|value| {
            value.as_object_mut().unwrap().remove(field);
        });
        let message = error.unwrap_err().to_string();
        let said = format!("`{field}` is missing");
        assert!(message.contains(&said), "{message}");
    }
    for field in value["decoder"].as_object().unwrap().keys() {
        let error = altered(|value| {
            value["decoder"].as_object_mut().unwrap().remove(field);
        });
        let message = error.unwrap_err().to_string();
        let said = format!("`decoder.{field}` is missing");
        assert!(message.contains(&said), "{message}");
    }
}

#[test]
fn weights_in_blocks_have_a_block_size() {
    let blocks = |size: usize| json!({"size": size, "zero_points": false, "compute": "fp32"});
    let with = |blocks: Value| {
        altered(|value| {
            value["precision"] = json!("int4-weight");
            value["blocks"] = blocks;
        })
    };
    assert!(with(blocks(64)).is_ok());
    for (wrong, field) in [(Value::Null, "`blocks`"), (blocks(33), "`blocks.size`")] {
        let message = with(wrong).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
}

/// Replaces the value at a number among all values below `value`, counted in depth-first order.
fn replace(value: &mut Value, number: &mut usize, with: &Value) {
    if *number == 0 {
        *value = with.clone();
    }
    *number = number.wrapping_sub(1);
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace(item, number, with)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|item| replace(item, number, with)),
        _ => {}
    }
}

#[test]
fn no_value_in_place_of_another_causes_a_panic_and_errors_name_the_file() {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
    ];
    // Number 0 is the manifest itself.
    for number in 0..80 {
        for with in &values {
            let read = altered(|value| replace(value, &mut number.clone(), with));
            if let Err(error) = read {
                assert!(error.to_string().contains(MANIFEST_FILE), "{error}");
            }
        }
    }
}

#[test]
fn a_folder_without_manifest_is_not_a_model() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        Manifest::read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("lexivec convert")
    );
}

#[test]
fn dimensions_reach_from_32_to_the_full_width() {
    let dimensions = Dimensions::up_to(1024);
    assert!(
        [32, 33, 1024]
            .into_iter()
            .all(|width| dimensions.contains(width))
    );
    assert!(
        ![0, 31, 1025]
            .into_iter()
            .any(|width| dimensions.contains(width))
    );
    assert_eq!(Dimensions::up_to(16), Dimensions { min: 16, max: 16 });
}

#[test]
fn the_models_digest_depends_only_on_files() {
    let (_dir, manifest) = model();
    let digest = manifest.digest();
    assert_eq!(digest.len(), 64);
    let noted = Manifest {
        notes: vec!["x".into()],
        ..manifest.clone()
    };
    assert_eq!(noted.digest(), digest);
    let mut changed = manifest.clone();
    changed.files.get_mut("model.onnx").unwrap().digest = "00".into();
    assert_ne!(changed.digest(), digest);
    let mut renamed = manifest;
    let record = renamed.files.remove("model.onnx").unwrap();
    renamed.files.insert("other.onnx".into(), record);
    assert_ne!(renamed.digest(), digest);
}

#[test]
fn a_manifest_that_cannot_be_written_leaves_nothing() {
    let (dir, manifest) = model();
    // A folder in the manifest's place makes the rename fail.
    fs_err::create_dir(dir.path().join(MANIFEST_FILE)).unwrap();
    assert!(matches!(manifest.write(dir.path()), Err(Error::Io { .. })));
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn a_known_answer_that_does_not_fit_the_model_is_rejected() {
    assert!(altered(|value| value["known_answer"] = Value::Null).is_ok());
    for (tokens, vector) in [
        (json!([]), json!([1.0])),
        (json!([4_000_000_000u32]), json!([1.0])),
        (json!([1]), json!([])),
        (json!([1]), json!(vec![0.1; 5000])),
    ] {
        let known = json!({"tokens": tokens, "vector": vector});
        let error = altered(|value| value["known_answer"] = known).unwrap_err();
        assert!(error.to_string().contains("known_answer"), "{error}");
    }
}
