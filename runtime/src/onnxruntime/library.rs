//! Finds and loads the ONNX Runtime library.
//!
//! The search order is: the given path, the executable's folder, the `onnxruntime` package of the Python environment that the
//! executable is installed in, the cache folder that `make onnxruntime` fills, the system's library folders. Nothing is ever
//! downloaded here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use crate::error::{Error, Result};

/// The release that `make onnxruntime` installs.
pub(crate) const ONNXRUNTIME_VERSION: &str = "1.32.0";
/// The release that `make onnxruntime-gpu` installs: there is no newer one with CUDA.
pub(crate) const ONNXRUNTIME_GPU_VERSION: &str = "1.31.1";

const FILE_NAME: &str = "libonnxruntime.so";
/// Lies beside the library in the build with CUDA.
const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";
const SYSTEM_FOLDERS: [&str; 5] = [
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

/// Names the place in which the library was found.
///
/// ```
/// use lexivec_runtime::LibraryOrigin;
///
/// assert_eq!(LibraryOrigin::Cache.to_string(), "the cache folder");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibraryOrigin {
    /// The caller gave its path.
    Given,
    /// It lies next to the executable.
    Executable,
    /// It belongs to the `onnxruntime` package of the Python environment that the executable is installed in.
    Python,
    /// It lies in lexivec's cache folder.
    Cache,
    /// It lies in a folder of LD_LIBRARY_PATH, or in one of the system's library folders.
    System,
}

impl fmt::Display for LibraryOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Given => "the given path",
            Self::Executable => "next to the executable",
            Self::Python => "the onnxruntime package of this Python environment",
            Self::Cache => "the cache folder",
            Self::System => "the system's library folders",
        })
    }
}

