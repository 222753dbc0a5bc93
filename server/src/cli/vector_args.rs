//! Flags of the commands that embed files, and the model that they open.

use lexivec_models::Precision;
use lexivec_runtime::{Engine, EngineOptions, Request};

use super::common::{DomainArgs, SourceArgs};
use super::compute_args::ComputeArgs;
use super::{Usage, resolve};
use crate::embed::MOST_QUEUED;
use crate::prefix::Choice;
use crate::stdio::say;

/// The flags that decide how texts become vectors.
#[derive(Debug, clap::Args)]
pub(crate) struct VectorArgs {
    /// Instruction put before each text, in your words. Use one for queries; embed documents without one
    #[arg(long, env = "LEXIVEC_INSTRUCTION", conflicts_with_all = ["domain", "prompt_name"])]
    instruction: Option<String>,

    /// Domain whose instruction is put before each text, such as medical. --domains adds your own. An unknown name is an error that
    /// lists all names
    #[arg(long, env = "LEXIVEC_DOMAIN", conflicts_with = "prompt_name")]
    domain: Option<String>,

    /// Name of one of the checkpoint's prompts, which is put before each text
    #[arg(long, env = "LEXIVEC_PROMPT_NAME")]
    prompt_name: Option<String>,

    /// Width of the vectors: they are truncated to it, then normalised. Default: the model's
    #[arg(short, long, env = "LEXIVEC_DIMENSIONS")]
    dimensions: Option<usize>,

    /// Precision that a checkpoint is converted to on first use. Default: fp32 on cpu and openvino, fp16 on GPUs
    #[arg(short, long, env = "LEXIVEC_PRECISION")]
    precision: Option<Precision>,

    #[command(flatten)]
    domains: DomainArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    source: SourceArgs,
}

impl VectorArgs {
    /// The options of the engine.
    ///
    /// # Errors
    /// [`Usage`].
    pub(crate) fn engine_options(&self) -> Result<EngineOptions, Usage> {
        self.compute.engine_options(MOST_QUEUED)
    }

    /// Opens a model, and returns a request with the prompt and width that the flags choose.
    ///
    /// # Errors
    /// The model cannot be opened, or has no such prompt or width.
    pub(crate) fn open(
        &self,
        model: &str,
        options: &EngineOptions,
    ) -> anyhow::Result<(Engine, Request<'static>)> {
        let found = resolve::model(model, self.precision, options, &self.source)?;
        if let Some(note) = resolve::note(model, &found) {
            say!("note: {note}");
        }
        let engine = Engine::open(&found.dir, options)?;
        engine.check_dimensions(self.dimensions)?;
        let least = engine.model().dimensions.min;
        if self.dimensions.is_some_and(|d| d < least) {
            say!(
                "warning: the model was trained for {least} dimensions and more; vectors of fewer dimensions are less accurate"
            );
        }
        let choice = Choice {
            instruction: self.instruction.as_deref(),
            domain: self.domain.as_deref(),
            prompt_name: self.prompt_name.as_deref(),
        };
        let request = Request {
            prompt: choice.resolve(engine.model(), &self.domains.load()?)?,
            dimensions: self.dimensions,
            ..Request::text("")
        };
        Ok((engine, request))
    }
}
