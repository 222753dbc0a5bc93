//! The workers of an engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::Heartbeat;
use super::worker::{self, Opener, SharedState, Worker};
use crate::error::Result;

/// The workers of an engine. Dropping them computes the waiting texts first.
#[derive(Debug)]
pub(crate) struct Workers {
    shared: Arc<SharedState>,
    workers: Vec<Worker>,
}

impl Workers {
    /// No workers yet, for this state.
    pub(crate) fn new(shared: Arc<SharedState>) -> Self {
        Self {
            shared,
            workers: Vec::new(),
        }
    }

    /// Starts a worker and waits until its session is open.
    ///
    /// # Errors
    /// The session does not open, or the system cannot start a thread.
    pub(crate) fn start(&mut self, open: Opener) -> Result<()> {
        let worker = worker::spawn(open, Arc::clone(&self.shared))?;
        self.workers.push(worker);
        Ok(())
    }

    /// The heartbeat of each worker.
    pub(crate) fn heartbeats(&self) -> impl Iterator<Item = &Heartbeat> {
        self.workers.iter().map(|worker| worker.heartbeat.as_ref())
    }

    /// Waits for the workers to end after the queue was closed. Returns false if one has not ended by this time.
    pub(crate) fn join_until(&self, until: Instant) -> bool {
        let mut threads = self.workers.iter().map(|worker| &worker.thread);
        threads.all(|thread| {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            thread.is_finished()
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue.close();
        for worker in self.workers.drain(..) {
            // The worker catches panics, and no caller is left to receive an error.
            let _ = worker.thread.join();
        }
    }
}
