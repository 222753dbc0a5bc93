//! Embeds token ids in this process and measures the time, for `make bench-cpu`: `in_process MODEL_DIRECTORY MAX_LENGTH`.
//!
//! `cpu/measure/protocol.py` describes the lines that this program reads and writes. The engine has its default options, without
//! a response cache. Only the call that embeds is timed.
#![allow(missing_docs)]

use std::borrow::Cow;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use lexivec_runtime::{Engine, EngineOptions, Input, Request};
use serde::Deserialize;
use serde_json::{Value, json};

/// One line of standard input.
#[derive(Deserialize)]
struct Job {
    texts: Vec<Vec<u32>>,
    vectors: bool,
}

fn run(engine: &Engine, job: &Job) -> anyhow::Result<Value> {
    let request = |ids| Request {
        input: Input::Tokens(Cow::Borrowed(ids)),
        ..Request::text("")
    };
    let requests: Vec<_> = job
        .texts
        .iter()
        .map(|ids| request(ids.as_slice()))
        .collect();
    let began = Instant::now();
    let embeddings = engine.embed(&requests)?;
    let seconds = began.elapsed().as_secs_f64();
    let vectors: Vec<_> = embeddings.iter().map(|e| e.vector.as_slice()).collect();
    Ok(match job.vectors {
        true => json!({"seconds": seconds, "vectors": vectors}),
        false => json!({"seconds": seconds}),
    })
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("needs a model directory")?;
    let max_length = arguments.next().context("needs a maximum length")?;
    let options = EngineOptions {
        max_length: Some(max_length.parse()?),
        ..EngineOptions::default()
    };
    let engine = Engine::open(Path::new(&model), &options)?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", json!({"pid": std::process::id()}))?;
    for line in std::io::stdin().lock().lines() {
        let answer = run(&engine, &serde_json::from_str(&line?)?);
        let answer = answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}
