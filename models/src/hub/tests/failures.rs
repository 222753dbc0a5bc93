//! Failures of the hub, the network and the disk, and their error messages.

use super::*;

#[test]
fn the_error_for_an_unknown_model_says_what_to_check() {
    let scene = Scene::new(BTreeMap::new());
    says(
        scene.online(),
        &[ID, "config.json", "check the id and the revision"],
    );
}

#[test]
fn the_error_for_a_gated_model_says_what_to_do_and_a_token_gives_access() {
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
fn a_token_that_is_no_valid_header_is_an_error() {
    let mut scene = Scene::new(single_file());
    scene.token = "hf_\u{e4}";
    says(scene.online(), &["token", "HF_TOKEN"]);
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn an_error_names_a_mirror_and_the_address_it_redirects_to() {
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
    // Only the first file was requested.
    assert!(scene.hub.requests().iter().all(|r| r.starts_with("HEAD ")));
}

#[test]
fn a_cut_connection_corrupts_nothing_and_the_next_attempt_succeeds() {
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

#[test]
fn a_failing_hub_is_an_error_that_says_so() {
    let scene = Scene::new(single_file());
    scene.hub.mood(Mood::Down);
    says(scene.online(), &["503", "run it again"]);
}

// Every write to `/dev/full` fails as on a full disk.
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
fn a_full_disk_is_recognised_in_other_errors() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let wrapped = io::Error::new(io::ErrorKind::StorageFull, full());
    for error in [full(), wrapped] {
        let error = hub_error(ID, Path::new("/cache"), "http://hub", Failure::Io(error));
        assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
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
    assert_eq!(
        message_with_causes(&error),
        "cannot read or write /x: disk on fire"
    );
    assert_eq!(
        message_with_causes(&Failure::Io(io::Error::other("disk on fire"))),
        "disk on fire"
    );
}
