//! What a conversion or comparison tells its caller while it runs, and how the caller stops it.

/// Receives progress; called from several threads.
pub trait Progress: Sync {
    /// A stage begins; `total` is its work, 0 where it is not known: bytes of a conversion, texts of a comparison.
    fn stage(&self, _name: &str, _total: u64) {}
    /// Part of the stage's work is done, in the same unit.
    fn advance(&self, _bytes: u64) {}
    /// A sentence for the user.
    fn note(&self, _text: &str) {}
    /// Whether to stop; asked every few megabytes.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Says nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
