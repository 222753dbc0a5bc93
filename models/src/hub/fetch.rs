//! Fetches the files of a model in order, and checks them before it keeps them.

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::RETRY_AFTER;

use super::cache::Cache;
use super::config::HubConfig;
use super::environment::{is_sendable, token};
use super::report::{AGAIN, DownloadProgress, Failure, hub_error, is_unreachable};
use super::stated::{Stated, is_commit};
use super::transfer::{Bar, Transfer, location, save};
use super::{HubOptions, is_hub_id};
use crate::adapter::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter};
use crate::checkpoint::shard_names;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::names::{CONFIG, SMALL_FILES, TOKENIZER, WEIGHTS, WEIGHTS_INDEX};
use crate::secrets::without_password;
use crate::sentence::{SentenceConfig, module_configs};

pub(crate) fn download_with(
    config: &HubConfig,
    id: &str,
    options: &HubOptions,
    progress: Option<Arc<dyn DownloadProgress>>,
) -> Result<PathBuf> {
    check_names(id, options.revision.as_deref())?;
    let failed = |error| hub_error(id, &config.cache, &config.endpoint, error);
    let token = match &config.token {
        Some(token) => Some(token.clone()),
        None => token().map_err(|error| {
            let message = format!("the file of the token cannot be read: {error}");
            invalid(id, message, "correct it, or set HF_TOKEN")
        })?,
    };
    if token.as_deref().is_some_and(|token| !is_sendable(token)) {
        let message = "the token has a character that an HTTP header cannot hold".to_owned();
        return Err(invalid(
            id,
            message,
            "copy it into HF_TOKEN or the token file again",
        ));
    }
    let transfer = Transfer::new(config, id, token).map_err(|error| failed(error.into()))?;
    let transfer = transfer.ok_or_else(|| {
        let endpoint = without_password(&config.endpoint);
        let message = format!("`{endpoint}` is not the address of a hub");
        invalid(id, message, "correct HF_ENDPOINT")
    })?;
    let mut fetch = Fetch {
        config,
        id,
        transfer,
        cache: Cache::new(&config.cache, id),
        revision: options.revision.clone(),
        offline: options.offline,
        progress,
    };
    match fetch.checkpoint() {
        Err(failure) if !fetch.offline && is_unreachable(&failure) => {
            fetch.offline = true;
            fetch.revision.clone_from(&options.revision);
            // If the cache is incomplete, the first error is more helpful than the second.
            let dir = fetch.checkpoint().map_err(|_| failure)?;
            tracing::warn!(
                model = id,
                endpoint = without_password(&config.endpoint),
                "the hub cannot be reached; using the cached files"
            );
            Ok(dir)
        }
        result => result,
    }
}

/// Checks the names that become parts of paths in the cache.
fn check_names(id: &str, revision: Option<&str>) -> Result<()> {
    let invalid = |message: String, hint: &str| Err(invalid(id, message, hint));
    if !is_hub_id(id) {
        return invalid(
            "is not the id of a model on the hub".into(),
            "write owner/name, such as Qwen/Qwen3-Embedding-0.6B",
        );
    }
    match revision {
        Some(name) if !crate::files::is_plain_relative(name) => invalid(
            format!("`{name}` is no revision"),
            "name a branch, a tag or a commit",
        ),
        _ => Ok(()),
    }
}

struct Fetch<'a> {
    config: &'a HubConfig,
    id: &'a str,
    transfer: Transfer,
    cache: Cache,
    revision: Option<String>,
    offline: bool,
    progress: Option<Arc<dyn DownloadProgress>>,
}

