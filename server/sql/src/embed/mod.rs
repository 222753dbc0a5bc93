//! The function `embed(text [, instruction [, dimensions]])`.
//!
//! A plan may be made where no model is loaded: the scheduler of a cluster knows the model by its [`Description`], and only executors have the
//! model itself. The function computes on whole record batches, which the engine divides into its own batches.

mod arguments;
mod compute;
mod description;
mod prompt;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use lexivec::ModelInfo;

use arguments::{Constants, Texts, failed};
pub(crate) use arguments::{NAME, vector_type};
pub(crate) use compute::{LARGEST_BATCH, Loaded, MOST_QUEUED};
pub(crate) use description::Description;

/// The function, as far as a process knows its model.
#[derive(Debug, Clone)]
pub(crate) struct Embed {
    description: Description,
    /// Checks instructions before a query runs; `None` on a scheduler.
    info: Option<Arc<ModelInfo>>,
    /// Computes vectors; `None` where plans are only made.
    model: Option<Arc<Loaded>>,
    signature: Signature,
}

impl Embed {
    /// The function where plans are made and nothing is computed.
    pub(crate) fn planned(description: Description, info: Option<Arc<ModelInfo>>) -> Self {
        Self {
            description,
            info,
            model: None,
            // The wrapper of asynchronous functions has no coercions of ours, so any types are accepted here and checked by `arguments`.
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    /// The function where vectors are computed.
    pub(crate) fn loaded(description: Description, model: Arc<Loaded>) -> Self {
        let info = Arc::new(model.info().clone());
        Self {
            model: Some(model),
            ..Self::planned(description, Some(info))
        }
    }

    /// The function as a session registers it.
    pub(crate) fn into_udf(self) -> ScalarUDF {
        AsyncScalarUDF::new(Arc::new(self)).into_scalar_udf()
    }
}

/// Functions are equal if they compute the same. It makes no difference where the model is loaded.
impl PartialEq for Embed {
    fn eq(&self, other: &Self) -> bool {
        self.description == other.description
    }
}

impl Eq for Embed {}

impl Hash for Embed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.description.hash(state);
    }
}

impl ScalarUDFImpl for Embed {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        failed("the type of the vectors depends on `dimensions`, and was asked for without it")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let constants = Constants::of_plan(&arguments, self.description.width)?;
        if let Some(info) = &self.info {
            constants.prompt(info)?;
        }
        let metadata = self.description.metadata(&constants);
        let field = Field::new(NAME, vector_type(constants.dimensions), true);
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        failed(
            "it is asynchronous, and this part of the query calls functions that are not: select it in a subquery",
        )
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Embed {
    async fn invoke_async_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(model) = &self.model else {
            return failed(
                "this process has no model, and only makes plans: `lexivec sql executor` computes them",
            );
        };
        let constants = Constants::of_call(&arguments.args, self.description.width)?;
        let prompt = constants.prompt(model.info())?;
        let truncate = self.description.truncate;
        let texts = Texts::of(&arguments.args[0])?;
        let vectors = model
            .vectors(&texts, &prompt, constants.dimensions, truncate)
            .await?;
        texts
            .for_rows(vectors, arguments.number_rows)
            .map(ColumnarValue::Array)
    }
}
