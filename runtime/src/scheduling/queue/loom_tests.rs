//! Threads that push, take, close and leave, in every order that a bounded number of preemptions allows.
//!
//! loom itself fails a model in which a thread is never woken.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::thread;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::request::Origin;
use crate::scheduling::in_flight::{Completed, InFlight, Reply};

/// One text per batch, so that a thread that takes one must wake another for the next.
const ONE: Limits = Limits {
    max_tokens: 1,
    max_padding: 1,
};

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(5);
    builder.check(check);
}

fn entry(id: u32) -> (Entry, Receiver<Reply>) {
    let (in_flight, receiver) = InFlight::new();
    let entry = Entry {
        ids: vec![id],
        key: None,
        in_flight,
        since: Instant::now(),
        caller: Caller::default(),
    };
    (entry, receiver)
}

fn request(ids: &[u32]) -> (Vec<Entry>, Vec<Receiver<Reply>>) {
    ids.iter().map(|id| entry(*id)).unzip()
}

/// The reply to text `id`.
fn reply(id: u32) -> Reply {
    Ok(Completed {
        state: [id as f32].into(),
        origin: Origin::Computed,
        queued: Duration::ZERO,
        infer: Duration::ZERO,
    })
}

/// Takes and completes texts until the queue is closed and empty. Returns the ids that it took.
fn serve(queue: &Queue) -> Vec<u32> {
    let mut taken = Vec::new();
    while let Some(batch) = queue.next_batch(&ONE) {
        for entry in batch {
            taken.push(entry.ids[0]);
            entry.in_flight.complete(&reply(entry.ids[0]));
        }
    }
    taken
}

fn worker(queue: &Arc<Queue>) -> thread::JoinHandle<Vec<u32>> {
    let queue = Arc::clone(queue);
    thread::spawn(move || serve(&queue))
}

/// Whether the text was completed. Checks that it got its own state.
fn answered(receiver: &mut Receiver<Reply>, id: u32) -> bool {
    match receiver.try_recv() {
        Ok(Ok(answer)) => {
            assert_eq!(answer.state[..], [id as f32]);
            true
        }
        Ok(Err(error)) => panic!("{error:?}"),
        Err(TryRecvError::Closed) => false,
        Err(TryRecvError::Empty) => panic!("text {id} is not complete"),
    }
}

#[test]
fn two_workers_serve_every_text_once_and_end_when_the_queue_is_closed() {
    model(|| {
        let queue = Arc::new(Queue::new(4));
        let workers = [worker(&queue), worker(&queue)];
        let (two, mut of_two) = request(&[1, 2]);
        let (one, mut of_one) = request(&[3]);
        queue.push(two, Load::default()).unwrap();
        queue.push(one, Load::default()).unwrap();
        queue.close();
        let mut taken = workers.map(|worker| worker.join().unwrap()).concat();
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3]);
        assert!(answered(&mut of_two[0], 1) && answered(&mut of_two[1], 2));
        assert!(answered(&mut of_one[0], 3));
    });
}

#[test]
fn a_full_batch_is_taken_early_or_left_and_no_thread_sleeps_forever() {
    model(|| {
        let queue = Arc::new(Queue::new(4));
        let wanted = Arc::new(AtomicBool::new(true));
        let early = {
            let (queue, wanted) = (Arc::clone(&queue), Arc::clone(&wanted));
            thread::spawn(move || queue.next_full_batch(&ONE, &wanted))
        };
        let worker = worker(&queue);
        let (two, mut receivers) = request(&[1, 2]);
        queue.push(two, Load::default()).unwrap();
        queue.cancel(&wanted);
        let mut taken = Vec::new();
        for entry in early.join().unwrap().unwrap_or_default() {
            taken.push(entry.ids[0]);
            entry.in_flight.complete(&reply(entry.ids[0]));
        }
        queue.close();
        taken.extend(worker.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        assert!(answered(&mut receivers[0], 1) && answered(&mut receivers[1], 2));
    });
}

#[test]
fn of_two_requests_that_do_not_both_fit_one_may_be_rejected_and_none_is_split() {
    model(|| {
        let queue = Arc::new(Queue::new(3));
        let pushing = Arc::clone(&queue);
        let push = |queue: &Queue, ids: [u32; 2]| {
            let (entries, receivers) = request(&ids);
            match queue.push(entries, Load::default()) {
                Ok(()) => (ids.to_vec(), receivers),
                Err((Error::Overloaded { limit: 3, .. }, back)) if back.len() == 2 => {
                    (Vec::new(), Vec::new())
                }
                Err((error, back)) => panic!("{error:?}, {} back", back.len()),
            }
        };
        let other = thread::spawn(move || push(&pushing, [1, 2]));
        let worker = worker(&queue);
        let (mut accepted, mut receivers) = push(&queue, [3, 4]);
        let (theirs, more) = other.join().unwrap();
        accepted.extend(theirs);
        receivers.extend(more);
        queue.close();
        let mut taken = worker.join().unwrap();
        assert!(accepted.len() >= 2);
        for (id, receiver) in accepted.iter().zip(&mut receivers) {
            assert!(answered(receiver, *id));
        }
        accepted.sort_unstable();
        taken.sort_unstable();
        assert_eq!(taken, accepted);
    });
}

#[test]
fn texts_pushed_while_the_queue_closes_are_served_or_returned() {
    model(|| {
        let queue = Arc::new(Queue::new(4));
        let worker = worker(&queue);
        let closing = Arc::clone(&queue);
        let close = thread::spawn(move || closing.close());
        let (entries, mut receivers) = request(&[1, 2]);
        let pushed = match queue.push(entries, Load::default()) {
            Ok(()) => true,
            Err((Error::ShuttingDown, back)) if back.len() == 2 => false,
            Err((error, _)) => panic!("{error:?}"),
        };
        close.join().unwrap();
        worker.join().unwrap();
        assert!(queue.is_closed() && queue.is_empty());
        for (id, receiver) in [1, 2].into_iter().zip(&mut receivers) {
            assert_eq!(answered(receiver, id), pushed);
        }
    });
}

#[test]
fn an_abandoned_text_is_dropped_or_served_and_the_others_are_served() {
    model(|| {
        let queue = Arc::new(Queue::new(4));
        let worker = worker(&queue);
        let (entries, mut receivers) = request(&[1, 2]);
        queue.push(entries, Load::default()).unwrap();
        let gone = receivers.remove(0);
        let going = thread::spawn(move || drop(gone));
        queue.close();
        going.join().unwrap();
        let taken = worker.join().unwrap();
        assert!(answered(&mut receivers[0], 2));
        assert_eq!(taken.iter().filter(|id| **id == 2).count(), 1);
        assert_eq!(taken.len() as u64 + queue.dropped(), 2);
    });
}

#[test]
fn a_coalesced_text_is_completed_unless_the_first_one_was_dropped() {
    model(|| {
        let queue = Arc::new(Queue::new(4));
        let worker = worker(&queue);
        let (entry, first) = entry(1);
        let in_flight = std::sync::Arc::clone(&entry.in_flight);
        queue.push(vec![entry], Load::default()).unwrap();
        // The first waiter leaves while another coalesces, and the worker drops abandoned texts.
        let going = thread::spawn(move || drop(first));
        let joined = in_flight.coalesce();
        drop(in_flight);
        queue.close();
        going.join().unwrap();
        let taken = worker.join().unwrap();
        if let Some(mut receiver) = joined {
            assert!(answered(&mut receiver, 1));
            assert_eq!(taken, [1]);
        } else {
            assert_eq!(taken.len() as u64 + queue.dropped(), 1);
        }
    });
}
