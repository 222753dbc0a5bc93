//! Verifies a written model: compares its vectors of the probe texts with those of the checkpoint's float32 graph.
//!
//! The reference reads the checkpoint's own files and widens each weight when it is used. So verifying a model of any size
//! needs neither a float32 copy on disk nor float32 weights in memory. `deferred_widening` does the same for float16 graphs.

mod deferred_widening;

use std::path::Path;

use lexivec_models::{Checkpoint, Error as ModelError, KnownAnswer, Precision, Verification};
use lexivec_runtime::batch::{Limits, batches};
use lexivec_runtime::{
    Library, Network, PackedNetwork, PaddedNetwork, Provider, ProviderSettings, Request,
    SessionSettings, Tokenizer, open_network, probe, unsupported, vector,
};

use crate::error::{Error, Result};
use crate::options::ConvertOptions;
use crate::probe_texts::{known_text, probes};
use crate::progress::Progress;
use crate::reference::{LOW_MEMORY_FROM_BYTES, Reference};
use crate::similarity::Similarity;
use crate::text_preview::text_preview;
use crate::weights::Weights;
use crate::write::external_data;

/// The length of a probe text's preview in messages and the manifest.
const SHOWN: usize = 60;

/// How many numbers of the known answer's vector the manifest records.
const KNOWN_WIDTH: usize = 32;

/// The least cosine to float32 that a precision must reach on every probe text. A lower one means that something is broken,
/// not just coarse. What a precision costs in quality is measured by evaluation, not here.
fn floor(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 0.999_99,
        Precision::Fp16 => 0.999,
        Precision::Bf16 => 0.99,
        Precision::Int8Weight => 0.99,
        Precision::Int8 | Precision::Fp8 => 0.95,
        Precision::Int4Weight => 0.8,
    }
}

/// The input of a verification.
pub(crate) struct VerificationInput<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) weights: &'a Weights,
    /// The folder of the written model.
    pub(crate) dir: &'a Path,
    pub(crate) precision: Precision,
}

/// The verifier of a conversion.
pub(crate) enum Verifier {
    /// A session on these providers.
    On(&'static Library, ProviderSettings),
    /// Nothing was verified, for this reason.
    Skipped(String),
}

/// Chooses the verifier of a conversion: CUDA if the model is for CUDA and there is a device, else the CPU.
///
/// # Errors
/// ONNX Runtime's library is missing.
pub(crate) fn verifier(options: &ConvertOptions) -> Result<Verifier> {
    if !options.verify {
        return Ok(Verifier::Skipped(
            "verification was switched off".to_owned(),
        ));
    }
    let load = || Library::load(options.onnxruntime.as_deref(), options.provider.on_gpu());
    let mut providers = ProviderSettings {
        device: options.device,
        ..ProviderSettings::default()
    };
    if options.provider == Provider::Cuda && probe(load()?, Provider::Cuda, &providers).is_ok() {
        providers.order = vec![Provider::Cuda];
    }
    if let Some(reason) = unsupported(providers.first(), options.form()) {
        let reason = format!("it cannot run on this machine: {reason}");
        return Ok(Verifier::Skipped(reason));
    }
    Ok(Verifier::On(load()?, providers))
}

/// Compares the written model with the reference, which runs on the CPU. Also returns the known answer that sessions are tested
/// with.
///
/// # Errors
/// The model does not load, a vector is not finite, or a cosine is below the precision's floor; the text is named.
pub(crate) fn verify(
    input: &VerificationInput<'_>,
    library: &'static Library,
    providers: ProviderSettings,
    progress: &dyn Progress,
) -> Result<(Verification, Option<KnownAnswer>)> {
    let provider = providers.first();
    progress.stage("verifying", 0);
    let checkpoint = input.checkpoint;
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
        let mut reference = Reference::over(checkpoint, input.weights)?.open(library, None)?;
        run(&mut reference, &sequences, progress)?
    };
    let on_cpu = provider == Provider::Cpu;
    let settings = SessionSettings {
        providers,
        low_memory: on_cpu && weight_bytes(input.dir) > LOW_MEMORY_FROM_BYTES,
        ..SessionSettings::default()
    };
    // Opens the files directly, because the manifest is not written yet.
    let opened = open_candidate(library, input.dir, &settings);
    let mut candidate = match opened {
        Ok(candidate) => candidate,
        // A busy GPU is no reason to discard a conversion.
        Err(error) if !on_cpu => {
            let reason = format!("it did not open on {provider}: {error}");
            return Ok((Verification::Skipped { reason }, None));
        }
        Err(error) => return Err(error),
    };
    if on_cpu && input.precision == Precision::Fp16 {
        // This has shown that the file loads. The copy that runs does not hold all weights in float32 at once.
        drop(candidate);
        candidate = open_with_deferred_widening(library, input.dir, &settings)?;
    }
    let found = run(candidate.as_mut(), &sequences, progress)?;
    let verification = judge(input.precision, provider, &texts, &expected, &found)?;
    let of_known = texts.iter().position(|text| *text == known_text());
    let known = of_known.map(|i| KnownAnswer {
        tokens: sequences[i].clone(),
        vector: vector::truncate(&found[i], KNOWN_WIDTH, true),
    });
    Ok((verification, known))
}

