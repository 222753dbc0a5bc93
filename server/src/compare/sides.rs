//! From what a user names to sides of a comparison.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use lexivec_convert::compare::{Side, open_checkpoint, open_model};
use lexivec_models::Checkpoint;
use lexivec_runtime::EngineOptions;

use super::remote::Endpoint;
use crate::cli::{EndpointArgs, SourceArgs, SourceKind, Usage, checkpoint, source_kind};

enum Named {
    Model(PathBuf),
    Checkpoint(Box<Checkpoint>),
    Endpoint(Endpoint),
}

/// The sides of a comparison, by number: the baseline is 0.
pub(crate) struct Sides {
    named: Vec<(String, Named)>,
    options: EngineOptions,
    dimensions: Vec<usize>,
}

impl Sides {
    /// Finds out what each side is; a hub id is downloaded.
    ///
    /// # Errors
    /// A side is neither of a model, a checkpoint and an address, or keys and servers are not equally many.
    pub(crate) fn new(
        given: Vec<String>,
        endpoint: &EndpointArgs,
        options: EngineOptions,
        source: &SourceArgs,
        dimensions: &[usize],
    ) -> anyhow::Result<Self> {
        let servers = given.iter().filter(|g| Endpoint::is_address(g)).count();
        let keys = &endpoint.api_key;
        if servers > 0 && !keys.is_empty() && keys.len() != servers {
            return Err(Usage(format!(
                "there are {} API keys and {servers} servers: give a key for each, in their order; an empty one for none",
                keys.len()
            ))
            .into());
        }
        let mut keys = keys.iter();
        let mut named = Vec::new();
        for given in given {
            let what = if Endpoint::is_address(&given) {
                let key = keys.next().map(String::as_str);
                Named::Endpoint(Endpoint::new(&given, endpoint.model.as_deref(), key)?)
            } else {
                local(&given, source)?
            };
            named.push((given, what));
        }
        Ok(Self {
            named,
            options,
            dimensions: dimensions.to_vec(),
        })
    }

    pub(crate) fn is_endpoint(&self, number: usize) -> bool {
        matches!(self.named.get(number), Some((_, Named::Endpoint(_))))
    }

    /// Loads or reaches a side.
    ///
    /// # Errors
    /// It does not load or answer.
    pub(crate) fn open(&self, number: usize) -> anyhow::Result<Side> {
        let Some((_, what)) = self.named.get(number) else {
            bail!("there is no side {number}");
        };
        Ok(match what {
            Named::Model(dir) => open_model(dir, self.name(number), &self.options)?,
            Named::Checkpoint(checkpoint) => {
                open_checkpoint(checkpoint, self.name(number), &self.options)?
            }
            Named::Endpoint(endpoint) => endpoint.open(&self.dimensions)?,
        })
    }

    /// The large files of a side.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub(crate) fn files(&self, number: usize) -> anyhow::Result<Vec<PathBuf>> {
        Ok(match self.named.get(number) {
            Some((_, Named::Model(dir))) => fs_err::read_dir(dir)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.is_file())
                .collect(),
            Some((_, Named::Checkpoint(checkpoint))) => checkpoint.weights.clone(),
            _ => Vec::new(),
        })
    }

    /// A folder's name, or as much of its path as tells it from the others.
    fn name(&self, number: usize) -> String {
        let short = |given: &str| {
            let path = Path::new(given);
            let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            let name = real.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let mut seen = HashSet::new();
        let unique = self
            .named
            .iter()
            .all(|(given, _)| seen.insert(short(given)));
        let given = self.named.get(number).map_or("", |(given, _)| given);
        if unique {
            short(given)
        } else {
            given.trim_end_matches('/').to_owned()
        }
    }
}

fn local(given: &str, source: &SourceArgs) -> anyhow::Result<Named> {
    Ok(match source_kind(given, source.onnx)? {
        SourceKind::Model | SourceKind::Export => Named::Model(PathBuf::from(given)),
        SourceKind::Checkpoint { .. } => {
            Named::Checkpoint(Box::new(checkpoint(given, &source.checkpoint)?))
        }
    })
}
