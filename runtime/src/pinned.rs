//! Page-locked host memory. CUDA copies it without a detour through buffers of the driver, and while the host goes on.
//!
//! The arena of the session's CUDA provider keeps the memory, so that a batch allocates none.

use std::fmt::{Debug, Formatter};

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::{PrimitiveTensorElementType, Tensor};

/// Allocates tensors in page-locked memory.
pub(crate) struct Pinned(Allocator);

impl Debug for Pinned {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
}

impl Pinned {
    /// The allocator of a session on a CUDA device.
    ///
    /// # Errors
    /// The session does not compute on CUDA.
    pub(crate) fn new(session: &Session, device: i32) -> ort::Result<Self> {
        let memory = MemoryInfo::new(
            AllocationDevice::CUDA_PINNED,
            device,
            AllocatorType::Device,
            MemoryType::CPUInput,
        )?;
        Ok(Self(Allocator::new(session, memory)?))
    }

    /// A tensor of undefined content.
    ///
    /// # Errors
    /// The host's memory does not suffice.
    pub(crate) fn tensor<T: PrimitiveTensorElementType + Debug>(
        &self,
        shape: &[usize],
    ) -> ort::Result<Tensor<T>> {
        Tensor::new(&self.0, shape)
    }
}
