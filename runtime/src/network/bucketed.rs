//! A network for TensorRT: one session per range of text lengths (`shapes.rs`), opened when a text first needs it.
//!
//! Engines are built before the first batch and stored on disk (`engine_cache.rs`), so opening a session later takes
//! seconds. Each open session has its own copy of the weights on the device.

use crate::error::{Error, Result};
use crate::network::shapes::Bucket;
use crate::network::{InspectNetwork, Network, PooledStates};

/// Opens the network of a bucket.
pub(crate) type OpenBucket = Box<dyn Fn(&Bucket) -> Result<Box<dyn Network>> + Send>;

/// A network that sends each text to the session for its length.
pub(crate) struct BucketedNetwork {
    buckets: Vec<(Bucket, Option<Box<dyn Network>>)>,
    open: OpenBucket,
    hidden_size: usize,
}

impl BucketedNetwork {
    /// Opens the network of the shortest texts; the others follow when they are needed.
    pub(crate) fn open(buckets: Vec<Bucket>, open: OpenBucket) -> Result<Self> {
        let mut buckets: Vec<_> = buckets.into_iter().map(|bucket| (bucket, None)).collect();
        let (bucket, network) = &mut buckets[0];
        let first = open(bucket)?;
        let hidden_size = first.hidden_size();
        *network = Some(first);
        Ok(Self {
            buckets,
            open,
            hidden_size,
        })
    }

    /// The position of the bucket that accepts a text of this length.
    fn bucket(&self, tokens: usize) -> Result<usize> {
        let mut buckets = self.buckets.iter();
        let found = buckets.position(|(bucket, _)| bucket.takes(tokens));
        let limit = self.buckets.last().map_or(0, |(bucket, _)| bucket.length);
        found.ok_or(Error::TooLong { tokens, limit })
    }
}

impl Network for BucketedNetwork {
    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn on_device(&self) -> bool {
        self.buckets
            .iter()
            .any(|(_, network)| network.as_ref().is_some_and(|n| n.on_device()))
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); self.buckets.len()];
        for (position, sequence) in sequences.iter().enumerate() {
            members[self.bucket(sequence.len())?].push(position);
        }
        let hidden = self.hidden_size;
        let mut all = PooledStates {
            values: vec![0.0; sequences.len() * hidden],
            packed_tokens: 0,
            cached_tokens: 0,
            replayed: false,
        };
        for ((bucket, network), members) in self.buckets.iter_mut().zip(members) {
            for group in groups(&members, sequences, bucket) {
                let network = match network {
                    Some(network) => network,
                    None => network.insert((self.open)(bucket)?),
                };
                let texts: Vec<&[u32]> = group.iter().map(|i| sequences[*i]).collect();
                let states = network.embed(&texts)?;
                all.packed_tokens += states.packed_tokens;
                all.cached_tokens += states.cached_tokens;
                for (position, state) in group.iter().zip(states.values.chunks_exact(hidden)) {
                    all.values[position * hidden..(position + 1) * hidden].copy_from_slice(state);
                }
            }
        }
        Ok(all)
    }
}

impl InspectNetwork for BucketedNetwork {}

/// Splits the texts of a bucket into batches that fit it.
fn groups(members: &[usize], sequences: &[&[u32]], bucket: &Bucket) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for position in members {
        let length = sequences[*position].len();
        match groups.last_mut() {
            Some(group) if group.len() < bucket.sequences && tokens + length <= bucket.tokens => {
                group.push(*position);
                tokens += length;
            }
            _ => {
                groups.push(vec![*position]);
                tokens = length;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Returns each text's first token as its state and records the batches.
    struct Noting {
        bucket: Bucket,
        batches: Arc<Mutex<Vec<(usize, usize)>>>,
    }

    impl Network for Noting {
        fn hidden_size(&self) -> usize {
            1
        }

        fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
            assert!(sequences.len() <= self.bucket.sequences);
            assert!(sequences.iter().map(|s| s.len()).sum::<usize>() <= self.bucket.tokens);
            let batch = (self.bucket.length, sequences.len());
            self.batches.lock().unwrap().push(batch);
            Ok(PooledStates {
                values: sequences.iter().map(|s| s[0] as f32).collect(),
                packed_tokens: 1,
                cached_tokens: 0,
                replayed: false,
            })
        }
    }

    #[test]
    fn texts_go_to_the_bucket_of_their_length_and_come_back_in_order() {
        let bucket = |sequences, length, tokens| Bucket {
            sequences,
            length,
            tokens,
        };
        let batches = Arc::new(Mutex::new(Vec::new()));
        let (opened, noted) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&batches));
        let log = Arc::clone(&opened);
        let mut network = BucketedNetwork::open(
            vec![bucket(2, 2, 3), bucket(2, 4, 8)],
            Box::new(move |bucket| {
                log.lock().unwrap().push(bucket.length);
                Ok(Box::new(Noting {
                    bucket: *bucket,
                    batches: Arc::clone(&noted),
                }))
            }),
        )
        .unwrap();
        assert_eq!(network.embed(&[&[5, 0]]).unwrap().values, [5.0]);
        assert_eq!(*opened.lock().unwrap(), [2]);

        let texts: [&[u32]; 5] = [&[1, 0, 0], &[2, 0], &[3, 0], &[4], &[5, 0, 0, 0]];
        let states = network.embed(&texts).unwrap();
        assert_eq!(states.values, [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(states.packed_tokens, 3);
        assert_eq!(*opened.lock().unwrap(), [2, 4]);
        assert_eq!(batches.lock().unwrap()[1..], [(2, 1), (2, 2), (4, 2)]);

        let error = network.embed(&[&[0; 5]]).unwrap_err();
        assert!(matches!(error, Error::TooLong { limit: 4, .. }), "{error}");
    }
}
