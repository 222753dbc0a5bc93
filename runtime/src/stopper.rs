//! Ends a run of ONNX Runtime that is under way.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session, SessionOutputs};

use crate::plan_inputs::Input;

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

    /// Runs a session, so that [`Stopper::stop`] can end it.
    pub(crate) fn run<'a>(
        &self,
        session: &'a mut Session,
        binding: &'a IoBinding,
        options: RunOptions<NoSelectedOutputs>,
    ) -> ort::Result<SessionOutputs<'a>> {
        let options = Arc::new(options);
        *self.lock() = Some(Arc::clone(&options));
        let ran = session.run_binding_with_options(binding, &options);
        *self.lock() = None;
        ran
    }

    fn lock(&self) -> MutexGuard<'_, Option<Options>> {
        // Nothing under the lock leaves it half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds inputs, and outputs of these names in the host's memory: ort lets no other thread see options that select outputs.
/// Inputs that are borrowed are copied.
pub(crate) fn bind(
    session: &Session,
    inputs: &[Input<'_>],
    outputs: &[&str],
) -> ort::Result<IoBinding> {
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
    Ok(binding)
}
