//! The use of ONNX Runtime: its library, its execution providers, and its sessions.
//!
//! * [`library`] finds and loads ONNX Runtime; [`plugin`] loads execution providers that are libraries of their own.
//! * [`execution_provider`] names the providers and reads their options; [`provider_config`] knows what each is configured
//!   with; [`graph_support`] knows which graphs each can serve; [`probe`] tests whether one starts.
//! * [`session`] opens sessions with their [`session_settings`]; [`gpu`] adds the providers of NVIDIA GPUs to them; [`placement`] checks that no real work
//!   runs on the CPU by accident; [`stopper`] stops a run.
//! * [`engine_cache`] names the folders of TensorRT's engines; [`cudart`] calls CUDA's runtime library.

pub(crate) mod cudart;
pub(crate) mod engine_cache;
pub(crate) mod execution_provider;
#[cfg(feature = "cuda")]
pub(crate) mod gpu;
pub(crate) mod graph_support;
pub(crate) mod library;
pub(crate) mod operators;
pub(crate) mod placement;
pub(crate) mod plugin;
pub(crate) mod probe;
pub(crate) mod provider_config;
pub(crate) mod session;
pub(crate) mod session_settings;
pub(crate) mod stopper;
#[cfg(not(feature = "cuda"))]
pub(crate) mod without_cuda;

#[cfg(not(feature = "cuda"))]
pub(crate) use without_cuda as gpu;
