//! What all requests share: the models served, and the instructions of each domain.

use std::sync::Arc;

use lexivec_models::Instructions;
use lexivec_runtime::{Engine, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// A model under the name that requests call it by.
#[derive(Debug)]
pub struct ServedModel {
    /// Its name in requests and answers.
    pub name: String,
    /// What computes.
    pub engine: Arc<Engine>,
    /// Where it computes, as on the command line.
    pub provider: String,
    /// Texts accepted and not yet answered; taken for a whole request at once, before it is tokenised.
    permits: Arc<Semaphore>,
    capacity: usize,
}

impl ServedModel {
    /// Serves `engine` as `name`, for at most as many texts at a time as its queue holds.
    #[must_use]
    pub fn new(name: impl Into<String>, engine: Arc<Engine>, provider: impl Into<String>) -> Self {
        let capacity = engine.queue().capacity().min(Semaphore::MAX_PERMITS);
        Self {
            name: name.into(),
            engine,
            provider: provider.into(),
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
        }
    }

    /// Room for `texts` texts, all or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(super) fn admit(&self, texts: usize) -> Result<OwnedSemaphorePermit, Error> {
        let wanted = u32::try_from(texts).unwrap_or(u32::MAX);
        Arc::clone(&self.permits)
            .try_acquire_many_owned(wanted)
            .map_err(|_| Error::Overloaded {
                waiting: self
                    .capacity
                    .saturating_sub(self.permits.available_permits()),
                limit: self.capacity,
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
}

/// Shared by all workers.
#[derive(Debug)]
pub struct AppState {
    /// The models served.
    pub models: Vec<ServedModel>,
    /// Instructions by domain.
    pub instructions: Instructions,
}

impl AppState {
    /// The model that a request names.
    ///
    /// # Errors
    /// [`ApiError::ModelNotFound`].
    pub(super) fn model(&self, name: &str) -> Result<&ServedModel, ApiError> {
        self.models
            .iter()
            .find(|model| model.answers_to(name))
            .ok_or_else(|| ApiError::ModelNotFound {
                asked: name.to_owned(),
                served: self.models.iter().map(|model| model.name.clone()).collect(),
            })
    }
}
