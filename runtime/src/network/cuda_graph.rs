//! Small batches as CUDA graphs: the kernels of a batch are captured once and launched with one call.
//!
//! A device computes a batch of a few tokens about as fast as the host launches its kernels one by one. A captured
//! graph has fixed shapes and addresses, so a batch is padded to the next of a few [`BUCKETS`], whose inputs and output
//! are kept in buffers. Nothing reads the padding, so the vectors are the same. ONNX Runtime captures a bucket at its
//! first run, for the thread that runs it: [`Network::prepare`](crate::Network::prepare) runs each bucket once.

use std::fmt::{Debug, Formatter};

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ort::value::{PrimitiveTensorElementType, Tensor};

use crate::network::plan::{Plan, Shape};
use crate::network::plan_inputs::fixed_input;
use crate::network::tensors::EMBEDDING;
use crate::onnxruntime::cudart::Cudart;

/// The run option that names a capture, and its value for batches that are not captured.
pub(crate) const RUN_OPTION: &str = "gpu_graph_id";
pub(crate) const NOT_CAPTURED: &str = "-1";

/// Bucket shapes by ascending tokens: one text of that many tokens, or several short ones.
const BUCKETS: [Shape; 14] = [
    shape(16, 1, 16),
    shape(32, 1, 32),
    shape(32, 4, 16),
    shape(64, 1, 64),
    shape(64, 8, 16),
    shape(128, 1, 128),
    shape(128, 4, 64),
    shape(128, 16, 16),
    shape(256, 1, 256),
    shape(256, 8, 64),
    shape(256, 32, 16),
    shape(512, 1, 512),
    shape(512, 16, 64),
    shape(512, 64, 16),
];

const fn shape(packed_tokens: usize, batch: usize, length: usize) -> Shape {
    Shape {
        packed_tokens,
        batch,
        length,
    }
}

/// The captured graphs of one session.
pub(crate) struct CudaGraphs {
    cudart: &'static Cudart,
    device: i32,
    captured: Vec<Captured>,
}

impl Debug for CudaGraphs {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let shapes = self.captured.iter().map(|captured| captured.shape);
        f.debug_list().entries(shapes).finish()
    }
}

impl CudaGraphs {
    /// Captures every bucket that a session with vectors of this width may need.
    ///
    /// # Errors
    /// The device runs out of memory, or ONNX Runtime cannot capture the graph.
    pub(crate) fn capture(session: &mut Session, width: usize, device: i32) -> ort::Result<Self> {
        let cudart = Cudart::load().map_err(ort::Error::new)?;
        let mut graphs = Self {
            cudart,
            device,
            captured: Vec::new(),
        };
        for (number, shape) in BUCKETS.into_iter().enumerate() {
            let captured = Captured::new(session, shape, width, device, number + 1)?;
            graphs.captured.push(captured);
            let plan = Plan::new(&[&[0]]);
            graphs.run(session, number, &plan)?;
        }
        Ok(graphs)
    }

    /// The number of captured graphs.
    pub(crate) fn len(&self) -> usize {
        self.captured.len()
    }

    /// Computes the states of a batch that fits into a bucket. Returns `None` for a larger batch.
    ///
    /// # Errors
    /// CUDA or ONNX Runtime fails.
    pub(crate) fn embed(
        &mut self,
        session: &mut Session,
        plan: &Plan,
    ) -> Option<ort::Result<Vec<f32>>> {
        let number = bucket(plan.shape())?;
        Some(self.run(session, number, plan))
    }

    fn run(&mut self, session: &mut Session, number: usize, plan: &Plan) -> ort::Result<Vec<f32>> {
        let Self {
            cudart,
            device,
            captured,
        } = self;
        let captured = &mut captured[number];
        let batch = plan.batch();
        let plan = plan.padded(captured.shape);
        for (name, staged) in &mut captured.inputs {
            let Some(values) = plan.input(name) else {
                continue;
            };
            staged.host.extract_tensor_mut().1.copy_from_slice(values);
            cudart.copy(*device, &staged.host, &mut staged.device)?;
        }
        session.run_binding_with_options(&captured.binding, &captured.options)?;
        let output = &mut captured.output;
        cudart.copy(*device, &output.device, &mut output.host)?;
        let values = output.host.extract_tensor().1;
        Ok(values[..values.len() / captured.shape.batch * batch].to_vec())
    }
}

