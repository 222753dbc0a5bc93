//! Why an analysis fails.

use std::path::PathBuf;

/// An analysis that cannot be made. Each variant says which row, setting or file is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are too few rows for what was asked.
    #[error("{rows} rows are too few for {purpose}: at least {needed} are needed")]
    TooFewRows {
        /// How many there are.
        rows: u64,
        /// How many are needed.
        needed: u64,
        /// What they are needed for.
        purpose: &'static str,
    },
    /// There are more rows than row numbers of 32 bits.
    #[error(
        "{rows} rows are too many: at most {} can be compared with each other",
        u32::MAX
    )]
    TooManyRows {
        /// How many there are.
        rows: usize,
    },
    /// Rows have another width than the ones before, or than the projection takes.
    #[error("the vectors have {found} dimensions, but {expected} are expected")]
    Width {
        /// The width that is expected.
        expected: usize,
        /// The width that was found.
        found: usize,
    },
    /// The width is zero, or needs more memory than an analysis may take.
    #[error("vectors of {width} dimensions cannot be analysed: from 1 to {most} are possible")]
    UnsupportedWidth {
        /// The width.
        width: usize,
        /// The largest width.
        most: usize,
    },
    /// A number is NaN or infinite.
    #[error(
        "row {row}, dimension {column}: {value} is not a finite number, so the row has no distance to others: remove the row, or \
         compute its vector again"
    )]
    NotFinite {
        /// The row, counted from 0.
        row: u64,
        /// The dimension, counted from 0.
        column: usize,
        /// The number.
        value: f32,
    },
    /// A row's direction is needed, and the row is a zero vector.
    #[error(
        "row {row}: a zero vector has no direction, so its cosine distance is undefined: remove the row"
    )]
    ZeroVector {
        /// The row, counted from 0.
        row: u64,
    },
    /// A row is so long, or (cosine) so short, that products of its numbers leave float32's range.
    #[error(
        "row {row}: its length {length:.1e} is outside the range in which distances are exact ({range}): scale all rows"
    )]
    Length {
        /// The row, counted from 0.
        row: u64,
        /// Its Euclidean length.
        length: f64,
        /// The lengths that are possible.
        range: &'static str,
    },
    /// All rows are equal, so that no direction has variance.
    #[error("all {rows} rows are equal, so there are no principal components")]
    NoVariance {
        /// How many rows there are.
        rows: u64,
    },
    /// A setting is outside its range.
    #[error("{name} is {value}, and must be {range}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values that it may have.
        range: String,
    },
    /// Two lists that describe the same rows differ in length.
    #[error("there are {found} {name} for {expected} rows")]
    Count {
        /// What is listed.
        name: &'static str,
        /// How many rows there are.
        expected: usize,
        /// How many entries the list has.
        found: usize,
    },
    /// A projection belongs to another model than the vectors.
    #[error(
        "the projection was computed from vectors of the model {projection}, and these vectors are of the model {vectors}: \
         compute a projection from them"
    )]
    OtherModel {
        /// Digest of the projection's model.
        projection: String,
        /// Digest of the vectors' model.
        vectors: String,
    },
    /// A file is not a projection, or is damaged.
    #[error("{}: {reason}", path.display())]
    ProjectionFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

impl Error {
    pub(crate) fn setting(
        name: &'static str,
        value: impl ToString,
        range: impl Into<String>,
    ) -> Self {
        Self::Setting {
            name,
            value: value.to_string(),
            range: range.into(),
        }
    }
}

/// The result of an analysis.
pub type Result<T, E = Error> = std::result::Result<T, E>;
