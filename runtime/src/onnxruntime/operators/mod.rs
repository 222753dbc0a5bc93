//! lexivec's own operators, for ONNX Runtime's CPU provider. They take tensors from ONNX Runtime; `lexivec-kernels` computes.
//!
//! | operator | file | kernel |
//! |---|---|---|
//! | PackedAttention | [`attention`] | `lexivec_kernels::attention` |
//! | Quantize, NormQuantize, SwiGluQuantize | [`quantize`] | `lexivec_kernels::rows` |
//! | Int8Linear | [`linear`] | `lexivec_kernels::linear` |
//! | BlockLinear | [`block_linear`] | `lexivec_kernels::block_linear` |
//!
//! `lexivec-convert` writes them for target `cpu`. [`signature`] describes inputs, outputs and attributes for both.

mod attention;
mod block_linear;
mod linear;
mod quantize;
pub mod signature;
mod tensors;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lexivec_kernels::attention::Factors;
use lexivec_kernels::parallel::Parallel;
use ort::operator::{ComputeContext, Kernel, OperatorDomain};

use signature::DOMAIN;

/// The operators, for one session. `bf16_attention` says whether attention may round its factors to bf16.
///
/// # Errors
/// ONNX Runtime rejects them.
pub(crate) fn domain(bf16_attention: bool) -> ort::Result<OperatorDomain> {
    let factors = match bf16_attention {
        true => Factors::Bf16,
        false => Factors::Float32,
    };
    OperatorDomain::new(DOMAIN)?
        .add(attention::PackedAttention { factors })?
        .add(quantize::Quantize::Plain)?
        .add(quantize::Quantize::Norm)?
        .add(quantize::Quantize::SwiGlu)?
        .add(linear::Int8Linear)?
        .add(block_linear::BlockLinear)
}

/// A kernel that cannot end the process: a panic must not cross ONNX Runtime's frames.
struct Guarded<R>(R);

/// The computation of a kernel.
trait Run: Send {
    fn run(&self, context: &ComputeContext) -> ort::Result<()>;
}

impl<R: Run> Kernel for Guarded<R> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = AssertUnwindSafe(|| self.0.run(context));
        catch_unwind(run).unwrap_or_else(|_| Err(ort::Error::new("a kernel of lexivec panicked")))
    }
}

/// An error of a kernel, with the operator's name.
fn failed(operator: &str, reason: &str) -> ort::Error {
    ort::Error::new(format!("{operator}: {reason}"))
}

/// The threads of the session.
struct Threads<'a>(&'a ComputeContext);

impl Parallel for Threads<'_> {
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 {
            return (0..tasks).for_each(task);
        }
        let task = |number| task(number);
        if self.0.par_for(tasks, 0, task).is_err() {
            // Tasks only write results, so it does no harm if some run twice.
            (0..tasks).for_each(task);
        }
    }
}
