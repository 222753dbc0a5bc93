//! How a conversion or evaluation reports progress to its caller, and how the caller stops it.

/// Receives progress from several threads.
///
/// ```
/// use std::sync::Mutex;
///
/// use lexivec_convert::{ConvertOptions, Error, Progress, convert};
/// use lexivec_models::Checkpoint;
/// use lexivec_runtime::Provider;
///
/// /// Collects the names of stages, and stops after the first.
/// #[derive(Default)]
/// struct Stages(Mutex<Vec<String>>);
///
/// impl Progress for Stages {
///     fn stage(&self, name: &str, _total: u64) {
///         self.0.lock().unwrap().push(name.to_owned());
///     }
///     fn cancelled(&self) -> bool {
///         !self.0.lock().unwrap().is_empty()
///     }
/// }
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let checkpoint = Checkpoint::open("models/nano".as_ref())?;
/// let folder = tempfile::tempdir()?;
/// let output = folder.path().join("nano-fp32");
/// let options = ConvertOptions { verify: false, ..ConvertOptions::for_provider(Provider::Cpu, None) };
/// let stages = Stages::default();
/// let report = convert(&checkpoint, &output, &options, &stages);
/// assert!(matches!(report, Err(Error::Interrupted)));
/// assert_eq!(stages.0.into_inner()?, ["writing weights"]);
/// assert!(!output.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Progress: Sync {
    /// A stage begins. `total` is its amount of work, or 0 if unknown: bytes in a conversion, texts in an evaluation.
    fn stage(&self, _name: &str, _total: u64) {}
    /// A part of the stage's work is done, in the same unit.
    fn advance(&self, _amount: u64) {}
    /// Whether to stop. Called every few megabytes.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores progress and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
