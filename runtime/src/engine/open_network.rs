//! Opens the network of a model directory: chooses the implementation that fits its graph and the execution provider.

use std::path::Path;

use lexivec_models::{Layout, Manifest, Precision, Target};

use crate::error::Result;
use crate::model::ModelInfo;
use crate::network::packed::PackedNetwork;
use crate::network::padded::{PaddedNetwork, find_graph};
use crate::network::tensorrt;
use crate::network::{InspectNetwork, Network};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session_settings::SessionSettings;

/// Opens the graph of a model directory: one of ours (packed or padded), or another exporter's.
///
/// # Errors
/// The provider cannot serve this precision, or the graph does not load.
///
/// # Example
/// ```no_run
/// use lexivec_runtime::{Library, SessionSettings, open_network};
///
/// let library = Library::load(None, false)?;
/// let mut network = open_network(library, "nano-fp32".as_ref(), &SessionSettings::default())?;
/// let states = network.embed(&[&[1, 2, 3]])?;
/// assert_eq!(states.values.len(), network.hidden_size());
/// # Ok::<(), lexivec_runtime::Error>(())
/// ```
pub fn open_network(
    library: &'static Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    let network: Box<dyn Network> = open_for_inspection(library, dir, settings)?;
    Ok(network)
}

/// As [`open_network`], for a caller that also looks at what layers compute.
///
/// # Errors
/// As [`open_network`].
pub fn open_for_inspection(
    library: &'static Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn InspectNetwork>> {
    if Manifest::is_model_dir(dir) {
        let form = Manifest::read(dir)?.form();
        settings.providers.check(form)?;
    }
    if !tensorrt::bounds_shapes(settings) {
        return open_session(library, dir, settings);
    }
    let info = ModelInfo::read(dir)?;
    let model = tensorrt::TensorRtModel {
        dir,
        graph: find_graph(dir)?,
        digest: &info.digest,
        max_length: info.max_length,
    };
    let open = |library, dir: &Path, settings: &SessionSettings| {
        let network: Box<dyn Network> = open_session(library, dir, settings)?;
        Ok(network)
    };
    Ok(Box::new(tensorrt::open(library, &model, settings, open)?))
}

/// Opens a network of one session.
fn open_session(
    library: &'static Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn InspectNetwork>> {
    if !Manifest::is_model_dir(dir) {
        return Ok(Box::new(PaddedNetwork::open(library, dir, settings)?));
    }
    let manifest = Manifest::read(dir)?;
    let mut settings = settings.clone();
    // GemmFloat8 allocates while it runs, which a capture does not allow.
    settings.model.capturable =
        manifest.target == Target::Cuda && manifest.precision != Precision::Fp8;
    settings.model.bf16_attention = manifest.precision == Precision::Int8;
    Ok(match manifest.layout {
        Layout::Packed => Box::new(PackedNetwork::open(
            library,
            &dir.join("model.onnx"),
            &settings,
        )?),
        Layout::Padded => Box::new(PaddedNetwork::open(library, dir, &settings)?),
    })
}
