//! The thread that owns a session: take a batch, compute, answer, until the queue is closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::batch::Limits;
use crate::error::Error;
use crate::network::Network;
use crate::queue::{Entry, Queue};

/// Starts a worker. A batch that fails, or even panics, is answered with the error, and the worker goes on.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn spawn(
    mut network: Box<dyn Network>,
    queue: Arc<Queue>,
    limits: Limits,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("lexivec-worker".to_owned())
        .spawn(move || {
            while let Some(batch) = queue.next_batch(&limits) {
                run(network.as_mut(), batch);
            }
        })
}

fn run(network: &mut dyn Network, batch: Vec<Entry>) {
    let sequences: Vec<&[u32]> = batch.iter().map(|e| e.ids.as_slice()).collect();
    // A panic inside a binding must cost a batch, not the service; the session holds no state between runs.
    let outcome =
        catch_unwind(AssertUnwindSafe(|| network.embed(&sequences))).unwrap_or_else(|_| {
            Err(Error::Inference(
                "the worker panicked; see the log".to_owned(),
            ))
        });
    let hidden = network.hidden_size();
    match outcome {
        Ok(states) => {
            for (entry, state) in batch.into_iter().zip(states.chunks_exact(hidden)) {
                let finite = state.iter().all(|v| v.is_finite());
                let reply = if finite {
                    Ok(state.to_vec())
                } else {
                    Err(Error::NonFinite)
                };
                // A caller that has gone meanwhile wants no answer.
                let _ = entry.reply.send(reply);
            }
        }
        Err(error) => {
            tracing::error!(%error, texts = batch.len(), "a batch failed");
            for entry in batch {
                let _ = entry.reply.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::Result;

    /// Answers each text with its first token; fails on 1, panics on 2, gives NaN on 3.
    struct Fake;

    impl Network for Fake {
        fn hidden_size(&self) -> usize {
            1
        }

        fn embed(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>> {
            let state = |s: &&[u32]| match s[0] {
                1 => Err(Error::Inference("asked to".to_owned())),
                2 => panic!("asked to"),
                3 => Ok(f32::NAN),
                other => Ok(other as f32),
            };
            sequences.iter().map(state).collect()
        }
    }

    #[test]
    fn a_failed_or_panicked_batch_is_answered_and_the_next_is_served() {
        let queue = Arc::new(Queue::new(8));
        let limits = Limits {
            max_tokens: 1,
            max_padding: 1,
        };
        let worker = spawn(Box::new(Fake), Arc::clone(&queue), limits).unwrap();
        let ask = |token| {
            let (reply, receiver) = oneshot::channel();
            queue
                .push(vec![Entry {
                    ids: vec![token],
                    reply,
                }])
                .unwrap();
            receiver.blocking_recv().unwrap()
        };
        assert!(matches!(ask(1), Err(Error::Inference(_))));
        assert!(matches!(ask(2), Err(Error::Inference(_))));
        assert!(matches!(ask(3), Err(Error::NonFinite)));
        assert_eq!(ask(7).unwrap(), [7.0]);
        queue.close();
        worker.join().unwrap();
    }
}
