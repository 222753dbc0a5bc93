//! Texts of a column of a table.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use csv::ByteRecord;

use super::super::parquet;
use super::super::table::{Row, Table};
use super::{RowError, Rows, Text, filled};

/// The texts of a column. With `carry`, each comes with its row.
///
/// # Errors
/// There is no such column, or the first row cannot be read.
pub(super) fn texts(
    source: impl BufRead + 'static,
    name: String,
    delimiter: u8,
    column: &str,
    carry: bool,
) -> anyhow::Result<Rows> {
    let table = Table::new(source, delimiter).with_context(|| name.clone())?;
    let index = table
        .column(column)
        .map_err(|error| anyhow!("{name}: {error} (--column)"))?;
    let columns: Arc<[String]> = table.columns().into();
    Ok(Box::new(table.map(move |row| {
        let (line, row) = row.map_err(|error| RowError::File(error.context(name.clone())))?;
        let place = format!("{name}:{line}");
        let bad = |reason: &str, text: &[u8]| RowError::Bad {
            place: place.clone(),
            reason: reason.to_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        };
        match row {
            Row::Blank => Err(RowError::Empty { place }),
            Row::Uneven(record, reason) => Err(bad(&reason, &as_csv(&record))),
            Row::Fields(fields) => {
                let field = fields.get(index).unwrap_or_default();
                let Ok(text) = std::str::from_utf8(field) else {
                    return Err(bad("the field is not UTF-8 text", field));
                };
                let carried = match carry {
                    false => None,
                    true => match parquet::carried(&columns, &fields) {
                        Some(carried) => Some(carried),
                        None => return Err(bad("the row is not UTF-8 text", &as_csv(&fields))),
                    },
                };
                let text = filled(text, place)?;
                Ok(Text { carried, ..text })
            }
        }
    })))
}

/// A record as a line of a file, without the line's end.
fn as_csv(record: &ByteRecord) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing into memory cannot fail.
    let _ = writer.write_byte_record(record);
    let mut line = writer.into_inner().unwrap_or_default();
    line.truncate(line.trim_ascii_end().len());
    line
}
