//! Which files are fetched, in which order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync, RepoTypeModel};

use super::report::{Progress, Relay, hub_error, is_unreachable};
use super::{HubOptions, is_hub_id};
use crate::checkpoint::{SMALL_FILES, WEIGHTS_INDEX, shard_names};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::sentence::{SentenceConfig, module_configs};

/// Where the hub and its cache are; what [`download`](super::download) takes from the environment.
#[derive(Debug, Clone)]
pub(crate) struct HubConfig {
    pub(crate) endpoint: String,
    pub(crate) cache: PathBuf,
    /// Where none is given, the hub client looks for `HF_TOKEN` and the token file that a login leaves.
    pub(crate) token: Option<String>,
    /// How often a request is tried again; the hub client's own number where none is given.
    pub(crate) retries: Option<usize>,
}

pub(crate) fn download_with(
    config: &HubConfig,
    id: &str,
    options: &HubOptions,
    progress: Option<Arc<dyn Progress>>,
) -> Result<PathBuf> {
    check_names(id, options.revision.as_deref())?;
    let client =
        client(config).map_err(|error| hub_error(id, &config.cache, &config.endpoint, error))?;
    let (owner, name) = hf_hub::split_id(id);
    let mut fetch = Fetch {
        config,
        id,
        repository: client.model(owner, name),
        revision: options.revision.clone(),
        offline: options.offline,
        progress,
    };
    match fetch.checkpoint() {
        Err(failure) if !fetch.offline && is_unreachable(&failure) => {
            fetch.offline = true;
            fetch.revision.clone_from(&options.revision);
            // The first failure says more than that the cache is incomplete as well.
            let dir = fetch.checkpoint().map_err(|_| failure)?;
            tracing::warn!(
                model = id,
                endpoint = config.endpoint,
                "the hub cannot be reached; using the cached files"
            );
            Ok(dir)
        }
        result => result,
    }
}

/// Both become parts of paths in the cache.
fn check_names(id: &str, revision: Option<&str>) -> Result<()> {
    let refuse = |message: String, hint: &str| {
        Err(Error::Hub {
            repo: id.to_string(),
            message,
            hint: hint.to_string(),
            source: None,
        })
    };
    if !is_hub_id(id) {
        return refuse(
            "is no id of a model on the hub".into(),
            "write owner/name, such as Qwen/Qwen3-Embedding-0.6B",
        );
    }
    match revision {
        Some(name) if !crate::files::is_plain_relative(name) => refuse(
            format!("`{name}` is no revision"),
            "name a branch, a tag or a commit",
        ),
        _ => Ok(()),
    }
}

fn client(config: &HubConfig) -> hf_hub::HFResult<HFClientSync> {
    let mut builder = HFClient::builder()
        .endpoint(&config.endpoint)
        .cache_dir(&config.cache);
    builder = builder.user_agent(concat!("lexivec/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = &config.token {
        builder = builder.token(token);
    }
    if let Some(retries) = config.retries {
        builder = builder.retry_max_attempts(retries);
    }
    builder.build_sync()
}

struct Fetch<'a> {
    config: &'a HubConfig,
    id: &'a str,
    repository: HFRepositorySync<RepoTypeModel>,
    revision: Option<String>,
    offline: bool,
    progress: Option<Arc<dyn Progress>>,
}

impl Fetch<'_> {
    /// Fetches everything, and returns the snapshot folder.
    fn checkpoint(&mut self) -> Result<PathBuf> {
        let config = self.required("config.json")?;
        let dir = config.parent().unwrap_or(&self.config.cache).to_path_buf();
        // From here on by commit: the branch may move while gigabytes travel.
        self.revision = dir
            .file_name()
            .map(|commit| commit.to_string_lossy().into_owned());
        Decoder::read(&config)?;

        self.required("tokenizer.json")?;
        for name in SMALL_FILES {
            self.optional(name)?;
        }
        for name in module_configs(&dir)? {
            self.optional(&name)?;
        }
        SentenceConfig::read(&dir)?;

        if self.optional("model.safetensors")?.is_some() {
            return Ok(dir);
        }
        let Some(index) = self.optional(WEIGHTS_INDEX)? else {
            let offline = "the cache does not hold the weights; download once without --offline";
            let online = "only checkpoints in the safetensors format are read; look for one on the model's page";
            let hint = if self.offline { offline } else { online };
            let message = format!("has neither model.safetensors nor {WEIGHTS_INDEX}");
            return Err(Error::Hub {
                repo: self.id.into(),
                message,
                hint: hint.into(),
                source: None,
            });
        };
        for name in shard_names(&index)? {
            self.required(&name)?;
        }
        Ok(dir)
    }

    fn required(&self, name: &str) -> Result<PathBuf> {
        self.file(name)
            .map_err(|error| hub_error(self.id, &self.config.cache, &self.config.endpoint, error))
    }

    /// As [`required`](Self::required), but nothing where there is no such file.
    fn optional(&self, name: &str) -> Result<Option<PathBuf>> {
        match self.file(name) {
            Ok(path) => Ok(Some(path)),
            Err(HFError::EntryNotFound { .. } | HFError::LocalEntryNotFound { .. }) => Ok(None),
            Err(error) => Err(hub_error(
                self.id,
                &self.config.cache,
                &self.config.endpoint,
                error,
            )),
        }
    }

    fn file(&self, name: &str) -> hf_hub::HFResult<PathBuf> {
        let relay = Arc::new(Relay::new(name, self.progress.clone()));
        let result = self
            .repository
            .download_file()
            .filename(name)
            .maybe_revision(self.revision.clone())
            .local_files_only(self.offline)
            .progress(Arc::clone(&relay))
            .send();
        relay.finish();
        let path = result?;
        if let Some(announced) = relay.announced() {
            check_size(&path, announced)?;
        }
        Ok(path)
    }
}

/// Removes a file that is not of the size that the hub announced: the hub client does not look at the status of
/// the answer that it stores, so an error page could lie there under the name of the weights.
fn check_size(path: &Path, announced: u64) -> hf_hub::HFResult<()> {
    let size = fs_err::metadata(path)?.len();
    if size == announced {
        return Ok(());
    }
    if let Ok(blob) = fs_err::canonicalize(path) {
        fs_err::remove_file(blob)?;
    }
    let _ = fs_err::remove_file(path);
    Err(HFError::malformed_response(format!(
        "{size} bytes of {announced} for {}",
        path.display()
    )))
}
