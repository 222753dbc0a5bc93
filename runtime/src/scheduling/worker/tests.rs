use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use lexivec_models::KnownAnswer;
use tokio::sync::oneshot;

use super::*;
use crate::batch::MIN_TOKEN_BUDGET;
use crate::metrics;
use crate::network::PooledStates;
use crate::scheduling::fairness::Caller;
use crate::scheduling::in_flight::{InFlight, Reply};
use crate::scheduling::queue::Queue;
use crate::scheduling::rate::Rate;

/// Returns each text's first token; fails on 1, panics on 2, returns NaN on 3 and nothing on 4, and has memory for
/// eight tokens.
struct Fake;

impl Network for Fake {
    fn hidden_size(&self) -> usize {
        1
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        let packed_tokens = sequences.iter().map(|s| s.len()).sum();
        if packed_tokens > 8 {
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
        Ok(PooledStates {
            values,
            packed_tokens,
            cached_tokens: 0,
            replayed: false,
        })
    }
}

struct Scene {
    shared: Arc<SharedState>,
    worker: Option<Worker>,
    opened: Arc<AtomicUsize>,
}

fn shared(budget: usize) -> Arc<SharedState> {
    Arc::new(SharedState {
        queue: Queue::new(64),
        budget: AtomicUsize::new(budget),
        max_padding: 2,
        rate: Rate::new(1, false),
        files: Arc::default(),
        known_answer: None,
        response_cache: None,
        metrics: metrics::ModelMetrics::new("fake"),
    })
}

/// A worker whose session opens, and opens again at the third attempt.
fn scene() -> Scene {
    let shared = shared(4096);
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
        let receivers = push(&self.shared, texts);
        let replies = receivers.into_iter().map(|r| r.blocking_recv().unwrap());
        replies.collect()
    }
}

fn push(shared: &SharedState, texts: &[&[u32]]) -> Vec<oneshot::Receiver<Reply>> {
    let text = |ids: &&[u32]| {
        let (in_flight, receiver) = InFlight::new();
        let entry = Entry {
            ids: ids.to_vec(),
            key: None,
            in_flight,
            since: Instant::now(),
            caller: Caller::default(),
        };
        (entry, receiver)
    };
    let (entries, receivers) = texts.iter().map(text).unzip();
    shared.push(entries).unwrap();
    receivers
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.worker.take().unwrap().thread.join().unwrap();
    }
}

