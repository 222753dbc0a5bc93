//! The configuration of sessions for each execution provider: the one place that knows the providers' options and ONNX
//! Runtime's session entries. A user's options take precedence.

use crate::onnxruntime::execution_provider::Provider;
use crate::onnxruntime::session_settings::SessionSettings;

/// Multiplies integer weights as they are, with CUTLASS, if activations are float16 and blocks have 32 weights. It is
/// off unless a user enables it: on an H200, expanding the whole weight to float16 before each product is 1.6 times as
/// fast in a full batch, and a seventh slower for one text of 16 tokens.
const MULTIPLY_CODES: &str = "fpa_intb_gemm";

/// Options of CUDA that ONNX Runtime reads from the session instead of the provider, as `ep.cuda.KEY`.
const CUDA_SESSION_OPTIONS: [&str; 1] = [MULTIPLY_CODES];

/// ONNX Runtime's flags of FlashAttention-2 (1), memory-efficient attention (2) and unfused attention (16), which CUDA
/// may use. From compute capability 9.0 on, it would use cuDNN's attention, which builds a plan for every new shape of
/// a batch; on an H200 that took 220 ms per batch, more than the batch itself.
const ATTENTION_WITHOUT_CUDNN: u32 = 1 | 2 | 16;

/// The options for one provider: lexivec's, then the user's.
pub(crate) fn options(provider: Provider, settings: &SessionSettings) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut set = |key: &str, value: &str| put(&mut options, key, value);
    match provider {
        Provider::Cpu => {}
        Provider::OpenVino => {
            if let Some(threads) = settings.threads {
                set("num_of_threads", &threads.to_string());
            }
        }
        Provider::TensorRtRtx => {
            // Otherwise the weights are passed in one protobuf message, which holds at most 2 GB.
            set("nv_use_external_data_initializer", "1");
            if let Some(cache) = &settings.model.engines {
                set("nv_runtime_cache_path", &cache.engines.to_string_lossy());
            }
        }
        Provider::Cuda => {
            set("device_id", &settings.providers.device.to_string());
            // Sums squares in float32. In float16 they overflow at 256 components of 16.
            set("enable_skip_layer_norm_strict_mode", "1");
            // The default doubles each extension of the arena, and may take twice what the largest batch needs.
            set("arena_extend_strategy", "kSameAsRequested");
            set("sdpa_kernel", &ATTENTION_WITHOUT_CUDNN.to_string());
            if let Some(bytes) = settings.memory_limit {
                set("gpu_mem_limit", &bytes.to_string());
            }
            if settings.captures() {
                set("enable_cuda_graph", "1");
            }
        }
        Provider::TensorRt => {
            set("device_id", &settings.providers.device.to_string());
            // Otherwise the weights are passed in one protobuf message, which holds at most 2 GB.
            set("trt_load_user_initializer", "1");
            if let Some(cache) = &settings.model.engines {
                set("trt_engine_cache_enable", "1");
                set("trt_engine_cache_path", &cache.engines.to_string_lossy());
                set("trt_timing_cache_enable", "1");
                set("trt_timing_cache_path", &cache.timings.to_string_lossy());
            }
        }
    }
    if let (Some(names), Some(profile)) = (profile_options(provider), &settings.model.profile) {
        for (name, shapes) in names.iter().zip([&profile.min, &profile.opt, &profile.max]) {
            put(&mut options, name, shapes);
        }
    }
    for option in users(provider, settings) {
        if !is_session_option(provider, &option.0) {
            put(&mut options, &option.0, &option.1);
        }
    }
    options
}

/// The options for the minimum, usual and maximum shapes of inputs.
pub(crate) fn profile_options(provider: Provider) -> Option<[&'static str; 3]> {
    match provider {
        Provider::Cpu | Provider::Cuda | Provider::OpenVino => None,
        Provider::TensorRt => Some([
            "trt_profile_min_shapes",
            "trt_profile_opt_shapes",
            "trt_profile_max_shapes",
        ]),
        Provider::TensorRtRtx => Some([
            "nv_profile_min_shapes",
            "nv_profile_opt_shapes",
            "nv_profile_max_shapes",
        ]),
    }
}

/// ONNX Runtime's session entries for the providers in use.
pub(crate) fn session_entries(settings: &SessionSettings) -> Vec<(String, String)> {
    let providers = settings.providers.with_implied();
    let mut entries = Vec::new();
    if providers.iter().any(|p| *p != Provider::Cpu) {
        put(&mut entries, "session.record_ep_graph_assignment_info", "1");
    }
    for (key, value) in users(Provider::Cuda, settings) {
        if !is_session_option(Provider::Cuda, &key) {
            continue;
        }
        if (key.as_str(), value.as_str()) == (MULTIPLY_CODES, "1") {
            // These kernels repack weights. In the arena, both copies would stay allocated.
            put(
                &mut entries,
                "session.use_device_allocator_for_initializers",
                "1",
            );
        }
        put(&mut entries, &format!("ep.cuda.{key}"), &value);
    }
    entries
}

fn is_session_option(provider: Provider, key: &str) -> bool {
    provider == Provider::Cuda && CUDA_SESSION_OPTIONS.contains(&key)
}

