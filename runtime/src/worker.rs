//! The threads that own sessions: take a batch, compute, answer, until the queue is closed.
//!
//! A batch that fails or even panics is answered with the error, and its session is opened anew, for nothing is known
//! of the state that the failure left it in. Where a device runs out of memory, the batch is halved and tried again,
//! and later batches are smaller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::Limits;
use crate::error::{Error, Result};
use crate::flight::{Answer, Origin, Reply};
use crate::health::Pulse;
use crate::metrics;
use crate::network::{Network, States};
use crate::queue::{Entry, Queue};
use crate::results::Results;

/// Opens a session on the thread that will run it; called again after a failure.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Box<dyn Network>> + Send>;

/// The batch budget never falls below this: smaller batches save no memory worth having.
pub(crate) const LEAST_BUDGET: usize = 256;
/// Wait between attempts to open a session anew: doubled from the first to the last.
const REOPEN_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What the workers of a model share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    /// Tokens of a batch at most; lowered where memory runs out.
    pub(crate) budget: AtomicUsize,
    pub(crate) max_padding: usize,
    /// What is kept of the results; `None` where nothing is.
    pub(crate) results: Option<Arc<Results>>,
    pub(crate) metrics: metrics::Model,
}

impl Shared {
    /// Queues texts, all or none.
    ///
    /// # Errors
    /// The queue is full or closed; whoever waits for the texts has been told.
    pub(crate) fn push(&self, entries: Vec<Entry>) -> Result<()> {
        // Everything was known: a worker need not wake up.
        if entries.is_empty() {
            return Ok(());
        }
        self.queue.push(entries).map_err(|(error, entries)| {
            answer_all(&entries, &Err(error.clone()));
            error
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_tokens: self.budget.load(Ordering::Relaxed),
            max_padding: self.max_padding,
        }
    }

    /// Lowers the budget below a batch that did not fit.
    fn lower_budget(&self, failed: usize) {
        let lowered = (failed / 2).max(LEAST_BUDGET);
        let before = self.budget.fetch_min(lowered, Ordering::Relaxed);
        if lowered < before {
            tracing::warn!(
                before,
                lowered,
                "the device is out of memory: batches will have fewer tokens"
            );
            self.metrics.budget(lowered);
        }
    }
}

/// A thread and what is known of it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts a worker over a session of its own. The worker's thread opens it, and opens it again after a failure: what ONNX
/// Runtime keeps of a CUDA session, captured graphs among it, belongs to the thread that runs it.
///
/// # Errors
/// The session does not open, or the system gives no thread.
pub(crate) fn spawn(open: Opener, shared: Arc<Shared>) -> Result<Worker> {
    let pulse = Arc::new(Pulse::default());
    let mut session = Session {
        network: None,
        open,
        shared,
        pulse: Arc::clone(&pulse),
    };
    let (report, opened) = sync_channel(1);
    let no_thread = |e: std::io::Error| Error::Inference(format!("no worker thread: {e}"));
    let thread = std::thread::Builder::new()
        .name("lexivec-worker".to_owned())
        .spawn(move || {
            let opened = session.open();
            let serves = opened.is_ok();
            // Whoever started the worker waits for it.
            let _ = report.send(opened);
            if serves {
                session.serve();
            }
        })
        .map_err(no_thread)?;
    opened.recv().unwrap_or(Err(Error::Panicked))?;
    Ok(Worker { pulse, thread })
}

/// Its end, by a panic too, is seen in its pulse.
struct Session {
    /// `None` while it is being opened anew.
    network: Option<Box<dyn Network>>,
    open: Opener,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pulse.stop();
    }
}

