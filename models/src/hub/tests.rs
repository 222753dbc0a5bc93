//! Downloads from a stand-in hub on this machine, good and bad.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::fetch::{HubConfig, download_with};
use super::report::{Failure, Progress, chain, hub_error};
use super::*;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

mod stand_in;

use stand_in::{COMMIT, Hub, Mood};

const ID: &str = "Qwen/Qwen3-Embedding-Test";

/// A model of one weight file and without any optional file.
fn single_file() -> BTreeMap<String, Vec<u8>> {
    let config = json!({"model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64,
        "max_position_embeddings": 128});
    files(&[
        ("config.json", config.to_string().as_bytes()),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", &[7; 40_000]),
        ("README.md", b"not needed"),
        ("pytorch_model.bin", b"not needed"),
    ])
}

fn files(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files
        .iter()
        .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
        .collect()
}

/// A hub with a model on it, and an empty cache.
struct Scene {
    hub: Hub,
    cache: TempDir,
    token: &'static str,
}

impl Scene {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Scene {
        Scene {
            hub: Hub::start(ID, files),
            cache: tempfile::tempdir().unwrap(),
            token: "",
        }
    }

    fn get(&self, options: &HubOptions) -> Result<PathBuf> {
        self.get_told(options, None)
    }

    fn get_told(
        &self,
        options: &HubOptions,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<PathBuf> {
        let config = HubConfig {
            endpoint: self.hub.endpoint(),
            cache: self.cache.path().to_path_buf(),
            token: Some(self.token.to_string()),
            retries: Some(0),
        };
        download_with(&config, ID, options, progress)
    }

    fn online(&self) -> Result<PathBuf> {
        self.get(&HubOptions::default())
    }

    fn offline(&self) -> Result<PathBuf> {
        self.get(&HubOptions {
            offline: true,
            revision: None,
        })
    }

    /// Where the hub client keeps the contents of files.
    fn blobs(&self) -> PathBuf {
        self.cache
            .path()
            .join("models--Qwen--Qwen3-Embedding-Test/blobs")
    }
}

#[track_caller]
fn says(result: Result<PathBuf>, words: &[&str]) {
    let message = result.unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn fetches_a_single_file_model_and_nothing_that_is_not_needed() {
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

    let mut both = single_file();
    both.extend(files(&adapter));
    let checkpoint = Checkpoint::open(&Scene::new(both).online().unwrap()).unwrap();
    assert!(checkpoint.adapter.is_some());

    let refused = config.replace("LORA", "IA3");
    let adapter = [("adapter_config.json", refused.as_bytes()), adapter[1]];
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
fn redirects_are_followed_within_the_hub_and_to_where_large_files_are() {
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
fn a_mirror_that_sends_everything_elsewhere_is_named_with_the_place() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::Moved {
        location: "https://mirror.example",
    });
    let place = format!("https://mirror.example/{ID}/resolve/main/config.json");
    let endpoint = scene.hub.endpoint();
    says(
        scene.online(),
        &["308 Permanent Redirect", &place, &endpoint, "HF_ENDPOINT"],
    );
    let message = scene.online().unwrap_err().to_string();
    assert!(!message.contains("signature"), "{message}");
    assert!(!message.contains("run it again"), "{message}");
    // Nothing was asked but the first file.
    assert!(scene.hub.requests().iter().all(|r| r.starts_with("HEAD ")));
}

#[test]
fn a_token_that_no_request_can_carry_is_an_error() {
    let mut scene = Scene::new(single_file());
    scene.token = "hf_\u{e4}";
    says(scene.online(), &["token", "HF_TOKEN"]);
    assert!(scene.hub.requests().is_empty());
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
fn a_model_that_cannot_be_served_is_refused_before_its_weights_travel() {
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
fn an_unknown_model_is_answered_with_what_to_check() {
    let scene = Scene::new(BTreeMap::new());
    says(
        scene.online(),
        &[ID, "config.json", "check the id and the revision"],
    );
}

#[test]
fn a_model_without_safetensors_says_so() {
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
fn a_gated_model_says_what_to_do_and_a_token_opens_it() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let mut scene = Scene::new(single_file());
        scene.hub.mood(Mood::Gated {
            status,
            token: "hf_right",
        });
        let page = format!("{}/{ID}", scene.hub.endpoint());
        says(
            scene.online(),
            &[
                &status[..3],
                "accept the model's licence",
                &page,
                "HF_TOKEN",
            ],
        );
        scene.token = "hf_wrong";
        says(scene.online(), &["HF_TOKEN"]);
        scene.token = "hf_right";
        scene.online().unwrap();
    }
}

#[test]
fn a_cut_connection_leaves_nothing_corrupt_and_the_next_try_succeeds() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::Cut {
        file: "model.safetensors",
    });
    says(scene.online(), &["was cut", "run it again"]);
    let dir = scene
        .cache
        .path()
        .join("models--Qwen--Qwen3-Embedding-Test/snapshots")
        .join(COMMIT);
    assert!(dir.join("config.json").exists() && !dir.join("model.safetensors").exists());
    says(
        scene.offline(),
        &["has neither model.safetensors", "download the model once"],
    );

    scene.hub.mood(Mood::Good);
    assert_eq!(
        fs_err::read(scene.online().unwrap().join("model.safetensors")).unwrap(),
        [7; 40_000]
    );
    let left: Vec<_> = fs_err::read_dir(scene.blobs())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(
        left.iter().all(|path| path.extension().is_none()),
        "{left:?}"
    );
}

#[test]
fn an_error_page_is_not_kept_as_weights() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::ErrorPage {
        file: "model.safetensors",
    });
    says(
        scene.online(),
        &["500", "instead of model.safetensors", "run it again"],
    );
    scene.hub.mood(Mood::Good);
    assert_eq!(
        fs_err::read(scene.online().unwrap().join("model.safetensors")).unwrap(),
        [7; 40_000]
    );
}

