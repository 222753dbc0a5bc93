//! Which texts the queue returns, and when.

use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::scheduling::in_flight::Reply;

fn entry(length: usize) -> (Entry, oneshot::Receiver<Reply>) {
    let (in_flight, receiver) = InFlight::new();
    let entry = Entry {
        ids: vec![0; length],
        key: None,
        in_flight,
        since: Instant::now(),
        caller: Caller::default(),
    };
    (entry, receiver)
}

/// Limits of this many tokens.
fn limits(max_tokens: usize) -> Limits {
    Limits {
        max_tokens,
        max_padding: 2,
    }
}

/// A request with texts of these lengths. Their first token names the request.
fn request(name: u32, lengths: &[usize]) -> (Vec<Entry>, Vec<oneshot::Receiver<Reply>>) {
    let texts = lengths.iter().map(|length| {
        let (mut entry, receiver) = entry(*length);
        entry.ids[0] = name;
        (entry, receiver)
    });
    texts.unzip()
}

fn lengths(batch: &[Entry]) -> Vec<usize> {
    batch.iter().map(|e| e.ids.len()).collect()
}

#[test]
fn a_full_queue_takes_all_or_none() {
    let queue = Queue::new(3);
    let (two, _receivers) = request(1, &[1, 1]);
    queue.push(two, Load::default()).unwrap();
    let (two, receivers) = request(2, &[1, 1]);
    let (error, back) = queue.push(two, Load::default()).unwrap_err();
    assert!(matches!(
        error,
        Error::Overloaded {
            waiting: 2,
            limit: 3
        }
    ));
    assert_eq!((back.len(), queue.len()), (2, 2));
    drop(receivers);
}

#[test]
fn abandoned_texts_are_not_served_and_make_room() {
    let queue = Queue::new(1);
    let (a, ra) = entry(1);
    queue.push(vec![a], Load::default()).unwrap();
    drop(ra);
    let (b, _rb) = entry(2);
    queue.push(vec![b], Load::default()).unwrap();
    let batch = queue.next_batch(&Limits::default()).unwrap();
    assert_eq!(lengths(&batch), [2]);
    assert_eq!(queue.dropped(), 1);
}

#[test]
fn closing_serves_what_waits_and_ends() {
    let queue = Queue::new(8);
    let (a, _ra) = entry(1);
    queue.push(vec![a], Load::default()).unwrap();
    queue.close();
    let (b, _rb) = entry(1);
    assert!(matches!(
        queue.push(vec![b], Load::default()),
        Err((Error::ShuttingDown, _))
    ));
    assert_eq!(queue.next_batch(&Limits::default()).unwrap().len(), 1);
    assert!(queue.next_batch(&Limits::default()).is_none());
}

#[test]
fn a_batch_is_taken_early_if_it_is_full() {
    let queue = Queue::new(8);
    let limits = limits(8);
    let wanted = AtomicBool::new(true);
    let (some, _r1) = request(1, &[5]);
    queue.push(some, Load::default()).unwrap();
    std::thread::scope(|scope| {
        let early = scope.spawn(|| queue.next_full_batch(&limits, &wanted));
        queue.cancel(&wanted);
        assert!(early.join().unwrap().is_none());
        assert_eq!(queue.len(), 1);

        wanted.store(true, Ordering::Relaxed);
        let early = scope.spawn(|| queue.next_full_batch(&limits, &wanted));
        let (more, _r2) = request(2, &[1, 4]);
        queue.push(more, Load::default()).unwrap();
        assert_eq!(lengths(&early.join().unwrap().unwrap()), [5, 1]);
        assert_eq!(queue.len(), 1);
    });
    wanted.store(true, Ordering::Relaxed);
    queue.close();
    assert!(queue.next_full_batch(&limits, &wanted).is_none());
}

