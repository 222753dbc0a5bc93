//! Vectors from a file, block by block.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use super::npy::Npy;
#[cfg(not(feature = "parquet"))]
use crate::embed::NO_PARQUET;
use crate::embed::is_table;

/// Vectors of a .npy file, of a column of a .parquet or .arrow file, or in memory.
#[derive(Debug)]
pub(crate) enum Vectors {
    Memory(Array2<f32>),
    Npy(Npy),
    #[cfg(feature = "parquet")]
    Parquet(lexivec_tables::Vectors),
}

impl Vectors {
    /// Opens a file. `column` has the vectors of a .parquet or .arrow file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no vectors.
    pub(crate) fn open(path: &Path, column: &str) -> anyhow::Result<Self> {
        if !is_table(path) {
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

    /// Whether a file is a .parquet or .arrow file with a column of this name.
    ///
    /// # Errors
    /// It is one, and cannot be read.
    #[cfg(feature = "parquet")]
    pub(crate) fn is_in(path: &Path, column: &str) -> anyhow::Result<bool> {
        Ok(is_table(path) && lexivec_tables::Table::open(path)?.has_column(column))
    }

    /// As with the feature `parquet`.
    #[cfg(not(feature = "parquet"))]
    pub(crate) fn is_in(_: &Path, _: &str) -> anyhow::Result<bool> {
        Ok(false)
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Memory(vectors) => vectors.nrows(),
            Self::Npy(npy) => npy.rows(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => usize::try_from(table.rows()).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Memory(vectors) => vectors.ncols(),
            Self::Npy(npy) => npy.width(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.width(),
        }
    }

    /// The digest of the model that computed the vectors, if the file names it.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Memory(_) | Self::Npy(_) => None,
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.model(),
        }
    }

    /// Whether the file says that a projection reduced the vectors.
    pub(crate) fn is_projected(&self) -> bool {
        match self {
            Self::Memory(_) | Self::Npy(_) => false,
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.is_projected(),
        }
    }

    /// Passes all rows to `take`, block by block, with the number of each block's first row.
    ///
    /// # Errors
    /// The file cannot be read, or `take` returns an error.
    pub(crate) fn for_each_block(
        &self,
        mut take: impl FnMut(usize, ArrayView2<'_, f32>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Memory(vectors) => take(0, vectors.view()),
            Self::Npy(npy) => npy.for_each_block(take),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.for_each_block(|first, numbers| {
                let width = table.width();
                let rows = numbers.len() / width.max(1);
                take(first, ArrayView2::from_shape((rows, width), numbers)?)
            }),
        }
    }
}