/// Every file and link below a folder, with the text of small files.
fn tree(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&path));
        } else {
            let text = fs_err::read_to_string(&path).unwrap_or_default();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

#[test]
fn a_hub_that_states_paths_as_names_writes_and_removes_nothing() {
    const HEX: &str = "0123456789abcdef";
    let home = tempfile::tempdir().unwrap();
    // Absolute paths, as the hub would guess them.
    let victim: &'static str = home
        .path()
        .join("victim")
        .to_str()
        .unwrap()
        .to_owned()
        .leak();
    let names = [
        "../../x",
        "/etc/x",
        "..",
        "",
        HEX,
        "../../../victim",
        victim,
    ];
    for header in ["ETag", "X-Linked-ETag", "X-Repo-Commit"] {
        for value in names {
            let mut scene = Scene::new(single_file());
            let cache = home.path().join("cache");
            fs_err::create_dir_all(&cache).unwrap();
            scene.cache = tempfile::tempdir_in(&cache).unwrap();
            for file in ["victim", "victim.lock", "victim.incomplete", "cache/victim"] {
                fs_err::write(home.path().join(file), "precious").unwrap();
            }
            let before = tree(home.path());
            scene.hub.mood(Mood::Hostile { header, value });
            says(scene.online(), &[ID, header, "config.json", "HF_ENDPOINT"]);
            assert_eq!(tree(home.path()), before, "{header}: {value:?}");
            assert!(
                scene
                    .hub
                    .requests()
                    .iter()
                    .all(|request| request.starts_with("HEAD"))
            );
        }
    }
}

#[test]
fn a_hub_that_turns_hostile_after_the_first_answer_is_checked_again() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::Turns { value: "../../x" });
    says(scene.online(), &[ID, "tokenizer.json", "../../x"]);
    let model = scene.blobs().parent().unwrap().to_path_buf();
    let written: Vec<_> = tree(scene.cache.path())
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let locks = scene.cache.path().join(".locks");
    assert!(
        written
            .iter()
            .all(|path| path.starts_with(&model) || path.starts_with(&locks)),
        "{written:?}"
    );
    assert!(scene.blobs().join("../../x").symlink_metadata().is_err());
}

#[test]
fn weights_that_are_not_what_the_hub_stated_are_removed() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::Changed {
        file: "model.safetensors",
    });
    let stated = stand_in::etag("model.safetensors", &[7; 40_000]);
    says(
        scene.online(),
        &[ID, "model.safetensors", "SHA-256", &stated, "removed"],
    );
    let left: Vec<_> = tree(&scene.blobs())
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert!(
        !left.is_empty()
            && left
                .iter()
                .all(|path| !path.to_string_lossy().contains(&stated)),
        "{left:?}"
    );

    scene.hub.mood(Mood::Good);
    assert_eq!(
        fs_err::read(scene.online().unwrap().join("model.safetensors")).unwrap(),
        [7; 40_000]
    );
}

#[test]
fn a_cache_that_names_a_path_as_commit_is_not_followed() {
    let scene = Scene::new(single_file());
    let dir = scene.online().unwrap();
    let other = scene.cache.path().join(COMMIT);
    fs_err::create_dir_all(&other).unwrap();
    fs_err::copy(dir.join("config.json"), other.join("config.json")).unwrap();
    let reference = scene.blobs().parent().unwrap().join("refs/main");
    assert_eq!(fs_err::read_to_string(&reference).unwrap(), COMMIT);
    fs_err::write(&reference, format!("../../{COMMIT}")).unwrap();
    says(scene.offline(), &[ID, "is no commit of the model"]);
}

