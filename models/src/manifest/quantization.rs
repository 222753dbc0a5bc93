//! The part of the manifest that says how linear layers were quantised.

use serde::{Deserialize, Serialize};

use crate::precision::LinearPrecision;

/// The results of calibration: what it measured, and the plan that it chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Number of calibration texts.
    pub texts: usize,
    /// Number of their tokens.
    pub tokens: usize,
    /// The accuracy target: the least cosine to fp32 that any text may have.
    pub min_cosine_asked: f64,
    /// The accuracy target for the mean cosine.
    #[serde(default)]
    pub mean_cosine_asked: f64,
    /// The least cosine measured on these texts.
    pub min_cosine: f64,
    /// The mean cosine measured on held-out texts, which rounding did not use.
    pub mean_cosine: f64,
    /// The seed of the random signs that belong to rotations; none if no group is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_seed: Option<u64>,
    /// The plan of every group of linear layers, in the order of the network.
    #[serde(alias = "products")]
    pub linear_groups: Vec<LinearGroupPlan>,
}

/// How a group of linear layers with the same input is computed, as one matrix product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearGroupPlan {
    /// The group's layers: `layers.0.self_attn.q_proj+k_proj+v_proj`.
    pub name: String,
    /// The number format.
    pub precision: LinearPrecision,
    /// SmoothQuant's strength; none if the group is not smoothed.
    pub smoothing: Option<f32>,
    /// The width of the blocks of its input that are rotated before they are quantised; none if the input is not rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<usize>,
    /// The rounding method that produced the integer weights: `nearest`, `clipped` or `gptq`.
    pub rounding: String,
    /// The mean of 1 - cosine to fp32 with this group alone quantised, as coarsely as the precision allows.
    #[serde(alias = "effect")]
    pub sensitivity: f64,
}