impl Session {
    fn serve(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            if self.network.is_none() && !self.reopen() {
                break;
            }
            let Some(batch) = shared.queue.next_batch(&shared.limits()) else {
                break;
            };
            self.pulse.begin();
            self.run(batch);
            self.pulse.end();
        }
    }

    fn open(&mut self) -> Result<()> {
        let opened = catch_unwind(AssertUnwindSafe(|| (self.open)()));
        let network = opened.unwrap_or_else(|_| Err(Error::Panicked))?;
        self.shared.metrics.session_opened(network.captured());
        self.network = Some(network);
        Ok(())
    }

    /// Opens the session again, however often it takes; false once there is nothing left to serve.
    fn reopen(&mut self) -> bool {
        self.pulse.lost();
        let mut wait = REOPEN_AFTER.0;
        loop {
            match self.open() {
                Ok(()) => {
                    tracing::warn!("the session was recreated after a failure");
                    self.shared.metrics.session_rebuilt();
                    self.pulse.found();
                    return true;
                }
                Err(error) => {
                    tracing::error!(%error, retry_s = wait.as_secs_f32(), "the session could not be opened again");
                }
            }
            if self.shared.queue.is_closed() {
                // Nobody else might be left to answer what waits.
                while let Some(batch) = self.shared.queue.next_batch(&self.shared.limits()) {
                    answer_all(&batch, &Err(Error::ShuttingDown));
                }
                return false;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(REOPEN_AFTER.1);
        }
    }

    /// Keeps what was computed, then tells who waits.
    fn answer(&self, batch: &[Entry], replies: &[Reply]) {
        if let Some(results) = &self.shared.results {
            let computed = batch.iter().zip(replies).filter_map(|(entry, reply)| {
                let answer = reply.as_ref().ok()?;
                Some((entry.key?, Arc::clone(&answer.state)))
            });
            results.keep(computed.collect());
        }
        for (entry, reply) in batch.iter().zip(replies) {
            entry.flight.land(reply);
        }
    }

    /// Computes a batch, in halves where it does not fit, and answers it.
    fn run(&mut self, batch: Vec<Entry>) {
        let Some(network) = &mut self.network else {
            // A half of this batch failed, and the session with it.
            answer_all(
                &batch,
                &Err(Error::Inference("the session was lost".to_owned())),
            );
            return;
        };
        let started = Instant::now();
        let sequences: Vec<&[u32]> = batch.iter().map(|e| e.ids.as_slice()).collect();
        let tokens: usize = sequences.iter().map(|s| s.len()).sum();
        // A panic inside a binding must cost a batch, not the service.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let states = network.embed(&sequences)?;
            complete(states, sequences.len() * network.hidden_size())
        }));
        let outcome = outcome.unwrap_or_else(|_| Err(Error::Panicked));
        self.shared.metrics.batch(batch.len(), tokens, &outcome);
        match outcome {
            Ok(states) => {
                let replies = replies(&batch, &states, started);
                self.answer(&batch, &replies);
            }
            Err(Error::OutOfMemory { .. }) if batch.len() > 1 => {
                self.shared.lower_budget(tokens);
                let mut first = batch;
                let second = first.split_off(first.len() / 2);
                self.run(first);
                self.run(second);
            }
            Err(error) => {
                tracing::error!(?error, texts = batch.len(), tokens, "a batch failed");
                if !matches!(error, Error::OutOfMemory { .. }) {
                    self.network = None;
                }
                answer_all(&batch, &Err(error));
            }
        }
    }
}

/// Whether there is a state for every text: otherwise nobody could tell whose they are.
fn complete(states: States, expected: usize) -> Result<States> {
    match states.values.len() {
        found if found == expected && expected > 0 => Ok(states),
        found => Err(Error::Inference(format!(
            "the graph gave {found} values where {expected} were due"
        ))),
    }
}

fn replies(batch: &[Entry], states: &States, started: Instant) -> Vec<Reply> {
    let infer = started.elapsed();
    let hidden = states.values.len() / batch.len();
    let answered = batch.iter().zip(states.values.chunks_exact(hidden));
    let reply = |(entry, state): (&Entry, &[f32])| {
        if !state.iter().all(|v| v.is_finite()) {
            return Err(Error::NonFinite);
        }
        Ok(Answer {
            state: state.into(),
            origin: Origin::Computed,
            queued: started.saturating_duration_since(entry.since),
            infer,
        })
    };
    answered.map(reply).collect()
}

