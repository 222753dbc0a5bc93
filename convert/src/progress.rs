//! How a conversion or evaluation reports progress to its caller, and how the caller stops it.

/// Receives progress from several threads.
pub trait Progress: Sync {
    /// A stage begins. `total` is its amount of work, or 0 if unknown: bytes in a conversion, texts in an evaluation.
    fn stage(&self, _name: &str, _total: u64) {}
    /// A part of the stage's work is done, in the same unit.
    fn advance(&self, _amount: u64) {}
    /// A sentence for the user.
    fn note(&self, _text: &str) {}
    /// Whether to stop. Called every few megabytes.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores progress and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
