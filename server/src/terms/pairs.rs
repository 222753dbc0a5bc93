//! Pairs of similar terms: duplicates, and translations if the terms have languages.

use lexivec_terms::pairs::{Found, Options, Pair};
use ndarray::{Array2, s};
use serde::Serialize;

use super::{Terms, Vectors};

/// Pairs of terms whose vectors are similar, the most similar first.
#[derive(Debug)]
pub(crate) struct Pairs {
    pairs: Vec<(Kind, Pair)>,
    recall: f64,
}

/// What a pair of similar terms may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The terms have the same language, or the language of one is not known.
    Duplicate,
    /// The terms have different languages.
    Translation,
}

/// How many pairs there are.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct PairCounts {
    pub(crate) duplicates: usize,
    pub(crate) translations: usize,
    /// The share of a term's duplicates and translations that were found, the smaller one of both: 1 for an exact search, else measured
    /// on some terms.
    pub(crate) recall: f64,
}

impl Pairs {
    /// Finds pairs. A term's translations are searched apart from its duplicates, so that neither hides the other. Memory holds all
    /// vectors.
    ///
    /// # Errors
    /// The vectors cannot be read or compared.
    pub(crate) fn find(
        terms: &Terms,
        vectors: &Vectors,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let mut all = Array2::zeros((vectors.rows(), vectors.width()));
        vectors.for_each_block(|first, block| {
            let rows = first..first + block.nrows();
            all.slice_mut(s![rows, ..]).assign(&block);
            Ok(())
        })?;
        let (duplicates, translations) = match terms.has_languages() {
            true => {
                let found = options.find_by_groups(all.view(), &terms.languages())?;
                (found.others, found.between)
            }
            false => (options.find(all.view())?, Found::nothing()),
        };
        let recall = duplicates.recall.min(translations.recall);
        let named = |kind: Kind| move |pair: Pair| (kind, pair);
        let duplicates = duplicates.pairs.into_iter().map(named(Kind::Duplicate));
        let translations = translations.pairs.into_iter().map(named(Kind::Translation));
        let mut pairs: Vec<(Kind, Pair)> = duplicates.chain(translations).collect();
        pairs.sort_by(|(_, a), (_, b)| a.by_similarity(b));
        Ok(Self { pairs, recall })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Kind, Pair)> {
        self.pairs.iter()
    }

    pub(crate) fn counts(&self) -> PairCounts {
        let translations = self.pairs.iter();
        let translations = translations.filter(|(kind, _)| *kind == Kind::Translation);
        let translations = translations.count();
        PairCounts {
            duplicates: self.pairs.len() - translations,
            translations,
            recall: self.recall,
        }
    }
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Translation => "translation",
        }
    }
}
