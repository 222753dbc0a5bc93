//! Finds and loads the ONNX Runtime library.
//!
//! The search order is: the given path, the executable's folder, the cache folder that `make onnxruntime` fills, the
//! system's library folders. Nothing is ever downloaded here.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use crate::error::{Error, Result};

/// The release that `make onnxruntime` installs.
pub const ONNXRUNTIME_VERSION: &str = "1.32.0";
/// The release that `make onnxruntime-gpu` installs: there is no newer one with CUDA.
pub const ONNXRUNTIME_GPU_VERSION: &str = "1.31.1";

const FILE_NAME: &str = "libonnxruntime.so";
const SYSTEM_FOLDERS: [&str; 5] = [
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

/// A loaded ONNX Runtime. A process has only one, because ONNX Runtime's environment is global.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    version: String,
    environment: Environment,
}

static LOADED: OnceLock<Library> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Library {
    /// Finds and loads the library, once per process; `gpu` prefers the build with CUDA. Later calls return the library
    /// that the first one loaded.
    ///
    /// From 1.31 on the library sends telemetry before it can be told not to. The program `lexivec` disables that;
    /// other programs should set `ORT_DISABLE_TELEMETRY=1` before they start.
    ///
    /// # Errors
    /// [`Error::LibraryNotFound`] and [`Error::LibraryUnusable`].
    pub fn load(explicit: Option<&Path>, gpu: bool) -> Result<&'static Self> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = LOADED.get() {
            return Ok(library);
        }
        let path = locate(explicit, gpu)?;
        let unusable = |reason: String| Error::LibraryUnusable {
            path: path.clone(),
            reason,
        };
        let environment = ort::init_from(&path)
            .map_err(|e| unusable(e.to_string()))?
            .with_name("lexivec")
            .with_telemetry(false)
            .build()
            .map_err(|e| unusable(e.message().to_owned()))?;
        let library = Self {
            version: version(&path),
            path,
            environment,
        };
        Ok(LOADED.get_or_init(|| library))
    }

    /// The loaded file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, such as `1.32.0`, or the file's name if that contains none.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// ONNX Runtime's environment, for a caller's own sessions.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// The library that [`Library::load`] would load.
fn locate(explicit: Option<&Path>, gpu: bool) -> Result<PathBuf> {
    if let Some(path) = explicit {
        let file = if path.is_dir() {
            in_folder(path)
        } else {
            Some(path.to_path_buf())
        };
        return match file {
            Some(file) if file.is_file() => Ok(file),
            _ => Err(Error::LibraryUnusable {
                path: path.to_path_buf(),
                reason: format!("there is no file {FILE_NAME} at this path"),
            }),
        };
    }
    let folders = search_path(gpu);
    match folders.iter().find_map(|folder| in_folder(folder)) {
        Some(file) => Ok(file),
        None => Err(Error::LibraryNotFound {
            looked: folders.iter().map(|f| f.display().to_string()).collect(),
        }),
    }
}

/// Searches for `file` in the executable's folder, a folder of the cache, and the system's library folders. Returns the
/// searched folders if it is in none of them.
pub(crate) fn find(file: &str, cached: Option<PathBuf>) -> Result<PathBuf, Vec<String>> {
    let folders: Vec<PathBuf> = executable_folder()
        .into_iter()
        .chain(cached)
        .chain(system_folders())
        .collect();
    let found = folders
        .iter()
        .map(|folder| folder.join(file))
        .find(|path| path.is_file());
    found.ok_or_else(|| folders.iter().map(|f| f.display().to_string()).collect())
}

/// Finds a library in the folders of LD_LIBRARY_PATH or of the system.
#[must_use]
pub fn system_library(file: &str) -> Option<PathBuf> {
    let mut paths = system_folders().into_iter().map(|folder| folder.join(file));
    paths.find(|path| path.is_file())
}

fn executable_folder() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_path_buf())
}

fn system_folders() -> Vec<PathBuf> {
    let loader = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let loader = std::env::split_paths(&loader).filter(|p| p.is_absolute());
    loader.chain(SYSTEM_FOLDERS.map(PathBuf::from)).collect()
}

fn search_path(gpu: bool) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = executable_folder().into_iter().collect();
    if let Ok(cache) = lexivec_models::cache_dir() {
        let cpu = cache.join("onnxruntime").join(ONNXRUNTIME_VERSION);
        let cuda = cache.join("onnxruntime-gpu").join(ONNXRUNTIME_GPU_VERSION);
        // The CUDA build also serves CPUs if it is the only one installed.
        folders.extend(if gpu { [cuda, cpu] } else { [cpu, cuda] });
    }
    folders.extend(system_folders());
    folders
}

/// `libonnxruntime.so`, or the versioned `libonnxruntime.so.1.32.0`.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(FILE_NAME);
    if plain.is_file() {
        return Some(plain);
    }
    let versioned = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        name.strip_prefix(FILE_NAME)
            .is_some_and(|rest| rest.starts_with('.'))
            && path.is_file()
    };
    let mut found: Vec<PathBuf> = fs_err::read_dir(folder)
        .ok()?
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    found.retain(versioned);
    found.sort();
    found.pop()
}

fn version(path: &Path) -> String {
    // The build information says "ORT Build Info: git-branch=…, …"; the file name holds the release.
    let resolved = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = resolved
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match name.strip_prefix("libonnxruntime.so.") {
        Some(version) => version.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versioned_file_is_found_and_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_folder(dir.path()), None);
        fs_err::write(dir.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        let file = dir.path().join("libonnxruntime.so.1.32.0");
        fs_err::write(&file, "").unwrap();
        assert_eq!(in_folder(dir.path()), Some(file.clone()));
        assert_eq!(version(&file), "1.32.0");
    }

    #[test]
    fn a_wrong_explicit_path_is_an_error_that_names_it() {
        let error = locate(Some(Path::new("/nowhere/libonnxruntime.so")), false).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/libonnxruntime.so: "),
            "{error}"
        );
    }
}
