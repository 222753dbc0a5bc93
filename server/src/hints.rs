//! Hints that the program adds to errors of the runtime: the flags that help, which the library knows nothing of.

use lexivec_runtime::Error;

/// What a user of the command line can do about an error; `None` if its message says it all.
fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::LibraryNotFound { .. } => {
            "run `make onnxruntime` in the project, which installs one into the cache folder, or name one with \
             `--onnxruntime PATH` or ORT_DYLIB_PATH"
        }
        Error::CudaGraphs(_) => "`--cuda-graphs off` serves without them",
        Error::Provider {
            provider: "openvino" | "tensorrt-rtx",
            ..
        } => "`--ep-library PATH` names the provider's library",
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
    })
}

/// An error's message with its hint.
pub(crate) fn with_hint(error: &anyhow::Error) -> String {
    match of_cause(error) {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    }
}

/// The hint for an error whose cause is one of the runtime's.
pub(crate) fn of_cause(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| hint(cause.downcast_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_gets_the_flags_that_help() {
        let error = Error::CudaGraphs("no memory".to_owned());
        let context = anyhow::Error::new(error.clone()).context("the model does not open");
        assert_eq!(of_cause(&context), hint(&error));
        assert_eq!(
            with_hint(&context),
            "the model does not open (hint: `--cuda-graphs off` serves without them)"
        );
        assert_eq!(
            with_hint(&Error::Stopped.into()),
            Error::Stopped.to_string()
        );
    }
}
