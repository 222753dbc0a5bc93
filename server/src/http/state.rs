//! The state that all requests share: the served models, instructions, keys, limits and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::errors::ApiError;
use super::limits::in_flight_limit::{InFlightLimit, Permit};
use super::limits::keys::ApiKeys;
use super::limits::memory_budget::Budget;
use super::limits::rate_limit::RateLimitStatus;
use super::metrics::Exporter;
use super::settings::HttpSettings;
use crate::projections::Projections;
use lexivec_models::Instructions;
use lexivec_runtime::{Caller, Engine, Load};

/// A served model.
#[derive(Debug)]
pub struct ServedModel {
    /// The model's name in requests and responses.
    pub name: String,
    /// The engine that computes vectors.
    pub engine: Arc<Engine>,
    /// The execution provider, as on the command line.
    pub provider: String,
    /// The most tokens of a batch, as requested on the command line.
    pub max_batch_tokens: usize,
    /// Admits all texts of a request at once, before they are tokenised.
    in_flight_limit: InFlightLimit,
}

impl ServedModel {
    /// Serves `engine` as `name`. It accepts as many texts in flight as the engine's queue holds.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        engine: Arc<Engine>,
        provider: impl Into<String>,
        max_batch_tokens: usize,
    ) -> Self {
        let in_flight_limit = InFlightLimit::new(engine.queue().capacity());
        Self {
            name: name.into(),
            engine,
            provider: provider.into(),
            max_batch_tokens,
            in_flight_limit,
        }
    }

    /// The most texts that may be accepted and have no response yet.
    pub(super) fn capacity(&self) -> usize {
        self.in_flight_limit.capacity()
    }

    /// Admits all texts of a request, or none.
    ///
    /// # Errors
    /// [`ApiError::AtCapacity`]; [`Error::InvalidInput`](lexivec_runtime::Error::InvalidInput) if the texts never fit.
    pub(super) fn admit(&self, texts: usize, caller: Caller) -> Result<Permit, ApiError> {
        self.in_flight_limit.admit(texts, caller)
    }

    /// The tokens that a caller may still request, if the rate of the sessions is known.
    pub(super) fn rate_limit_status(&self, time: Duration) -> Option<RateLimitStatus> {
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

    /// Whether `name` means this model: its served name, the id of its checkpoint, or that id without the owner, in upper or
    /// lower case.
    fn has_name(&self, name: &str) -> bool {
        let id = &self.engine.model().name;
        let base = id.rsplit('/').next().unwrap_or(id);
        [self.name.as_str(), id.as_str(), base]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Why the model cannot serve now, if so.
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
                "the sessions of `{name}` failed and have not been recreated yet"
            ));
        }
        (health.longest_batch > stuck_after).then(|| {
            let seconds = health.longest_batch.as_secs();
            format!("a batch of `{name}` has been running for {seconds} s")
        })
    }
}

/// The state of the server. All workers share it.
#[derive(Debug)]
pub struct AppState {
    /// The served models. Routes without a model's name use the first.
    pub models: Vec<ServedModel>,
    /// Instructions by domain.
    pub instructions: Instructions,
    /// Projections by name.
    pub projections: Projections,
    /// The API keys.
    pub keys: ApiKeys,
    /// The time limit of a request, from its last byte to its response.
    pub request_timeout: Duration,
    /// A batch that runs longer is stuck, and the server not ready.
    pub stuck_after: Duration,
    /// Whether `input` must be text. A client that tokenises for another model would get wrong vectors, not an error.
    pub refuse_token_ids: bool,
    /// The number of threads that tokenise.
    pub tokenizers: usize,
    /// The memory that all requests may use together.
    pub budget: Budget,
    /// The metrics; `None` if nothing is collected.
    pub exporter: Option<Exporter>,
    draining: AtomicBool,
}

impl AppState {
    /// Creates a state without keys, and with the default limits.
    #[must_use]
    pub fn new(models: Vec<ServedModel>, instructions: Instructions) -> Self {
        Self {
            models,
            instructions,
            projections: Projections::default(),
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

    /// Makes `/readyz` answer 503 from now on. Requests are still served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Stops accepting texts, and waits for those in flight. Returns false if a batch has not ended after `timeout`.
    #[must_use]
    pub fn close(&self, timeout: Duration) -> bool {
        let mut models = self.models.iter();
        models.all(|model| model.engine.close(timeout))
    }

    /// Why the server is not ready, if so.
    pub(super) fn unready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the server is shutting down".to_owned());
        }
        let mut models = self.models.iter();
        models.find_map(|model| model.unready(self.stuck_after))
    }

    /// The longest text of all models in tokens.
    pub(super) fn longest_text(&self) -> usize {
        let lengths = self
            .models
            .iter()
            .map(|model| model.engine.tokenizer().max_length());
        lengths.max().unwrap_or(0)
    }

    /// Finds the model that a request names.
    ///
    /// # Errors
    /// [`ApiError::ModelNotFound`].
    pub(super) fn model(&self, name: &str) -> Result<&ServedModel, ApiError> {
        self.models
            .iter()
            .find(|model| model.has_name(name))
            .ok_or_else(|| ApiError::ModelNotFound {
                requested: name.to_owned(),
                served: self.models.iter().map(|model| model.name.clone()).collect(),
            })
    }

    /// The model for requests that name none.
    ///
    /// # Errors
    /// [`ApiError::Internal`]: a server without a model does not start.
    pub(super) fn first_model(&self) -> Result<&ServedModel, ApiError> {
        let first = self.models.first();
        first.ok_or_else(|| ApiError::Internal("no model is served".to_owned()))
    }
}
