//! A server as a system under comparison.

use std::io::{BufRead, BufReader};
use std::process::Child;

use super::*;

/// `lexivec serve` on a free port, which ends when this is dropped.
struct Server(Child, String);

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = lexivec()
            .args(["serve", "--port", "0", "--threads", "1"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.by_ref().map_while(Result::ok);
        let address = said
            .filter_map(|line| Some(line.split_once(" at http://")?.1.to_owned()))
            .next();
        // Keeps reading, because the server would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("the server started");
        let address = address.split_whitespace().next().unwrap();
        Self(child, format!("http://{address}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_is_compared_like_a_model() {
    let scene = Scene::new(&[Precision::Fp32]);
    let model = scene.path("fp32");
    let server = Server::start(&[model.to_str().unwrap(), "--api-key", "secret"]);
    let arguments = [
        "fp32",
        &server.1,
        "--texts",
        "texts.txt",
        "--speed-seconds",
        "0.1",
    ];
    let rejected = scene.compare(&arguments);
    assert_eq!(rejected.status.code(), Some(1));
    assert!(
        text(&rejected.stderr).contains("401"),
        "{}",
        text(&rejected.stderr)
    );

    let report = scene.report(&[&arguments[..], &["--api-key", "secret"]].concat());
    let candidate = &report["candidates"][0];
    let facts = &candidate["facts"];
    assert_eq!(
        (&facts["kind"], &facts["precision"]),
        (&"endpoint".into(), &"fp32".into())
    );
    assert_eq!(facts["notes"], Value::Array(Vec::new()), "{facts}");
    let found = similarities(candidate);
    // A server normalises its vectors in float32 before they are compared.
    let far = found
        .iter()
        .find(|(place, value)| place.ends_with("min") && **value < 1.0 - 1e-12);
    assert_eq!(far, None);
    assert!(
        found
            .iter()
            .filter(|(place, _)| place.contains("overlap"))
            .all(|(_, value)| *value == 1.0)
    );
    assert!(
        candidate["layers_missing"]
            .as_str()
            .unwrap()
            .contains("does not show its layers")
    );
    assert!(
        candidate["speed"]["candidate"]["tokens_per_second"]
            .as_f64()
            .unwrap()
            > 0.0
    );
}
