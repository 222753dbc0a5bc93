//! Ends batches that nobody waits for any more: a long text may take minutes, and its client went after seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::flight::Flight;
use crate::queue::Entry;
use crate::stopper::Stopper;

/// How often batches are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// The batch of a session, as its watcher sees it.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Empty between batches.
    flights: Vec<Arc<Flight>>,
    /// `None` where runs cannot be ended.
    stopper: Option<Stopper>,
}

impl Running {
    /// Starts a thread that ends abandoned batches for as long as the session lives.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn watched() -> Result<Arc<Self>> {
        let running = Arc::new(Self::default());
        let watched = Arc::downgrade(&running);
        std::thread::Builder::new()
            .name("lexivec-abandoned".to_owned())
            .spawn(move || watch(&watched))
            .map_err(|e| Error::Inference(format!("no watching thread: {e}")))?;
        Ok(running)
    }

    /// The session's network was opened.
    pub(crate) fn opened(&self, stopper: Option<Stopper>) {
        self.lock().stopper = stopper;
    }

    /// A batch begins.
    pub(crate) fn begin(&self, entries: &[Entry]) {
        let mut state = self.lock();
        if state.stopper.is_some() {
            state.flights = entries.iter().map(|e| Arc::clone(&e.flight)).collect();
        }
    }

    /// It is over: from now on it is not ended.
    pub(crate) fn end(&self) {
        self.lock().flights.clear();
    }

    fn end_if_abandoned(&self) {
        // Held until the run was told, so that the next batch is never ended in its place.
        let state = self.lock();
        let abandoned = !state.flights.is_empty() && state.flights.iter().all(|f| f.is_given_up());
        if let (true, Some(stopper)) = (abandoned, &state.stopper) {
            stopper.stop();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves it half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(running: &Weak<Running>) {
    loop {
        std::thread::sleep(INTERVAL);
        let Some(running) = running.upgrade() else {
            return;
        };
        running.end_if_abandoned();
    }
}
