//! A chunk of a job: rows that are read, computed and written together.
//!
//! A chunk is submitted before the previous one is complete, so the engine has work while this thread waits for a disk.

use lexivec_runtime::{Caller, EmbeddingStream, EncodedRequest, Engine, Error, Input, Request};

use super::errors::Reject;
use super::read::Text;
use super::record::Position;

/// Maximum texts and bytes of a chunk. A megabyte fills many batches. A larger chunk would lose more work when a job ends
/// early.
pub(crate) const MOST_TEXTS: usize = 1024;
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Maximum bytes of the other columns of a chunk's rows.
pub(super) const MOST_CARRIED: usize = 64 << 20;

/// Chunks that are submitted at the same time. With one, the engine would be idle between two chunks.
pub(super) const CHUNKS_IN_FLIGHT: usize = 2;

/// A row that is to be embedded.
pub(super) struct Numbered {
    pub(super) index: u64,
    pub(super) row: Text,
}

/// Rows that were read.
pub(super) struct Chunk {
    pub(super) rows: Vec<Numbered>,
    /// Rows that cannot be embedded.
    pub(super) rejected: Vec<Reject>,
    /// The error that ends the job after this chunk.
    pub(super) stop: Option<anyhow::Error>,
    /// How far the input is read with this chunk.
    pub(super) end: Position,
}

impl Chunk {
    /// Whether the input ended before this chunk.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.rejected.is_empty()
    }
}

/// A chunk whose texts the engine computes.
pub(super) struct Submitted {
    pub(super) chunk: Chunk,
    /// The index in `chunk.rows` of each embedding of the stream.
    pub(super) order: Vec<usize>,
    pub(super) embeddings: Option<EmbeddingStream>,
}

impl Submitted {
    /// Tokenises the texts and [submits](submit) them. Each text that cannot be tokenised is passed to `reject`.
    ///
    /// # Errors
    /// `reject` returns an error, or the engine takes no texts.
    pub(super) fn new(
        engine: &Engine,
        template: &Request<'_>,
        mut chunk: Chunk,
        reject: impl Fn(&Numbered, Error) -> anyhow::Result<Reject>,
    ) -> anyhow::Result<Self> {
        let mut encoded = Vec::with_capacity(chunk.rows.len());
        for (i, text) in chunk.rows.iter().enumerate() {
            let request = Request {
                input: Input::Text(text.row.text.as_str().into()),
                ..template.clone()
            };
            match engine.encode(&request) {
                Ok(request) => encoded.push((i, text.row.text.len(), request)),
                Err(error) => chunk.rejected.push(reject(text, error)?),
            }
        }
        let (order, embeddings) = match encoded.is_empty() {
            true => (Vec::new(), None),
            false => {
                let (order, stream) = submit(engine, encoded)?;
                (order, Some(stream))
            }
        };
        Ok(Self {
            chunk,
            order,
            embeddings,
        })
    }
}

/// Submits texts in the order of their lengths, because texts of similar length run well together. Each text has its index and its length
/// in bytes. Returns the indices in the order of the stream.
///
/// # Errors
/// The engine takes no texts.
pub(super) fn submit(
    engine: &Engine,
    mut texts: Vec<(usize, usize, EncodedRequest)>,
) -> Result<(Vec<usize>, EmbeddingStream), Error> {
    texts.sort_by_key(|(_, length, _)| *length);
    let texts = texts.into_iter();
    let (order, requests) = texts.map(|(index, _, request)| (index, request)).unzip();
    Ok((order, engine.submit(requests, Caller::default(), None)?))
}