#[test]
fn a_full_batch_is_left_to_an_idle_worker() {
    let queue = Queue::new(8);
    let limits = limits(8);
    let wanted = AtomicBool::new(true);
    let wait_until = |met: &dyn Fn(&State) -> bool| {
        while !met(&queue.lock()) {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let early = scope.spawn(|| queue.next_full_batch(&limits, &wanted));
        wait_until(&|state| state.preparing == 1);
        let idle = scope.spawn(|| queue.next_batch(&limits));
        wait_until(&|state| state.idle == 1);
        let (texts, _receivers) = request(1, &[8]);
        queue.push(texts, Load::default()).unwrap();
        assert_eq!(lengths(&idle.join().unwrap().unwrap()), [8]);
        queue.cancel(&wanted);
        assert!(early.join().unwrap().is_none());
    });
}

#[test]
fn a_batch_that_is_put_back_goes_first() {
    let queue = Queue::new(8);
    let (texts, _receivers) = request(1, &[1, 2, 3]);
    queue.push(texts, Load::default()).unwrap();
    let two = limits(3);
    let batch = queue.next_batch(&two).unwrap();
    assert_eq!(lengths(&batch), [1, 2]);
    queue.put_back(batch);
    assert_eq!(lengths(&queue.next_batch(&two).unwrap()), [1, 2]);
}

#[test]
fn a_single_text_waits_for_two_batches_behind_a_large_request_and_a_long_document() {
    let queue = Queue::new(4096);
    let limits = Limits::default();
    let (large, _r1) = request(1, &[20; 2048]);
    let (document, _r2) = request(2, &[30_000]);
    let (single, _r3) = request(3, &[20]);
    queue.push(large, Load::default()).unwrap();
    queue.push(document, Load::default()).unwrap();
    queue.push(single, Load::default()).unwrap();
    let seen: Vec<bool> = (0..2)
        .map(|_| {
            let batch = queue.next_batch(&limits).unwrap();
            batch.iter().any(|e| e.ids[0] == 3)
        })
        .collect();
    assert!(seen.contains(&true), "{seen:?}");
}

#[test]
fn equal_requests_finish_one_after_another() {
    const REQUESTS: usize = 24;
    let queue = Queue::new(4096);
    let limits = limits(1000);
    let mut receivers = Vec::new();
    for name in 0..REQUESTS {
        let (texts, more) = request(name as u32, &[20; 100]);
        queue.push(texts, Load::default()).unwrap();
        receivers.extend(more);
    }
    queue.close();
    let mut finished = [0; REQUESTS];
    let mut batches = 0;
    while let Some(batch) = queue.next_batch(&limits) {
        batches += 1;
        batch
            .iter()
            .for_each(|entry| finished[entry.ids[0] as usize] = batches);
    }
    let mean = finished.iter().sum::<usize>() as f64 / REQUESTS as f64;
    assert!(mean <= 0.6 * f64::from(batches as u32), "{finished:?}");
}

#[test]
fn a_large_request_is_overtaken_for_a_while_only() {
    let queue = Queue::new(4096);
    let limits = limits(100);
    let (large, _r1) = request(1, &[20; 50]);
    queue.push(large, Load::default()).unwrap();
    let mut receivers = Vec::new();
    let mut left = 50;
    let mut batches = 0;
    while left > 0 {
        // Requests half as large as a batch never stop coming.
        let (small, more) = request(2, &[10; 5]);
        queue.push(small, Load::default()).unwrap();
        receivers.push(more);
        let batch = queue.next_batch(&limits).unwrap();
        left -= batch.iter().filter(|e| e.ids[0] == 1).count();
        batches += 1;
    }
    // Alone it would take ten.
    assert!(batches <= 30, "{batches}");
}

#[test]
fn a_stream_of_short_texts_does_not_delay_a_long_document() {
    let queue = Queue::new(4096);
    let limits = Limits::default();
    let mut receivers = Vec::new();
    let mut push = |name, lengths: &[usize]| {
        let (entries, more) = request(name, lengths);
        queue.push(entries, Load::default()).unwrap();
        receivers.extend(more);
    };
    push(1, &[20; 10]);
    push(2, &[30_000]);
    // More short texts arrive before every batch than a batch takes.
    let batches = (0..).take_while(|_| {
        (0..1000).for_each(|_| push(1, &[20]));
        let batch = queue.next_batch(&limits).unwrap();
        assert!(queue.len() < 4000);
        batch.iter().all(|e| e.ids[0] != 2)
    });
    assert!(batches.count() <= 2 * 10);
}

