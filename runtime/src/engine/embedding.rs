//! The protocol of embedding: encode a request, submit it, await its embedding.
//!
//! [`Engine::embed`] and [`Engine::embed_async`] do all of it. Callers that tokenise on threads of their own, or handle each
//! text's error by itself, call [`Engine::encode`] and [`Engine::submit`] and read the [`EmbeddingStream`].

use std::sync::Arc;
use std::time::Instant;
use std::vec;

use tokio::sync::oneshot;

use super::Engine;
use crate::error::{Error, Result};
use crate::request::{Embedding, Request};
use crate::scheduling::admission::Rejection;
use crate::scheduling::fairness::Caller;
use crate::scheduling::in_flight::{InFlight, Reply};
use crate::scheduling::queue::Entry;
use crate::tokenization::Encoding;
use crate::vector;

/// Texts seldom have more bytes than this per token, so a request is not rejected for tokens that it does not have.
const BYTES_PER_TOKEN: usize = 8;

/// A request that was checked and tokenised, ready for [`Engine::submit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRequest {
    encoding: Encoding,
    dimensions: usize,
    normalize: bool,
}

impl EncodedRequest {
    /// The token ids of the whole prompt.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.encoding.ids
    }

    /// Whether the text was truncated to the maximum length.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.encoding.truncated
    }
}

/// The embeddings of submitted texts, in the order of the texts.
///
/// The texts are computed whether or not the stream is read. Dropping it withdraws those that have not been computed.
///
/// ```no_run
/// use lexivec_runtime::{Caller, Engine, EngineOptions, Request};
///
/// let engine = Engine::open("nano-fp32".as_ref(), &EngineOptions::default())?;
/// let texts = ["cardiac arrest", "心脏骤停"];
/// let requests = texts.map(|text| engine.encode(&Request::text(text)));
/// let requests = requests.into_iter().collect::<Result<Vec<_>, _>>()?;
/// let mut embeddings = engine.submit(requests, Caller::default(), None)?;
/// while let Some(embedding) = embeddings.blocking_next() {
///     println!("{} tokens", embedding?.tokens);
/// }
/// # Ok::<(), lexivec_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct EmbeddingStream {
    pending: vec::IntoIter<(oneshot::Receiver<Reply>, Output)>,
}

/// The properties of an embedding that its request decides.
#[derive(Debug)]
struct Output {
    tokens: usize,
    truncated: bool,
    dimensions: usize,
    normalize: bool,
}

impl Output {
    /// Truncates and normalises a state as its request says. Without a reply, the engine has shut down.
    fn finish(&self, reply: Option<Reply>) -> Result<Embedding> {
        let completed = reply.unwrap_or(Err(Error::ShuttingDown))?;
        Ok(Embedding {
            vector: vector::truncate(&completed.state, self.dimensions, self.normalize),
            tokens: self.tokens,
            truncated: self.truncated,
            origin: completed.origin,
            queued: completed.queued,
            infer: completed.infer,
        })
    }
}

impl EmbeddingStream {
    /// Waits for the next embedding; `None` after the last. The error is that of this text alone.
    pub async fn next(&mut self) -> Option<Result<Embedding>> {
        let (reply, output) = self.pending.next()?;
        Some(output.finish(reply.await.ok()))
    }

    /// As [`next`](Self::next), for threads that may block.
    ///
    /// # Panics
    /// If it is called from asynchronous code.
    pub fn blocking_next(&mut self) -> Option<Result<Embedding>> {
        let (reply, output) = self.pending.next()?;
        Some(output.finish(reply.blocking_recv().ok()))
    }
}

