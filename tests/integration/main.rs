//! One test binary, one module per feature: a single link, and fixtures converted once.
//!
//! Golden values come from sentence-transformers and transformers (`tests/golden`, `tests/fixtures`), never from
//! lexivec itself.
#![allow(clippy::unwrap_used)]

mod adapters;
mod checkpoints;
mod closed_pipes;
mod compare;
mod configuration;
mod environment;
mod files;
mod float16;
mod fuzz;
mod golden;
mod graphs;
mod help;
mod hub;
mod int8;
mod invariance;
mod known_answer;
mod nearest;
mod openvino;
mod padded;
mod program;
mod projections;
mod quality;
mod redis;
mod redis_server;
mod server;
mod soak;
mod support;
mod terms;
mod weight_only;
mod wrong_input;
