//! Stops a run of ONNX Runtime.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session, SessionOutputs};

use crate::onnxruntime::session::{NamedInput, free_after};

type Options = Arc<RunOptions<NoSelectedOutputs>>;

/// A handle that stops the run of a network. Clones stop the same network.
#[derive(Clone, Default)]
pub struct Stopper(Arc<Mutex<Option<Options>>>);

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper")
    }
}

impl Stopper {
    /// Stops the current run, if there is one. It fails within the time of one operator.
    pub fn stop(&self) {
        if let Some(options) = &*self.lock() {
            // This fails only for options that no longer exist.
            let _ = options.terminate();
        }
    }

    /// Runs a batch that [`Stopper::stop`] can stop.
    pub(crate) fn run<'a>(
        &self,
        session: &'a mut Session,
        run: &'a HostRun,
    ) -> ort::Result<SessionOutputs<'a>> {
        *self.lock() = Some(Arc::clone(&run.options));
        let ran = session.run_binding_with_options(&run.binding, &run.options);
        *self.lock() = None;
        ran
    }

    fn lock(&self) -> MutexGuard<'_, Option<Options>> {
        // Nothing under the lock leaves it half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run whose outputs are in host memory. They are bound because ort lets no other thread use options that select
/// outputs.
pub(crate) struct HostRun {
    binding: IoBinding,
    options: Options,
}

impl HostRun {
    /// Binds inputs, and outputs of these names, for texts of at most `length` tokens. Inputs that are borrowed are copied.
    pub(crate) fn new(
        session: &Session,
        inputs: &[NamedInput<'_>],
        outputs: &[&str],
        length: usize,
        on_gpu: bool,
    ) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        for (name, value) in inputs {
            binding.bind_input(*name, value)?;
        }
        let host = MemoryInfo::new(
            AllocationDevice::CPU,
            0,
            AllocatorType::Device,
            MemoryType::CPUOutput,
        )?;
        for name in outputs {
            binding.bind_output_to_device(*name, &host)?;
        }
        let mut options = RunOptions::new()?;
        free_after(&mut options, length, on_gpu)?;
        Ok(Self {
            binding,
            options: Arc::new(options),
        })
    }
}
