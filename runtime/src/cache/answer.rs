//! Guarantees that a lookup's callback runs exactly once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::State;

/// The callback of a lookup. It receives one entry per key.
pub type Then = Box<dyn FnOnce(Vec<Option<State>>) + Send>;

/// Calls the callback exactly once: with the states that were found or, when dropped, with none.
pub(super) struct Answer {
    then: Option<Then>,
    keys: usize,
}

impl Answer {
    pub(super) fn new(keys: usize, then: Then) -> Self {
        Self {
            then: Some(then),
            keys,
        }
    }

    /// Calls the callback. Keys beyond `found` are misses.
    pub(super) fn give(mut self, found: Vec<Option<State>>) {
        self.call(found);
    }

    fn call(&mut self, mut found: Vec<Option<State>>) {
        let Some(then) = self.then.take() else { return };
        found.resize(self.keys, None);
        // The callback may run while a thread unwinds, or on the thread that serves all lookups, so its panic must not
        // spread.
        if catch_unwind(AssertUnwindSafe(|| then(found))).is_err() {
            tracing::error!("what was to follow a cache lookup panicked");
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.call(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn answer(keys: usize) -> (Answer, mpsc::Receiver<Vec<Option<State>>>) {
        let (sender, receiver) = mpsc::channel();
        let then = Box::new(move |found| sender.send(found).unwrap());
        (Answer::new(keys, then), receiver)
    }

    #[test]
    fn what_was_found_is_given_once_and_the_rest_is_a_miss() {
        let (answer, calls) = answer(3);
        let state: State = [1.0].into();
        answer.give(vec![Some(state.clone())]);
        assert_eq!(
            calls.iter().collect::<Vec<_>>(),
            [vec![Some(state), None, None]]
        );
    }

    #[test]
    fn a_dropped_answer_finds_nothing() {
        let (answer, calls) = answer(2);
        drop(answer);
        assert_eq!(calls.iter().collect::<Vec<_>>(), [vec![None, None]]);
    }

    #[test]
    fn a_panicking_thread_answers() {
        let (answer, calls) = answer(1);
        let thread = std::thread::spawn(move || {
            let _answer = answer;
            panic!("asked to");
        });
        assert!(thread.join().is_err());
        assert_eq!(calls.iter().collect::<Vec<_>>(), [vec![None]]);
    }

    #[test]
    fn a_panic_of_what_follows_does_not_spread() {
        Answer::new(1, Box::new(|_| panic!("asked to"))).give(Vec::new());
        drop(Answer::new(1, Box::new(|_| panic!("asked to"))));
    }
}
