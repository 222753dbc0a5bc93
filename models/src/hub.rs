//! Downloads checkpoints from the Hugging Face hub.
//!
//! Only the files that [`Checkpoint`](crate::Checkpoint) reads are fetched. Small files come first, so that an unsupported model
//! is rejected before its weights are fetched. All files come from one commit, even if the branch moves meanwhile. They are stored
//! in the hub's own cache, which other programs on the machine share. Names from the hub are checked before they become paths, and
//! large files are compared with the digest that the hub states.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::Client;

use crate::error::{Result, message_with_causes};
use crate::secrets::without_password;

mod cache;
mod config;
mod environment;
mod fetch;
mod report;
mod stated;
mod transfer;

use config::HubConfig;
use fetch::download_with;
pub use report::DownloadProgress;

const USER_AGENT: &str = concat!("lexivec/", env!("CARGO_PKG_VERSION"));

/// Options of a download.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// The branch, tag or commit; `main` if none is given.
    pub revision: Option<String>,
    /// Use only the cache. The environment variables `HF_HUB_OFFLINE=1` and `TRANSFORMERS_OFFLINE=1` do the same.
    pub offline: bool,
}

/// Whether `s` has the form of a model id on the hub: `owner/name`.
///
/// A relative path of two parts has the same form: look for a folder first.
///
/// ```
/// use lexivec_models::is_hub_id;
///
/// assert!(is_hub_id("Qwen/Qwen3-Embedding-0.6B"));
/// assert!(!is_hub_id("nano") && !is_hub_id("../models/nano"));
/// ```
pub fn is_hub_id(s: &str) -> bool {
    let is_part = |part: &str| {
        (1..=96).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
            && !part.contains("..")
    };
    s.split_once('/')
        .is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// Downloads the files of the model `id` that lexivec needs, and returns their folder.
///
/// Cached files are not fetched again. If the hub cannot be reached and the cache holds the whole model, the cache is used, with
/// a warning in the log. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and `HUGGING_FACE_HUB_TOKEN` are honoured.
///
/// # Errors
///
/// [`Error::Hub`](crate::Error::Hub) if the hub denies access or fails, [`Error::NoSpace`](crate::Error::NoSpace) if the disk is full,
/// and the errors of [`Decoder::read`](crate::Decoder::read) and
/// [`SentenceConfig::read`](crate::SentenceConfig::read) for a model that cannot be served.
///
/// # Example
/// ```no_run
/// use lexivec_models::{Checkpoint, HubOptions, download};
///
/// let dir = download("Qwen/Qwen3-Embedding-0.6B", &HubOptions::default(), None)?;
/// let checkpoint = Checkpoint::open(&dir)?;
/// # Ok::<(), lexivec_models::Error>(())
/// ```
pub fn download(
    id: &str,
    options: &HubOptions,
    progress: Option<Arc<dyn DownloadProgress>>,
) -> Result<PathBuf> {
    if let Some(name) = environment::undecodable() {
        return Err(fetch::invalid(
            id,
            not_text(name),
            "set it again, or unset it",
        ));
    }
    let offline = options.offline || environment::is_offline();
    let config = HubConfig {
        endpoint: endpoint(),
        cache: hub_cache(),
        token: None,
        retries: None,
    };
    download_with(
        &config,
        id,
        &HubOptions {
            offline,
            ..options.clone()
        },
        progress,
    )
}

fn not_text(variable: &str) -> String {
    format!("the environment variable {variable} is not UTF-8")
}

/// Returns the hub's address: `HF_ENDPOINT`, or the public hub.
///
/// ```
/// assert!(lexivec_models::endpoint().starts_with("http"));
/// ```
pub fn endpoint() -> String {
    let given = std::env::var("HF_ENDPOINT").unwrap_or_default();
    match given.trim().trim_end_matches('/') {
        "" => "https://huggingface.co".to_string(),
        given => given.to_string(),
    }
}

/// Returns the folder of the hub's cache: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `HF_HOME/hub`, else
/// `XDG_CACHE_HOME/huggingface/hub`, else `~/.cache/huggingface/hub`.
///
/// ```
/// let is_set = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].map(std::env::var_os).iter().any(Option::is_some);
/// assert!(is_set || lexivec_models::hub_cache().ends_with("hub"));
/// ```
pub fn hub_cache() -> PathBuf {
    environment::cache(|name| std::env::var(name).ok())
}

/// Checks that the hub answers within `timeout`. Any answer counts, even an error.
///
/// # Errors
///
/// The reason why there was no answer, as text.
///
/// # Example
/// ```no_run
/// use std::time::Duration;
///
/// if let Err(reason) = lexivec_models::reachable(Duration::from_secs(3)) {
///     eprintln!("the hub cannot be reached: {reason}");
/// }
/// ```
pub fn reachable(timeout: Duration) -> std::result::Result<(), String> {
    match environment::undecodable() {
        Some(name) => Err(not_text(name)),
        None => reachable_at(&endpoint(), timeout),
    }
}

fn reachable_at(endpoint: &str, timeout: Duration) -> std::result::Result<(), String> {
    // The same HTTP client as for downloads, so that proxies and certificates are tried as well. Without a token, because
    // any answer will do.
    let client = Client::builder().user_agent(USER_AGENT).build();
    let client = client.map_err(|error| message_with_causes(&error))?;
    let request = client.get(format!("{endpoint}/api/whoami-v2"));
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    // A thread, because a timeout of the client does not end a slow look-up of the host's name.
    std::thread::spawn(move || {
        // The receiver may have stopped waiting.
        let _ = sender.send(request.send().map(drop));
    });
    match receiver.recv_timeout(timeout) {
        // A circle of redirects is an answer too.
        Ok(Err(error)) if !error.is_redirect() => Err(message_with_causes(&error)),
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{} did not answer within {:.1} s",
            without_password(endpoint),
            timeout.as_secs_f64()
        )),
    }
}

#[cfg(test)]
mod tests;