fn answer_all(batch: &[Entry], reply: &Reply) {
    for entry in batch {
        entry.flight.land(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::Flight;

    /// Answers each text with its first token; fails on 1, panics on 2, gives NaN on 3, nothing on 4, and has memory for
    /// eight tokens.
    struct Fake;

    impl Network for Fake {
        fn hidden_size(&self) -> usize {
            1
        }

        fn embed(&mut self, sequences: &[&[u32]]) -> Result<States> {
            let rows = sequences.iter().map(|s| s.len()).sum();
            if rows > 8 {
                return Err(Error::of_run(
                    "Failed to allocate memory for requested buffer of size 9",
                ));
            }
            let state = |s: &&[u32]| match s[0] {
                1 => Err(Error::Inference("asked to".to_owned())),
                2 => panic!("asked to"),
                3 => Ok(f32::NAN),
                other => Ok(other as f32),
            };
            let mut values = sequences.iter().map(state).collect::<Result<Vec<f32>>>()?;
            values.retain(|value| *value != 4.0);
            Ok(States {
                values,
                rows,
                cached: 0,
                replayed: false,
            })
        }
    }

    struct Scene {
        shared: Arc<Shared>,
        worker: Option<Worker>,
        opened: Arc<AtomicUsize>,
    }

    /// A worker whose session opens, and opens again at the third attempt.
    fn scene() -> Scene {
        let shared = Arc::new(Shared {
            queue: Queue::new(64),
            budget: AtomicUsize::new(4096),
            max_padding: 2,
            results: None,
            metrics: metrics::Model::new("fake"),
        });
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let open: Opener = Box::new(move || match count.fetch_add(1, Ordering::SeqCst) {
            1 => Err(Error::Inference("the device is away".to_owned())),
            2 => panic!("the driver is away"),
            _ => Ok(Box::new(Fake)),
        });
        let worker = spawn(open, Arc::clone(&shared)).unwrap();
        Scene {
            shared,
            worker: Some(worker),
            opened,
        }
    }

    impl Scene {
        fn ask(&self, texts: &[&[u32]]) -> Vec<Reply> {
            let text = |ids: &&[u32]| {
                let (flight, receiver) = Flight::new();
                let entry = Entry {
                    ids: ids.to_vec(),
                    key: None,
                    flight,
                    since: Instant::now(),
                };
                (entry, receiver)
            };
            let (entries, receivers): (Vec<_>, Vec<_>) = texts.iter().map(text).unzip();
            self.shared.push(entries).unwrap();
            receivers
                .into_iter()
                .map(|r| r.blocking_recv().unwrap())
                .collect()
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.shared.queue.close();
            self.worker.take().unwrap().thread.join().unwrap();
        }
    }

    #[test]
    fn a_failed_or_panicked_batch_is_answered_and_the_next_is_served_by_a_new_session() {
        let scene = scene();
        assert!(matches!(scene.ask(&[&[1]])[0], Err(Error::Inference(_))));
        assert_eq!(scene.ask(&[&[7]])[0].as_ref().unwrap().state[..], [7.0]);
        assert_eq!(scene.opened.load(Ordering::SeqCst), 4);
        assert!(matches!(scene.ask(&[&[2]])[0], Err(Error::Panicked)));
        assert!(matches!(scene.ask(&[&[3]])[0], Err(Error::NonFinite)));
        assert_eq!(scene.ask(&[&[9]])[0].as_ref().unwrap().state[..], [9.0]);
        // A vector that is not finite is the text's fault, not the session's.
        assert_eq!(scene.opened.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn a_session_that_does_not_open_is_an_error_at_once() {
        let shared = Arc::new(Shared {
            queue: Queue::new(1),
            budget: AtomicUsize::new(8),
            max_padding: 2,
            results: None,
            metrics: metrics::Model::new("fake"),
        });
        let refused = spawn(Box::new(|| Err(Error::ShuttingDown)), Arc::clone(&shared));
        assert!(matches!(refused, Err(Error::ShuttingDown)));
        let panicked = spawn(Box::new(|| panic!("the driver is away")), shared);
        assert!(matches!(panicked, Err(Error::Panicked)));
    }

    #[test]
    fn a_batch_with_too_few_states_is_an_error_for_all_of_it() {
        let replies = scene().ask(&[&[4], &[5], &[6]]);
        let failed = |reply: &Reply| matches!(reply, Err(Error::Inference(reason)) if reason.contains("2 values"));
        assert!(replies.iter().all(failed), "{replies:?}");
    }

    #[test]
    fn where_memory_runs_out_the_batch_is_halved_and_the_budget_lowered() {
        let scene = scene();
        let texts: Vec<[u32; 5]> = (10..14).map(|t| [t; 5]).collect();
        let texts: Vec<&[u32]> = texts.iter().map(<[u32; 5]>::as_slice).collect();
        let found: Vec<f32> = scene
            .ask(&texts)
            .iter()
            .map(|r| r.as_ref().unwrap().state[0])
            .collect();
        assert_eq!(found, [10.0, 11.0, 12.0, 13.0]);
        assert_eq!(scene.shared.budget.load(Ordering::Relaxed), LEAST_BUDGET);
        let alone = scene.ask(&[&[10; 9]]);
        assert!(matches!(alone[0], Err(Error::OutOfMemory { .. })));
        assert_eq!(scene.opened.load(Ordering::SeqCst), 1);
    }
}
