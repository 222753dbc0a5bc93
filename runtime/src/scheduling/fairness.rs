//! Decides which text runs next: callers share the sessions, and each caller's requests finish as early as possible.
//!
//! # Between callers
//! Each caller (an API key or an address) is a *flow* of weighted fair queueing (Demers et al. 1989; start-time fair
//! queueing, Goyal et al. 1996). The flow that has received the least service, relative to its weight, is next. A flow
//! that was idle starts level with the others and has no credit.
//!
//! # Within a flow
//! Requests run in the order in which they would finish if they shared equally: small ones before large ones. Equal
//! ones run one after another, because serving them in turns would finish all of them last. Each request gets a *tag*
//! on entry: its cost, counted from the flow's virtual time. Virtual time grows by the computed cost divided by the
//! number of waiting requests, so a large request can be overtaken only for a while. With thousands of small requests
//! that while is long, so every other batch begins with the oldest request. A text waits for at most two batches per
//! earlier text of its caller, and usually for two batches.
//!
//! # Urgent requests
//! A request was accepted because it can be answered before its deadline ([`crate::scheduling::admission`]). Callers that come
//! later may take the time that it needs. Requests that would otherwise be late therefore run first, by deadline. They
//! leave an eighth of each batch to the flows that are next.
//!
//! Service is counted as *cost* ([`cost`](crate::scheduling::admission::Load::cost)), not in texts or tokens, because a token of a
//! long text costs more.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

/// Steps of a flow's service per unit of cost at weight 1.
const STEPS: u64 = 1024;
/// A request is urgent if the work that is due by its deadline, plus [`OTHER_BATCHES`], takes more than this fraction of the
/// remaining time. The rest covers errors of the estimate, and the work that runs before urgent requests.
const URGENT: f64 = 0.75;
/// The batch that runs, the next one, which a worker takes before that ends, and the rest of the request's own last batch.
const OTHER_BATCHES: usize = 3;
/// This fraction of a batch goes to the flows that are next, whatever is urgent, so that small requests need not wait
/// until nothing is.
const TURN_FRACTION: usize = 8;

/// The caller of a request.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use lexivec_runtime::Caller;
///
/// // Twice the share of a default caller, and half a second of patience.
/// let caller = Caller {
///     flow: 7,
///     weight: 2,
///     deadline: Some(Instant::now() + Duration::from_millis(500)),
/// };
/// assert_eq!(Caller::default().weight, 1);
/// assert_ne!(caller, Caller::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The caller's number. Requests with the same number have one share of the sessions together.
    pub flow: u64,
    /// The weight of that share relative to other callers; at least 1.
    pub weight: u32,
    /// The deadline, after which the answer is useless.
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

/// The properties of a waiting text that decide its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueuedText {
    /// The caller that requested it.
    pub(crate) caller: Caller,
    /// The number of its request. The texts of a request are adjacent.
    pub(crate) request: u64,
    /// The request's tag (see the module's documentation); 0 for texts that run before all others.
    pub(crate) tag: u64,
    /// Its length in tokens.
    pub(crate) tokens: usize,
    /// Its cost to compute; see [`crate::scheduling::admission::Load::cost`].
    pub(crate) cost: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Steps of service that the caller has received.
    served: u64,
    /// Virtual time, in units of cost (see the module's documentation).
    virtual_time: u64,
    /// The caller's weight.
    pub(crate) weight: u64,
    /// Cost of the waiting texts.
    pub(crate) waiting: usize,
    /// The retry time of the last rejected request.
    pub(crate) next_retry_at: Option<Instant>,
}

/// All flows, and the order of service between them.
#[derive(Debug, Default)]
pub(crate) struct Fairness {
    pub(crate) flows: HashMap<u64, Flow>,
    /// The least service among the flows that waited when the last batch was taken.
    now: u64,
    /// Whether the next batch begins with the oldest request.
    oldest_next: bool,
    /// Cost of the waiting texts of all flows.
    waiting: usize,
}

impl Fairness {
    /// Counts a request that enters and returns its tag.
    pub(crate) fn enter(&mut self, caller: Caller, cost: usize) -> u64 {
        let flow = self.flows.entry(caller.flow).or_default();
        flow.weight = u64::from(caller.weight.max(1));
        flow.served = flow.served.max(self.now);
        flow.waiting += cost;
        self.waiting += cost;
        flow.virtual_time + (cost as u64).max(1)
    }

    /// Counts a text that is dropped without being computed.
    pub(crate) fn leave(&mut self, place: &QueuedText) {
        self.waiting -= place.cost;
        if let Some(flow) = self.flows.get_mut(&place.caller.flow) {
            flow.waiting -= place.cost;
        }
    }