/// A loaded ONNX Runtime. A process has only one, because ONNX Runtime's environment is global.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    origin: LibraryOrigin,
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
    ///
    /// # Example
    /// ```
    /// use lexivec_runtime::{Error, Library};
    ///
    /// let error = Library::load(Some("no/such/libonnxruntime.so".as_ref()), false).unwrap_err();
    /// assert!(matches!(error, Error::LibraryUnusable { .. }));
    ///
    /// if let Ok(library) = Library::load(None, false) {
    ///     println!("ONNX Runtime {} in {}", library.version(), library.origin());
    /// }
    /// ```
    pub fn load(explicit: Option<&Path>, gpu: bool) -> Result<&'static Self> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = LOADED.get() {
            return Ok(library);
        }
        let (origin, path) = locate(explicit, gpu)?;
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
            origin,
            environment,
        };
        Ok(LOADED.get_or_init(|| library))
    }

    /// The loaded file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place in which the file was found.
    #[must_use]
    pub fn origin(&self) -> LibraryOrigin {
        self.origin
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

/// Finds the library that [`Library::load`] would load.
fn locate(explicit: Option<&Path>, gpu: bool) -> Result<(LibraryOrigin, PathBuf)> {
    if let Some(path) = explicit {
        let file = if path.is_dir() {
            in_folder(path, gpu)
        } else {
            Some(path.to_path_buf())
        };
        return match file {
            Some(file) if file.is_file() => Ok((LibraryOrigin::Given, file)),
            _ => Err(Error::LibraryUnusable {
                path: path.to_path_buf(),
                reason: format!("there is no file {FILE_NAME} at this path"),
            }),
        };
    }
    let folders = search_path(gpu);
    let found = folders
        .iter()
        .find_map(|(origin, folder)| Some((*origin, in_folder(folder, gpu)?)));
    found.ok_or_else(|| Error::LibraryNotFound {
        looked: folders
            .iter()
            .map(|(_, f)| f.display().to_string())
            .collect(),
    })
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
///
/// ```
/// assert_eq!(lexivec_runtime::system_library("libno-such-library.so.1"), None);
/// ```
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

fn search_path(gpu: bool) -> Vec<(LibraryOrigin, PathBuf)> {
    let executable = executable_folder();
    let python = executable.as_deref().map(python_packages);
    let (python_cuda, python_cpu): (Vec<PathBuf>, Vec<PathBuf>) = python
        .into_iter()
        .flatten()
        .partition(|folder| folder.join(CUDA_PROVIDER).is_file());
    let cache = lexivec_models::cache_dir().ok();
    let cached = |name, version| cache.iter().map(|c| c.join(name).join(version)).collect();
    let cache_cpu: Vec<PathBuf> = cached("onnxruntime", ONNXRUNTIME_VERSION);
    let cache_cuda: Vec<PathBuf> = cached("onnxruntime-gpu", ONNXRUNTIME_GPU_VERSION);
    let (python, cache) = (LibraryOrigin::Python, LibraryOrigin::Cache);
    // The CUDA build also serves CPUs if it is the only one installed.
    let builds = if gpu {
        [
            (python, python_cuda),
            (cache, cache_cuda),
            (python, python_cpu),
            (cache, cache_cpu),
        ]
    } else {
        [
            (python, python_cpu),
            (python, python_cuda),
            (cache, cache_cpu),
            (cache, cache_cuda),
        ]
    };
    let executable = (LibraryOrigin::Executable, executable.into_iter().collect());
    let system = (LibraryOrigin::System, system_folders());
    let all = [executable].into_iter().chain(builds).chain([system]);
    all.flat_map(|(origin, folders)| folders.into_iter().map(move |folder| (origin, folder)))
        .collect()
}

/// Folders that hold the library if the program at `PREFIX/bin/lexivec` was installed by pip or uv together with the
/// `onnxruntime` package: `PREFIX/lib/python3.*/site-packages/onnxruntime/capi`.
fn python_packages(executable_folder: &Path) -> Vec<PathBuf> {
    let Some(prefix) = executable_folder.parent() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for versions in ["lib", "lib64"].map(|lib| fs_err::read_dir(prefix.join(lib))) {
        for entry in versions.into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("python3") {
                // Debian's own Python has the second name.
                let packages = ["site-packages", "dist-packages"].map(|p| entry.path().join(p));
                found.extend(packages.map(|packages| packages.join("onnxruntime/capi")));
            }
        }
    }
    found.retain(|folder| folder.is_dir());
    found.sort();
    found
}

/// Finds `libonnxruntime.so`, or the versioned `libonnxruntime.so.1.32.0`. A Python environment holds both builds in one
/// folder if it has the packages `onnxruntime` and `onnxruntime-gpu`: the version then decides.
fn in_folder(folder: &Path, gpu: bool) -> Option<PathBuf> {
    let preferred = if gpu {
        ONNXRUNTIME_GPU_VERSION
    } else {
        ONNXRUNTIME_VERSION
    };
    let names = [FILE_NAME.to_owned(), format!("{FILE_NAME}.{preferred}")];
    let mut exact = names.into_iter().map(|name| folder.join(name));
    if let Some(file) = exact.find(|file| file.is_file()) {
        return Some(file);
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
        assert_eq!(in_folder(dir.path(), false), None);
        fs_err::write(dir.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        let file = dir.path().join("libonnxruntime.so.1.32.0");
        fs_err::write(&file, "").unwrap();
        assert_eq!(in_folder(dir.path(), false), Some(file.clone()));
        assert_eq!(version(&file), "1.32.0");
    }

    #[test]
    fn a_python_environment_with_both_builds_gives_the_one_asked_for() {
        let environment = tempfile::tempdir().unwrap();
        let bin = environment.path().join("bin");
        assert!(python_packages(&bin).is_empty());
        let capi = environment
            .path()
            .join("lib/python3.12/site-packages/onnxruntime/capi");
        fs_err::create_dir_all(&capi).unwrap();
        assert_eq!(python_packages(&bin), std::slice::from_ref(&capi));
        let file = |version| capi.join(format!("{FILE_NAME}.{version}"));
        fs_err::write(file(ONNXRUNTIME_VERSION), "").unwrap();
        assert_eq!(in_folder(&capi, true), Some(file(ONNXRUNTIME_VERSION)));
        fs_err::write(file(ONNXRUNTIME_GPU_VERSION), "").unwrap();
        assert_eq!(in_folder(&capi, true), Some(file(ONNXRUNTIME_GPU_VERSION)));
        assert_eq!(in_folder(&capi, false), Some(file(ONNXRUNTIME_VERSION)));
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
