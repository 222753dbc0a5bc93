//! Compares the manifest with its graph: the rows of its tables, and the files that it reads.
//!
//! Only the few fields of ONNX that this needs are declared here; a decoder skips the others.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use prost::Message;

use super::{MANIFEST_FILE, Manifest};
use crate::digest::FileRecord;
use crate::error::{Error, Result};

/// The graph's file.
const GRAPH_FILE: &str = "model.onnx";
/// The tokenizer's file.
const TOKENIZER_FILE: &str = "tokenizer.json";
/// The most bytes of a graph whose weights are in files of their own.
const MAX_GRAPH_BYTES: u64 = 64 << 20;

#[derive(Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Tensor>,
}

#[derive(Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    shape: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
}

#[derive(Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Manifest {
    /// Checks that the manifest lists every file that the model uses, and that its sizes are those of the graph.
    pub(super) fn check_graph(&self, dir: &Path) -> Result<()> {
        let manifest = dir.join(MANIFEST_FILE);
        let record = self.listed(&manifest, GRAPH_FILE)?;
        self.listed(&manifest, TOKENIZER_FILE)?;
        // The graph is small. If it is damaged, that explains whatever else is wrong with it.
        self.verify_digest(dir, GRAPH_FILE, record)?;
        let graph = read(&dir.join(GRAPH_FILE))?;
        let data = graph.initializers.iter().flat_map(|t| &t.external_data);
        let files: BTreeSet<&str> = data
            .filter(|entry| entry.key == "location")
            .map(|entry| entry.value.as_str())
            .collect();
        for name in files {
            self.listed(&manifest, name)?;
        }
        for (field, size, table) in [
            (
                "decoder.vocab_size",
                self.decoder.vocab_size,
                "embed_tokens.weight",
            ),
            (
                "decoder.max_positions",
                self.decoder.max_positions,
                "rotary.cos",
            ),
        ] {
            let tensor = graph.initializers.iter().find(|t| t.name == table);
            let rows = tensor.and_then(|t| t.shape.first()).copied().unwrap_or(0);
            if usize::try_from(rows) != Ok(size) {
                let reason = format!(
                    "is {size}, but the table `{table}` of {GRAPH_FILE} has {rows} rows: convert the model again"
                );
                return Err(Error::invalid(&manifest, field, reason));
            }
        }
        Ok(())
    }

    /// The record of a file that the model uses.
    fn listed(&self, manifest: &Path, name: &str) -> Result<&FileRecord> {
        self.files.get(name).ok_or_else(|| {
            let reason = format!(
                "does not list `{name}`, which the model uses, so its contents cannot be checked: convert the model again"
            );
            Error::invalid(manifest, "files", reason)
        })
    }
}

fn read(path: &Path) -> Result<Graph> {
    let io = |error| Error::io(path, error);
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(io)?;
    file.take(MAX_GRAPH_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let unreadable =
        |reason: String| Error::invalid(path, "graph", reason + ": convert the model again");
    if bytes.len() as u64 > MAX_GRAPH_BYTES {
        return Err(unreadable(format!(
            "has more than {MAX_GRAPH_BYTES} bytes without its weights"
        )));
    }
    let model = Model::decode(bytes.as_slice());
    let model = model.map_err(|error| unreadable(format!("cannot be read ({error})")))?;
    model
        .graph
        .ok_or_else(|| unreadable("is missing".to_owned()))
}

/// The bytes of a graph with these tables, whose weights are in a file of their own.
#[cfg(test)]
pub(super) fn encoded(tables: &[(&str, [i64; 2])], data: &str) -> Vec<u8> {
    let initializers = tables.iter().map(|(name, shape)| Tensor {
        shape: shape.to_vec(),
        name: (*name).to_owned(),
        external_data: vec![Entry {
            key: "location".to_owned(),
            value: data.to_owned(),
        }],
    });
    let graph = Graph {
        initializers: initializers.collect(),
    };
    Model { graph: Some(graph) }.encode_to_vec()
}