impl Engine {
    /// Embeds texts and waits for them, on a thread that may block. The result is in the order of the requests.
    ///
    /// # Errors
    /// A request is invalid (nothing is computed then), the queue rejects the texts, or inference fails.
    pub fn embed(&self, requests: &[Request<'_>]) -> Result<Vec<Embedding>> {
        let mut embeddings = self.submit_all(requests)?;
        std::iter::from_fn(|| embeddings.blocking_next()).collect()
    }

    /// As [`embed`](Self::embed), for asynchronous code. Requests are tokenised before the first `await`, so large ones
    /// block the executor for a while.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// # Example
    /// ```no_run
    /// use lexivec_runtime::vector::cosine;
    /// use lexivec_runtime::{Engine, Request, Result};
    ///
    /// async fn similarity(engine: &Engine, one: &str, other: &str) -> Result<f64> {
    ///     let found = engine.embed_async(&[Request::text(one), Request::text(other)]).await?;
    ///     Ok(cosine(&found[0].vector, &found[1].vector))
    /// }
    /// ```
    pub async fn embed_async(&self, requests: &[Request<'_>]) -> Result<Vec<Embedding>> {
        let mut stream = self.submit_all(requests)?;
        let mut embeddings = Vec::with_capacity(requests.len());
        while let Some(embedding) = stream.next().await {
            embeddings.push(embedding?);
        }
        Ok(embeddings)
    }

    fn submit_all(&self, requests: &[Request<'_>]) -> Result<EmbeddingStream> {
        let encoded = requests.iter().map(|request| self.encode(request));
        self.submit(encoded.collect::<Result<_>>()?, Caller::default(), None)
    }

    /// Checks and tokenises a request.
    ///
    /// # Errors
    /// The request is invalid; the error names the field.
    pub fn encode(&self, request: &Request<'_>) -> Result<EncodedRequest> {
        self.check_dimensions(request.dimensions)?;
        Ok(EncodedRequest {
            encoding: self.tokenizer.encode(request)?,
            dimensions: request.dimensions.unwrap_or(self.model.hidden_size),
            normalize: request.normalize,
        })
    }

    /// Checks the width of a vector.
    ///
    /// # Errors
    /// It is 0, or wider than the model's vectors.
    pub fn check_dimensions(&self, dimensions: Option<usize>) -> Result<()> {
        match dimensions {
            Some(d) if d == 0 || d > self.model.hidden_size => Err(Error::InvalidInput {
                field: "dimensions",
                reason: format!(
                    "`dimensions` is {d}; this model's vectors have 1 to {}",
                    self.model.hidden_size
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Submits texts, all or none, and returns at once. Their states come from the response cache, from identical texts in
    /// flight, or from the queue, which is bounded: when it is full, the texts are rejected.
    ///
    /// Texts of one `scope` share no cached state with those of another.
    ///
    /// # Errors
    /// The queue is full or closed, or the texts would miss the caller's deadline.
    pub fn submit(
        &self,
        requests: Vec<EncodedRequest>,
        caller: Caller,
        scope: Option<&str>,
    ) -> Result<EmbeddingStream> {
        let mut sequences = Vec::with_capacity(requests.len());
        let mut outputs = Vec::with_capacity(requests.len());
        for request in requests {
            outputs.push(Output {
                tokens: request.encoding.ids.len(),
                truncated: request.encoding.truncated,
                dimensions: request.dimensions,
                normalize: request.normalize,
            });
            sequences.push(request.encoding.ids);
        }
        let receivers = self.submit_sequences(sequences, caller, scope)?;
        let pending: Vec<_> = receivers.into_iter().zip(outputs).collect();
        Ok(EmbeddingStream {
            pending: pending.into_iter(),
        })
    }

    fn submit_sequences(
        &self,
        sequences: Vec<Vec<u32>>,
        caller: Caller,
        scope: Option<&str>,
    ) -> Result<Vec<oneshot::Receiver<Reply>>> {
        let since = Instant::now();
        if let Some(cache) = &self.shared.response_cache {
            let (missing, receivers) = cache.resolve(sequences, scope, since, caller);
            let shared = Arc::clone(&self.shared);
            cache.look_up(missing, move |entries| shared.push(entries))?;
            return Ok(receivers);
        }
        let started = sequences.into_iter().map(|ids| {
            let (in_flight, receiver) = InFlight::new();
            let entry = Entry {
                ids,
                key: None,
                in_flight,
                since,
                caller,
            };
            (entry, receiver)
        });
        let (entries, receivers) = started.unzip();
        self.shared.push(entries)?;
        Ok(receivers)
    }

    /// Rejects texts of these lengths in bytes if they would miss the caller's deadline, before they are tokenised.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn check_load(&self, caller: Caller, bytes: impl Iterator<Item = usize>) -> Result<()> {
        // A longer text is truncated or rejected.
        let most = self.model.max_length;
        let tokens = bytes.map(|bytes| (bytes / BYTES_PER_TOKEN).clamp(1, most));
        let admits = self.shared.queue.admits(caller, tokens, self.load());
        match admits {
            // Some of the texts may be cached.
            Ok(()) | Err(Rejection::Never(_)) => Ok(()),
            Err(rejection) => Err(rejection.into()),
        }
    }
}