/// The smallest bucket that holds a batch of this shape.
fn bucket(shape: Shape) -> Option<usize> {
    BUCKETS.iter().position(|bucket| shape.fits(*bucket))
}

/// The buffers of one captured bucket.
struct Captured {
    shape: Shape,
    binding: IoBinding,
    options: RunOptions<NoSelectedOutputs>,
    inputs: Vec<(String, Staged<i64>)>,
    output: Staged<f32>,
}

impl Captured {
    fn new(
        session: &Session,
        shape: Shape,
        width: usize,
        device: i32,
        number: usize,
    ) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        let mut inputs = Vec::new();
        for input in session.inputs() {
            let name = input.name();
            // These inputs are the same for all batches of a bucket.
            if let Some(fixed) = fixed_input(name, shape)? {
                binding.bind_input(name, &fixed)?;
                continue;
            }
            let staged = Staged::new(session, device, &shape.of_input(name))?;
            binding.bind_input(name, &staged.device)?;
            inputs.push((name.to_owned(), staged));
        }
        let mut output = Staged::new(session, device, &[shape.batch, width])?;
        binding.bind_output(EMBEDDING, &mut output.device)?;
        let mut options = RunOptions::new()?;
        options.set(RUN_OPTION, number.to_string())?;
        Ok(Self {
            shape,
            binding,
            options,
            inputs,
            output,
        })
    }
}

/// A device tensor and the pinned host memory that it is copied from or to. A copy of pageable memory may still be
/// running when the call returns.
#[derive(Debug)]
struct Staged<T: PrimitiveTensorElementType + Debug> {
    host: Tensor<T>,
    device: Tensor<T>,
}

impl<T: PrimitiveTensorElementType + Debug> Staged<T> {
    fn new(session: &Session, device: i32, shape: &[usize]) -> ort::Result<Self> {
        let allocator = |place, kind| {
            let memory = MemoryInfo::new(place, device, AllocatorType::Device, kind)?;
            Allocator::new(session, memory)
        };
        let host = allocator(AllocationDevice::CUDA_PINNED, MemoryType::CPUInput)?;
        let on_device = allocator(AllocationDevice::CUDA, MemoryType::Default)?;
        Ok(Self {
            host: Tensor::new(&host, shape)?,
            device: Tensor::new(&on_device, shape)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_bucket_is_taken() {
        let of = |packed_tokens, batch, length| {
            bucket(shape(packed_tokens, batch, length)).map(|n| BUCKETS[n])
        };
        assert_eq!(of(5, 1, 5), Some(shape(16, 1, 16)));
        assert_eq!(of(16, 1, 16), Some(shape(16, 1, 16)));
        assert_eq!(of(10, 2, 5), Some(shape(32, 4, 16)));
        assert_eq!(of(100, 3, 60), Some(shape(128, 4, 64)));
        assert_eq!(of(512, 64, 16), Some(shape(512, 64, 16)));
        assert_eq!(of(513, 1, 513), None);
        assert_eq!(of(300, 2, 200), None);
        // 200 texts fit into a bucket by their tokens, but not by their number.
        assert_eq!(of(400, 200, 2), None);
    }

    #[test]
    fn buckets_grow() {
        let slots = |s: &Shape| (s.packed_tokens, s.batch * s.length);
        assert!(
            BUCKETS
                .windows(2)
                .all(|pair| pair[0].packed_tokens <= pair[1].packed_tokens)
        );
        assert!(BUCKETS.iter().all(|s| slots(s).1 <= 2 * slots(s).0));
    }
}
