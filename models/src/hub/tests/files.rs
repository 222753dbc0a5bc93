//! The files that a download fetches.

use super::*;

#[test]
fn fetches_a_single_file_model_and_no_other_files() {
    let scene = Scene::new(single_file());
    let dir = scene.online().unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    assert_eq!(checkpoint.source.name, ID);
    assert_eq!(checkpoint.source.revision.as_deref(), Some(COMMIT));
    assert_eq!(fs_err::read(&checkpoint.weights[0]).unwrap(), [7; 40_000]);
    assert!(!dir.join("README.md").exists() && !dir.join("pytorch_model.bin").exists());
}

#[test]
fn fetches_a_sharded_model_with_its_sentence_files() {
    let (one, two) = (
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    );
    let index = json!({"weight_map": {"a": one, "b": two}}).to_string();
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]);
    let mut model = single_file();
    model.remove("model.safetensors");
    model.extend(files(&[
        (one, b"11"),
        (two, b"2"),
        ("model.safetensors.index.json", index.as_bytes()),
        ("modules.json", modules.to_string().as_bytes()),
        (
            "1_Pooling/config.json",
            br#"{"pooling_mode_lasttoken": true}"#,
        ),
    ]));
    let scene = Scene::new(model);
    let checkpoint = Checkpoint::open(&scene.online().unwrap()).unwrap();
    assert_eq!(checkpoint.weights.len(), 2);
    assert!(!checkpoint.sentence.assumed);
}

#[test]
fn fetches_an_adapter_alone_and_one_beside_weights() {
    let config =
        json!({"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-Embedding-0.6B", "r": 2,
        "lora_alpha": 4})
        .to_string();
    let adapter: [(&str, &[u8]); 2] = [
        ("adapter_config.json", config.as_bytes()),
        ("adapter_model.safetensors", &[3; 64]),
    ];
    let scene = Scene::new(files(&adapter));
    let dir = scene.online().unwrap();
    let found = crate::Adapter::find(&dir).unwrap().unwrap();
    assert_eq!(found.base, "Qwen/Qwen3-Embedding-0.6B");
    assert_eq!(scene.offline().unwrap(), dir);

    // Trainers save the base's config.json beside an adapter.
    let mut beside = single_file();
    beside.remove("model.safetensors");
    beside.remove("tokenizer.json");
    beside.extend(files(&adapter));
    let scene = Scene::new(beside);
    let dir = scene.online().unwrap();
    assert!(crate::Adapter::is_alone(&dir) && dir.join("adapter_model.safetensors").exists());
    assert_eq!(scene.offline().unwrap(), dir);

    let mut both = single_file();
    both.extend(files(&adapter));
    let checkpoint = Checkpoint::open(&Scene::new(both).online().unwrap()).unwrap();
    assert!(checkpoint.adapter.is_some());

    let rejected = config.replace("LORA", "IA3");
    let adapter = [("adapter_config.json", rejected.as_bytes()), adapter[1]];
    says(Scene::new(files(&adapter)).online(), &["`IA3`"]);
}

#[test]
fn all_files_come_from_one_commit() {
    let scene = Scene::new(single_file());
    scene
        .get(&HubOptions {
            revision: Some("a/branch".into()),
            offline: false,
        })
        .unwrap();
    let requests = scene.hub.requests();
    assert!(
        requests[0].ends_with("/resolve/a%2Fbranch/config.json"),
        "{requests:?}"
    );
    let later = requests
        .iter()
        .filter(|request| !request.ends_with("/config.json"));
    for request in later {
        assert!(
            request.contains(&format!("/resolve/{COMMIT}/")),
            "{request}"
        );
    }
}

#[test]
fn redirects_within_the_hub_and_to_large_files_are_followed() {
    let mut scene = Scene::new(single_file());
    scene.token = "hf_right";
    scene.hub.mood(Mood::Redirecting);
    let dir = scene.online().unwrap();
    assert_eq!(dir.file_name().unwrap(), COMMIT);
    assert_eq!(
        fs_err::read(dir.join("model.safetensors")).unwrap(),
        [7; 40_000]
    );
    let blob = stand_in::etag("model.safetensors", &[7; 40_000]);
    assert!(scene.blobs().join(blob).exists());
}

#[test]
fn a_second_download_transfers_nothing() {
    let scene = Scene::new(single_file());
    let dir = scene.online().unwrap();
    let transfers = || {
        scene
            .hub
            .requests()
            .iter()
            .filter(|request| request.starts_with("GET"))
            .count()
    };
    let before = transfers();
    assert_eq!(scene.online().unwrap(), dir);
    assert_eq!(transfers(), before);
}

#[test]
fn an_unsupported_model_is_rejected_before_its_weights_are_fetched() {
    let mut model = single_file();
    model.insert("config.json".into(), br#"{"model_type": "bert"}"#.to_vec());
    let scene = Scene::new(model);
    assert!(matches!(scene.online(), Err(Error::Unsupported { .. })));
    assert!(
        !scene
            .hub
            .requests()
            .iter()
            .any(|request| request.contains("safetensors"))
    );
}

#[test]
fn a_model_without_safetensors_is_an_error_that_says_so() {
    let mut model = single_file();
    model.remove("model.safetensors");
    says(
        Scene::new(model).online(),
        &["has neither model.safetensors nor", "safetensors format"],
    );
}

#[test]
fn a_missing_shard_is_named() {
    let mut model = single_file();
    model.remove("model.safetensors");
    let index = json!({"weight_map": {"a": "model-00001-of-00001.safetensors"}}).to_string();
    model.insert("model.safetensors.index.json".into(), index.into_bytes());
    says(
        Scene::new(model).online(),
        &["model-00001-of-00001.safetensors"],
    );
}

#[test]
fn progress_adds_up_and_ends_once() {
    #[derive(Default)]
    struct Bar {
        announced: Option<u64>,
        arrived: u64,
        ends: u32,
    }
    #[derive(Default)]
    struct Told(Mutex<BTreeMap<String, Bar>>);
    impl DownloadProgress for Told {
        fn start(&self, file: &str, announced: Option<u64>) {
            self.0.lock().unwrap().insert(
                file.into(),
                Bar {
                    announced,
                    ..Bar::default()
                },
            );
        }
        fn advance(&self, file: &str, bytes: u64) {
            self.0.lock().unwrap().get_mut(file).unwrap().arrived += bytes;
        }
        fn finish(&self, file: &str) {
            self.0.lock().unwrap().get_mut(file).unwrap().ends += 1;
        }
    }
    let scene = Scene::new(single_file());
    let told = Arc::new(Told::default());
    scene.hub.mood(Mood::Cut {
        file: "model.safetensors",
    });
    scene
        .get_told(&HubOptions::default(), Some(told.clone()))
        .unwrap_err();
    let cut = told.0.lock().unwrap().remove("model.safetensors").unwrap();
    assert_eq!((cut.announced, cut.ends), (Some(40_000), 1));
    assert!(cut.arrived < 40_000);

    scene.hub.mood(Mood::Good);
    scene
        .get_told(&HubOptions::default(), Some(told.clone()))
        .unwrap();
    let bars = told.0.lock().unwrap();
    assert_eq!(bars["model.safetensors"].announced, Some(40_000));
    assert!(
        bars.values()
            .all(|bar| bar.announced == Some(bar.arrived) && bar.ends == 1)
    );
}
