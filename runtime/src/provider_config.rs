//! What sessions are configured with for each execution provider: the one place that knows their options and ONNX
//! Runtime's session entries. Options that a user gives win.

use lexivec_models::{Blocks, Compute};

use crate::execution_provider::Provider;
use crate::session::SessionSettings;

/// Options of CUDA that ONNX Runtime reads from the session instead of the provider, as `ep.cuda.KEY`.
const CUDA_SESSION_OPTIONS: [&str; 1] = ["fpa_intb_gemm"];

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
            // Otherwise the weights travel in one protobuf message, which holds at most 2 GB.
            set("nv_use_external_data_initializer", "1");
            if let Some(cache) = &settings.model.engines {
                set("nv_runtime_cache_path", &cache.engines.to_string_lossy());
            }
        }
        Provider::Cuda => {
            set("device_id", &settings.providers.device.to_string());
            // Sums of squares in float32: in float16 they overflow at 256 components of 16.
            set("enable_skip_layer_norm_strict_mode", "1");
            // The default doubles each extension of the arena, and so may take twice what the largest batch needs.
            set("arena_extend_strategy", "kSameAsRequested");
            if let Some(bytes) = settings.memory_limit {
                set("gpu_mem_limit", &bytes.to_string());
            }
            if settings.captures() {
                set("enable_cuda_graph", "1");
            }
        }
        Provider::TensorRt => {
            set("device_id", &settings.providers.device.to_string());
            // Otherwise the weights travel in one protobuf message, which holds at most 2 GB.
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

/// The options that bound the shapes of inputs: least, usual and largest.
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
    if providers.contains(&Provider::Cuda) && settings.model.blocks.is_some_and(for_cutlass) {
        // Multiplies codes as they are; otherwise each product first writes the whole weight in float16.
        put(&mut entries, "ep.cuda.fpa_intb_gemm", "1");
        // These kernels repack weights. From the arena both copies would stay allocated.
        put(
            &mut entries,
            "session.use_device_allocator_for_initializers",
            "1",
        );
    }
    for (key, value) in users(Provider::Cuda, settings) {
        if is_session_option(Provider::Cuda, &key) {
            put(&mut entries, &format!("ep.cuda.{key}"), &value);
        }
    }
    entries
}

/// Whether ONNX Runtime's releases hold a CUTLASS kernel for such weights.
pub(crate) fn for_cutlass(blocks: Blocks) -> bool {
    blocks.compute == Compute::Fp16 && blocks.size == 32 && !blocks.zero_points
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

/// Sets a key, in place of an earlier value.
fn put(pairs: &mut Vec<(String, String)>, key: &str, value: &str) {
    pairs.retain(|(earlier, _)| earlier != key);
    pairs.push((key.to_owned(), value.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_provider::{ProviderOption, ProviderSettings};
    use crate::session::ModelTraits;

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
    fn tensorrt_is_told_shapes_and_where_engines_are() {
        use crate::engine_cache::EngineCache;
        use crate::shapes::Profile;
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
        assert_eq!(super::options(Provider::Cuda, &given).len(), 3);
    }

    #[test]
    fn weights_in_blocks_take_cutlass_where_it_has_kernels() {
        let entry = |blocks: Option<Blocks>, options: &[(&str, &str)]| {
            let settings = SessionSettings {
                model: ModelTraits {
                    blocks,
                    ..ModelTraits::default()
                },
                ..settings(&[Provider::Cuda], options)
            };
            let entries = session_entries(&settings);
            value(&entries, "ep.cuda.fpa_intb_gemm").map(str::to_owned)
        };
        let fp16 = Blocks {
            compute: Compute::Fp16,
            ..Blocks::default()
        };
        assert_eq!(entry(None, &[]), None);
        assert_eq!(entry(Some(Blocks::default()), &[]), None);
        assert_eq!(entry(Some(fp16), &[]).as_deref(), Some("1"));
        assert_eq!(entry(Some(Blocks { size: 64, ..fp16 }), &[]), None);
        let off = [("cuda.fpa_intb_gemm", "0")];
        assert_eq!(entry(Some(fp16), &off).as_deref(), Some("0"));
        assert!(options(Provider::Cuda, &settings(&[Provider::Cuda], &off)).len() == 3);
    }

    #[test]
    fn a_cpu_session_is_left_as_it_is() {
        assert!(session_entries(&SessionSettings::default()).is_empty());
    }
}
