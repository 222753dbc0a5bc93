//! The files of a model: each is listed, has its size and digest, and the graph is the one that the manifest describes.

use super::*;

#[test]
fn missing_short_and_changed_files_are_found() {
    let (dir, manifest) = model();
    let path = dir.path().join("tokenizer.json");
    manifest.verify_digests(dir.path()).unwrap();
    fs_err::write(&path, "abd").unwrap();
    manifest.check(dir.path()).unwrap();
    assert!(
        manifest
            .verify_digests(dir.path())
            .unwrap_err()
            .to_string()
            .contains("has changed")
    );
    fs_err::write(&path, "ab").unwrap();
    assert!(
        manifest
            .check(dir.path())
            .unwrap_err()
            .to_string()
            .contains("is 2 bytes, the manifest says 3")
    );
    fs_err::remove_file(&path).unwrap();
    assert!(matches!(
        manifest.check(dir.path()),
        Err(Error::Missing { .. })
    ));
}

#[test]
fn every_file_that_the_model_uses_must_be_listed() {
    for name in ["model.onnx", "model.onnx.data", "tokenizer.json"] {
        let (dir, mut manifest) = model();
        manifest.files.remove(name).unwrap();
        let message = manifest.check(dir.path()).unwrap_err().to_string();
        let said = format!("lexivec.json: `files` does not list `{name}`, which the model uses");
        assert!(message.contains(&said), "{message}");
        assert!(manifest.verify_digests(dir.path()).is_err());
    }
}

#[test]
fn a_graph_with_other_tables_is_rejected() {
    let said = |change: fn(&mut Manifest)| {
        let (dir, mut manifest) = model();
        change(&mut manifest);
        manifest.check(dir.path()).unwrap_err().to_string()
    };
    let message = said(|m| m.decoder.vocab_size = 65);
    let expected = "lexivec.json: `decoder.vocab_size` is 65, but the table `embed_tokens.weight` of model.onnx has 64 rows";
    assert!(message.contains(expected), "{message}");
    let message = said(|m| m.decoder.max_positions = 4096);
    let expected =
        "`decoder.max_positions` is 4096, but the table `rotary.cos` of model.onnx has 128 rows";
    assert!(message.contains(expected), "{message}");

    let (dir, mut manifest) = model();
    let path = dir.path().join("model.onnx");
    let size = fs_err::metadata(&path).unwrap().len() as usize;
    fs_err::write(&path, vec![b'a'; size]).unwrap();
    let message = manifest.check(dir.path()).unwrap_err().to_string();
    assert!(message.contains("the file has changed"), "{message}");
    manifest
        .files
        .insert("model.onnx".to_owned(), FileRecord::blake3(&path).unwrap());
    let message = manifest.check(dir.path()).unwrap_err().to_string();
    assert!(
        message.contains("model.onnx: `graph` cannot be read"),
        "{message}"
    );
}
