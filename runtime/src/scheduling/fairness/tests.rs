use std::time::Duration;

use super::*;

fn caller(flow: u64, weight: u32) -> Caller {
    Caller {
        flow,
        weight,
        deadline: None,
    }
}

/// Serves callers with endless requests of ten-token texts in batches of forty tokens. Returns the tokens that each
/// received.
fn shares(callers: &[Caller], batches: usize) -> Vec<usize> {
    let mut fairness = Fairness::default();
    let mut waiting = Vec::new();
    let mut got = vec![0; callers.len()];
    for request in 0..batches as u64 {
        for (i, caller) in callers.iter().enumerate() {
            let tag = fairness.enter(*caller, 100);
            waiting.extend((0..10).map(|_| QueuedText {
                caller: *caller,
                request: request * 100 + i as u64,
                tag,
                tokens: 10,
                cost: 10,
            }));
        }
        let mut chosen = vec![false; waiting.len()];
        for i in fairness.order(&waiting, 40, None).into_iter().take(4) {
            chosen[i] = true;
            let place = callers.iter().position(|c| *c == waiting[i].caller);
            got[place.unwrap()] += 10;
        }
        fairness.serve(&waiting, &chosen);
        let mut chosen = chosen.into_iter();
        waiting.retain(|_| chosen.next() == Some(false));
    }
    got
}

#[test]
fn callers_get_equal_parts_or_parts_by_their_weights() {
    assert_eq!(shares(&[caller(1, 1), caller(2, 1)], 100), [2000, 2000]);
    let found = shares(&[caller(1, 3), caller(2, 1)], 100);
    assert!(found[0].abs_diff(3000) <= 40, "{found:?}");
}

#[test]
fn an_idle_caller_has_no_credit() {
    let mut fairness = Fairness::default();
    let place = |flow, request| QueuedText {
        caller: caller(flow, 1),
        request,
        tag: 10,
        tokens: 10,
        cost: 10,
    };
    // The first caller alone is served a thousand times, and always waits.
    fairness.enter(caller(1, 1), 10);
    for request in 0..1000 {
        fairness.enter(caller(1, 1), 10);
        fairness.serve(&[place(1, request), place(1, request + 1)], &[true, false]);
    }
    fairness.enter(caller(2, 1), 10);
    let served = |flow| fairness.flows[&flow].served;
    assert!(served(1) - served(2) <= 10 * STEPS);
}

#[test]
fn callers_that_have_gone_leave_no_state() {
    let mut fairness = Fairness::default();
    for flow in 0..1000 {
        let place = QueuedText {
            caller: caller(flow, 1),
            request: flow,
            tag: 10,
            tokens: 10,
            cost: 10,
        };
        fairness.enter(place.caller, 10);
        fairness.serve(&[place], &[true]);
    }
    assert!(fairness.flows.is_empty());
}

#[test]
fn urgent_requests_go_first_and_late_ones_do_not() {
    let now = Instant::now();
    let text = |flow, seconds, cost| QueuedText {
        caller: Caller {
            deadline: Some(now + Duration::from_secs(seconds)),
            ..caller(flow, 1)
        },
        request: flow,
        tag: cost as u64,
        tokens: cost,
        cost,
    };
    let fairness = Fairness::default();
    // 55 units of cost are due in 100 seconds, and each of three batches takes ten.
    let waiting = [text(1, 100, 45), text(2, 100, 10), text(3, 1000, 5)];
    let order = |speed| fairness.order(&waiting, 10, Some(speed));
    assert_eq!(order(1.0), [0, 1, 2]);
    // A small request runs before that.
    let small = [waiting[0], waiting[1], waiting[2], text(4, 2000, 1)];
    assert_eq!(fairness.order(&small, 10, Some(1.0))[..2], [3, 0]);
    let urgent = |speed| last_urgent(&waiting, 10, speed, now);
    assert_eq!(urgent(1.0), waiting[0].caller.deadline);
    assert_eq!(urgent(1.2), None);
    // The second is urgent because the first is due before it. The third is not.
    let waiting = [text(3, 1000, 5), text(2, 100, 10), text(1, 99, 55)];
    assert_eq!(fairness.order(&waiting, 10, Some(1.0)), [2, 1, 0]);
    let waiting = [text(1, 0, 60), text(2, 1000, 10)];
    assert_eq!(last_urgent(&waiting, 10, 1.0, now), None);
}
