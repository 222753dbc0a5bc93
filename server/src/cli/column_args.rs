//! Flags that name the columns of a file of terms.

use crate::terms::Columns;

/// The flags that name columns.
#[derive(Debug, clap::Args)]
pub(super) struct ColumnArgs {
    /// Column of the terms
    #[arg(
        long,
        env = "LEXIVEC_TERM_COLUMN",
        value_name = "NAME",
        default_value = "term"
    )]
    term_column: String,

    /// Column of the terms' languages. The column may be missing
    #[arg(
        long,
        env = "LEXIVEC_LANGUAGE_COLUMN",
        value_name = "NAME",
        default_value = "language"
    )]
    pub(super) language_column: String,

    /// Column of the terms' domains. The column may be missing
    #[arg(
        long,
        env = "LEXIVEC_DOMAIN_COLUMN",
        value_name = "NAME",
        default_value = "domain"
    )]
    domain_column: String,

    /// Column of the vectors in a .parquet or .arrow file
    #[arg(
        long,
        env = "LEXIVEC_VECTOR_COLUMN",
        value_name = "NAME",
        default_value = "embedding"
    )]
    pub(super) vector_column: String,
}

impl ColumnArgs {
    pub(super) fn names(&self) -> Columns<'_> {
        Columns {
            term: &self.term_column,
            language: &self.language_column,
            domain: &self.domain_column,
        }
    }
}
