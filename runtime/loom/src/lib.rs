//! The files of the runtime that threads meet in, with loom's locks.
//!
//! They are compiled here a second time, beside stand-ins for the little they name of other modules, because the
//! runtime as a whole needs ONNX Runtime, Redis and 300 crates that would all be built anew.
#![cfg(lexivec_loom)]
#![allow(missing_docs)]

#[path = "../../src/admission.rs"]
pub mod admission;
#[path = "../../src/batch.rs"]
pub mod batch;
#[path = "../../src/fairness.rs"]
pub mod fairness;
#[path = "../../src/in_flight.rs"]
pub mod in_flight;
#[path = "../../src/queue.rs"]
pub mod queue;
#[path = "../../src/sync.rs"]
mod sync;

pub mod cache {
    #[derive(Debug, Clone, Copy)]
    pub struct Key;

    pub type State = std::sync::Arc<[f32]>;
}

pub mod error {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Error {
        Overloaded { waiting: usize, limit: usize },
        Busy { retry_after: std::time::Duration },
        TooMuchWork { needed: std::time::Duration },
        ShuttingDown,
    }

    impl From<crate::admission::Refusal> for Error {
        fn from(refusal: crate::admission::Refusal) -> Self {
            use crate::admission::Refusal::{Later, Never};
            match refusal {
                Later(retry_after) => Self::Busy { retry_after },
                Never(needed) => Self::TooMuchWork { needed },
            }
        }
    }

    pub type Result<T, E = Error> = std::result::Result<T, E>;
}
