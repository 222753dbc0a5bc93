//! Holds a written model against the float32 graph of the same checkpoint, on the probe texts.
//!
//! The reference reads the checkpoint's own files and widens each weight when it is used, so verifying a model of any
//! size needs neither its float32 copy on disk nor its float32 weights in memory.

use std::path::Path;

use lexivec_models::{Checkpoint, Compute, Error as ModelError, Precision, Target, Verification};
use lexivec_runtime::batch::{Limits, select};
use lexivec_runtime::vector::cosine;
use lexivec_runtime::{
    Library, Network, PackedNetwork, PaddedNetwork, Provider, Request, SessionSettings, Tokenizer,
    open_network, refusal,
};

use crate::error::{Error, Result};
use crate::external;
use crate::late;
use crate::probes::probes;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::weights::Weights;

/// Models with more weights than this are verified with lean sessions: slower, but not all in memory.
const LEAN_FROM_BYTES: u64 = 1 << 30;
/// Characters of a probe text that messages and the manifest show.
const SHOWN: usize = 60;

/// The least cosine to float32 that a precision must keep on every probe text. Below it something is broken, not
/// coarse; what a precision costs in quality is measured by comparison, not here.
fn floor(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 0.999_99,
        Precision::Fp16 => 0.999,
        Precision::Bf16 => 0.99,
        Precision::Int8Weight => 0.99,
        Precision::Int8 => 0.95,
        Precision::Int4Weight => 0.8,
    }
}

/// What to verify.
pub(crate) struct Subject<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) weights: &'a Weights,
    /// Where the model was written.
    pub(crate) dir: &'a Path,
    pub(crate) precision: Precision,
    pub(crate) target: Target,
    /// What weights in blocks compute in.
    pub(crate) compute: Option<Compute>,
    pub(crate) onnxruntime: Option<&'a Path>,
}

/// Compares the written model with the reference.
///
/// # Errors
/// The model does not load, a vector is not finite, or a cosine is below the precision's floor; the text is named.
pub(crate) fn verify(subject: &Subject<'_>, progress: &dyn Progress) -> Result<Verification> {
    if let Some(reason) = refusal(
        Provider::Cpu,
        subject.precision,
        subject.compute,
        subject.target,
    ) {
        return Ok(Verification::Skipped {
            reason: format!("it cannot run on this CPU: {reason}"),
        });
    }
    progress.stage("verifying", 0);
    let library = Library::load(subject.onnxruntime, false)?;
    let checkpoint = subject.checkpoint;
    let length = checkpoint.max_length();
    let tokenizer = Tokenizer::open(&checkpoint.tokenizer, checkpoint.decoder.vocab_size, length)?;
    let texts = probes();
    let sequences = texts
        .iter()
        .map(|text| {
            let request = Request {
                truncate: lexivec_runtime::Truncate::End,
                ..Request::text(text.as_str())
            };
            Ok(tokenizer.encode(&request)?.ids)
        })
        .collect::<Result<Vec<_>>>()?;

    let expected = {
        let mut reference = Reference::new(checkpoint, subject.weights)?.open(library, None)?;
        run(&mut reference, &sequences, progress)?
    };
    let settings = SessionSettings {
        lean: weight_bytes(subject.dir) > LEAN_FROM_BYTES,
        ..SessionSettings::default()
    };
    // The manifest is not written yet, so the directory is opened by its files.
    let mut candidate = open_candidate(library, subject.dir, &settings)?;
    if subject.precision == Precision::Fp16 {
        // The file loads; what runs is a copy that needs not all its weights in float32 at once.
        drop(candidate);
        candidate = open_late(library, subject.dir, &settings)?;
    }
    let found = run(candidate.as_mut(), &sequences, progress)?;
    judge(subject.precision, &texts, &expected, &found)
}

fn open_candidate(
    library: &Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    match PackedNetwork::open(library, &dir.join(external::MODEL_FILE), settings) {
        Ok(network) => Ok(Box::new(network)),
        Err(lexivec_runtime::Error::Signature { .. }) => Ok(open_network(library, dir, settings)?),
        Err(error) => Err(error.into()),
    }
}