proptest! {
    #[test]
    fn every_entry_is_served_exactly_once_and_none_starves(
        requests in prop::collection::vec(prop::collection::vec(1usize..3000, 1..12), 1..12),
        max_tokens in 1usize..5000,
    ) {
        let all: usize = requests.iter().map(Vec::len).sum();
        let queue = Queue::new(all);
        let limits = limits(max_tokens);
        let mut receivers = Vec::new();
        for lengths in &requests {
            let first = receivers.len() as u32;
            let (mut entries, more) = request(0, lengths);
            for (i, entry) in (first..).zip(&mut entries) {
                entry.ids[0] = i;
            }
            queue.push(entries, Load::default()).unwrap();
            receivers.extend(more);
        }
        queue.close();
        let mut seen = vec![None; all];
        for batch in 0.. {
            let Some(entries) = queue.next_batch(&limits) else { break };
            prop_assert!(!entries.is_empty());
            let tokens: usize = entries.iter().map(|e| e.ids.len()).sum();
            prop_assert!(entries.len() == 1 || tokens <= max_tokens);
            for e in entries {
                let before = seen[e.ids[0] as usize].replace(batch);
                prop_assert!(before.is_none());
            }
        }
        for (place, batch) in seen.iter().enumerate() {
            prop_assert!(batch.is_some_and(|b| b < 2 * (place + 1)));
        }
    }
}

#[test]
fn a_batch_costs_no_more_than_the_limit_while_a_client_waits() {
    let queue = Queue::new(4096);
    let load = Load {
        batch_cost: Some(100),
        ..Load::default()
    };
    let mut receivers = Vec::new();
    let mut push = |deadline: Option<Instant>| {
        let (mut entries, more) = request(1, &[20; 20]);
        entries
            .iter_mut()
            .for_each(|e| e.caller.deadline = deadline);
        queue.push(entries, load).unwrap();
        receivers.extend(more);
    };
    push(None);
    assert_eq!(queue.next_batch(&Limits::default()).unwrap().len(), 20);
    push(None);
    push(Some(Instant::now() + Duration::from_secs(60)));
    for _ in 0..8 {
        assert_eq!(queue.next_batch(&Limits::default()).unwrap().len(), 5);
    }
    // A text that costs more is computed alone.
    let (long, _receiver) = request(2, &[1000]);
    queue.push(long, load).unwrap();
    assert_eq!(
        lengths(&queue.next_batch(&Limits::default()).unwrap()),
        [1000]
    );
}

/// Batches until an urgent request is served, and the small requests that were served meanwhile.
fn batches_beside_small_requests(urgent: &[usize]) -> (usize, usize) {
    let queue = Queue::new(4096);
    // So slow that the urgent request stays urgent.
    let load = Load {
        cost_per_second: Some(1.0),
        batch_cost: Some(256),
        ..Load::default()
    };
    let push = |name, lengths: &[usize], flow, seconds| {
        let (mut entries, receivers) = request(name, lengths);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        for entry in &mut entries {
            entry.caller.flow = flow;
            entry.caller.deadline = Some(deadline);
        }
        queue.push(entries, load).unwrap();
        receivers
    };
    let mut receivers = push(1, urgent, 0, 100);
    let (mut left, mut small, mut batches) = (urgent.len(), 0, 0);
    while left > 0 {
        for flow in 1..=20 {
            receivers.extend(push(2, &[10], flow, 100_000));
        }
        let batch = queue.next_batch(&Limits::default()).unwrap();
        let of = |name| batch.iter().filter(|e| e.ids[0] == name).count();
        left -= of(1);
        small += of(2);
        batches += 1;
    }
    (batches, small)
}

#[test]
fn urgent_requests_are_served_while_small_ones_never_stop_coming() {
    // Alone it would take 17 batches.
    let (batches, small) = batches_beside_small_requests(&[20; 200]);
    assert!(batches <= 20, "{batches}");
    assert!(small >= batches, "{small} in {batches}");
    // A text that is longer than a batch.
    let (batches, _) = batches_beside_small_requests(&[4000]);
    assert!(batches <= 2, "{batches}");
}
