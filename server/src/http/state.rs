//! What all requests share: the models served, and the instructions of each domain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::errors::ApiError;
use super::limits::admission::{Admission, Permit};
use super::limits::keys::ApiKeys;
use super::limits::memory_budget::Budget;
use super::limits::rate_limit::RateLimitStatus;
use super::metrics::Exporter;
use super::settings::HttpSettings;
use lexivec_models::Instructions;
use lexivec_runtime::{Caller, Engine, Load};

/// A model under the name that requests call it by.
#[derive(Debug)]
pub struct ServedModel {
    /// Its name in requests and answers.
    pub name: String,
    /// What computes.
    pub engine: Arc<Engine>,
    /// Where it computes, as on the command line.
    pub provider: String,
    /// Tokens of a batch at most, as asked for.
    pub max_batch_tokens: usize,
    /// Admits all texts of a request at once, before they are tokenised.
    admission: Admission,
}

impl ServedModel {
    /// Serves `engine` as `name`, for at most as many texts at a time as its queue holds.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        engine: Arc<Engine>,
        provider: impl Into<String>,
        max_batch_tokens: usize,
    ) -> Self {
        let admission = Admission::new(engine.queue().capacity());
        Self {
            name: name.into(),
            engine,
            provider: provider.into(),
            max_batch_tokens,
            admission,
        }
    }

    /// The most texts that may be accepted and have no response yet.
    pub(super) fn capacity(&self) -> usize {
        self.admission.capacity()
    }

    /// Admits all texts of a request, or none.
    ///
    /// # Errors
    /// [`ApiError::AtCapacity`]; [`Error::InvalidInput`](lexivec_runtime::Error::InvalidInput) if the texts never fit.
    pub(super) fn admit(&self, texts: usize, caller: Caller) -> Result<Permit, ApiError> {
        self.admission.admit(texts, caller)
    }

    /// What a caller may still ask for, if it is known how fast the sessions compute.
    pub(super) fn left(&self, time: Duration) -> Option<RateLimitStatus> {
        let load = self.engine.load();
        let speed = load.speed()?;
        let limit = (speed * Load::usable(time).as_secs_f64()) as u64;
        let waiting = self.engine.queue().cost() + load.running;
        Some(RateLimitStatus {
            limit,
            remaining: limit.saturating_sub(waiting as u64),
            reset: Duration::from_secs_f64(waiting as f64 / speed),
        })
    }

    /// Whether a request for `name` means this model: its served name, the id of the checkpoint it was made from, or
    /// that id without the owner; upper and lower case are the same.
    fn answers_to(&self, name: &str) -> bool {
        let id = &self.engine.model().name;
        let base = id.rsplit('/').next().unwrap_or(id);
        [self.name.as_str(), id.as_str(), base]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }

    fn unready(&self, stuck_after: Duration) -> Option<String> {
        let health = self.engine.health();
        let name = &self.name;
        if let Some(path) = self.engine.changed_file() {
            return Some(format!(
                "{} has changed since `{name}` was opened: restart the server",
                path.display()
            ));
        }
        if health.ready == 0 {
            return Some(format!(
                "the sessions of `{name}` failed and could not be opened again yet"
            ));
        }
        (health.longest_batch > stuck_after).then(|| {
            let seconds = health.longest_batch.as_secs();
            format!("a batch of `{name}` has been running for {seconds} s")
        })
    }
}

/// Shared by all workers.
#[derive(Debug)]
pub struct AppState {
    /// The models served; the first is the one that routes without a model's name mean.
    pub models: Vec<ServedModel>,
    /// Instructions by domain.
    pub instructions: Instructions,
    /// Who may use the API.
    pub keys: ApiKeys,
    /// How long a request may take from its last byte to its answer.
    pub request_timeout: Duration,
    /// A batch that runs longer is stuck.
    pub stuck_after: Duration,
    /// Whether `input` must be text: a client that tokenises for another model gets wrong vectors, not an error.
    pub refuse_token_ids: bool,
    /// Threads that tokenise.
    pub tokenizers: usize,
    /// Bytes that requests may hold together.
    pub budget: Budget,
    /// What `/metrics` shows; `None` where nothing is collected.
    pub exporter: Option<Exporter>,
    draining: AtomicBool,
}

impl AppState {
    /// A state that asks for no key and has the default time limits.
    #[must_use]
    pub fn new(models: Vec<ServedModel>, instructions: Instructions) -> Self {
        Self {
            models,
            instructions,
            keys: ApiKeys::default(),
            request_timeout: Duration::from_secs(60),
            stuck_after: Duration::from_secs(120),
            refuse_token_ids: false,
            tokenizers: 1,
            budget: Budget::new(HttpSettings::default().request_memory),
            exporter: None,
            draining: AtomicBool::new(false),
        }
    }

    /// From now on `/readyz` answers 503; requests are still served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Takes no more texts, and waits for those under way; false where a batch has not ended after `patience`.
    #[must_use]
    pub fn close(&self, patience: Duration) -> bool {
        let mut models = self.models.iter();
        models.all(|model| model.engine.close(patience))
    }

    /// Why no requests should be sent here, if so.
    pub(super) fn unready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the server is shutting down".to_owned());
        }
        let mut models = self.models.iter();
        models.find_map(|model| model.unready(self.stuck_after))
    }

    /// The model that a request names.
    ///
    /// # Errors
    /// [`ApiError::ModelNotFound`].
    pub(super) fn model(&self, name: &str) -> Result<&ServedModel, ApiError> {
        self.models
            .iter()
            .find(|model| model.answers_to(name))
            .ok_or_else(|| ApiError::ModelNotFound {
                requested: name.to_owned(),
                served: self.models.iter().map(|model| model.name.clone()).collect(),
            })
    }

    /// The model of routes that name none.
    ///
    /// # Errors
    /// [`ApiError::Internal`]: a server without a model does not start.
    pub(super) fn first_model(&self) -> Result<&ServedModel, ApiError> {
        let first = self.models.first();
        first.ok_or_else(|| ApiError::Internal("no model is served".to_owned()))
    }
}
