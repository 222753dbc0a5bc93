//! `lexivec inspect`.

use std::path::PathBuf;

use anyhow::bail;
use lexivec_models::text::message;
use lexivec_models::{Checkpoint, Decoder, Manifest, Precision, Quantization, Target};
use serde_json::{Value, json};

use super::convert::{calibrated, verification};
use crate::stdio::{print, print_exactly};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model directory or checkpoint folder
    #[arg(env = "LEXIVEC_MODEL")]
    dir: PathBuf,

    /// Check the digest of every file of a model directory
    #[arg(long, env = "LEXIVEC_VERIFY")]
    verify: bool,

    /// Print JSON instead of a table
    #[arg(long, env = "LEXIVEC_JSON")]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut quantization = None;
    let rows = if Manifest::is_model_dir(&args.dir) {
        let manifest = Manifest::read(&args.dir)?;
        manifest.check(&args.dir)?;
        if args.verify {
            manifest.verify_digests(&args.dir)?;
        }
        quantization = manifest
            .quantization
            .clone()
            .map(|q| (manifest.precision, q));
        model(&manifest, args.verify)
    } else if super::has_export(&args.dir) && !Checkpoint::is_checkpoint(&args.dir) {
        bail!(
            "{}: this is the ONNX export of another tool; `lexivec doctor` shows more about it",
            args.dir.display()
        );
    } else {
        checkpoint(&Checkpoint::open(&args.dir)?)
    };
    if args.json {
        let mut object: serde_json::Map<String, Value> =
            rows.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        if let Some((_, quantization)) = &quantization {
            object.insert(
                "quantization".to_owned(),
                serde_json::to_value(quantization)?,
            );
        }
        return print_exactly(&serde_json::to_string_pretty(&object)?);
    }
    for (name, value) in rows {
        let text = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        print(&message(&format!("{name:14} {text}")))?;
    }
    if let Some((precision, quantization)) = &quantization {
        print(&linear_groups(*precision, quantization))?;
    }
    Ok(())
}

type Facts = Vec<(&'static str, Value)>;

fn model(m: &Manifest, verified: bool) -> Facts {
    let revision = m
        .source
        .id
        .revision
        .as_deref()
        .map_or(String::new(), |r| format!(" at {r}"));
    let bytes: u64 = m.files.values().map(|f| f.size).sum();
    let mut rows = vec![
        ("kind", json!("model")),
        ("source", json!(format!("{}{revision}", m.source.id.name))),
        ("precision", json!(m.precision.as_str())),
        ("target", json!(m.target.as_str())),
        ("layout", json!(m.layout.as_str())),
    ];
    if m.target == Target::Cuda {
        rows.push(("attention", json!(m.attention.as_str())));
    }
    rows.extend(architecture(&m.decoder));
    rows.extend([
        (
            "dimensions",
            json!(format!("{} to {}", m.dimensions.min, m.dimensions.max)),
        ),
        ("max length", json!(m.max_length)),
        ("prompts", json!(m.prompts)),
        ("size", json!(format!("{:.1} MB", bytes as f64 / 1e6))),
        ("verification", json!(verification(&m.verification))),
        ("written by", json!(m.program)),
        ("digest", json!(m.digest())),
        (
            "files",
            json!(if verified {
                "all present, digests match"
            } else {
                "all present (--verify checks digests)"
            }),
        ),
    ]);
    if let Some(q) = &m.quantization {
        rows.push(("calibration", json!(calibrated(q))));
    }
    rows.extend(m.notes.iter().map(|note| ("note", json!(note))));
    rows
}

/// A table of the plan of every linear group. Its sensitivities are those of the model's precision, the coarsest of the plan.
fn linear_groups(precision: Precision, q: &Quantization) -> String {
    let mut table = format!(
        "\n{:52} {:11} {:>9} {:>8}  {:8} {:>11}\n",
        "linear group", "precision", "smoothing", "rotation", "rounding", "sensitivity"
    );
    for p in &q.linear_groups {
        let smoothing = p.smoothing.map_or("-".to_owned(), |s| format!("{s:.2}"));
        let rotation = p.rotation.map_or("-".to_owned(), |block| block.to_string());
        table += &format!(
            "{:52} {:11} {smoothing:>9} {rotation:>8}  {:8} {:>11.2e}\n",
            p.name, p.precision, p.rounding, p.sensitivity
        );
    }
    table
        + &format!(
            "\nsensitivity: mean of 1 - cosine to fp32 if only this linear layer is {precision}"
        )
}

fn checkpoint(c: &Checkpoint) -> Facts {
    let pooling = if c.sentence.assumed {
        "last token, L2 (assumed)"
    } else {
        "last token, L2"
    };
    let mut rows = vec![
        ("kind", json!("checkpoint")),
        ("source", json!(c.source.name)),
    ];
    rows.extend(architecture(&c.decoder));
    rows.extend([
        ("pooling", json!(pooling)),
        ("max length", json!(c.max_length())),
        ("prompts", json!(c.sentence.prompts)),
        ("weight files", json!(c.weights.len())),
    ]);
    rows.extend(c.notes.iter().map(|note| ("note", json!(note))));
    rows
}

fn architecture(d: &Decoder) -> Facts {
    let attention = 2 * d.hidden_size * d.head_dim * (d.heads + d.kv_heads);
    let mlp = 3 * d.hidden_size * d.intermediate_size;
    let parameters = d.vocab_size * d.hidden_size + d.layers * (attention + mlp);
    vec![
        ("architecture", json!(d.family.as_str())),
        (
            "shape",
            json!(format!(
                "{} layers, hidden {}, {} heads of {} ({} for keys and values), intermediate {}, vocabulary {}",
                d.layers,
                d.hidden_size,
                d.heads,
                d.head_dim,
                d.kv_heads,
                d.intermediate_size,
                d.vocab_size
            )),
        ),
        (
            "parameters",
            json!(format!("{:.1} M", parameters as f64 / 1e6)),
        ),
    ]
}
