//! What integration tests (`integration/main.rs`) share with `examples/hard_case.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

pub mod surgery;
