//! Files as tables: `--table NAME=PATH`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::context::SessionContext;
use url::Url;

/// The files of a folder that are read as one table at most.
const MOST_FILES: usize = 1_000_000;

/// A format of tables, by the ending of a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parquet,
    Csv,
    Tsv,
    JsonLines,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }

    fn reader(self) -> Arc<dyn FileFormat> {
        match self {
            Self::Parquet => Arc::new(ParquetFormat::default()),
            Self::Csv => Arc::new(csv()),
            Self::Tsv => Arc::new(csv().with_delimiter(b'\t')),
            Self::JsonLines => Arc::new(JsonFormat::default()),
        }
    }
}

/// CSV with a header. A quoted value may have line breaks, so a file is not divided at them.
fn csv() -> CsvFormat {
    CsvFormat::default()
        .with_has_header(true)
        .with_newlines_in_values(true)
}

/// The argument of `--table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableArg {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl FromStr for TableArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.trim().is_empty() && !path.is_empty() => Ok(Self {
                name: name.trim().to_owned(),
                path: path.into(),
            }),
            _ => Err("write NAME=PATH, such as terms=terms.csv".to_owned()),
        }
    }
}

/// A table whose files are known.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// In the order of their names, absolute, because executors have other working directories.
    pub(crate) files: Vec<PathBuf>,
    format: Format,
    schema: SchemaRef,
}

impl Table {
    /// Finds the files and reads the columns. A folder stands for its files, which have one format.
    ///
    /// # Errors
    /// There is no such file, its format is unknown, or its columns cannot be read.
    pub(crate) async fn open(
        argument: &TableArg,
        context: &SessionContext,
    ) -> anyhow::Result<Self> {
        let shown = argument.path.display();
        let files =
            files(&argument.path).with_context(|| format!("--table {}={shown}", argument.name))?;
        let format =
            one_format(&files).with_context(|| format!("--table {}={shown}", argument.name))?;
        if matches!(format, Format::Csv | Format::Tsv) {
            check_headers(&files).with_context(|| format!("--table {}={shown}", argument.name))?;
        }
        let mut table = Self {
            name: argument.name.clone(),
            files,
            format,
            schema: SchemaRef::new(datafusion::arrow::datatypes::Schema::empty()),
        };
        let config = table
            .config(&table.files)?
            .infer_schema(&context.state())
            .await;
        let config = config.with_context(|| {
            format!("--table {}={shown}: the columns cannot be read", table.name)
        })?;
        table.schema = config
            .file_schema
            .ok_or_else(|| anyhow!("{shown}: the columns cannot be read"))?;
        Ok(table)
    }

    fn config(&self, files: &[PathBuf]) -> anyhow::Result<ListingTableConfig> {
        let urls = files.iter().map(|file| {
            // A URL, because DataFusion would read `*` and `[` of a plain path as a pattern.
            let url = Url::from_file_path(file)
                .map_err(|()| anyhow!("{}: this is no absolute path", file.display()))?;
            Ok(ListingTableUrl::try_new(url, None)?)
        });
        let urls = urls.collect::<anyhow::Result<Vec<_>>>()?;
        // Any ending: the files are chosen already.
        let options = ListingOptions::new(self.format.reader()).with_file_extension("");
        Ok(ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options))
    }

    /// Registers the table in a session, with some of its files.
    ///
    /// # Errors
    /// The name is taken.
    pub(crate) fn register(
        &self,
        context: &SessionContext,
        files: &[PathBuf],
    ) -> anyhow::Result<()> {
        let config = self.config(files)?.with_schema(Arc::clone(&self.schema));
        let table = Arc::new(ListingTable::try_new(config)?);
        context.register_table(self.name.as_str(), table)?;
        Ok(())
    }

    /// Checks that a cluster sees rows of the table if there are any here. Its scheduler lists the files, and takes none for an empty table.
    ///
    /// # Errors
    /// It sees none, or the table cannot be read.
    pub(crate) async fn check_seen(
        &self,
        cluster: &SessionContext,
        here: &SessionContext,
    ) -> anyhow::Result<()> {
        self.register(here, &self.files)?;
        let has_rows = async |context: &SessionContext| -> anyhow::Result<bool> {
            let table = context.table(self.name.as_str()).await?;
            let batches = table.limit(0, Some(1))?.collect().await?;
            Ok(batches.iter().any(|batch| batch.num_rows() > 0))
        };
        ensure!(
            has_rows(cluster).await? || !has_rows(here).await?,
            "--table {}: the scheduler sees no rows of {}: mount the folder at the same path there, too",
            self.name,
            self.files[0].display()
        );
        Ok(())
    }
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let path = fs_err::canonicalize(path)?;
    if !path.is_dir() {
        return Ok(vec![path]);
    }
    let mut files = Vec::new();
    for entry in fs_err::read_dir(&path)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
        ensure!(
            files.len() <= MOST_FILES,
            "the folder has more than {MOST_FILES} files: join them to larger ones"
        );
    }
    ensure!(!files.is_empty(), "the folder has no files");
    files.sort();
    Ok(files)
}

