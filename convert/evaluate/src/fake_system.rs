//! A side for tests: its vectors are a function of the texts.

use super::embedder::{Embedded, Embedder, Facts, Side, SideKind};
use super::error::Result;

type Answer = dyn FnMut(&[&str]) -> Vec<f32>;

/// Gives every text of a call the same vector, or, by [`Fake::each`], each its own.
pub(crate) struct Fake {
    width: usize,
    answer: Box<Answer>,
    each: bool,
}

impl Fake {
    pub(crate) fn new(width: usize, answer: impl FnMut(&[&str]) -> Vec<f32> + 'static) -> Self {
        Self {
            width,
            answer: Box::new(answer),
            each: false,
        }
    }

    /// The function is called with one text at a time.
    pub(crate) fn each(width: usize, mut answer: impl FnMut(&str) -> Vec<f32> + 'static) -> Self {
        Self {
            each: true,
            ..Self::new(width, move |texts| answer(texts[0]))
        }
    }
}

impl Embedder for Fake {
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let mut embedded = Embedded::new(self.width);
        let whole = (!self.each).then(|| (self.answer)(texts));
        for text in texts {
            let row = match &whole {
                Some(row) => row.clone(),
                None => (self.answer)(&[text]),
            };
            embedded.vectors.push(&row);
            embedded.lengths.push(text.split_whitespace().count());
        }
        embedded.tokens = Some(embedded.lengths.iter().sum());
        Ok(embedded)
    }
}

pub(crate) fn side(name: &str, fake: Fake) -> Side {
    Side {
        facts: Facts {
            name: name.to_owned(),
            given: name.to_owned(),
            kind: SideKind::Model,
            source: None,
            precision: None,
            execution_provider: None,
            width: fake.width,
            max_length: None,
            bytes: None,
            footprint: None,
            notes: Vec::new(),
        },
        embedder: Box::new(fake),
    }
}
