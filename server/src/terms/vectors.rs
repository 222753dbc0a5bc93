//! Vectors from a file, block by block.

use std::path::Path;

use ndarray::ArrayView2;

use super::npy::Npy;
#[cfg(not(feature = "parquet"))]
use crate::embed::NO_PARQUET;

/// A file of vectors: .npy, or a column of a .parquet file.
#[derive(Debug)]
pub(crate) enum Vectors {
    Npy(Npy),
    #[cfg(feature = "parquet")]
    Parquet(lexivec_tables::Vectors),
}

impl Vectors {
    /// Opens a file. `column` has the vectors of a .parquet file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no vectors.
    pub(crate) fn open(path: &Path, column: &str) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if !ending.is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) {
            return Ok(Self::Npy(Npy::open(path)?));
        }
        #[cfg(feature = "parquet")]
        {
            let vectors = lexivec_tables::Vectors::open(path, column);
            vectors
                .map(Self::Parquet)
                .map_err(|error| crate::embed::with_flag(error, "--vector-column"))
        }
        #[cfg(not(feature = "parquet"))]
        anyhow::bail!("{} ({column}): {NO_PARQUET}", path.display())
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Npy(npy) => npy.rows(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => usize::try_from(table.rows()).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Npy(npy) => npy.width(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.width(),
        }
    }

    /// The digest of the model that computed the vectors, if the file names it.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Npy(_) => None,
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.model(),
        }
    }

    /// Passes all rows to `take`, block by block, with the number of each block's first row.
    ///
    /// # Errors
    /// The file cannot be read, or `take` returns an error.
    pub(crate) fn for_each_block(
        &self,
        take: impl FnMut(usize, ArrayView2<'_, f32>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Npy(npy) => npy.for_each_block(take),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => {
                let mut take = take;
                table.for_each_block(|first, numbers| {
                    let width = table.width();
                    let rows = numbers.len() / width.max(1);
                    take(first, ArrayView2::from_shape((rows, width), numbers)?)
                })
            }
        }
    }
}