    /// Cost of the waiting texts.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Positions of `waiting` in the order in which a batch considers them. `batch` is the maximum cost of a batch,
    /// `speed` the cost that is computed per second, if known.
    pub(crate) fn order(
        &self,
        waiting: &[QueuedText],
        batch: usize,
        speed: Option<f64>,
    ) -> Vec<usize> {
        let (put_back, fresh): (Vec<usize>, Vec<usize>) =
            (0..waiting.len()).partition(|i| waiting[*i].tag == 0);
        let now = Instant::now();
        let urgent = speed.and_then(|speed| last_urgent(waiting, batch, speed, now));
        let turns = self.turns(waiting, fresh);
        let Some(urgent) = urgent else {
            return [put_back, turns].concat();
        };
        let mut taken = 0;
        let (first, rest): (Vec<usize>, Vec<usize>) = turns.into_iter().partition(|i| {
            let fits = taken + waiting[*i].cost <= batch / TURN_FRACTION;
            taken += if fits { waiting[*i].cost } else { 0 };
            fits
        });
        let (mut due, rest): (Vec<usize>, Vec<usize>) =
            rest.into_iter().partition(|i| is_due(&waiting[*i], urgent));
        due.sort_by_key(|i| (waiting[*i].caller.deadline, *i));
        // A long text that fits into no batch with others starts every other batch.
        let is_long = |i: &usize| taken + waiting[*i].cost > batch;
        if self.oldest_next && due.first().is_some_and(is_long) {
            return [put_back, due, first, rest].concat();
        }
        [put_back, first, due, rest].concat()
    }

    /// Positions of `fresh` texts in fair order.
    fn turns(&self, waiting: &[QueuedText], fresh: Vec<usize>) -> Vec<usize> {
        let mut flows: HashMap<u64, Vec<usize>> = HashMap::new();
        for i in fresh {
            flows.entry(waiting[i].caller.flow).or_default().push(i);
        }
        for texts in flows.values_mut() {
            let oldest = texts.first().filter(|_| self.oldest_next);
            let oldest = oldest.map(|i| waiting[*i].request);
            // The sort is stable: among equal tags, the older request comes first.
            texts.sort_by_key(|i| {
                let QueuedText { request, tag, .. } = waiting[*i];
                (Some(request) != oldest, tag)
            });
        }
        match (flows.len(), flows.values_mut().next()) {
            (1, Some(only)) => std::mem::take(only),
            _ => self.merge(waiting, flows),
        }
    }

    /// Repeatedly takes a text of the flow with the least service.
    fn merge(&self, waiting: &[QueuedText], flows: HashMap<u64, Vec<usize>>) -> Vec<usize> {
        let mut order = Vec::with_capacity(waiting.len());
        let mut next = BinaryHeap::new();
        for (number, texts) in flows {
            let served = self.flows.get(&number).map_or(0, |flow| flow.served);
            next.push(Next {
                served: Reverse((served, number)),
                texts,
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
    pub(crate) fn serve(&mut self, waiting: &[QueuedText], chosen: &[bool]) {
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
            *taken.entry(place.caller.flow).or_default() += place.cost as u64;
            if let Some(flow) = self.flows.get_mut(&place.caller.flow) {
                flow.served += steps(place);
            }
        }
        for (number, cost) in taken {
            let requests = requests.get(&number).map_or(1, |(_, count)| *count);
            if let Some(flow) = self.flows.get_mut(&number) {
                flow.virtual_time += cost / requests.max(1);
            }
        }
        if self.waiting == 0 {
            self.now = 0;
            self.flows.values_mut().for_each(|flow| flow.served = 0);
        }
        self.forget();
        self.oldest_next = !self.oldest_next;
    }

    /// Drops the flows that no longer affect the order.
    fn forget(&mut self) {
        let (service, time) = (self.now, Instant::now());
        self.flows.retain(|_, flow| {
            let is_booked = flow.next_retry_at.is_some_and(|at| at > time);
            flow.waiting > 0 || flow.served > service || is_booked
        });
    }
}

/// A flow's texts in order. Those before `place` have been taken.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    served: Reverse<(u64, u64)>,
    place: usize,
    texts: Vec<usize>,
}

fn steps(place: &QueuedText) -> u64 {
    place.cost as u64 * STEPS / u64::from(place.caller.weight.max(1))
}

/// The latest urgent deadline. Every earlier deadline is urgent, too.
fn last_urgent(waiting: &[QueuedText], batch: usize, speed: f64, now: Instant) -> Option<Instant> {
    let due = |place: &QueuedText| Some((place.caller.deadline?, place.cost));
    let mut due: Vec<(Instant, usize)> = waiting.iter().filter_map(due).collect();
    // Usually they are sorted already.
    due.sort();
    let mut before = batch.saturating_mul(OTHER_BATCHES);
    let urgent = due.into_iter().filter(|(deadline, cost)| {
        before = before.saturating_add(*cost);
        let left = deadline.saturating_duration_since(now).as_secs_f64();
        // A request that is already late is not urgent.
        left > 0.0 && before as f64 > speed * left * URGENT
    });
    urgent.map(|(deadline, _)| deadline).last()
}

fn is_due(place: &QueuedText, last: Instant) -> bool {
    place
        .caller
        .deadline
        .is_some_and(|deadline| deadline <= last)
}

#[cfg(test)]
mod tests;
