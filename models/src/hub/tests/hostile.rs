//! Hubs and caches that try to write outside the cache, and changed files.

use super::*;

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
fn a_hub_that_states_paths_as_names_changes_no_file() {
    const HEX: &str = "0123456789abcdef";
    let home = tempfile::tempdir().unwrap();
    // An absolute path, which a hostile hub would have to guess.
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
fn every_answer_of_the_hub_is_checked() {
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
fn weights_with_another_digest_than_stated_are_removed() {
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
fn a_path_in_place_of_a_commit_in_the_cache_is_not_followed() {
    let scene = Scene::new(single_file());
    let dir = scene.online().unwrap();
    let other = scene.cache.path().join(COMMIT);
    fs_err::create_dir_all(&other).unwrap();
    fs_err::copy(dir.join("config.json"), other.join("config.json")).unwrap();
    let reference = scene.blobs().parent().unwrap().join("refs/main");
    assert_eq!(fs_err::read_to_string(&reference).unwrap(), COMMIT);
    fs_err::write(&reference, format!("../../{COMMIT}")).unwrap();
    says(scene.offline(), &[ID, "is not a commit of the model"]);
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
