//! Embeds texts whose vectors stay in memory.

use std::collections::VecDeque;

use anyhow::{Context as _, bail};
use lexivec_runtime::{EmbeddingStream, Engine, Input, Request};
use ndarray::Array2;

use super::chunk::{CHUNKS_IN_FLIGHT, MOST_BYTES, MOST_TEXTS, submit};

/// Embeds texts, each with its place for messages, as `template` says. Tells the number of vectors after each chunk.
///
/// # Errors
/// A text cannot be embedded; the message has its place.
pub(crate) fn embed_texts(
    engine: &Engine,
    template: &Request<'_>,
    texts: &[(&str, String)],
    mut progress: impl FnMut(usize),
) -> anyhow::Result<Array2<f32>> {
    let width = template.dimensions.unwrap_or(engine.model().hidden_size);
    let mut vectors = Array2::zeros((texts.len(), width));
    let mut in_flight: VecDeque<Chunk> = VecDeque::new();
    let (mut submitted, mut done) = (0, 0);
    while done < texts.len() {
        while submitted < texts.len() && in_flight.len() < CHUNKS_IN_FLIGHT {
            let chunk = Chunk::submit(engine, template, texts, submitted)?;
            submitted += chunk.order.len();
            in_flight.push_back(chunk);
        }
        let Some(Chunk { order, mut stream }) = in_flight.pop_front() else {
            break;
        };
        for index in &order {
            let Some(embedding) = stream.blocking_next() else {
                bail!("the model returned too few vectors");
            };
            let embedding = embedding.with_context(|| texts[*index].1.clone())?;
            let vector = ndarray::ArrayView1::from(&embedding.vector);
            vectors.row_mut(*index).assign(&vector);
        }
        done += order.len();
        progress(done);
    }
    Ok(vectors)
}

/// Texts that the engine computes.
struct Chunk {
    /// The index of each text, in the order of the stream.
    order: Vec<usize>,
    stream: EmbeddingStream,
}

impl Chunk {
    fn submit(
        engine: &Engine,
        template: &Request<'_>,
        texts: &[(&str, String)],
        first: usize,
    ) -> anyhow::Result<Self> {
        let (mut encoded, mut bytes) = (Vec::new(), 0);
        for (index, (text, place)) in texts.iter().enumerate().skip(first).take(MOST_TEXTS) {
            if bytes >= MOST_BYTES {
                break;
            }
            bytes += text.len();
            let request = Request {
                input: Input::Text((*text).into()),
                ..template.clone()
            };
            let request = engine.encode(&request);
            encoded.push((index, text.len(), request.with_context(|| place.clone())?));
        }
        let (order, stream) = submit(engine, encoded)?;
        Ok(Self { order, stream })
    }
}