fn users(provider: Provider, settings: &SessionSettings) -> Vec<(String, String)> {
    let options = settings.providers.options.iter();
    let own = options.filter(|option| option.provider == provider);
    own.map(|option| (option.key.clone(), option.value.clone()))
        .collect()
}

/// Sets a key and replaces an earlier value.
fn put(pairs: &mut Vec<(String, String)>, key: &str, value: &str) {
    pairs.retain(|(earlier, _)| earlier != key);
    pairs.push((key.to_owned(), value.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnxruntime::execution_provider::{ProviderOption, ProviderSettings};
    use crate::onnxruntime::session_settings::ModelTraits;

    fn settings(order: &[Provider], options: &[(&str, &str)]) -> SessionSettings {
        let options = options
            .iter()
            .map(|(key, value)| ProviderOption::new(order, key, value).unwrap());
        SessionSettings {
            providers: ProviderSettings {
                order: order.to_vec(),
                options: options.collect(),
                ..ProviderSettings::default()
            },
            ..SessionSettings::default()
        }
    }

    fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
        let found: Vec<_> = pairs.iter().filter(|(k, _)| k == key).collect();
        assert!(found.len() <= 1, "{key} twice");
        found.first().map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_users_option_wins() {
        let settings = settings(
            &[Provider::Cuda],
            &[("arena_extend_strategy", "kNextPowerOfTwo"), ("tf32", "1")],
        );
        assert_eq!(
            value(&super::options(Provider::Cuda, &settings), "sdpa_kernel"),
            Some("19")
        );
        let options = options(Provider::Cuda, &settings);
        assert_eq!(
            value(&options, "arena_extend_strategy"),
            Some("kNextPowerOfTwo")
        );
        assert_eq!(value(&options, "tf32"), Some("1"));
        assert_eq!(
            value(&options, "enable_skip_layer_norm_strict_mode"),
            Some("1")
        );
    }

    #[test]
    fn each_provider_gets_its_own_options_alone() {
        let order = [Provider::TensorRt];
        let settings = settings(&order, &[("cuda.tf32", "1"), ("trt_sparsity_enable", "1")]);
        let (tensorrt, cuda) = (
            options(Provider::TensorRt, &settings),
            options(Provider::Cuda, &settings),
        );
        assert_eq!(value(&tensorrt, "trt_sparsity_enable"), Some("1"));
        assert_eq!(value(&tensorrt, "tf32"), None);
        assert_eq!(value(&cuda, "tf32"), Some("1"));
        assert_eq!(value(&cuda, "trt_sparsity_enable"), None);
        assert_eq!(value(&tensorrt, "trt_load_user_initializer"), Some("1"));
    }

    #[test]
    fn tensorrt_gets_shapes_and_the_folders_of_its_engines() {
        use crate::onnxruntime::engine_cache::EngineCache;
        use crate::onnxruntime::session_settings::Profile;
        let given = SessionSettings {
            model: ModelTraits {
                profile: Some(Profile {
                    min: "a:1".to_owned(),
                    opt: "a:2".to_owned(),
                    max: "a:4".to_owned(),
                }),
                engines: Some(EngineCache {
                    engines: "/c/e".into(),
                    timings: "/c/t".into(),
                }),
                ..ModelTraits::default()
            },
            ..settings(&[Provider::TensorRt], &[("trt_timing_cache_path", "/mine")])
        };
        let options = options(Provider::TensorRt, &given);
        for (key, expected) in [
            ("trt_profile_min_shapes", "a:1"),
            ("trt_profile_opt_shapes", "a:2"),
            ("trt_profile_max_shapes", "a:4"),
            ("trt_engine_cache_enable", "1"),
            ("trt_engine_cache_path", "/c/e"),
            ("trt_timing_cache_enable", "1"),
            ("trt_timing_cache_path", "/mine"),
        ] {
            assert_eq!(value(&options, key), Some(expected), "{key}");
        }
        assert_eq!(super::options(Provider::Cuda, &given).len(), 4);
    }

    #[test]
    fn weights_in_blocks_are_multiplied_as_codes_only_if_a_user_enables_it() {
        let entries = |given: &[(&str, &str)]| {
            let settings = settings(&[Provider::Cuda], given);
            assert_eq!(
                options(Provider::Cuda, &settings).len(),
                options(Provider::Cuda, &SessionSettings::default()).len()
            );
            session_entries(&settings)
        };
        let [asked, own_memory] = [
            "ep.cuda.fpa_intb_gemm",
            "session.use_device_allocator_for_initializers",
        ];
        assert_eq!(value(&entries(&[]), asked), None);
        let on = entries(&[("cuda.fpa_intb_gemm", "1")]);
        assert_eq!(
            (value(&on, asked), value(&on, own_memory)),
            (Some("1"), Some("1"))
        );
        let off = entries(&[("cuda.fpa_intb_gemm", "0")]);
        assert_eq!(
            (value(&off, asked), value(&off, own_memory)),
            (Some("0"), None)
        );
    }

    #[test]
    fn a_cpu_session_is_left_as_it_is() {
        assert!(session_entries(&SessionSettings::default()).is_empty());
    }
}
