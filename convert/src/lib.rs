//! Checkpoint to ONNX, without Python.
//!
//! ```text
//! checkpoint ── weights ──▶ graph (decoder, in a target's operators) ──▶ write (model.onnx + model.onnx.data)
//!                  │                                                        │
//!                  └── calibrate, quantized: piece by piece, all cores ─────┘ ──▶ verify ──▶ output folder (rename)
//! ```
//!
//! ```
//! use lexivec_convert::{ConvertOptions, Silent, convert};
//! use lexivec_models::{Checkpoint, Manifest};
//! use lexivec_runtime::Provider;
//!
//! # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
//! # let folder = tempfile::tempdir()?;
//! # let output = folder.path().join("nano-fp32");
//! let checkpoint = Checkpoint::open("models/nano".as_ref())?;
//! let options = ConvertOptions::for_provider(Provider::Cpu, None);
//! # // Verification needs ONNX Runtime's library.
//! # let options = ConvertOptions { verify: false, ..options };
//! let report = convert(&checkpoint, &output, &options, &Silent)?;
//! assert!(Manifest::is_model_dir(&report.dir));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`convert()`] runs all of it; most other items are its arguments and results. [`Reference`] runs a checkpoint in float32
//! without converting it.
//!
//! | room | what is inside | knows |
//! |---|---|---|
//! | `tensor` | element types, casts, 8-bit floats, the source of a tensor's bytes | nothing else |
//! | `onnx` | ONNX messages and a graph builder | `tensor` |
//! | `weights` | a checkpoint's tensors, scale folding, LoRA adapters | `tensor` |
//! | `rounding` | scales and GPTQ for a weight matrix | `tensor` |
//! | `quantized` | int8, block and 8-bit float weights | `weights`, `rounding` |
//! | `graph` | the decoder's graph: operators, precisions, layouts | `onnx`, `quantized` |
//! | `write` | the output folder and its files | `onnx` |
//! | `calibrate` | which linear layers are quantised, and how | `graph`, `write` |
//! | `verify` | the check against the float32 reference | all of the above |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod calibrate;
mod convert;
mod error;
mod graph;
mod input_files;
mod matrix;
mod onnx;
mod options;
mod probe_texts;
mod progress;
mod quantized;
mod reference;
mod rounding;
mod similarity;
mod tensor;
mod text_preview;
mod verify;
mod weights;
mod write;

pub use calibrate::{AccuracyTarget, Calibration};
pub use convert::{ConversionReport, convert};
pub use error::{Error, Result};
pub use options::ConvertOptions;
pub use progress::{Progress, Silent};
pub use reference::Reference;
pub use text_preview::text_preview;
