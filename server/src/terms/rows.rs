//! Rows of a file of terms with all of their columns, from each of its formats.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use csv::ByteRecord;
use lexivec_models::text::without_mark;
use serde_json::Value;

#[cfg(not(feature = "parquet"))]
use crate::embed::NO_PARQUET;
#[cfg(feature = "parquet")]
use crate::embed::with_flag;
use crate::embed::{
    InputFormat, Reader, Row, RowError, Table, Text, is_url, json_object, json_reason, kind,
    missing, only_texts,
};

/// The most columns of a .jsonl file. Each row gets all of them, so objects that share no field would fill the memory.
const MOST_COLUMNS: usize = 1024;

/// A table of terms. Each row has a term, which is UTF-8 text and not empty.
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    /// As many fields as there are columns.
    pub(super) records: Vec<ByteRecord>,
    /// The column of the terms.
    pub(super) term: usize,
    /// Columns that have no place in a table of texts.
    pub(super) left_out: Vec<String>,
}

impl Rows {
    /// Reads a file whose column `term` has the terms.
    ///
    /// # Errors
    /// The file cannot be read, or a row has no term. The message names the file and the line.
    pub(super) fn read(path: &Path, format: InputFormat, term: &str) -> anyhow::Result<Self> {
        ensure!(!is_url(path), only_texts(path));
        match format {
            InputFormat::Csv => table(path, b',', term),
            InputFormat::Tsv => table(path, b'\t', term),
            InputFormat::JsonLines => objects(path, term),
            InputFormat::Lines => terms(path, term),
            InputFormat::Parquet | InputFormat::Arrow => parquet(path, term),
        }
    }
}

fn table(path: &Path, delimiter: u8, term: &str) -> anyhow::Result<Rows> {
    let name = path.display();
    let place = || name.to_string();
    let source = without_mark(fs_err::File::open(path)?).with_context(place)?;
    let table = Table::new(source, delimiter).with_context(place)?;
    let columns = table.columns().to_vec();
    let term = table.column(term);
    let term = term.map_err(|error| anyhow!("{name}: {error} (--term-column)"))?;
    let mut records = Vec::new();
    for row in table {
        let (line, row) = row.with_context(place)?;
        match row {
            Row::Fields(fields) => {
                let text = std::str::from_utf8(fields.get(term).unwrap_or_default());
                match text {
                    Ok(text) if !text.trim().is_empty() => records.push(fields),
                    Ok(_) => bail!("{name}:{line}: {NO_TERM}"),
                    Err(_) => bail!("{name}:{line}: the term is not UTF-8 text"),
                }
            }
            Row::Blank => bail!("{name}:{line}: {NO_TERM}"),
            Row::Uneven(_, reason) => bail!("{name}:{line}: {reason}"),
        }
    }
    Ok(Rows {
        columns,
        records,
        term,
        left_out: Vec::new(),
    })
}

const NO_TERM: &str = "there is no term in this row";

fn terms(path: &Path, term: &str) -> anyhow::Result<Rows> {
    let terms = lines(path)?.map(|line| Ok(ByteRecord::from(vec![line?.text])));
    Ok(Rows {
        columns: vec![term.to_owned()],
        records: terms.collect::<anyhow::Result<_>>()?,
        term: 0,
        left_out: Vec::new(),
    })
}

/// Lines that are not empty.
fn lines(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Text>>> {
    let reader = Reader::new(&[path.to_owned()], Some(InputFormat::Lines), "", "");
    let reader = reader.map_err(|reason| anyhow!(reason))?;
    Ok(reader.map(|line| {
        line.map_err(|error| match error {
            RowError::Empty { place } => anyhow!("{place}: {NO_TERM}"),
            RowError::File(error) => error,
            error => error.into(),
        })
    }))
}

/// The columns are the fields of all objects, in the order in which they first occur. A field that an object lacks is empty.
fn objects(path: &Path, term: &str) -> anyhow::Result<Rows> {
    let mut columns = Vec::new();
    let mut indices = HashMap::new();
    let mut rows: Vec<Vec<(usize, String)>> = Vec::new();
    for line in lines(path)? {
        let Text { text, place, .. } = line?;
        let fields = json_object(&text)
            .map_err(|error| anyhow!("{place}: {}", json_reason(&error, &text)))?;
        check_term(&fields, term).with_context(|| place.clone())?;
        let mut row = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let index = *indices.entry(name).or_insert_with_key(|name| {
                columns.push(name.clone());
                columns.len() - 1
            });
            row.push((index, as_field(value)));
        }
        ensure!(
            columns.len() <= MOST_COLUMNS,
            "{place}: the objects up to this line have more than {MOST_COLUMNS} different fields, which are too many columns"
        );
        rows.push(row);
    }
    let Some(term) = indices.get(term) else {
        bail!("{}: there is no term in the file", path.display());
    };
    let records = rows.into_iter().map(|row| {
        let mut fields = vec![String::new(); columns.len()];
        for (index, field) in row {
            fields[index] = field;
        }
        ByteRecord::from(fields)
    });
    Ok(Rows {
        records: records.collect(),
        term: *term,
        columns,
        left_out: Vec::new(),
    })
}

fn check_term(fields: &[(String, Value)], term: &str) -> anyhow::Result<()> {
    match fields.iter().find(|(name, _)| name == term) {
        Some((_, Value::String(text))) if text.trim().is_empty() => bail!(NO_TERM),
        Some((_, Value::String(_))) => Ok(()),
        Some((_, Value::Null)) => bail!("the term is null"),
        Some((_, value)) => bail!(
            "the field `{term}` holds {}, and a text is needed (--term-column)",
            kind(value)
        ),
        None => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            bail!("{} (--term-column)", missing("field", term, &names))
        }
    }
}

/// Columns of texts, numbers and truth values. Others, such as vectors, have no place in a table of texts.
#[cfg(feature = "parquet")]
fn parquet(path: &Path, term: &str) -> anyhow::Result<Rows> {
    let table = lexivec_tables::Table::open(path)?;
    let found = table.text_column(term);
    found.map_err(|error| with_flag(error, "--term-column"))?;
    let (columns, others) = table.columns_of_texts();
    let position = columns.iter().position(|column| column == term);
    let Some(term) = position else {
        bail!("{}: column `{term}` is no column of texts", path.display());
    };
    let mut records = Vec::new();
    table.for_each_row(|row, fields| {
        let place = || format!("{}: row {row}", path.display());
        match &fields[term] {
            None => bail!("{}: the term is null", place()),
            Some(text) if text.trim().is_empty() => bail!("{}: {NO_TERM}", place()),
            Some(_) => {}
        }
        let fields: Vec<String> = fields.into_iter().map(Option::unwrap_or_default).collect();
        records.push(ByteRecord::from(fields));
        Ok(())
    })?;
    Ok(Rows {
        columns,
        records,
        term,
        left_out: others,
    })
}

#[cfg(not(feature = "parquet"))]
fn parquet(path: &Path, _: &str) -> anyhow::Result<Rows> {
    bail!("{}: {NO_PARQUET}", path.display())
}

/// A value as a field of a table: texts as they are, null as an empty field, others as JSON.
fn as_field(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
