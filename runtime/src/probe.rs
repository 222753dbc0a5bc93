//! Whether an execution provider really starts: opens a graph of one node on it.

use std::path::Path;

use crate::error::{Error, Result};
use crate::execution_provider::{Provider, ProviderSettings};
use crate::library::Library;
use crate::session::{self, SessionSettings, Source};

/// `y = Identity(x)`, float32 `[1]`, opset 17; made with onnx.helper.
const IDENTITY: &[u8] = include_bytes!("../data/identity.onnx");

/// Opens a tiny graph on `provider`.
///
/// # Errors
/// [`Error::Provider`] says what is missing.
pub fn probe(library: &Library, provider: Provider, device: i32) -> Result<()> {
    let settings = SessionSettings {
        providers: ProviderSettings {
            order: vec![provider],
            device,
            options: Vec::new(),
        },
        ..SessionSettings::default()
    };
    let source = Source::Memory {
        onnx: IDENTITY,
        data: Path::new("."),
    };
    match session::open(library, &source, &settings) {
        Ok(_) => Ok(()),
        Err(Error::Load { reason, .. }) => Err(Error::Provider {
            provider: provider.name(),
            reason: provider.did_not_start(&reason),
        }),
        Err(error) => Err(error),
    }
}