fn open_candidate(
    library: &'static Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    match PackedNetwork::open(library, &dir.join(external_data::MODEL_FILE), settings) {
        Ok(network) => Ok(Box::new(network)),
        Err(lexivec_runtime::Error::Signature { .. }) => Ok(open_network(library, dir, settings)?),
        Err(error) => Err(error.into()),
    }
}

fn open_with_deferred_widening(
    library: &Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    let path = dir.join(external_data::MODEL_FILE);
    let onnx = fs_err::read(&path).map_err(|e| ModelError::io(&path, e))?;
    let onnx = deferred_widening::defer_widening(&onnx)
        .map_err(|e| ModelError::io(&path, std::io::Error::other(e)))?;
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
    fs_err::metadata(dir.join(external_data::DATA_FILE)).map_or(0, |m| m.len())
}

fn run(
    network: &mut dyn Network,
    sequences: &[Vec<u32>],
    progress: &dyn Progress,
) -> Result<Vec<Vec<f32>>> {
    let mut vectors = vec![Vec::new(); sequences.len()];
    let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
    for batch in batches(&lengths, &Limits::default()) {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
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
    provider: Provider,
    texts: &[String],
    expected: &[Vec<f32>],
    found: &[Vec<f32>],
) -> Result<Verification> {
    for (text, found) in texts.iter().zip(found) {
        if !found.iter().all(|v| v.is_finite()) {
            let text = text_preview(text, SHOWN);
            return Err(Error::NonFiniteOutput { precision, text });
        }
    }
    let similarity = Similarity::of(expected, found);
    let (text, least) = (
        text_preview(&texts[similarity.worst], SHOWN),
        similarity.min,
    );
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
        on: provider.name().to_owned(),
        texts: texts.len(),
        min_cosine: least,
        mean_cosine: similarity.mean,
        worst_text: text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_text_is_named_and_a_bad_one_fails() {
        let texts = ["one".to_owned(), "two".to_owned()];
        let expected = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let near = [vec![2.0, 0.0], vec![0.01, 1.0]];
        let verdict = judge(Precision::Fp16, Provider::Cpu, &texts, &expected, &near).unwrap();
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

        let error = judge(Precision::Fp32, Provider::Cpu, &texts, &expected, &near).unwrap_err();
        assert!(matches!(error, Error::Verification { text, .. } if text == "two"));
        let nan = [vec![1.0, 0.0], vec![f32::NAN, 1.0]];
        let error = judge(Precision::Int8, Provider::Cpu, &texts, &expected, &nan).unwrap_err();
        assert!(matches!(error, Error::NonFiniteOutput { text, .. } if text == "two"));
    }
}
