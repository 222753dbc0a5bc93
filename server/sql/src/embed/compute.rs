//! Vectors of a record batch.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, FixedSizeListArray, Float32Array, StringArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::{DataFusionError, Result};
use lexivec::{Model, ModelInfo, Prompt, Request, Truncate};
use tokio::sync::Semaphore;

use super::arguments::{Texts, failed};

/// Texts that are handed to the engine at a time, and rows of a record batch. A GPU's batch of 16,384 tokens holds 2,048 short texts.
pub(crate) const LARGEST_BATCH: usize = 8192;
/// Batches that the engine has at a time: it computes one while the other is tokenised or written.
const BATCHES_IN_FLIGHT: usize = 2;
/// The room that the function needs in the engine's queue.
pub(crate) const MOST_QUEUED: usize = LARGEST_BATCH * BATCHES_IN_FLIGHT;

/// The model of this process.
#[derive(Debug)]
pub(crate) struct Loaded {
    model: Arc<Model>,
    /// Bounds the texts in the queue, however many partitions a query has.
    in_flight: Semaphore,
}

impl Loaded {
    pub(crate) fn new(model: Model) -> Self {
        Self {
            model: Arc::new(model),
            in_flight: Semaphore::new(BATCHES_IN_FLIGHT),
        }
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        self.model.engine().model()
    }

    /// Embeds texts; null stays null. A query that is dropped withdraws its texts.
    ///
    /// # Errors
    /// A text is empty or too long, or inference fails.
    pub(super) async fn vectors(
        &self,
        texts: &Texts,
        prompt: &Prompt,
        dimensions: usize,
        truncate: bool,
    ) -> Result<ArrayRef> {
        let texts = texts.array();
        let mut numbers = vec![0.0_f32; texts.len() * dimensions];
        for begin in (0..texts.len()).step_by(LARGEST_BATCH) {
            let rows = LARGEST_BATCH.min(texts.len() - begin);
            let part = texts.slice(begin, rows);
            let place = &mut numbers[begin * dimensions..(begin + rows) * dimensions];
            self.fill(place, part, prompt.clone(), dimensions, truncate)
                .await?;
        }
        let width =
            i32::try_from(dimensions).map_err(|error| DataFusionError::External(error.into()))?;
        let number = Arc::new(Field::new_list_field(DataType::Float32, true));
        let nulls = texts
            .nulls()
            .cloned()
            .filter(|nulls: &NullBuffer| nulls.null_count() > 0);
        let vectors = FixedSizeListArray::try_new(
            number,
            width,
            Arc::new(Float32Array::from(numbers)),
            nulls,
        )?;
        Ok(Arc::new(vectors))
    }

    /// Computes the vectors of one batch for the engine, and writes each to the place of its text.
    async fn fill(
        &self,
        place: &mut [f32],
        texts: StringArray,
        prompt: Prompt,
        dimensions: usize,
        truncate: bool,
    ) -> Result<()> {
        let Ok(_in_flight) = self.in_flight.acquire().await else {
            return failed("the program is ending");
        };
        let model = Arc::clone(&self.model);
        // Tokenising takes a core for a while, and threads of asynchronous code have other tasks.
        let encoded = tokio::task::spawn_blocking(move || {
            let mut rows: Vec<usize> = (0..texts.len())
                .filter(|row| texts.is_valid(*row))
                .collect();
            // Texts of similar length run well together.
            rows.sort_by_key(|row| texts.value_length(*row));
            let template = Request {
                prompt,
                dimensions: Some(dimensions),
                truncate: if truncate {
                    Truncate::End
                } else {
                    Truncate::Reject
                },
                ..Request::text("")
            };
            let requests = rows.iter().map(|row| {
                let request = Request {
                    input: Request::text(texts.value(*row)).input,
                    ..template.clone()
                };
                model
                    .engine()
                    .encode(&request)
                    .map_err(lexivec::Error::from)
            });
            let requests: std::result::Result<Vec<_>, lexivec::Error> = requests.collect();
            Ok((rows, requests?))
        });
        let encoded = encoded
            .await
            .map_err(|error| DataFusionError::External(error.into()))?;
        let (rows, requests) = encoded.or_else(|error| refused_text(&error))?;
        let submitted = self
            .model
            .engine()
            .submit(requests, Default::default(), None);
        let mut stream = submitted.or_else(|error| failed(&error.to_string()))?;
        for row in rows {
            let Some(embedding) = stream.next().await else {
                return failed("the engine returned fewer vectors than texts");
            };
            let embedding = embedding.or_else(|error| failed(&error.to_string()))?;
            place[row * dimensions..(row + 1) * dimensions].copy_from_slice(&embedding.vector);
        }
        Ok(())
    }
}

/// A text that cannot be embedded. The text itself is never part of a message.
fn refused_text<T>(error: &lexivec::Error) -> Result<T> {
    failed(&format!(
        "argument `text`: {error}. Leave such rows out with WHERE, or truncate long texts with --truncate"
    ))
}
