//! Turns the names that a user gives into systems under comparison.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use lexivec_evaluate::{Endpoint, System, open_checkpoint, open_model};
use lexivec_models::Checkpoint;
use lexivec_runtime::EngineOptions;

use super::args::EndpointArgs;
use crate::cli::{SourceArgs, SourceKind, Usage, checkpoint, source_kind};

/// The source of a system.
enum SystemSource {
    Model(PathBuf),
    Checkpoint(Box<Checkpoint>),
    Endpoint(Endpoint),
}

/// The systems of a comparison, by number. The baseline is 0.
pub(super) struct Systems {
    sources: Vec<(String, SystemSource)>,
    options: EngineOptions,
    dimensions: Vec<usize>,
}

impl Systems {
    /// Determines the kind of each system, and downloads hub ids.
    ///
    /// # Errors
    /// A name is not a model, a checkpoint or an address, or the numbers of keys and servers differ.
    pub(super) fn new(
        given: Vec<String>,
        endpoint: &EndpointArgs,
        options: EngineOptions,
        args: &SourceArgs,
        dimensions: &[usize],
    ) -> anyhow::Result<Self> {
        let servers = given.iter().filter(|g| Endpoint::is_address(g)).count();
        let keys = &endpoint.api_key;
        if servers > 0 && !keys.is_empty() && keys.len() != servers {
            return Err(Usage(format!(
                "there are {} API keys and {servers} servers: give one key per server, in their order, and an empty one for a server \
                 without a key",
                keys.len()
            ))
            .into());
        }
        let mut keys = keys.iter();
        let mut sources = Vec::new();
        for given in given {
            let source = if Endpoint::is_address(&given) {
                let key = keys.next().map(String::as_str);
                SystemSource::Endpoint(Endpoint::new(&given, endpoint.model.as_deref(), key)?)
            } else {
                local(&given, args)?
            };
            sources.push((given, source));
        }
        Ok(Self {
            sources,
            options,
            dimensions: dimensions.to_vec(),
        })
    }

    pub(super) fn is_endpoint(&self, number: usize) -> bool {
        matches!(
            self.sources.get(number),
            Some((_, SystemSource::Endpoint(_)))
        )
    }

    /// Loads a model, or connects to a server.
    ///
    /// # Errors
    /// The model does not load, or the server does not answer.
    pub(super) fn open(&self, number: usize) -> anyhow::Result<System> {
        let Some((_, source)) = self.sources.get(number) else {
            bail!("there is no system {number}");
        };
        Ok(match source {
            SystemSource::Model(dir) => open_model(dir, self.name(number), &self.options)?,
            SystemSource::Checkpoint(checkpoint) => {
                open_checkpoint(checkpoint, self.name(number), &self.options)?
            }
            SystemSource::Endpoint(endpoint) => endpoint.open(&self.dimensions)?,
        })
    }

    /// The large files of a system.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub(super) fn files(&self, number: usize) -> anyhow::Result<Vec<PathBuf>> {
        Ok(match self.sources.get(number) {
            Some((_, SystemSource::Model(dir))) => fs_err::read_dir(dir)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.is_file())
                .collect(),
            Some((_, SystemSource::Checkpoint(checkpoint))) => checkpoint.weights.clone(),
            _ => Vec::new(),
        })
    }

    /// The name of a system in reports: that of its folder if it is unique, else the path that the user gave.
    fn name(&self, number: usize) -> String {
        let short = |given: &str| {
            let path = Path::new(given);
            let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            let name = real.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let mut seen = HashSet::new();
        let unique = self
            .sources
            .iter()
            .all(|(given, _)| seen.insert(short(given)));
        let given = self.sources.get(number).map_or("", |(given, _)| given);
        if unique {
            short(given)
        } else {
            given.trim_end_matches('/').to_owned()
        }
    }
}

fn local(given: &str, args: &SourceArgs) -> anyhow::Result<SystemSource> {
    Ok(match source_kind(given, args.onnx)? {
        SourceKind::Model | SourceKind::Export => SystemSource::Model(PathBuf::from(given)),
        SourceKind::Checkpoint { .. } => {
            SystemSource::Checkpoint(Box::new(checkpoint(given, &args.checkpoint)?))
        }
    })
}
