//! The threads that own sessions: each takes a batch, computes it, and completes its texts, until the queue is closed.
//!
//! A batch that fails or panics completes with the error, and its session is recreated because the failure may have
//! corrupted it. If a device runs out of memory, the batch is halved and tried again, and later batches are smaller.

mod abandoned;
mod answers;
mod assistant;
mod shared_state;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use abandoned::Running;
use answers::{Computed, answer_all, complete};
use assistant::{Assistant, Prepared};
pub(crate) use shared_state::SharedState;

use crate::error::{Error, Result};
use crate::integrity::known_answer;
use crate::integrity::mapped_files;
use crate::network::Network;
use crate::network::plan::Plan;
use crate::scheduling::health::Heartbeat;
use crate::scheduling::queue::Entry;

/// Opens a session on the thread that will run it; called again after a failure.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Box<dyn Network>> + Send>;

/// The first and the longest wait between attempts to recreate a session. It doubles with every attempt.
const REOPEN_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// Minimum time between recreations of a session because a text did not fit: loading a model takes seconds.
const FRESH_MEMORY_EVERY: Duration = Duration::from_secs(600);

/// A worker thread and its heartbeat.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts a worker with a session of its own. The worker's thread opens the session and recreates it after a failure,
/// because ONNX Runtime binds parts of a CUDA session, such as captured graphs, to the thread that runs it.
///
/// # Errors
/// The session does not open, or the system cannot start a thread.
pub(crate) fn spawn(open: Opener, shared: Arc<SharedState>) -> Result<Worker> {
    let heartbeat = Arc::new(Heartbeat::default());
    let running = Running::watched()?;
    let mut session = Session {
        running,
        network: None,
        open,
        shared,
        heartbeat: Arc::clone(&heartbeat),
        assistant: None,
        next: None,
        next_test: Instant::now(),
        fresh_memory: None,
    };
    let (report, opened) = sync_channel(1);
    let no_thread = |e: std::io::Error| Error::Inference(format!("no worker thread: {e}"));
    let thread = std::thread::Builder::new()
        .name("lexivec-worker".to_owned())
        .spawn(move || {
            let opened = session.open();
            let serves = opened.is_ok();
            // The caller of this function waits for it.
            let _ = report.send(opened);
            if serves {
                session.serve();
            }
        })
        .map_err(no_thread)?;
    opened.recv().unwrap_or(Err(Error::Panicked))?;
    Ok(Worker { heartbeat, thread })
}

/// A worker's session. The heartbeat shows its end, even after a panic.
struct Session {
    running: Arc<Running>,
    /// `None` while it is being recreated.
    network: Option<Box<dyn Network>>,
    open: Opener,
    shared: Arc<SharedState>,
    heartbeat: Arc<Heartbeat>,
    /// `None` if the host itself computes.
    assistant: Option<Assistant>,
    /// The batch that the assistant prepared during the last run.
    next: Option<Prepared>,
    /// When the known-answer test runs again.
    next_test: Instant,
    /// When the session was last recreated because a text did not fit.
    fresh_memory: Option<Instant>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heartbeat.stopped();
    }
}

impl Session {
    fn serve(&mut self) {
        loop {
            if self.network.is_none() && !self.reopen() {
                break;
            }
            let Some((entries, plan)) = self.next_batch() else {
                break;
            };
            self.test_again();
            if self.network.is_none() {
                self.shared.queue.put_back(entries);
                continue;
            }
            self.heartbeat.batch_began();
            self.run(entries, plan.as_ref());
            self.heartbeat.batch_ended();
        }
    }

    /// The prepared batch and its plan, or the queue's next batch.
    fn next_batch(&mut self) -> Option<(Vec<Entry>, Option<Plan>)> {
        if let Some(Prepared { entries, plan }) = self.next.take() {
            self.shared.metrics.batch_prepared();
            return Some((entries, Some(plan)));
        }
        let entries = self.shared.queue.next_batch(&self.shared.limits())?;
        Some((entries, None))
    }

    fn open(&mut self) -> Result<()> {
        let zeros = mapped_files::zeroed_pages();
        let opened = catch_unwind(AssertUnwindSafe(|| (self.open)()));
        let mut network = opened.unwrap_or_else(|_| Err(Error::Panicked))?;
        self.test(network.as_mut())?;
        if mapped_files::zeroed_pages() != zeros {
            return Err(Error::Unreadable);
        }
        if network.on_device() && self.assistant.is_none() {
            self.assistant = Some(Assistant::start(&self.shared)?);
        }
        self.shared.metrics.session_opened(network.captured());
        self.running.opened(network.stopper());
        self.network = Some(network);
        Ok(())
    }

    /// Runs the known-answer test on a network.
    fn test(&mut self, network: &mut dyn Network) -> Result<()> {
        self.next_test = Instant::now() + known_answer::INTERVAL;
        match &self.shared.known_answer {
            None => Ok(()),
            Some(known) => catch_unwind(AssertUnwindSafe(|| known_answer::test(network, known)))
                .unwrap_or(Err(Error::Panicked)),
        }
    }

    /// Repeats the known-answer test when it is due, and drops the network if it fails.
    fn test_again(&mut self) {
        if Instant::now() < self.next_test {
            return;
        }
        if let Some(mut network) = self.network.take() {
            match self.test(network.as_mut()) {
                Ok(()) => self.network = Some(network),
                Err(error) => tracing::error!(%error, "the session is recreated"),
            }
        }
    }

