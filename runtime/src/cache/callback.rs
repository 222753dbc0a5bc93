//! Guarantees that a lookup's callback runs exactly once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::PooledState;

/// The callback of a lookup. It receives one entry per key.
pub type Callback = Box<dyn FnOnce(Vec<Option<PooledState>>) + Send>;

/// Calls the callback exactly once: with the states that were found or, when dropped, with none.
pub(super) struct LookupCallback {
    then: Option<Callback>,
    keys: usize,
}

impl LookupCallback {
    pub(super) fn new(keys: usize, then: Callback) -> Self {
        Self {
            then: Some(then),
            keys,
        }
    }

    /// Calls the callback. Keys beyond `found` are misses.
    pub(super) fn run(mut self, found: Vec<Option<PooledState>>) {
        self.call(found);
    }

    fn call(&mut self, mut found: Vec<Option<PooledState>>) {
        let Some(then) = self.then.take() else { return };
        found.resize(self.keys, None);
        // The callback may run while a thread unwinds, or on the thread that serves all lookups, so its panic must not
        // spread.
        if catch_unwind(AssertUnwindSafe(|| then(found))).is_err() {
            tracing::error!("the cache lookup's callback panicked");
        }
    }
}

impl Drop for LookupCallback {
    fn drop(&mut self) {
        self.call(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn callback(keys: usize) -> (LookupCallback, mpsc::Receiver<Vec<Option<PooledState>>>) {
        let (sender, receiver) = mpsc::channel();
        let then = Box::new(move |found| sender.send(found).unwrap());
        (LookupCallback::new(keys, then), receiver)
    }

    #[test]
    fn found_states_are_passed_once_and_the_rest_are_misses() {
        let (callback, calls) = callback(3);
        let state: PooledState = [1.0].into();
        callback.run(vec![Some(state.clone())]);
        assert_eq!(
            calls.iter().collect::<Vec<_>>(),
            [vec![Some(state), None, None]]
        );
    }

    #[test]
    fn a_dropped_callback_finds_nothing() {
        let (callback, calls) = callback(2);
        drop(callback);
        assert_eq!(calls.iter().collect::<Vec<_>>(), [vec![None, None]]);
    }

    #[test]
    fn a_panicking_thread_calls_the_callback() {
        let (callback, calls) = callback(1);
        let thread = std::thread::spawn(move || {
            let _callback = callback;
            panic!("asked to");
        });
        assert!(thread.join().is_err());
        assert_eq!(calls.iter().collect::<Vec<_>>(), [vec![None]]);
    }

    #[test]
    fn a_panic_of_the_callback_does_not_spread() {
        LookupCallback::new(1, Box::new(|_| panic!("asked to"))).run(Vec::new());
        drop(LookupCallback::new(1, Box::new(|_| panic!("asked to"))));
    }
}