fn open_late(
    library: &Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    let path = dir.join(external::MODEL_FILE);
    let onnx = fs_err::read(&path).map_err(|e| ModelError::io(&path, e))?;
    let onnx =
        late::widened_late(&onnx).map_err(|e| ModelError::io(&path, std::io::Error::other(e)))?;
    match PackedNetwork::from_memory(library, &onnx, dir, settings) {
        Ok(network) => Ok(Box::new(network)),
        Err(lexivec_runtime::Error::Signature { .. }) => {
            let network = PaddedNetwork::from_memory(library, &onnx, dir, settings)?;
            Ok(Box::new(network))
        }
        Err(error) => Err(error.into()),
    }
}

fn weight_bytes(dir: &Path) -> u64 {
    fs_err::metadata(dir.join(external::DATA_FILE)).map_or(0, |m| m.len())
}

fn run(
    network: &mut dyn Network,
    sequences: &[Vec<u32>],
    progress: &dyn Progress,
) -> Result<Vec<Vec<f32>>> {
    let mut vectors = vec![Vec::new(); sequences.len()];
    let mut left: Vec<usize> = (0..sequences.len()).collect();
    while !left.is_empty() {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        let chosen = select(left.iter().map(|i| sequences[*i].len()), &Limits::default());
        let batch: Vec<usize> = chosen.iter().map(|position| left[*position]).collect();
        left.retain(|i| !batch.contains(i));
        let inputs: Vec<&[u32]> = batch.iter().map(|i| sequences[*i].as_slice()).collect();
        let states = network.embed(&inputs)?;
        for (i, state) in batch
            .into_iter()
            .zip(states.values.chunks_exact(network.hidden_size()))
        {
            vectors[i] = state.to_vec();
        }
    }
    Ok(vectors)
}

fn judge(
    precision: Precision,
    texts: &[String],
    expected: &[Vec<f32>],
    found: &[Vec<f32>],
) -> Result<Verification> {
    let mut cosines = Vec::with_capacity(texts.len());
    for ((text, expected), found) in texts.iter().zip(expected).zip(found) {
        if !found.iter().all(|v| v.is_finite()) {
            let text = shown(text);
            return Err(Error::NonFiniteOutput { precision, text });
        }
        let similarity = cosine(expected, found);
        // A vector of zeros has no direction: as far from the reference as can be.
        cosines.push(if similarity.is_nan() {
            -1.0
        } else {
            similarity
        });
    }
    let worst = (0..cosines.len())
        .min_by(|a, b| cosines[*a].total_cmp(&cosines[*b]))
        .unwrap_or(0);
    let (text, least) = (shown(&texts[worst]), cosines[worst]);
    if least < floor(precision) {
        return Err(Error::Verification {
            precision,
            text,
            cosine: least,
            floor: floor(precision),
        });
    }
    Ok(Verification::Passed {
        against: "fp32".to_owned(),
        texts: texts.len(),
        min_cosine: least,
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        worst_text: text,
    })
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_text_is_named_and_a_bad_one_fails() {
        let texts = ["one".to_owned(), "two".to_owned()];
        let expected = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let near = [vec![2.0, 0.0], vec![0.01, 1.0]];
        let verdict = judge(Precision::Fp16, &texts, &expected, &near).unwrap();
        let Verification::Passed {
            worst_text,
            min_cosine,
            ..
        } = verdict
        else {
            panic!("{verdict:?}")
        };
        assert_eq!(worst_text, "two");
        assert!(min_cosine < 1.0 && min_cosine > 0.9999);

        let error = judge(Precision::Fp32, &texts, &expected, &near).unwrap_err();
        assert!(matches!(error, Error::Verification { text, .. } if text == "two"));
        let nan = [vec![1.0, 0.0], vec![f32::NAN, 1.0]];
        let error = judge(Precision::Int8, &texts, &expected, &nan).unwrap_err();
        assert!(matches!(error, Error::NonFiniteOutput { text, .. } if text == "two"));
    }
}
