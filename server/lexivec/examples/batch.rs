//! Embeds many texts in parts, with progress: `cargo run --example batch -- terms.txt`.

use lexivec::{EngineOptions, Event, Model, Observer, Provider};

/// Texts that are handed to the model at a time. The model makes batches of them.
const PART: usize = 1024;

/// Prints what happens while the model is opened.
struct Printer;

impl Observer for Printer {
    fn event(&self, event: Event<'_>) {
        eprintln!("{event}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: batch FILE")?;
    let text = fs_err::read_to_string(path)?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let model = Model::builder("models/nano")
        .engine(EngineOptions::for_provider(Provider::Cpu))
        .open_with(&Printer)?;
    let mut vectors = Vec::with_capacity(lines.len());
    for part in lines.chunks(PART) {
        vectors.extend(model.embed(part)?);
        eprintln!("{} of {} texts", vectors.len(), lines.len());
    }
    Ok(())
}
