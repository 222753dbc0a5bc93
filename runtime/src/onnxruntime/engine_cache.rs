//! The folders of TensorRT's engines: `CACHE/engines/KEY/`, with the timings of kernels beside them.
//!
//! An engine works only with the model, libraries, GPU and options that it was built for. The key covers all of them.

use std::path::{Path, PathBuf};

use lexivec_models::cache_dir;
use sha2::{Digest as _, Sha256};

use crate::onnxruntime::library::{Library, system_library};

/// The folders of an engine and of kernel timings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineCache {
    /// The engine's folder.
    pub(crate) engines: PathBuf,
    /// The folder of kernel timings, which all models share.
    pub(crate) timings: PathBuf,
}

impl EngineCache {
    /// The folders for an engine; none where there is no cache folder. `options` are those that it is built with.
    pub(crate) fn new(
        library: &Library,
        model: &str,
        device: i32,
        options: &[(String, String)],
    ) -> Option<Self> {
        let root = cache_dir().ok()?.join("engines");
        let machine = [
            library.version().to_owned(),
            tensorrt(),
            gpu(Path::new("/proc/driver/nvidia/gpus"), device),
        ];
        Some(Self::below(&root, model, &machine, options))
    }

    fn below(root: &Path, model: &str, machine: &[String], options: &[(String, String)]) -> Self {
        let mut key = Sha256::new();
        let pairs = options.iter().flat_map(|(key, value)| [key, value]);
        for part in machine.iter().chain(pairs) {
            key.update(part.as_bytes());
            key.update([0]);
        }
        let name = hex::encode(&key.finalize()[..8]);
        Self {
            engines: root.join(model).join(name),
            timings: root.join("timings"),
        }
    }

    /// Whether the engine is already built.
    pub(crate) fn is_built(&self) -> bool {
        let Ok(entries) = fs_err::read_dir(&self.engines) else {
            return false;
        };
        let mut names = entries.flatten().map(|entry| entry.path());
        names.any(|path| path.extension().is_some_and(|kind| kind == "engine"))
    }

    /// Creates the folders.
    pub(crate) fn create(&self) -> std::io::Result<()> {
        fs_err::create_dir_all(&self.engines)?;
        fs_err::create_dir_all(&self.timings)
    }
}

/// TensorRT's release, from its file name: `libnvinfer.so.10.13.3`.
fn tensorrt() -> String {
    let file = system_library("libnvinfer.so.10").and_then(|p| fs_err::canonicalize(p).ok());
    let name = file.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_default()
}

/// The GPU's model, as its driver reports it. ONNX Runtime adds the architecture to file names.
fn gpu(folder: &Path, device: i32) -> String {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return String::new();
    };
    let mut gpus: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    gpus.sort();
    let number = usize::try_from(device).unwrap_or(0);
    let text = gpus
        .get(number)
        .and_then(|gpu| fs_err::read_to_string(gpu.join("information")).ok());
    let text = text.unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("Model:"));
    model.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_changes_an_engine_changes_its_folder() {
        let options = |opt: &str| [("trt_profile_opt_shapes".to_owned(), opt.to_owned())];
        let folder = |model: &str, gpu: &str, opt: &str| {
            EngineCache::below(Path::new("/c"), model, &[gpu.to_owned()], &options(opt)).engines
        };
        let one = folder("m", "H100", "a:1");
        assert_eq!(one, folder("m", "H100", "a:1"));
        assert!(one.starts_with("/c/m"));
        assert_ne!(one, folder("n", "H100", "a:1"));
        assert_ne!(one, folder("m", "L4", "a:1"));
        assert_ne!(one, folder("m", "H100", "a:2"));
    }

    #[test]
    fn an_engine_file_makes_it_built() {
        let root = tempfile::tempdir().unwrap();
        let cache = EngineCache::below(root.path(), "m", &[], &[]);
        assert!(!cache.is_built());
        cache.create().unwrap();
        fs_err::write(cache.engines.join("x_sm90.profile"), "").unwrap();
        assert!(!cache.is_built());
        fs_err::write(cache.engines.join("x_sm90.engine"), "").unwrap();
        assert!(cache.is_built());
    }

    #[test]
    fn the_gpus_model_is_read_from_its_driver() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(gpu(&root.path().join("none"), 0), "");
        let folder = root.path().join("0000:01:00.0");
        fs_err::create_dir(&folder).unwrap();
        fs_err::write(folder.join("information"), "Model: \t NVIDIA L4\nIRQ: 1\n").unwrap();
        assert_eq!(gpu(root.path(), 0), "NVIDIA L4");
        assert_eq!(gpu(root.path(), 1), "");
    }
}