    /// Recreates the session, with as many attempts as it takes. Returns false once there is nothing left to serve.
    fn reopen(&mut self) -> bool {
        self.heartbeat.session_lost();
        // Another session may serve the batch meanwhile.
        if let Some(next) = self.next.take() {
            self.shared.queue.put_back(next.entries);
        }
        let mut wait = REOPEN_AFTER.0;
        loop {
            match self.open() {
                Ok(()) => {
                    tracing::warn!("the session was recreated after a failure");
                    self.shared.metrics.session_recreated();
                    self.heartbeat.session_recreated();
                    return true;
                }
                Err(error) => {
                    tracing::error!(%error, retry_s = wait.as_secs_f32(), "the session could not be opened again");
                }
            }
            if self.shared.queue.is_closed() {
                // This may be the last worker, so it completes the waiting texts.
                while let Some(batch) = self.shared.queue.next_batch(&self.shared.limits()) {
                    answer_all(&batch, &Err(Error::ShuttingDown));
                }
                return false;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(REOPEN_AFTER.1);
        }
    }

    /// Computes a batch, in halves if it does not fit, and completes its texts.
    fn run(&mut self, entries: Vec<Entry>, plan: Option<&Plan>) {
        let Some(network) = &mut self.network else {
            // One half of this batch failed, and the session with it.
            answer_all(
                &entries,
                &Err(Error::Inference("the session was lost".to_owned())),
            );
            return;
        };
        // The vectors of a modified model would be discarded.
        if let Err(changed) = self.shared.files.check() {
            return answer_all(&entries, &Err(changed));
        }
        let preparing = self.assistant.as_ref().filter(|_| self.next.is_none());
        if let Some(assistant) = preparing {
            assistant.prepare();
        }
        let started = Instant::now();
        let sequences: Vec<&[u32]> = entries.iter().map(|e| e.ids.as_slice()).collect();
        let lengths: Vec<usize> = sequences.iter().map(|s| s.len()).collect();
        let tokens: usize = lengths.iter().sum();
        let load = self.shared.rate.load();
        let cost = lengths.iter().map(|length| load.cost(*length)).sum();
        self.shared.rate.begin(cost);
        self.running.begin(&entries);
        let zeros = mapped_files::zeroed_pages();
        // A panic inside a binding must cost a batch, not the service.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let states = match plan {
                Some(plan) => network.embed_planned(&sequences, plan),
                None => network.embed(&sequences),
            };
            complete(states?, sequences.len() * network.hidden_size())
        }));
        let mut outcome = outcome.unwrap_or_else(|_| Err(Error::Panicked));
        if mapped_files::zeroed_pages() != zeros {
            outcome = Err(self.shared.files.check().err().unwrap_or(Error::Unreadable));
        }
        self.running.end();
        let infer = started.elapsed();
        self.shared.rate.end(cost);
        if outcome.is_ok() {
            let most = self.shared.limits().max_tokens;
            self.shared.rate.computed(&lengths, most, infer);
        }
        if let Some(assistant) = preparing {
            self.next = assistant.prepared();
        }
        self.shared.metrics.batch(entries.len(), tokens, &outcome);
        match outcome {
            Ok(states) => self.answer(Computed {
                entries,
                states,
                started,
                infer,
            }),
            Err(Error::OutOfMemory { .. }) if entries.len() > 1 => {
                self.shared.lower_budget(tokens);
                let mut first = entries;
                let second = first.split_off(first.len() / 2);
                self.run(first, None);
                self.run(second, None);
            }
            Err(Error::OutOfMemory { .. }) if self.reset_memory() => self.run(entries, None),
            // A new session would read the same files, so this one stays.
            Err(changed @ Error::ModelChanged { .. }) => answer_all(&entries, &Err(changed)),
            Err(Error::Stopped) => answer_all(&entries, &Err(Error::Stopped)),
            Err(error) => {
                tracing::error!(?error, texts = entries.len(), tokens, "a batch failed");
                if !matches!(error, Error::OutOfMemory { .. }) {
                    self.network = None;
                }
                answer_all(&entries, &Err(error));
            }
        }
    }

    /// Completes a batch: during the next one if a device computes that, otherwise now.
    fn answer(&self, batch: Computed) {
        let more = self.next.is_some() || !self.shared.queue.is_empty();
        match &self.assistant {
            Some(assistant) if more => assistant.answer(batch),
            _ => batch.answer(&self.shared),
        }
    }

    /// Recreates the session of a device whose memory does not suffice for a single text, because ONNX Runtime's arena
    /// may be full of gaps that earlier batches left. Returns false if that was done recently, or does not succeed.
    fn reset_memory(&mut self) -> bool {
        let lately = |at: Instant| at.elapsed() < FRESH_MEMORY_EVERY;
        let on_device = self.network.as_ref().is_some_and(|n| n.on_device());
        if !on_device || self.fresh_memory.is_some_and(lately) {
            return false;
        }
        tracing::warn!(
            "a single text does not fit into the device's memory: the session is recreated"
        );
        self.fresh_memory = Some(Instant::now());
        // The device has memory for one session only.
        self.network = None;
        let opened = self.open();
        match &opened {
            Ok(()) => self.shared.metrics.session_recreated(),
            Err(error) => tracing::error!(%error, "the session could not be opened again"),
        }
        opened.is_ok()
    }
}
