//! Carries `embed` in the plans of a cluster.
//!
//! A plan holds a function as its name and some bytes. For `embed` the bytes are its [`Description`]: the scheduler makes a function that can only be
//! planned, and an executor makes one with its model, if that is the model of the plan. Everything else is left to Ballista's codecs.

use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{TableReference, plan_datafusion_err};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::embed::{Description, Embed, Loaded, NAME};

/// How a process makes the function of a plan.
#[derive(Debug, Clone, Default)]
struct Functions {
    /// The model of an executor, and its description.
    model: Option<(Description, Arc<Loaded>)>,
}

impl Functions {
    fn encode(function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if function.name() == NAME {
            let description = Description::of(function)?;
            serde_json::to_writer(bytes, &description)
                .map_err(|error| plan_datafusion_err!("{NAME}(): {error}"))?;
        }
        Ok(())
    }

    fn decode(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        if name != NAME {
            return Err(plan_datafusion_err!(
                "this cluster has no function {name}()"
            ));
        }
        let description: Description = serde_json::from_slice(bytes).map_err(|error| {
            plan_datafusion_err!(
                "{NAME}(): the plan was made by another version of lexivec, or is damaged: {error}"
            )
        })?;
        let function = match &self.model {
            None => Embed::planned(description, None),
            Some((here, model)) => {
                description.check(here)?;
                Embed::loaded(description, Arc::clone(model))
            }
        };
        Ok(Arc::new(function.into_udf()))
    }
}

/// The codec of logical plans, which a client sends to the scheduler.
#[derive(Debug, Default)]
pub(crate) struct LogicalCodec {
    functions: Functions,
    ballista: BallistaLogicalExtensionCodec,
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[LogicalPlan],
        context: &TaskContext,
    ) -> Result<Extension> {
        self.ballista.try_decode(bytes, inputs, context)
    }

    fn try_encode(&self, node: &Extension, bytes: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode(node, bytes)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        self.ballista
            .try_decode_table_provider(bytes, table, schema, context)
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        node: Arc<dyn TableProvider>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        self.ballista.try_encode_table_provider(table, node, bytes)
    }

    fn try_decode_file_format(
        &self,
        bytes: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.ballista.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(
        &self,
        bytes: &mut Vec<u8>,
        node: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.ballista.try_encode_file_format(bytes, node)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.decode(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        Functions::encode(function, bytes)
    }
}

/// The codec of physical plans, which the scheduler sends to executors.
#[derive(Debug, Default)]
pub(crate) struct PhysicalCodec {
    functions: Functions,
    ballista: BallistaPhysicalExtensionCodec,
}

impl PhysicalCodec {
    /// The codec of an executor.
    pub(crate) fn with_model(description: Description, model: Arc<Loaded>) -> Self {
        Self {
            functions: Functions {
                model: Some((description, model)),
            },
            ballista: BallistaPhysicalExtensionCodec::default(),
        }
    }
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.ballista.try_decode(bytes, inputs, context, converter)
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        self.ballista.try_encode(node, bytes, converter)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.decode(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        Functions::encode(function, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            version: "1".to_owned(),
            model: "nano".to_owned(),
            model_digest: "0123456789abcdef".to_owned(),
            width: 256,
            truncate: true,
        }
    }

    #[test]
    fn a_plan_carries_the_description_of_the_model() {
        let function = Embed::planned(description(), None).into_udf();
        let mut bytes = Vec::new();
        Functions::encode(&function, &mut bytes).unwrap();
        let decoded = Functions::default().decode(NAME, &bytes).unwrap();
        assert_eq!(Description::of(&decoded).unwrap(), description());
        assert_eq!(decoded.as_ref(), &function);
        let said = |name, bytes: &[u8]| {
            let error = Functions::default().decode(name, bytes).unwrap_err();
            error.to_string()
        };
        assert!(said("embedd", &bytes).contains("no function embedd()"));
        assert!(said(NAME, b"{}").contains("another version of lexivec"));
        let wide = serde_json::to_vec(&Description {
            width: usize::MAX,
            ..description()
        })
        .unwrap();
        let wide = Functions::default().decode(NAME, &wide).unwrap();
        assert!(
            Description::of(&wide)
                .unwrap_err()
                .to_string()
                .contains("a model cannot have vectors of")
        );
    }

    #[test]
    fn an_executor_refuses_a_plan_for_another_model_or_version() {
        let here = description();
        assert!(here.check(&here).is_ok());
        let said = |plan: &Description| plan.check(&here).unwrap_err().to_string();
        let other = Description {
            model_digest: "fedcba9876543210".to_owned(),
            ..description()
        };
        assert!(
            said(&other)
                .contains("digest fedcba987654, and this executor has nano with 0123456789ab")
        );
        let other = Description {
            version: "2".to_owned(),
            ..description()
        };
        assert!(said(&other).contains("run the same version everywhere"));
    }
}