#[test]
fn a_failed_or_panicked_batch_is_completed_and_the_next_is_served_by_a_new_session() {
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
    let shared = shared(8);
    let rejected = spawn(Box::new(|| Err(Error::ShuttingDown)), Arc::clone(&shared));
    assert!(matches!(rejected, Err(Error::ShuttingDown)));
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
fn if_memory_runs_out_the_batch_is_halved_and_the_budget_lowered() {
    let scene = scene();
    let texts: Vec<[u32; 5]> = (10..14).map(|t| [t; 5]).collect();
    let texts: Vec<&[u32]> = texts.iter().map(<[u32; 5]>::as_slice).collect();
    let found: Vec<f32> = scene
        .ask(&texts)
        .iter()
        .map(|r| r.as_ref().unwrap().state[0])
        .collect();
    assert_eq!(found, [10.0, 11.0, 12.0, 13.0]);
    assert_eq!(
        scene.shared.budget.load(Ordering::Relaxed),
        MIN_TOKEN_BUDGET
    );
    let alone = scene.ask(&[&[10; 9]]);
    assert!(matches!(alone[0], Err(Error::OutOfMemory { .. })));
    assert_eq!(scene.opened.load(Ordering::SeqCst), 1);
}

/// A network on a device: tells when a batch begins, and ends it when told to.
struct Device {
    /// First token of the batch, and whether it was planned before.
    begun: Sender<(u32, bool)>,
    end: Arc<Mutex<Receiver<Result<()>>>>,
}

impl Device {
    fn compute(&mut self, sequences: &[&[u32]], planned: bool) -> Result<PooledStates> {
        self.begun.send((sequences[0][0], planned)).unwrap();
        self.end.lock().unwrap().recv().unwrap()?;
        Ok(PooledStates {
            values: sequences.iter().map(|s| s[0] as f32).collect(),
            packed_tokens: 1,
            cached_tokens: 0,
            replayed: false,
        })
    }
}

impl Network for Device {
    fn hidden_size(&self) -> usize {
        1
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        self.compute(sequences, false)
    }

    fn embed_planned(&mut self, sequences: &[&[u32]], plan: &Plan) -> Result<PooledStates> {
        assert_eq!(*plan, Plan::new(sequences));
        self.compute(sequences, true)
    }

    fn on_device(&self) -> bool {
        true
    }
}

/// A worker over a [`Device`] with batches of eight tokens, and both ends of the device.
struct DeviceScene {
    scene: Scene,
    begun: Receiver<(u32, bool)>,
    end: Sender<Result<()>>,
}

impl DeviceScene {
    /// Has a batch computed (10) and the next one prepared (11 and 12); both wait for their answers.
    fn prepare_behind_a_batch(&self) -> [Vec<oneshot::Receiver<Reply>>; 2] {
        let shared = &self.scene.shared;
        let first = push(shared, &[&[10; 8]]);
        assert_eq!(self.begun.recv().unwrap(), (10, false));
        let second = push(shared, &[&[11; 4], &[12; 4]]);
        wait_until("the second batch is prepared", || shared.queue.is_empty());
        [first, second]
    }
}

/// The states that texts were completed with.
fn states(receivers: Vec<oneshot::Receiver<Reply>>) -> Vec<f32> {
    let replies = receivers.into_iter().map(|r| r.blocking_recv().unwrap());
    replies.map(|reply| reply.unwrap().state[0]).collect()
}

/// `may_open` says of each attempt to open a session whether it succeeds.
fn device_scene(may_open: impl Fn(usize) -> bool + Send + 'static) -> DeviceScene {
    let shared = shared(8);
    let (sender, begun) = channel();
    let (end, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let open: Opener = Box::new(move || {
        if !may_open(count.fetch_add(1, Ordering::SeqCst)) {
            return Err(Error::Inference("the device is away".to_owned()));
        }
        Ok(Box::new(Device {
            begun: sender.clone(),
            end: Arc::clone(&receiver),
        }))
    });
    let worker = Some(spawn(open, Arc::clone(&shared)).unwrap());
    DeviceScene {
        scene: Scene {
            shared,
            worker,
            opened,
        },
        begun,
        end,
    }
}

fn wait_until(what: &str, met: impl Fn() -> bool) {
    let started = Instant::now();
    while !met() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn while_a_device_computes_the_next_batch_is_planned_and_the_last_one_completed() {
    let device = device_scene(|_| true);
    let [first, second] = device.prepare_behind_a_batch();
    device.end.send(Ok(())).unwrap();
    assert_eq!(device.begun.recv().unwrap(), (11, true));
    assert_eq!(states(first), [10.0]);
    device.end.send(Ok(())).unwrap();
    assert_eq!(states(second), [11.0, 12.0]);
}

#[test]
fn a_prepared_batch_goes_back_to_the_queue_while_its_session_is_away() {
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let device = device_scene(move |_| !is_away.load(Ordering::SeqCst));
    let [first, second] = device.prepare_behind_a_batch();
    away.store(true, Ordering::SeqCst);
    device
        .end
        .send(Err(Error::Inference("lost".to_owned())))
        .unwrap();
    for receiver in first {
        assert!(receiver.blocking_recv().unwrap().is_err());
    }
    let queue = &device.scene.shared.queue;
    wait_until("the second batch waits again", || queue.len() == 2);
    away.store(false, Ordering::SeqCst);
    assert_eq!(device.begun.recv().unwrap(), (11, false));
    device.end.send(Ok(())).unwrap();
    assert_eq!(states(second), [11.0, 12.0]);
}

#[test]
fn a_session_whose_memory_does_not_suffice_for_one_text_is_recreated_once() {
    let device = device_scene(|_| true);
    let full = || {
        Err(Error::of_run(
            "Failed to allocate memory for requested buffer of size 9",
        ))
    };
    for ends in [vec![full(), Ok(())], vec![full()]] {
        let last = ends.last().unwrap().is_ok();
        let mut receivers = push(&device.scene.shared, &[&[10; 8]]);
        for end in ends {
            device.begun.recv().unwrap();
            device.end.send(end).unwrap();
        }
        let reply = receivers.remove(0).blocking_recv().unwrap();
        assert_eq!(reply.is_ok(), last, "{reply:?}");
    }
    assert_eq!(device.scene.opened.load(Ordering::SeqCst), 2);
}

#[test]
fn a_network_that_no_longer_gives_the_known_answer_is_dropped() {
    let mut shared = shared(4096);
    let known = |token| {
        Some(KnownAnswer {
            tokens: vec![token],
            vector: vec![1.0],
        })
    };
    let session = |shared: &Arc<SharedState>| Session {
        running: Running::watched().unwrap(),
        network: None,
        open: Box::new(|| Ok(Box::new(Fake))),
        shared: Arc::clone(shared),
        heartbeat: Arc::default(),
        assistant: None,
        next: None,
        next_test: Instant::now(),
        fresh_memory: None,
    };
    // The fake fails on 1, panics on 2 and gives NaN on 3.
    for token in [1, 2, 3] {
        Arc::get_mut(&mut shared).unwrap().known_answer = known(token);
        let mut session = session(&shared);
        assert!(session.open().is_err());
        session.network = Some(Box::new(Fake));
        session.test_again();
        assert!(session.network.is_some(), "it was tested a moment ago");
        session.next_test = Instant::now();
        session.test_again();
        assert!(session.network.is_none());
    }
    Arc::get_mut(&mut shared).unwrap().known_answer = known(7);
    let mut session = session(&shared);
    session.open().unwrap();
    session.next_test = Instant::now();
    session.test_again();
    assert!(session.network.is_some());
}
