//! A part of a job: rows that are read, computed and written together.
//!
//! A part is submitted before the previous one is complete, so the engine has work while this thread waits for a disk.

use lexivec_runtime::{Caller, EmbeddingStream, EncodedRequest, Engine, Error, Input, Request};

use super::errors::Reject;
use super::read::Text;
use super::record::Position;

/// Maximum texts and bytes of a part. A megabyte fills many batches. A larger part would lose more work when a job ends
/// early.
pub(crate) const MOST_TEXTS: usize = 1024;
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Maximum bytes of the other columns of a part's rows.
pub(super) const MOST_CARRIED: usize = 64 << 20;

/// Parts that are submitted at the same time. With one, the engine would be idle between two parts.
pub(super) const PARTS_IN_FLIGHT: usize = 2;

/// A row that is to be embedded.
pub(super) struct Numbered {
    pub(super) index: u64,
    pub(super) row: Text,
}

/// Rows that were read.
pub(super) struct Part {
    pub(super) rows: Vec<Numbered>,
    /// Rows that cannot be embedded.
    pub(super) rejected: Vec<Reject>,
    /// The error that ends the job after this part.
    pub(super) stop: Option<anyhow::Error>,
    /// How far the input is read with this part.
    pub(super) end: Position,
}

impl Part {
    /// Whether the input ended before this part.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.rejected.is_empty()
    }
}

/// A part whose texts the engine computes.
pub(super) struct Submitted {
    pub(super) part: Part,
    /// The index in `part.rows` of each embedding of the stream.
    pub(super) order: Vec<usize>,
    pub(super) embeddings: Option<EmbeddingStream>,
}

impl Submitted {
    /// Tokenises the texts and submits them in the order of their lengths, because texts of similar length run well together. Each
    /// text that cannot be tokenised is passed to `reject`.
    ///
    /// # Errors
    /// `reject` returns an error, or the engine takes no texts.
    pub(super) fn new(
        engine: &Engine,
        template: &Request<'_>,
        mut part: Part,
        reject: impl Fn(&Numbered, Error) -> anyhow::Result<Reject>,
    ) -> anyhow::Result<Self> {
        let mut encoded: Vec<(usize, EncodedRequest)> = Vec::with_capacity(part.rows.len());
        for (i, text) in part.rows.iter().enumerate() {
            let request = Request {
                input: Input::Text(text.row.text.as_str().into()),
                ..template.clone()
            };
            match engine.encode(&request) {
                Ok(request) => encoded.push((i, request)),
                Err(error) => part.rejected.push(reject(text, error)?),
            }
        }
        encoded.sort_by_key(|(i, _)| part.rows[*i].row.text.len());
        let (order, requests): (Vec<_>, Vec<_>) = encoded.into_iter().unzip();
        let embeddings = match requests.is_empty() {
            true => None,
            false => Some(engine.submit(requests, Caller::default(), None)?),
        };
        Ok(Self {
            part,
            order,
            embeddings,
        })
    }
}
