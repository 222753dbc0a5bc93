//! The second thread of a worker whose batches a device computes.
//!
//! The host is idle while the device computes, and the device while the host plans a batch or sends replies. During a
//! run, the assistant completes the batch before, and takes the next batch from the queue and plans it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::SharedState;
use super::answers::Computed;
use crate::error::{Error, Result};
use crate::network::plan::Plan;
use crate::scheduling::queue::Entry;

/// A batch that is planned and ready to be computed.
pub(crate) struct Prepared {
    pub(crate) entries: Vec<Entry>,
    pub(crate) plan: Plan,
}

impl Prepared {
    fn new(entries: Vec<Entry>) -> Self {
        let sequences: Vec<&[u32]> = entries.iter().map(|e| e.ids.as_slice()).collect();
        let plan = Plan::new(&sequences);
        Self { entries, plan }
    }
}

enum Task {
    Answer(Computed),
    /// Has one result, which [`Assistant::prepared`] returns.
    Prepare,
}

/// The handle of the assistant's thread. Dropping it waits until all batches are complete.
pub(crate) struct Assistant {
    shared: Arc<SharedState>,
    /// `None` once there are no more tasks.
    tasks: Option<Sender<Task>>,
    prepared: Receiver<Option<Prepared>>,
    /// Whether the assistant should go on waiting for a full batch.
    wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Assistant {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn start(shared: &Arc<SharedState>) -> Result<Self> {
        let (tasks, to_do) = channel();
        let (sender, prepared) = channel();
        let wanted = Arc::new(AtomicBool::new(false));
        let (shared, of_thread, flag) =
            (Arc::clone(shared), Arc::clone(shared), Arc::clone(&wanted));
        let thread = std::thread::Builder::new()
            .name("lexivec-assistant".to_owned())
            .spawn(move || work(&of_thread, &to_do, &sender, &flag))
            .map_err(|e| Error::Inference(format!("no assistant thread: {e}")))?;
        Ok(Self {
            shared,
            tasks: Some(tasks),
            prepared,
            wanted,
            thread: Some(thread),
        })
    }

    /// Prepares the next batch, if a full one waits before [`Assistant::prepared`] is called.
    pub(crate) fn prepare(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        self.send(Task::Prepare);
    }

    /// The result of [`Assistant::prepare`]; called once for each call of it.
    pub(crate) fn prepared(&self) -> Option<Prepared> {
        self.shared.queue.cancel(&self.wanted);
        self.prepared.recv().ok().flatten()
    }

    /// Completes a batch in the background.
    pub(crate) fn answer(&self, batch: Computed) {
        self.send(Task::Answer(batch));
    }

    fn send(&self, task: Task) {
        let sent = self.tasks.as_ref().map(|tasks| tasks.send(task));
        // The thread outlives its tasks, unless it panicked.
        if let Some(Err(unsent)) = sent
            && let Task::Answer(batch) = unsent.0
        {
            batch.answer(&self.shared);
        }
    }
}

impl Drop for Assistant {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught where they happen.
            let _ = thread.join();
        }
    }
}

fn work(
    shared: &SharedState,
    tasks: &Receiver<Task>,
    prepared: &Sender<Option<Prepared>>,
    wanted: &AtomicBool,
) {
    for task in tasks {
        match task {
            // A panic costs a batch. Its texts get an error when their entries are dropped.
            Task::Answer(batch) => {
                let _ = catch_unwind(AssertUnwindSafe(|| batch.answer(shared)));
            }
            Task::Prepare => {
                let next = catch_unwind(AssertUnwindSafe(|| {
                    let entries = shared.queue.next_full_batch(&shared.limits(), wanted)?;
                    Some(Prepared::new(entries))
                }));
                // The worker waits for one result of each task.
                let _ = prepared.send(next.unwrap_or(None));
            }
        }
    }
}
