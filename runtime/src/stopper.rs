//! Ends a run of ONNX Runtime that is under way.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session, SessionOutputs};

use crate::plan_inputs::Input;
use crate::session::free_after;

type Options = Arc<RunOptions<NoSelectedOutputs>>;

/// See the module. Clones end the same network's run.
#[derive(Clone, Default)]
pub struct Stopper(Arc<Mutex<Option<Options>>>);

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper")
    }
}

impl Stopper {
    /// Ends the run that is under way, if one is. It fails within the time of one operator.
    pub fn stop(&self) {
        if let Some(options) = &*self.lock() {
            // It can only fail for options that are no longer there.
            let _ = options.terminate();
        }
    }

    /// Makes a run, so that [`Stopper::stop`] can end it.
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

/// A run whose outputs lie in the host's memory. They are bound because ort lets no other thread see options that select
/// outputs.
pub(crate) struct HostRun {
    binding: IoBinding,
    options: Options,
}

impl HostRun {
    /// Binds inputs, and outputs of these names, for texts of at most `length` tokens. Inputs that are borrowed are copied.
    pub(crate) fn new(
        session: &Session,
        inputs: &[Input<'_>],
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
