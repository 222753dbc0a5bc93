//! Admission: which requests a busy server accepts, and what it tells clients about it.

mod deadlines;
mod keys;

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::fake::BatchOutcome;
use super::local::{Local, Setup};
use super::metrics::eventually;

/// Settings with this time limit for requests, and the API keys of a key file's lines.
fn setup(seconds: u64, keys: &str) -> Setup {
    let mut setup = Setup {
        request_timeout: Duration::from_secs(seconds),
        ..Setup::default()
    };
    setup.keys.add_lines(keys).unwrap();
    setup
}

/// Starts a server whose batches have at most `max_tokens` tokens and take `batch`, whatever their size.
fn serve_at_rate(mut setup: Setup, max_tokens: usize, batch: Duration) -> Local {
    setup.engine.limits.max_tokens = max_tokens;
    let local = setup.serve();
    local.control.always(move || BatchOutcome::Slow(batch));
    local
}

/// Lets the server measure its rate with a batch of 1,000 tokens; admission needs the rate.
fn measure_rate(local: &Local) -> Client {
    let mut client = local.connect();
    assert_eq!(client.embed(&texts(0, 0, 50, 20)).status, 200);
    client
}

/// Waits until texts of this cost are in the queue.
fn wait_until_queued(local: &Local, cost: usize) {
    eventually(|| (local.state.models[0].engine.queue().cost() >= cost).then_some(()));
}

/// Distinct texts of `length` tokens each. The first token identifies the caller.
fn texts(owner: u32, first: u32, count: u32, length: usize) -> Value {
    let text = |id| [vec![owner; length - 2], vec![id]].concat();
    json!((first..first + count).map(text).collect::<Vec<_>>())
}
