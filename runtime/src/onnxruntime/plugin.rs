//! Execution providers that are plugin libraries: OpenVINO and TensorRT for RTX.
//!
//! ONNX Runtime registers such a library once per process. A session then names one of the devices that the library
//! offers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::device::Device;
use ort::memory::DeviceType;
use ort::session::builder::SessionBuilder;

use crate::error::{Error, Result};
use crate::onnxruntime::execution_provider::{Provider, rejection};
use crate::onnxruntime::library::{Library, find};
use crate::onnxruntime::provider_config;
use crate::onnxruntime::session_settings::SessionSettings;

/// The release that `make onnxruntime-openvino` installs.
pub(crate) const OPENVINO_VERSION: &str = "1.8.1";
/// The release that `make onnxruntime-tensorrt-rtx` installs.
pub(crate) const TENSORRT_RTX_VERSION: &str = "0.5.0";

/// Where a plugin's library is searched for.
struct PluginFile {
    file: &'static str,
    /// Folder below the cache folder.
    folder: &'static str,
    version: &'static str,
}

fn place(provider: Provider) -> Option<PluginFile> {
    match provider {
        Provider::Cpu | Provider::Cuda | Provider::TensorRt => None,
        Provider::OpenVino => Some(PluginFile {
            file: "libonnxruntime_providers_openvino_plugin.so",
            folder: "onnxruntime-openvino",
            version: OPENVINO_VERSION,
        }),
        Provider::TensorRtRtx => Some(PluginFile {
            file: "libonnxruntime_providers_nv_tensorrt_rtx.so",
            folder: "onnxruntime-tensorrt-rtx",
            version: TENSORRT_RTX_VERSION,
        }),
    }
}

/// Adds a plugin provider to a session, and registers its library first.
pub(crate) fn attach(
    builder: SessionBuilder,
    library: &Library,
    provider: Provider,
    settings: &SessionSettings,
) -> Result<SessionBuilder> {
    let unusable = |reason: &str| rejection::error(provider, &settings.providers.options, reason);
    register(library, provider, settings.providers.library.as_deref())?;
    let prefix = provider.registered_name();
    let mut options = provider_config::options(provider, settings);
    let kind = device_kind(provider, &mut options)?;
    let offered: Vec<Device<'_>> = library
        .environment()
        .devices()
        .filter(|device| device.ep().is_ok_and(|name| name == prefix))
        .collect();
    let kinds: Vec<String> = offered
        .iter()
        .map(|device| format!("{:?}", device.hardware_device().ty()))
        .collect();
    let number = match kind {
        DeviceType::GPU => usize::try_from(settings.providers.device).unwrap_or(0),
        _ => 0,
    };
    let device = offered
        .into_iter()
        .filter(|device| device.hardware_device().ty() == kind)
        .nth(number);
    let Some(device) = device else {
        let found = match kinds.is_empty() {
            true => "none".to_owned(),
            false => kinds.join(", "),
        };
        return Err(unusable(&format!(
            "its library found no {kind:?} with number {number}; devices found: {found}"
        )));
    };
    let options: Vec<(String, String)> = options
        .into_iter()
        .map(|(key, value)| (format!("{prefix}.{key}"), value))
        .collect();
    builder
        .with_devices([device], Some(&options))
        .map_err(|e| unusable(e.message()))
}

/// The kind of hardware to compute on. OpenVINO has an option for it, which ONNX Runtime expresses by the device.
fn device_kind(provider: Provider, options: &mut Vec<(String, String)>) -> Result<DeviceType> {
    if provider != Provider::OpenVino {
        return Ok(DeviceType::GPU);
    }
    let Some(position) = options.iter().position(|(key, _)| key == "device_type") else {
        return Ok(DeviceType::CPU);
    };
    let (_, value) = options.remove(position);
    match value.as_str() {
        "CPU" => Ok(DeviceType::CPU),
        "GPU" => Ok(DeviceType::GPU),
        "NPU" => Ok(DeviceType::NPU),
        _ => Err(Error::ProviderOption {
            provider: provider.name(),
            option: format!("{provider}.device_type={value}"),
            reason: "lexivec takes CPU, GPU or NPU".to_owned(),
        }),
    }
}

/// Registers a provider's library, once per process, because ONNX Runtime's environment is global.
fn register(library: &Library, provider: Provider, explicit: Option<&Path>) -> Result<()> {
    static REGISTERED: Mutex<Vec<Provider>> = Mutex::new(Vec::new());
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if registered.contains(&provider) {
        return Ok(());
    }
    let did_not_start = |reason: &str| Error::Provider {
        provider: provider.name(),
        reason: provider.did_not_start(reason),
    };
    let path = locate(provider, explicit).map_err(|reason| did_not_start(&reason))?;
    library
        .environment()
        .register_ep_library(provider.registered_name(), &path)
        .map_err(|e| did_not_start(e.message()))?;
    registered.push(provider);
    Ok(())
}

/// Finds the library's file. The error names the file and the searched folders.
fn locate(provider: Provider, explicit: Option<&Path>) -> Result<PathBuf, String> {
    let Some(PluginFile {
        file,
        folder,
        version,
    }) = place(provider)
    else {
        return Err("it is no plugin".to_owned());
    };
    if let Some(path) = explicit {
        let path = match path.is_dir() {
            true => path.join(file),
            false => path.to_path_buf(),
        };
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!("{}: there is no such file", path.display())),
        };
    }
    let cached = lexivec_models::cache_dir().map(|cache| cache.join(folder).join(version));
    find(file, cached.ok())
        .map_err(|folders| format!("{file} is in none of {}", folders.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let reason = locate(Provider::OpenVino, Some(Path::new("/nowhere/ov.so"))).unwrap_err();
        assert_eq!(reason, "/nowhere/ov.so: there is no such file");
        let folder = tempfile::tempdir().unwrap();
        let reason = locate(Provider::OpenVino, Some(folder.path())).unwrap_err();
        assert!(
            reason.contains("libonnxruntime_providers_openvino_plugin.so"),
            "{reason}"
        );
    }

    #[test]
    fn openvino_computes_on_the_cpu_unless_told_otherwise() {
        let kind = |options: &[(&str, &str)]| {
            let mut options = options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            let kind = device_kind(Provider::OpenVino, &mut options);
            assert!(options.iter().all(|(key, _)| key != "device_type"));
            kind
        };
        assert_eq!(kind(&[("num_streams", "1")]).unwrap(), DeviceType::CPU);
        assert_eq!(kind(&[("device_type", "GPU")]).unwrap(), DeviceType::GPU);
        assert!(kind(&[("device_type", "AUTO")]).is_err());
    }
}
