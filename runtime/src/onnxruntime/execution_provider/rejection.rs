//! Interprets ONNX Runtime's messages when a provider rejects an option or does not start.

use super::option::DEVICE;
use crate::error::Error;

use super::{Provider, ProviderOption};

/// The error of a provider that could not be added to a session, from ONNX Runtime's message. A user can correct a
/// rejected option; any other message means that the machine lacks something.
pub(crate) fn error(provider: Provider, options: &[ProviderOption], message: &str) -> Error {
    if NO_GPU.iter().any(|sign| message.contains(sign)) {
        return Error::Provider {
            provider: provider.name(),
            reason: "this process sees no NVIDIA GPU. Check that `nvidia-smi` lists one, that CUDA_VISIBLE_DEVICES is not \
                     empty, and that a container was given it (`--gpus all`)"
                .to_owned(),
        };
    }
    rejected(provider, options, message).unwrap_or_else(|| Error::Provider {
        provider: provider.name(),
        reason: provider.did_not_start(message),
    })
}

/// Messages that mean that there is no device: CUDA's (cudaErrorNoDevice), and that of ONNX Runtime's check of the
/// device number.
const NO_GPU: [&str; 2] = [
    "no CUDA-capable device is detected",
    "must be between 0 (inclusive) and 0 (exclusive)",
];

/// The error for a message that names one of the user's options; `None` for other messages.
pub(crate) fn rejected(
    provider: Provider,
    options: &[ProviderOption],
    message: &str,
) -> Option<Error> {
    if !message.contains("option") {
        return None;
    }
    let mut own = options.iter().filter(|option| option.provider == provider);
    let option = match own.find(|option| names(message, &option.key)) {
        Some(option) => option.to_string(),
        // lexivec sets this one, from the session's device.
        None if names(message, DEVICE) => DEVICE.to_owned(),
        None => return None,
    };
    Some(Error::ProviderOption {
        provider: provider.name(),
        option,
        reason: plain(message),
    })
}

/// The error of a session that did not open because of its providers: plugins and TensorRT check their options only
/// then. `None` if the graph is the reason.
pub(crate) fn at_load(
    order: &[Provider],
    options: &[ProviderOption],
    message: &str,
) -> Option<Error> {
    let mut rejections = order
        .iter()
        .filter_map(|provider| rejected(*provider, options, message));
    if let Some(error) = rejections.next() {
        return Some(error);
    }
    if !message.contains("PluginExecutionProviderFactory") {
        return None;
    }
    let provider = order.iter().find(|provider| provider.is_plugin())?;
    let given = options.iter().map(ToString::to_string);
    let given = given.collect::<Vec<_>>().join(" ");
    Some(Error::Provider {
        provider: provider.name(),
        reason: format!(
            "it did not start with the options `{given}`: {}",
            plain(message)
        ),
    })
}

/// Whether a message contains `key` as a word.
fn names(message: &str, key: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    message
        .split(|c: char| !part_of_word(c))
        .any(|word| word.trim_end_matches('.') == key)
}

/// ONNX Runtime's message without the source files, line numbers, functions and status in front of it.
pub(crate) fn plain(message: &str) -> String {
    let message = message.rsplit(" : ").next().unwrap_or(message);
    let mut words = Vec::new();
    let mut all = message.split_whitespace().peekable();
    while let Some(word) = all.next() {
        if is_source_position(word) {
            // The function's name follows.
            all.next();
        } else {
            words.push(word);
        }
    }
    words.join(" ").trim_end_matches('.').to_owned()
}

/// `parse_string.h:116`.
fn is_source_position(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(file, line)| {
        let source = file.ends_with(".h") || file.ends_with(".cc") || file.ends_with(".cpp");
        source && !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Vec<ProviderOption> {
        ["nonsense=1", "gpu_mem_limit=abc"]
            .map(|text| {
                let (key, value) = text.split_once('=').unwrap();
                ProviderOption::new(&[Provider::Cuda], key, value).unwrap()
            })
            .to_vec()
    }

    fn said(message: &str) -> String {
        error(Provider::Cuda, &options(), message).to_string()
    }

    // The messages are those of onnxruntime-gpu 1.31.1.
    #[test]
    fn an_unknown_option_is_named() {
        assert_eq!(
            said(
                "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:10 Get() [ONNXRuntimeError] : 1 : FAIL : \
                 provider_options_utils.h:182 Parse Unknown provider option: \"nonsense\".\n"
            ),
            "the execution provider `cuda` rejects the option `cuda.nonsense=1`: Unknown provider option: \"nonsense\""
        );
    }

    #[test]
    fn a_bad_value_is_shown_as_it_was_given() {
        let message = said(
            "provider_options_utils.h:187 Parse Failed to parse provider option \"gpu_mem_limit\": parse_string.h:116 \
             ParseStringWithClassicLocale Failed to parse value: \"18446744073709551615\"",
        );
        assert!(
            message.contains("the option `cuda.gpu_mem_limit=abc`"),
            "{message}"
        );
        assert!(!message.contains("parse_string.h"), "{message}");
        assert!(!message.contains("needs an NVIDIA GPU"), "{message}");
    }

    #[test]
    fn a_wrong_device_is_named_as_an_option() {
        let message = said(
            "Failed to parse provider option \"device_id\": cuda_execution_provider_info.cc:71 operator() Invalid device ID: \
             7, must be between 0 (inclusive) and 1 (exclusive).",
        );
        assert!(message.contains("the option `device_id`"), "{message}");
    }

    #[test]
    fn a_plugin_that_rejects_its_options_is_not_the_graphs_fault() {
        let order = [Provider::OpenVino];
        let options = [ProviderOption::new(&order, "load_config", "zzz").unwrap()];
        let message = "ep_plugin_provider_interfaces.cc:393 onnxruntime::PluginExecutionProviderFactory::CreateProvider(const \
                       OrtLogger&) [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : JSON parsing error: syntax error\n";
        let error = at_load(&order, &options, message).unwrap().to_string();
        assert!(
            error.ends_with(
                "the options `openvino.load_config=zzz`: JSON parsing error: syntax error"
            ),
            "{error}"
        );
        assert!(at_load(&order, &options, "no such file").is_none());
    }

    #[test]
    fn a_missing_library_is_not_an_option_error() {
        let message =
            said("Failed to load library libcublasLt.so.13: cannot open shared object file");
        assert!(message.contains("It needs an NVIDIA GPU"), "{message}");
    }
}
