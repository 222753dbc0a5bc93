//! Results: a table for people, or a file that is complete or absent.

mod columns;
mod file;

use anyhow::Context as _;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::dataframe::DataFrame;
use futures_util::StreamExt as _;
use std::path::Path;

pub(crate) use file::FileFormat;
use file::Partial;

/// Rows that are printed at most. A terminal shows no more, and a file is the place for them.
const MOST_PRINTED: usize = 1000;

/// The table that a terminal shows. Vectors are shortened.
///
/// # Errors
/// The query fails.
pub(crate) async fn table(query: DataFrame) -> anyhow::Result<String> {
    let schema = query.schema().as_arrow().clone();
    let mut stream = query.execute_stream().await?;
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let shown = batch.num_rows().min(MOST_PRINTED.saturating_sub(rows));
        if shown > 0 {
            batches.push(columns::shortened(&batch.slice(0, shown))?);
        }
        rows += batch.num_rows();
    }
    if batches.is_empty() {
        batches.push(columns::shortened(&RecordBatch::new_empty(schema.into()))?);
    }
    let mut text = pretty_format_batches(&batches)?.to_string();
    if rows > MOST_PRINTED {
        text += &format!("\n{MOST_PRINTED} of {rows} rows: --output FILE writes all of them");
    }
    Ok(text)
}

/// Writes the result of a query to a file, which appears when it is complete. Returns the number of rows.
///
/// # Errors
/// The query fails, or the file cannot be written; there is no new file then.
pub(crate) async fn write(
    query: DataFrame,
    path: &Path,
    format: FileFormat,
) -> anyhow::Result<usize> {
    let schema = query.schema().as_arrow().clone();
    let mut partial = Partial::create(path, format, &schema.into())?;
    let mut stream = query.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        partial
            .write(&batch)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    partial
        .finish(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(rows)
}
