//! Whose text goes next: callers share the sessions, and each caller's requests finish as early as they can.
//!
//! # Between callers
//! Each caller (an API key, or an address) is a *flow* of weighted fair queueing (Demers et al. 1989; start-time fair
//! queueing, Goyal et al. 1996): the one that has been served least, by its weight, goes next. A caller who was idle starts
//! with the others and has saved nothing up.
//!
//! # Within a caller's share
//! Requests go in the order in which they would finish if they shared equally: small ones before large ones, and equal
//! ones one after another, because serving them in turns would finish all of them last. Each request gets a *tag* on
//! entry: its tokens, counted from the flow's virtual time, which grows by the computed tokens divided by the requests that
//! wait. A large request is therefore overtaken for a while only. With thousands of small requests that while is long, so
//! every other batch begins with the request that came first. A text waits for at most two batches per text of its caller
//! that came before it, and usually for two.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Steps of a flow's service per token at weight 1.
const STEPS: u64 = 1024;
/// Requests that need at most this part of the time that there is may use the room that is kept for small ones.
const SMALL_REQUEST_FRACTION: u32 = 16;
/// That room, as a part of what others may use.
const SMALL_REQUEST_EXTRA_FRACTION: u32 = 8;
/// Nobody is told to stay away for longer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Requests with the same number share one caller's part of the sessions.
    pub flow: u64,
    /// The size of that part, beside those of other callers; at least 1.
    pub weight: u32,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
}

impl Default for Caller {
    fn default() -> Self {
        Self {
            flow: 0,
            weight: 1,
            deadline: None,
        }
    }
}

/// What the sessions are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Tokens that all sessions compute per second; `None` as long as no full batch has shown it.
    pub tokens_per_second: Option<f64>,
    /// Tokens of the batches under way.
    pub running: usize,
}

impl Load {
    /// Tokens per second, if they are known.
    #[must_use]
    pub fn speed(&self) -> Option<f64> {
        self.tokens_per_second.filter(|speed| *speed > 0.0)
    }

    /// How much of the time that requests have may be spoken for. A request is answered after at most twice what is before
    /// it (see the module), so it is half.
    #[must_use]
    pub fn usable(time: Duration) -> Duration {
        time / 2
    }
}

/// What the order depends on of a text that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Who asked for it.
    pub(crate) caller: Caller,
    /// The texts of a request have the same number, and stand side by side.
    pub(crate) request: u64,
    /// See the module; 0 for texts that go before all others.
    pub(crate) tag: u64,
    /// Its length.
    pub(crate) tokens: usize,
}

#[derive(Debug, Default)]
struct Flow {
    /// Steps of service that its caller has got.
    served: u64,
    /// See the module; in tokens.
    virtual_time: u64,
    /// The size of its caller's part.
    weight: u64,
    /// Tokens that wait.
    waiting: usize,
    /// Until when room is spoken for by requests that were refused and told when to come again.
    next_retry_at: Option<Instant>,
}

/// The callers, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Fairness {
    flows: HashMap<u64, Flow>,
    /// The least service among the callers that waited when the last batch was taken.
    now: u64,
    /// Whether the next batch begins with the request that came first.
    oldest_next: bool,
    /// Tokens that wait, of all flows.
    waiting: usize,
}

impl Fairness {
    /// Counts a request that enters; returns its tag.
    pub(crate) fn enter(&mut self, caller: Caller, tokens: usize) -> u64 {
        let flow = self.flows.entry(caller.flow).or_default();
        flow.weight = u64::from(caller.weight.max(1));
        flow.served = flow.served.max(self.now);
        flow.waiting += tokens;
        self.waiting += tokens;
        flow.virtual_time + (tokens as u64).max(1)
    }

    /// Counts a text that is dropped without being computed.
    pub(crate) fn leave(&mut self, place: &Place) {
        self.waiting -= place.tokens;
        if let Some(flow) = self.flows.get_mut(&place.caller.flow) {
            flow.waiting -= place.tokens;
        }
    }

    /// Tokens that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Positions of `waiting` in the order in which a batch should consider them.
    pub(crate) fn order(&self, waiting: &[Place]) -> Vec<usize> {
        let mut flows: HashMap<u64, Vec<usize>> = HashMap::new();
        for (i, place) in waiting.iter().enumerate() {
            flows.entry(place.caller.flow).or_default().push(i);
        }
        for texts in flows.values_mut() {
            let oldest = texts.first().filter(|_| self.oldest_next);
            let oldest = oldest.map(|i| waiting[*i].request);
            // Stable: among equal tags the older first.
            texts.sort_by_key(|i| {
                let Place { request, tag, .. } = waiting[*i];
                (tag != 0, Some(request) != oldest, tag)
            });
        }
        if let (1, Some(only)) = (flows.len(), flows.values().next()) {
            return only.clone();
        }
        self.merge(waiting, flows)
    }

