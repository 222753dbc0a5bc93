//! A system for tests whose vectors are a function of the texts.

use crate::error::Result;
use crate::system::{Embedded, Embedder, System, SystemFacts, SystemKind};

type Vector = dyn FnMut(&[&str]) -> Vec<f32>;

/// Gives all texts of a call the same vector, or each text its own ([`FakeSystem::each`]).
pub(crate) struct FakeSystem {
    width: usize,
    vector: Box<Vector>,
    each: bool,
}

impl FakeSystem {
    pub(crate) fn new(width: usize, vector: impl FnMut(&[&str]) -> Vec<f32> + 'static) -> Self {
        Self {
            width,
            vector: Box::new(vector),
            each: false,
        }
    }

    /// Calls the function with one text at a time.
    pub(crate) fn each(width: usize, mut vector: impl FnMut(&str) -> Vec<f32> + 'static) -> Self {
        Self {
            each: true,
            ..Self::new(width, move |texts| vector(texts[0]))
        }
    }
}

impl Embedder for FakeSystem {
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let mut embedded = Embedded::new(self.width);
        let whole = (!self.each).then(|| (self.vector)(texts));
        for text in texts {
            let row = match &whole {
                Some(row) => row.clone(),
                None => (self.vector)(&[text]),
            };
            embedded.vectors.push(&row);
            embedded.lengths.push(text.split_whitespace().count());
        }
        embedded.tokens = Some(embedded.lengths.iter().sum());
        Ok(embedded)
    }
}

pub(crate) fn system(name: &str, fake: FakeSystem) -> System {
    System {
        facts: SystemFacts::new(name, SystemKind::Model, fake.width),
        embedder: Box::new(fake),
    }
}
