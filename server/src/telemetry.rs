//! Turns off ONNX Runtime's telemetry.
//!
//! From 1.31 on, the published builds for Linux and macOS send events about the process, sessions and models to Microsoft, and store an
//! identifier of the machine in the user's cache folder. The setting in ONNX Runtime's API takes effect after the first event. Only an
//! environment variable that is set before the library loads turns everything off (microsoft/onnxruntime#27379, #29843).
#![allow(unsafe_code)] // The environment.

/// The variables that the library reads; the name depends on its version.
const VARIABLES: [&str; 2] = ["ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"];

/// Sets each variable that the user has not set. The program calls it while it has a single thread.
pub(crate) fn disable() {
    for name in VARIABLES {
        if std::env::var_os(name).is_none() {
            #[allow(clippy::disallowed_methods)]
            // The process has a single thread, and the library has no other setting.
            // SAFETY: no other thread runs yet that could read the environment.
            unsafe {
                std::env::set_var(name, "1")
            };
        }
    }
}