#[test]
fn offline_uses_what_is_cached() {
    let scene = Scene::new(single_file());
    let dir = scene.online().unwrap();
    let before = scene.hub.requests().len();
    assert_eq!(scene.offline().unwrap(), dir);
    let by_commit = HubOptions {
        revision: Some(COMMIT.into()),
        offline: true,
    };
    assert_eq!(scene.get(&by_commit).unwrap(), dir);
    assert_eq!(scene.hub.requests().len(), before);
}

#[test]
fn offline_without_cache_says_so() {
    let scene = Scene::new(single_file());
    says(
        scene.offline(),
        &[ID, "config.json is not in the cache", "offline mode"],
    );
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn a_hub_that_cannot_be_reached_is_replaced_by_a_complete_cache() {
    let mut scene = Scene::new(single_file());
    let dir = scene.online().unwrap();
    scene.hub.stop();
    assert_eq!(scene.online().unwrap(), dir);

    fs_err::remove_file(dir.join("model.safetensors")).unwrap();
    says(scene.online(), &["cannot be reached", "HF_ENDPOINT"]);
}

#[test]
fn a_failing_hub_is_named_as_such() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::Down);
    says(scene.online(), &["503", "run it again"]);
}

// `/dev/full` answers every write as a full disk does.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_as_such() {
    let scene = Scene::new(single_file());
    fs_err::create_dir_all(scene.blobs()).unwrap();
    let partial = scene.blobs().join(format!(
        "{}.incomplete",
        stand_in::etag("model.safetensors", &[7; 40_000])
    ));
    fs_err::os::unix::fs::symlink("/dev/full", partial).unwrap();
    let error = scene.online().unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&scene.cache.path().display().to_string())
    );
}

#[test]
fn a_full_disk_is_seen_below_other_errors() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let wrapped = io::Error::new(io::ErrorKind::StorageFull, full());
    for error in [full(), wrapped] {
        let error = hub_error(ID, Path::new("/cache"), "http://hub", Failure::Io(error));
        assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    }
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
    impl Progress for Told {
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

#[test]
fn only_ids_and_revisions_of_the_right_form_reach_the_hub() {
    for id in ["Qwen/Qwen3-Embedding-0.6B", "a/b_c.d-e"] {
        assert!(is_hub_id(id), "{id}");
    }
    for id in [
        "", "gpt2", "a/b/c", "/b", "a/", "../b", "a/..", "./b", "a b/c", "a/b--c", "-a/b", "a/b.",
    ] {
        assert!(!is_hub_id(id), "{id}");
    }
    let scene = Scene::new(single_file());
    says(
        scene.get(&HubOptions {
            revision: Some("../../x".into()),
            offline: false,
        }),
        &["is no revision"],
    );
    let config = HubConfig {
        endpoint: scene.hub.endpoint(),
        cache: scene.cache.path().to_path_buf(),
        token: Some(String::new()),
        retries: Some(0),
    };
    says(
        download_with(&config, "no-owner", &HubOptions::default(), None),
        &["write owner/name"],
    );
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn the_offline_variable_is_read_as_its_inventor_reads_it() {
    for on in ["1", "ON", "Yes", "true"] {
        assert!(is_switched_on(Some(on)), "{on}");
    }
    for off in [
        None,
        Some(""),
        Some("0"),
        Some("off"),
        Some("no"),
        Some("false"),
    ] {
        assert!(!is_switched_on(off), "{off:?}");
    }
}

#[test]
fn reachable_means_that_something_answers() {
    let mut hub = Hub::start(ID, BTreeMap::new());
    let endpoint = hub.endpoint();
    assert_eq!(reachable_at(&endpoint, Duration::from_secs(5)), Ok(()));
    hub.mood(Mood::Down);
    assert_eq!(reachable_at(&endpoint, Duration::from_secs(5)), Ok(()));
    hub.mood(Mood::Silent);
    let message = reachable_at(&endpoint, Duration::from_millis(100)).unwrap_err();
    assert!(message.contains("did not answer within 0.1 s"), "{message}");
    hub.stop();
    let message = reachable_at(&endpoint, Duration::from_secs(5)).unwrap_err();
    assert!(message.contains("refused"), "{message}");
    assert!(reachable_at("not an address", Duration::from_secs(5)).is_err());
}

#[test]
fn a_chain_of_causes_is_one_line_without_repetition() {
    let error = Error::io("/x", io::Error::other("disk on fire"));
    assert_eq!(chain(&error), "cannot read or write /x: disk on fire");
    assert_eq!(
        chain(&Failure::Io(io::Error::other("disk on fire"))),
        "disk on fire"
    );
}