    /// Takes a text at a time of the caller that has been served least.
    fn merge(&self, waiting: &[Place], flows: HashMap<u64, Vec<usize>>) -> Vec<usize> {
        let mut order = Vec::with_capacity(waiting.len());
        let mut next = BinaryHeap::new();
        for (number, texts) in flows {
            let served = self.flows.get(&number).map_or(0, |flow| flow.served);
            let mut texts = texts.into_iter().peekable();
            order.extend(std::iter::from_fn(|| {
                texts.next_if(|i| waiting[*i].tag == 0)
            }));
            next.push(Next {
                served: Reverse((served, number)),
                texts: texts.collect::<Vec<_>>(),
                place: 0,
            });
        }
        while let Some(mut flow) = next.pop() {
            let Some(i) = flow.texts.get(flow.place).copied() else {
                continue;
            };
            order.push(i);
            flow.place += 1;
            let Reverse((served, number)) = flow.served;
            flow.served = Reverse((served + steps(&waiting[i]), number));
            next.push(flow);
        }
        order
    }

    /// Counts a batch that is taken out of `waiting`.
    pub(crate) fn serve(&mut self, waiting: &[Place], chosen: &[bool]) {
        let mut requests: HashMap<u64, (u64, u64)> = HashMap::new();
        for place in waiting {
            let (last, count) = requests.entry(place.caller.flow).or_default();
            *count += u64::from(*count == 0 || *last != place.request);
            *last = place.request;
        }
        let least = requests.keys().filter_map(|flow| self.flows.get(flow));
        self.now = least.map(|flow| flow.served).min().unwrap_or(self.now);
        let mut taken: HashMap<u64, u64> = HashMap::new();
        for (place, _) in waiting.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
            self.leave(place);
            *taken.entry(place.caller.flow).or_default() += place.tokens as u64;
            if let Some(flow) = self.flows.get_mut(&place.caller.flow) {
                flow.served += steps(place);
            }
        }
        for (number, tokens) in taken {
            let requests = requests.get(&number).map_or(1, |(_, count)| *count);
            if let Some(flow) = self.flows.get_mut(&number) {
                flow.virtual_time += tokens / requests.max(1);
            }
        }
        if self.waiting == 0 {
            self.now = 0;
            self.flows.values_mut().for_each(|flow| flow.served = 0);
        }
        self.forget();
        self.oldest_next = !self.oldest_next;
    }

    /// Forgets callers of whom nothing matters any more.
    fn forget(&mut self) {
        let (service, time) = (self.now, Instant::now());
        self.flows.retain(|_, flow| {
            let is_booked = flow.next_retry_at.is_some_and(|at| at > time);
            flow.waiting > 0 || flow.served > service || is_booked
        });
    }

    /// Refuses a request that would not be answered in time: how long it should stay away.
    ///
    /// Up to [`Load::usable`] of the time that it has may be taken. Requests that need little of it may take some more. Requests
    /// that are refused one after another are told to come again
    /// one after another, and none later than what waits now takes.
    pub(crate) fn refuse_late(
        &mut self,
        caller: Caller,
        tokens: usize,
        load: Load,
    ) -> Option<Duration> {
        let deadline = caller.deadline?.saturating_duration_since(Instant::now());
        let speed = load.speed()?;
        let before = self.waiting + load.running;
        // It may be a lone text that takes longer than any request may. The rate is an estimate: let it try.
        if before == 0 {
            return None;
        }
        let flow = self.flows.get(&caller.flow);
        let own = flow.map_or(0, |flow| flow.waiting);
        let others = self.flows.iter();
        let others = others.filter(|(number, f)| **number != caller.flow && f.waiting > 0);
        let others: u64 = others.map(|(_, flow)| flow.weight).sum();
        let weight = u64::from(caller.weight.max(1));
        // What all callers get while this one gets its own.
        let own = (own + tokens) as f64 * (others + weight) as f64 / weight as f64;
        let shared = own + load.running as f64;
        let seconds = |tokens: usize| tokens as f64 / speed;
        let needed = seconds(before + tokens).min(shared / speed);
        let mut allowed = Load::usable(deadline).as_secs_f64();
        if seconds(tokens) * f64::from(SMALL_REQUEST_FRACTION) <= allowed {
            allowed += allowed / f64::from(SMALL_REQUEST_EXTRA_FRACTION);
        }
        if needed <= allowed {
            return None;
        }
        let now = Instant::now();
        let missing = Duration::try_from_secs_f64(needed - allowed).unwrap_or(MAX_RETRY_AFTER);
        // By then everything that waits now has been computed.
        let latest = Duration::try_from_secs_f64(seconds(before)).unwrap_or(MAX_RETRY_AFTER);
        let latest = now + latest.max(missing).min(MAX_RETRY_AFTER);
        let taken = Duration::try_from_secs_f64(seconds(tokens)).unwrap_or(MAX_RETRY_AFTER);
        let flow = self.flows.entry(caller.flow).or_default();
        let after_others = flow.next_retry_at.unwrap_or(now);
        let at = after_others.max(now + missing).min(latest);
        flow.next_retry_at = Some((at + taken).min(latest));
        Some(at - now)
    }
}

