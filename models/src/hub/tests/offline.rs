//! Downloads without the hub.

use super::environment::is_switched_on;
use super::*;

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
fn the_offline_variable_takes_the_values_of_huggingface_hub() {
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
