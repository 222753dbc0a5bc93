//! Checkpoint to ONNX, with no Python.
//!
//! ```text
//! safetensors ── weights ──▶ graph (decoder, in a target's operators) ──▶ external (model.onnx + model.onnx.data)
//!                  │                                                          │
//!                  └── cast, quantize: piece by piece, on all cores ──────────┘ ──▶ verify ──▶ output (rename)
//! ```
//!
//! [`convert()`] is the whole of it; the other items are its arguments and results.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod blocks;
mod calibrate;
mod cast;
pub mod compare;
mod convert;
mod error;
mod external;
mod float8;
mod fold;
mod graph;
mod inputs;
mod late;
mod likeness;
mod matrix;
mod options;
mod output;
mod probes;
mod progress;
mod proto;
mod quantize;
mod records;
mod reference;
mod rounding;
mod share;
mod shortened;
mod verify;
mod weights;

pub use calibrate::{Calibration, Goal};
pub use convert::{Report, convert};
pub use error::{Error, Result};
pub use options::ConvertOptions;
pub use progress::{Progress, Silent};
pub use shortened::shortened;
