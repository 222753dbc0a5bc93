//! Hints: the flags that help against an error. The libraries know nothing of flags, so the program adds them to its message.

use std::error::Error;

use lexivec_models::Precision;

/// What a user of the command line can do about an error; `None` if its message says it all.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(of_cause)
}

/// An error's message with its hint, for reports that have a line per error.
pub(crate) fn with_hint(error: &anyhow::Error) -> String {
    match of(error) {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    }
}

/// The hint for one error of a chain. A transparent error hides the error that it wraps from the chain, so the functions below look
/// inside.
fn of_cause(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref() {
        return of_opening(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_comparison(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_conversion(error);
    }
    error.downcast_ref().and_then(of_runtime)
}

fn of_opening(error: &lexivec::Error) -> Option<String> {
    use lexivec::Error;
    match error {
        Error::NoExport { .. } => Some("leave `--onnx` out".to_owned()),
        Error::Conversion(error) => of_conversion(error),
        Error::Runtime(error) => of_runtime(error),
        _ => None,
    }
}

fn of_comparison(error: &lexivec_evaluate::Error) -> Option<String> {
    use lexivec_evaluate::Error;
    match error {
        Error::Checkpoint(error) => of_conversion(error),
        Error::Runtime(error) => of_runtime(error),
        Error::MissingSplit { .. } => Some("choose one of them with `--split`".to_owned()),
        Error::Server {
            status: Some(401), ..
        } => Some("give its key with `--api-key` or LEXIVEC_API_KEY".to_owned()),
        Error::UnknownModel { source } => {
            of_comparison(source).or_else(|| Some("name the model with `--model`".to_owned()))
        }
        Error::AmbiguousModel { address, .. } => {
            Some(format!("choose one with `--model`, or as {address}#MODEL"))
        }
        _ => None,
    }
}

fn of_conversion(error: &lexivec_convert::Error) -> Option<String> {
    use lexivec_convert::Error;
    let hint = match error {
        Error::Runtime(error) => return of_runtime(error),
        Error::Rescaling { .. } | Error::Fp16Range { .. } => {
            "convert with `--precision bf16` or `--precision fp32`"
        }
        Error::BlockSize { .. } => "choose another `--block-size`, or `--precision int8`",
        Error::UnusedTensors { .. } => {
            "correct config.json, or accept the tensors with `--allow-unused-tensors`"
        }
        Error::Exists { .. } => "choose another `--output`, or replace it with `--force`",
        Error::Busy { .. } => "wait for it, or choose another `--output`",
        Error::Verification { .. } => {
            "choose a wider `--precision`, or keep the model regardless with `--no-verify`"
        }
        Error::TargetOfAnotherProvider { .. } => {
            "leave `--target` out, or choose the provider of that target with `--ep`"
        }
        Error::NonFiniteOutput {
            precision: Precision::Fp32,
            ..
        } => {
            "download the checkpoint again, because its weights are probably damaged; or choose `--precision bf16` with `--ep \
             tensorrt`, which computes attention in float16 otherwise"
        }
        Error::NonFiniteOutput {
            precision: Precision::Bf16,
            ..
        } => "download the checkpoint again, because its weights are probably damaged",
        Error::NonFiniteOutput { .. } => {
            "choose `--precision bf16` or fp32, or `--compute fp32` for int8-weight and int4-weight; calibration, which \
             `--no-calibration` skips, rescales values that are too large"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_runtime(error: &lexivec_runtime::Error) -> Option<String> {
    use lexivec_runtime::Error;
    let hint = match error {
        Error::LibraryNotFound { .. } => {
            "run `make onnxruntime` in the project, which installs one into the cache folder, or name one with \
             `--onnxruntime PATH` or ORT_DYLIB_PATH"
        }
        Error::CudaGraphs(_) => "`--cuda-graphs off` serves without them",
        Error::Provider {
            provider: "openvino" | "tensorrt-rtx",
            ..
        } => "`--ep-library PATH` names the provider's library",
        Error::UnsupportedModel { .. } => {
            "`lexivec convert` takes the execution provider as `--ep` and the precision as `--precision`"
        }
        Error::ProviderOption { option, .. } if option == "device_id" => {
            "`--devices` selects the GPUs"
        }
        Error::Placement { .. } => {
            "`lexivec convert --ep NAME` converts for a provider, and `--allow-cpu-nodes` accepts slow batches"
        }
        Error::DeviceMemory { .. } => {
            "`--gpu-memory-utilization` raises the limit; fewer `--sessions` and `--cuda-graphs off` need less"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use lexivec_evaluate::Error as ComparisonError;
    use lexivec_runtime::Error as RuntimeError;

    use super::*;

    fn server(status: u16) -> ComparisonError {
        ComparisonError::Server {
            address: "http://host/v1".to_owned(),
            reason: format!("the server answered {status}"),
            status: Some(status),
        }
    }

    #[test]
    fn an_error_gets_the_flags_that_help() {
        let exists = || lexivec_convert::Error::Exists {
            path: "model".into(),
        };
        let unknown = |status| ComparisonError::UnknownModel {
            source: Box::new(server(status)),
        };
        let several = ComparisonError::AmbiguousModel {
            address: "http://host/v1".to_owned(),
            models: ["small", "large"].map(str::to_owned).to_vec(),
        };
        let within_a_system = ComparisonError::System {
            system: "one".to_owned(),
            source: Box::new(server(401)),
        };
        let on_openvino = |form_is_supported| match form_is_supported {
            true => RuntimeError::Provider {
                provider: "openvino",
                reason: "no library".to_owned(),
            },
            false => RuntimeError::UnsupportedModel {
                provider: "openvino",
                reason: "its operators are another execution provider's".to_owned(),
            },
        };
        let overflow = |precision| lexivec_convert::Error::NonFiniteOutput {
            precision,
            text: "cardiac arrest".to_owned(),
        };
        let damaged = "download the checkpoint again, because its weights are probably damaged";
        let graphs = || RuntimeError::CudaGraphs("no memory".to_owned());
        let replace = "choose another `--output`, or replace it with `--force`";
        let key = "give its key with `--api-key` or LEXIVEC_API_KEY";
        let cuda = "`--cuda-graphs off` serves without them";
        for (error, hint) in [
            (anyhow::Error::new(exists()), replace),
            (lexivec::Error::Conversion(exists()).into(), replace),
            (ComparisonError::Checkpoint(exists()).into(), replace),
            (unknown(401).into(), key),
            (unknown(404).into(), "name the model with `--model`"),
            (within_a_system.into(), key),
            (
                several.into(),
                "choose one with `--model`, or as http://host/v1#MODEL",
            ),
            (
                on_openvino(true).into(),
                "`--ep-library PATH` names the provider's library",
            ),
            (
                on_openvino(false).into(),
                "`lexivec convert` takes the execution provider as `--ep` and the precision as `--precision`",
            ),
            (overflow(Precision::Bf16).into(), damaged),
            (graphs().into(), cuda),
            (lexivec::Error::Runtime(graphs()).into(), cuda),
            (lexivec_convert::Error::Runtime(graphs()).into(), cuda),
            (ComparisonError::Runtime(graphs()).into(), cuda),
        ] {
            assert_eq!(of(&error).as_deref(), Some(hint), "{error}");
            let in_context = Err::<(), _>(error).context("the model does not open");
            assert_eq!(
                with_hint(&in_context.unwrap_err()),
                format!("the model does not open (hint: {hint})")
            );
        }
    }

    #[test]
    fn other_errors_have_no_hint() {
        for error in [
            anyhow::Error::new(RuntimeError::Stopped),
            lexivec_convert::Error::Interrupted.into(),
            server(500).into(),
        ] {
            assert_eq!(with_hint(&error), error.to_string());
        }
    }
}
