//! The known-answer test: a session must still compute the vector that the conversion recorded for a text.
//!
//! It detects faults that no digest of a file can: damaged memory of a device, or a kernel that computes wrongly.

use std::time::Duration;

use lexivec_models::KnownAnswer;

use crate::error::{Error, Result};
use crate::network::Network;
use crate::vector::cosine;

/// Time between tests of a session.
pub(crate) const INTERVAL: Duration = Duration::from_secs(600);
/// Other kernels and devices round differently, yet quantised models keep 0.99 and more. Damaged ones fall below 0.9.
const LEAST_COSINE: f64 = 0.95;

/// Computes the recorded text.
///
/// # Errors
/// [`Error::WrongAnswer`] if its vector differs, or the error of the run.
pub(crate) fn test(network: &mut dyn Network, known: &KnownAnswer) -> Result<()> {
    let states = network.embed(&[known.tokens.as_slice()])?;
    let found = states.values.get(..known.vector.len()).unwrap_or_default();
    let cosine = cosine(found, &known.vector);
    // A NaN also fails.
    if cosine >= LEAST_COSINE {
        return Ok(());
    }
    Err(Error::WrongAnswer { cosine })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::PooledStates;

    struct Fixed(Vec<f32>);

    impl Network for Fixed {
        fn hidden_size(&self) -> usize {
            self.0.len()
        }

        fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
            assert_eq!(sequences, [[7, 8]]);
            Ok(PooledStates {
                values: self.0.clone(),
                packed_tokens: 2,
                cached_tokens: 0,
                replayed: false,
            })
        }
    }

    #[test]
    fn a_vector_that_differs_is_detected() {
        let known = KnownAnswer {
            tokens: vec![7, 8],
            vector: vec![0.6, 0.8],
        };
        let test = |state: &[f32]| test(&mut Fixed(state.to_vec()), &known);
        assert!(test(&[3.0, 4.0, 9.0]).is_ok());
        assert!(test(&[0.5, 0.8, 0.0]).is_ok());
        for state in [
            &[0.8, -0.6, 0.0][..],
            &[f32::NAN, 1.0, 0.0],
            &[0.0, 0.0, 1.0],
            &[0.6],
        ] {
            let error = test(state).unwrap_err();
            assert!(matches!(error, Error::WrongAnswer { .. }), "{error}");
        }
    }
}