impl Fetch<'_> {
    /// Fetches everything, and returns the snapshot folder.
    fn checkpoint(&mut self) -> Result<PathBuf> {
        // An adapter without its base has no config.json.
        let (config, name) = match self.optional(CONFIG)? {
            Some(config) => (config, CONFIG),
            None => match self.optional(ADAPTER_CONFIG)? {
                Some(config) => (config, ADAPTER_CONFIG),
                None => (self.required(CONFIG)?, CONFIG),
            },
        };
        let dir = config.parent().unwrap_or(&self.config.cache).to_path_buf();
        // Further files are requested by commit, because the branch may move during a long download.
        let commit = dir.file_name().unwrap_or_default().to_string_lossy();
        // Offline, the commit comes from the cache, which another program may have written.
        if !is_commit(&commit) || self.cache.pointer(&commit, name) != config {
            let message = format!(
                "the cache names {}, which is not a commit of the model",
                dir.display()
            );
            return Err(self.invalid(
                message,
                "remove the model's folder from the cache, and download it again",
            ));
        }
        self.revision = Some(commit.into_owned());
        let has_adapter = self.optional(ADAPTER_CONFIG)?.is_some();
        if has_adapter {
            self.optional(ADAPTER_WEIGHTS)?;
            // Rejects an adapter that cannot be merged before the base is fetched.
            Adapter::find(&dir)?;
        }
        if name == CONFIG {
            Decoder::read(&config)?;
        }
        // An adapter may leave the tokenizer to its base.
        if !has_adapter {
            self.required(TOKENIZER)?;
        }
        for name in SMALL_FILES {
            self.optional(name)?;
        }
        for name in module_configs(&dir)? {
            self.optional(&name)?;
        }
        SentenceConfig::read(&dir)?;
        if name == ADAPTER_CONFIG || self.optional(WEIGHTS)?.is_some() {
            return Ok(dir);
        }
        let Some(index) = self.optional(WEIGHTS_INDEX)? else {
            // Trainers save the base's config.json beside an adapter.
            if has_adapter {
                return Ok(dir);
            }
            let offline = "the cache does not hold the weights; download the model once while the hub may be used";
            let online = "only checkpoints in the safetensors format are read; look for one on the model's page";
            let hint = if self.offline { offline } else { online };
            let message = format!("has neither {WEIGHTS} nor {WEIGHTS_INDEX}");
            return Err(self.invalid(message, hint));
        };
        for name in shard_names(&index)? {
            self.required(&name)?;
        }
        Ok(dir)
    }

    fn required(&self, name: &str) -> Result<PathBuf> {
        let file = name.to_string();
        self.optional(name)?.ok_or_else(|| {
            self.error(if self.offline {
                Failure::NotCached { file }
            } else {
                Failure::NoFile { file }
            })
        })
    }

    /// Fetches a file as [`required`](Self::required) does; none if there is no such file.
    fn optional(&self, name: &str) -> Result<Option<PathBuf>> {
        let revision = self.revision.as_deref().unwrap_or("main");
        if self.offline {
            return Ok(self.cache.find(revision, name));
        }
        // Files of a commit never change.
        if is_commit(revision)
            && let Some(pointer) = self.cache.find(revision, name)
        {
            return Ok(Some(pointer));
        }
        let Some(stated) = self.describe(name)? else {
            return Ok(None);
        };
        let lock = self
            .cache
            .lock(&stated)
            .map_err(|error| self.error(error.into()))?;
        if !self.cache.blob(&stated).exists() {
            self.transfer(name, &stated)?;
        }
        drop(lock);
        let linked = self.cache.link(Some(revision), name, &stated);
        linked.map(Some).map_err(|error| self.error(error.into()))
    }

    /// Requests the hub's description of a file; `None` if the hub has no such file.
    fn describe(&self, name: &str) -> Result<Option<Stated>> {
        let revision = self.revision.as_deref().unwrap_or("main");
        let response = self.transfer.describe(revision, name);
        let response = response.map_err(|error| self.error(error.into()))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() && !status.is_redirection() {
            return Err(self.error(unsuccessful(&response, name)));
        }
        let stated = Stated::read(response.headers(), status.is_redirection());
        stated.map(Some).map_err(|what| {
            if let Some(elsewhere) = location(&response).filter(|_| status.is_redirection()) {
                // A mirror that has moved, or a login page. No request goes there unless the user sets HF_ENDPOINT.
                let message = format!(
                    "the hub at {} answers {status} and sends {name} to {elsewhere}, without what a hub states about a file",
                    self.config.endpoint
                );
                return self.invalid(
                    message,
                    "if you trust that hub, set HF_ENDPOINT to its address",
                );
            }
            let message = format!(
                "the hub at {} states {what} for {name}",
                self.config.endpoint
            );
            self.invalid(
                message,
                "nothing was downloaded; check HF_ENDPOINT, which must be a hub that you trust",
            )
        })
    }

    /// Downloads a file's contents, and keeps them if size and digest match the hub's description.
    fn transfer(&self, name: &str, stated: &Stated) -> Result<()> {
        // Requested by commit, because the branch may have moved since the description.
        let response = self.transfer.fetch(&stated.commit, name);
        let response = response.map_err(|error| self.error(error.into()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.invalid(format!("the hub answers {status} instead of {name}"), AGAIN));
        }
        let partial = self
            .cache
            .partial(stated)
            .map_err(|error| self.error(error.into()))?;
        let bar = Bar::start(name, stated.size, self.progress.clone());
        let saved = save(response, &partial.path, stated.size, |bytes| {
            bar.advance(bytes)
        });
        drop(bar);
        let arrived = saved.map_err(|error| self.broken(name, error))?;
        if let Some(size) = stated.size.filter(|size| *size != arrived.bytes) {
            let message = format!(
                "the hub sent {} bytes of {name}, and states {size}",
                arrived.bytes
            );
            return Err(self.invalid(message, AGAIN));
        }
        if let Some(sha256) = stated.sha256().filter(|sha256| *sha256 != arrived.sha256) {
            let message = format!(
                "{name} was received with the SHA-256 {}, and the hub states {sha256}: it was damaged or changed on the way",
                arrived.sha256
            );
            return Err(self.invalid(
                message,
                "it was removed; run it again, and check HF_ENDPOINT if it happens again",
            ));
        }
        partial.keep().map_err(|error| self.error(error.into()))
    }

    /// The error for a transfer that ended early. A read error means that the connection was cut, a write error that the disk
    /// is full.
    fn broken(&self, name: &str, error: std::io::Error) -> Error {
        let cut = error
            .get_ref()
            .is_some_and(|inner| inner.is::<reqwest::Error>());
        if cut {
            let message =
                format!("the connection to the hub was cut during the transfer of {name}");
            return self.invalid(message, AGAIN);
        }
        self.error(error.into())
    }

    fn invalid(&self, message: String, hint: &str) -> Error {
        invalid(self.id, message, hint)
    }

    fn error(&self, failure: Failure) -> Error {
        hub_error(self.id, &self.config.cache, &self.config.endpoint, failure)
    }
}

/// The failure that an answer without success means.
fn unsuccessful(response: &Response, file: &str) -> Failure {
    let seconds = response.headers().get(RETRY_AFTER);
    Failure::Status {
        status: response.status(),
        retry_after: seconds.and_then(|seconds| seconds.to_str().ok()?.trim().parse().ok()),
        file: file.to_owned(),
    }
}

pub(super) fn invalid(id: &str, message: String, hint: &str) -> Error {
    Error::Hub {
        repo: id.to_string(),
        message,
        hint: hint.to_string(),
        source: None,
    }
}
