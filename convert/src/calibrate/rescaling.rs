//! A rescaling of the network: factors that are folded into the weights.

use crate::weights::ScaleFolding;

/// The factors that move a network into float16's range.
#[derive(Debug, Clone)]
pub(super) struct Rescaling {
    pub(super) folding: ScaleFolding,
    /// The factor of the residual stream.
    pub(super) residual: f32,
    /// A sentence for each rescaling.
    pub(super) notes: Vec<String>,
}

impl Default for Rescaling {
    fn default() -> Self {
        Self {
            folding: ScaleFolding::default(),
            residual: 1.0,
            notes: Vec::new(),
        }
    }
}
