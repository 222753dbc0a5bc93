//! The memory of GPUs, and how engines divide it.
//!
//! An engine gets a share of the memory that was free when the process first looked, before it loaded a model. Engines on
//! one GPU get room for their weights and equal shares of the rest. Sessions of an engine get equal shares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lexivec_models::Manifest;

use super::memory_model::MemoryModel;
use crate::error::Result;
use crate::metrics;
use crate::onnxruntime::cudart::Cudart;

/// How much of a GPU's memory an engine may use.
///
/// ```
/// use lexivec_runtime::GpuMemory;
///
/// // Two engines without known weights get equal parts of 80 % of the free memory.
/// let memory = GpuMemory { utilization: 0.8, engines: 2, ..GpuMemory::default() };
/// assert_eq!((memory.weights, memory.keep_budget), (None, false));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GpuMemory {
    /// The share, in (0, 1], of the free memory that all engines use together. The rest is for the CUDA context,
    /// kernels and libraries.
    pub utilization: f64,
    /// Number of engines on the same GPUs.
    pub engines: usize,
    /// Bytes of the weights of all these engines' sessions on one GPU; `None` if unknown. Engines then get equal shares.
    pub weights: Option<usize>,
    /// Keeps [`Limits::max_tokens`](crate::batch::Limits) as it is, because a user set it.
    pub keep_budget: bool,
}

impl Default for GpuMemory {
    fn default() -> Self {
        Self {
            utilization: 0.9,
            engines: 1,
            weights: None,
            keep_budget: false,
        }
    }
}

impl GpuMemory {
    /// Divides memory between the models of these directories, each with `sessions` sessions per GPU.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub fn divide(&mut self, dirs: &[PathBuf], sessions: usize) -> Result<()> {
        self.engines = dirs.len().max(1);
        let models = dirs.iter().map(|dir| model_of(dir));
        let models: Vec<Option<MemoryModel>> = models.collect::<Result<_>>()?;
        let weights = models
            .iter()
            .map(|m| Some(m.as_ref()?.weights() * sessions));
        self.weights = weights.sum();
        Ok(())
    }

    /// Bytes for one session of an engine with these weights, out of the free bytes.
    pub(crate) fn for_session(&self, free: usize, weights: usize, sessions: usize) -> usize {
        let share = (free as f64 * self.utilization) as usize;
        let engine = match self.weights {
            Some(all) => share.saturating_sub(all) / self.engines + weights * sessions,
            None => share / self.engines,
        };
        engine.min(share) / sessions.max(1)
    }
}

/// The memory of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The GPU's number.
    pub device: i32,
    /// Free bytes.
    pub free: usize,
    /// Total bytes.
    pub total: usize,
}

/// Reads the memory of all GPUs.
///
/// # Errors
/// CUDA's runtime library is missing, or there is no GPU.
///
/// # Example
/// ```
/// match lexivec_runtime::gpus() {
///     Ok(gpus) => assert!(gpus.iter().all(|gpu| gpu.free <= gpu.total)),
///     Err(reason) => assert!(!reason.is_empty()),
/// }
/// ```
pub fn gpus() -> Result<Vec<DeviceMemory>, String> {
    let cudart = Cudart::load()?;
    (0..cudart.devices()?).map(|d| read(cudart, d)).collect()
}

/// Publishes the memory of these GPUs as metrics. Does nothing if it is unknown.
pub(crate) fn sample(devices: &[i32]) {
    let Ok(cudart) = Cudart::load() else {
        return;
    };
    for memory in devices.iter().filter_map(|d| read(cudart, *d).ok()) {
        metrics::gpu_memory(
            memory.device,
            memory.total - memory.free.min(memory.total),
            memory.free,
        );
    }
}

/// The GPU that had the least free memory when this process first looked.
pub(crate) fn least_free(devices: &[i32]) -> Option<DeviceMemory> {
    static FIRST: Mutex<BTreeMap<i32, DeviceMemory>> = Mutex::new(BTreeMap::new());
    // The error of a provider that does not start says what is missing.
    let cudart = Cudart::load().ok()?;
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices {
        if !first.contains_key(device) {
            first.insert(*device, read(cudart, *device).ok()?);
        }
    }
    let found = devices.iter().filter_map(|d| first.get(d).copied());
    found.min_by_key(|memory| memory.free)
}

fn read(cudart: &Cudart, device: i32) -> Result<DeviceMemory, String> {
    let (free, total) = cudart.memory(device)?;
    Ok(DeviceMemory {
        device,
        free,
        total,
    })
}

/// The memory model of a directory's graph, if it covers the graph.
pub(crate) fn model_of(dir: &Path) -> Result<Option<MemoryModel>> {
    if !Manifest::is_model_dir(dir) {
        return Ok(None);
    }
    Ok(MemoryModel::of(&Manifest::read(dir)?))
}