fn one_format(files: &[PathBuf]) -> anyhow::Result<Format> {
    let mut found = None;
    for file in files {
        let shown = file.display();
        let Some(format) = Format::of(file) else {
            bail!(
                "{shown}: the format is not known: name the file .parquet, .csv, .tsv, .jsonl or .ndjson"
            );
        };
        let first = *found.get_or_insert(format);
        ensure!(
            first == format,
            "{shown}: the files of a table have one format, and this one has another"
        );
    }
    found.context("there is no file")
}

/// The longest first line of a CSV file that is read.
const LONGEST_HEADER: u64 = 1 << 20;

/// Checks that CSV files have the same first line. DataFusion reads columns by their place.
///
/// # Errors
/// A file has no line, another one than the first file, or cannot be read.
fn check_headers(files: &[PathBuf]) -> anyhow::Result<()> {
    let header = |file: &PathBuf| -> anyhow::Result<String> {
        let mut line = Vec::new();
        let limited = fs_err::File::open(file)?.take(LONGEST_HEADER);
        BufReader::new(limited).read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}').trim_end();
        ensure!(
            !line.is_empty(),
            "{}: the first line names no columns",
            file.display()
        );
        Ok(line.to_owned())
    };
    let Some((first, others)) = files.split_first() else {
        return Ok(());
    };
    let expected = header(first)?;
    for file in others {
        ensure!(
            header(file)? == expected,
            "{}: the first line is not that of {}: give all files of a table the same columns in the same order",
            file.display(),
            first.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_name_and_a_path() {
        let table: TableArg = "terms=a=b.csv".parse().unwrap();
        assert_eq!(
            (table.name.as_str(), table.path),
            ("terms", "a=b.csv".into())
        );
        for wrong in ["terms", "=a.csv", "terms="] {
            assert!(wrong.parse::<TableArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_stands_for_its_files_of_one_format() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "_manifest.json", ".hidden"] {
            fs_err::write(dir.path().join(name), "text\n").unwrap();
        }
        let found = files(dir.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
        assert_eq!(one_format(&found).unwrap(), Format::Csv);
        fs_err::write(dir.path().join("c.txt"), "").unwrap();
        let said = one_format(&files(dir.path()).unwrap())
            .unwrap_err()
            .to_string();
        assert!(said.contains("the format is not known"), "{said}");
        fs_err::write(dir.path().join("c.jsonl"), "").unwrap();
        fs_err::remove_file(dir.path().join("c.txt")).unwrap();
        let said = one_format(&files(dir.path()).unwrap())
            .unwrap_err()
            .to_string();
        assert!(said.contains("one format"), "{said}");
    }

    #[test]
    fn csv_files_of_a_table_have_the_same_header() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, contents: &str| {
            let path = dir.path().join(name);
            fs_err::write(&path, contents).unwrap();
            path
        };
        let (a, b) = (
            file("a.csv", "id,text\n1,x\n"),
            file("b.csv", "id,text\r\n2,y\r\n"),
        );
        assert!(check_headers(&[a.clone(), b]).is_ok());
        let said = |other| check_headers(&[a.clone(), other]).unwrap_err().to_string();
        assert!(
            said(file("c.csv", "text,id\nz,3\n")).contains("c.csv: the first line is not that of")
        );
        assert!(said(file("d.csv", "")).contains("d.csv: the first line names no columns"));
    }
}
