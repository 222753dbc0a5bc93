//! Sends a batch's pooled hidden states to the requests that wait for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SharedState;
use crate::error::{Error, Result};
use crate::network::PooledStates;
use crate::request::Origin;
use crate::scheduling::in_flight::{Completed, Reply};
use crate::scheduling::queue::Entry;

/// A batch that a session has computed.
pub(crate) struct Computed {
    pub(crate) entries: Vec<Entry>,
    /// One for each entry.
    pub(crate) states: PooledStates,
    pub(crate) started: Instant,
    /// How long the session took.
    pub(crate) infer: Duration,
}

impl Computed {
    /// Stores the states in the response cache, then completes every text.
    pub(crate) fn answer(self, shared: &SharedState) {
        // Vectors of modified weights must be neither sent nor cached.
        if let Err(changed) = shared.files.check() {
            return answer_all(&self.entries, &Err(changed));
        }
        let replies = self.replies();
        if let Some(cache) = &shared.response_cache {
            let computed = self.entries.iter().zip(&replies);
            let computed = computed.filter_map(|(entry, reply)| {
                let answer = reply.as_ref().ok()?;
                Some((entry.key?, Arc::clone(&answer.state)))
            });
            cache.store(computed.collect());
        }
        for (entry, reply) in self.entries.iter().zip(&replies) {
            entry.in_flight.complete(reply);
        }
    }

    fn replies(&self) -> Vec<Reply> {
        let hidden = self.states.values.len() / self.entries.len();
        let states = self.states.values.chunks_exact(hidden);
        let reply = |(entry, state): (&Entry, &[f32])| {
            if !state.iter().all(|v| v.is_finite()) {
                return Err(Error::NonFinite);
            }
            Ok(Completed {
                state: state.into(),
                origin: Origin::Computed,
                queued: self.started.saturating_duration_since(entry.since),
                infer: self.infer,
            })
        };
        self.entries.iter().zip(states).map(reply).collect()
    }
}

/// Checks that there is a state for every text. Otherwise they could not be assigned.
pub(crate) fn complete(states: PooledStates, expected: usize) -> Result<PooledStates> {
    match states.values.len() {
        found if found == expected && expected > 0 => Ok(states),
        found => Err(Error::Inference(format!(
            "the graph gave {found} values where {expected} were due"
        ))),
    }
}

/// Completes every text of a batch with the same reply.
pub(crate) fn answer_all(entries: &[Entry], reply: &Reply) {
    for entry in entries {
        entry.in_flight.complete(reply);
    }
}
