//! Stops batches that no one waits for any more: a long text may take minutes, and its client may leave after seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::onnxruntime::stopper::Stopper;
use crate::scheduling::in_flight::InFlight;
use crate::scheduling::queue::Entry;

/// Time between checks.
const INTERVAL: Duration = Duration::from_millis(200);

/// The batch that a session runs, as its watcher sees it.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Empty between batches.
    in_flight: Vec<Arc<InFlight>>,
    /// `None` if runs cannot be stopped.
    stopper: Option<Stopper>,
}

impl Running {
    /// Starts a thread that stops abandoned batches for as long as the session lives.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn watched() -> Result<Arc<Self>> {
        let running = Arc::new(Self::default());
        let watched = Arc::downgrade(&running);
        std::thread::Builder::new()
            .name("lexivec-abandoned".to_owned())
            .spawn(move || watch(&watched))
            .map_err(|e| Error::Inference(format!("no watching thread: {e}")))?;
        Ok(running)
    }

    /// Records that the session's network was opened.
    pub(crate) fn opened(&self, stopper: Option<Stopper>) {
        self.lock().stopper = stopper;
    }

    /// Records a batch that begins.
    pub(crate) fn begin(&self, entries: &[Entry]) {
        let mut state = self.lock();
        if state.stopper.is_some() {
            state.in_flight = entries.iter().map(|e| Arc::clone(&e.in_flight)).collect();
        }
    }

    /// Records that the batch is over. It is not stopped from now on.
    pub(crate) fn end(&self) {
        self.lock().in_flight.clear();
    }

    fn end_if_abandoned(&self) {
        // The lock is held until the run was told, so that the next batch is never stopped in its place.
        let state = self.lock();
        let abandoned =
            !state.in_flight.is_empty() && state.in_flight.iter().all(|f| f.is_abandoned());
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
