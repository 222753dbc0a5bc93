//! The ONNX messages, generated from `proto/onnx.proto` (ONNX 1.23, IR 14).
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rustdoc::all
)]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
