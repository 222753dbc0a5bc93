//! Keeps ONNX Runtime from telling its maker what it does.
//!
//! From 1.31 on, its published builds for Linux and macOS send events about the process, sessions and models, and keep an
//! identifier of the machine in the user's cache folder. The setting of its interface comes too late for the first event: only a
//! variable of the environment, set before the library is loaded, switches everything off (microsoft/onnxruntime#27379,
//! #29843).
#![allow(unsafe_code)] // The environment.

/// What the library reads, by version.
const VARIABLES: [&str; 2] = ["ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"];

/// Switches it off, unless the user has set a variable to something else. To be called before there is another thread.
pub(crate) fn disable() {
    for name in VARIABLES {
        if std::env::var_os(name).is_none() {
            #[allow(clippy::disallowed_methods)]
            // There is one thread yet, and the library reads nothing else.
            // SAFETY: no other thread runs yet that could read the environment.
            unsafe {
                std::env::set_var(name, "1")
            };
        }
    }
}