/// A flow's texts in their order, of which those before `place` have been taken.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    served: Reverse<(u64, u64)>,
    place: usize,
    texts: Vec<usize>,
}

fn steps(place: &Place) -> u64 {
    place.tokens as u64 * STEPS / u64::from(place.caller.weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(flow: u64, weight: u32) -> Caller {
        Caller {
            flow,
            weight,
            deadline: None,
        }
    }

    /// Serves callers with endless requests of ten tokens in batches of forty; tokens that each of them got.
    fn shares(callers: &[Caller], batches: usize) -> Vec<usize> {
        let mut fairness = Fairness::default();
        let mut waiting = Vec::new();
        let mut got = vec![0; callers.len()];
        for request in 0..batches as u64 {
            for (i, caller) in callers.iter().enumerate() {
                let tag = fairness.enter(*caller, 100);
                waiting.extend((0..10).map(|_| Place {
                    caller: *caller,
                    request: request * 100 + i as u64,
                    tag,
                    tokens: 10,
                }));
            }
            let mut chosen = vec![false; waiting.len()];
            for i in fairness.order(&waiting).into_iter().take(4) {
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
    fn who_was_idle_has_saved_nothing_up() {
        let mut fairness = Fairness::default();
        let place = |flow, request| Place {
            caller: caller(flow, 1),
            request,
            tag: 10,
            tokens: 10,
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
    fn nothing_is_kept_of_callers_that_have_gone() {
        let mut fairness = Fairness::default();
        for flow in 0..1000 {
            let place = Place {
                caller: caller(flow, 1),
                request: flow,
                tag: 10,
                tokens: 10,
            };
            fairness.enter(place.caller, 10);
            fairness.serve(&[place], &[true]);
        }
        assert!(fairness.flows.is_empty());
    }

    #[test]
    fn what_cannot_be_in_time_is_told_how_long_to_stay_away() {
        let mut fairness = Fairness::default();
        let load = Load {
            tokens_per_second: Some(100.0),
            running: 0,
        };
        let asks = |seconds| Caller {
            deadline: Some(Instant::now() + Duration::from_secs(seconds)),
            ..caller(1, 1)
        };
        // Nothing waits: even what would take too long may try.
        assert_eq!(fairness.refuse_late(asks(10), 1_000_000, load), None);
        fairness.enter(caller(1, 1), 1000);
        // Ten seconds wait, twelve are allowed.
        assert_eq!(fairness.refuse_late(asks(24), 190, load), None);
        let wait = fairness.refuse_late(asks(24), 500, load).unwrap();
        assert!((2.9..3.2).contains(&wait.as_secs_f64()), "{wait:?}");
        // The next one is told to come after that one, and nobody later than when all that waits now is computed.
        let wait = fairness.refuse_late(asks(24), 500, load).unwrap();
        assert!((7.9..8.2).contains(&wait.as_secs_f64()), "{wait:?}");
        let far = (0..20).map(|_| fairness.refuse_late(asks(24), 500, load).unwrap());
        assert!(far.max().unwrap() <= Duration::from_secs(10));
        // Small requests have room of their own.
        assert!(fairness.refuse_late(asks(18), 100, load).is_some());
        assert_eq!(fairness.refuse_late(asks(18), 1, load), None);
        // Another caller is not held to what the first one has waiting.
        let other = Caller {
            flow: 2,
            ..asks(10)
        };
        assert_eq!(fairness.refuse_late(other, 200, load), None);
        // A small part of the sessions is slow: 101 times as much is computed while it gets its own.
        fairness.enter(caller(3, 100), 10_000);
        assert!(fairness.refuse_late(other, 200, load).is_some());
        let large = Caller {
            weight: 10_000,
            ..other
        };
        assert_eq!(fairness.refuse_late(large, 200, load), None);
        // Without a rate, or a deadline, nothing is refused.
        assert_eq!(fairness.refuse_late(asks(1), 500, Load::default()), None);
        assert_eq!(fairness.refuse_late(caller(1, 1), 1_000_000, load), None);
    }
}
