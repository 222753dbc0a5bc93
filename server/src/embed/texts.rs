//! Embeds texts whose vectors stay in memory.

use std::collections::VecDeque;

use anyhow::{Context as _, bail};
use lexivec_runtime::{Caller, EmbeddingStream, Engine, Input, Request};
use ndarray::Array2;

use super::part::{MOST_BYTES, MOST_TEXTS, PARTS_IN_FLIGHT};

/// Embeds texts, each with its place for messages, as `template` says. Tells the number of vectors after each part.
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
    let mut in_flight: VecDeque<Part> = VecDeque::new();
    let (mut submitted, mut done) = (0, 0);
    while done < texts.len() {
        while submitted < texts.len() && in_flight.len() < PARTS_IN_FLIGHT {
            let part = Part::submit(engine, template, texts, submitted)?;
            submitted += part.order.len();
            in_flight.push_back(part);
        }
        let Some(Part { order, mut stream }) = in_flight.pop_front() else {
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
struct Part {
    /// The index of each text, in the order of their lengths, because texts of similar length run well together.
    order: Vec<usize>,
    stream: EmbeddingStream,
}

impl Part {
    fn submit(
        engine: &Engine,
        template: &Request<'_>,
        texts: &[(&str, String)],
        first: usize,
    ) -> anyhow::Result<Self> {
        let (mut order, mut bytes) = (Vec::new(), 0);
        for (index, (text, _)) in texts.iter().enumerate().skip(first).take(MOST_TEXTS) {
            if bytes >= MOST_BYTES {
                break;
            }
            bytes += text.len();
            order.push(index);
        }
        order.sort_by_key(|index| texts[*index].0.len());
        let encode = |index: &usize| {
            let (text, place) = &texts[*index];
            let request = Request {
                input: Input::Text((*text).into()),
                ..template.clone()
            };
            engine.encode(&request).with_context(|| place.clone())
        };
        let requests = order.iter().map(encode).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            stream: engine.submit(requests, Caller::default(), None)?,
            order,
        })
    }
}
