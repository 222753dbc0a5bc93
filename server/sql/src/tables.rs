//! Files as tables: `--table NAME=PATH`.

mod csv_files;

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
    Csv { delimiter: u8 },
    JsonLines,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv { delimiter: b',' }),
            "tsv" => Some(Self::Csv { delimiter: b'\t' }),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// What reads the files. Those of CSV are divided unless their values may have line breaks.
    fn reader(self, line_breaks: bool) -> Arc<dyn FileFormat> {
        match self {
            Self::Parquet => Arc::new(ParquetFormat::default()),
            Self::Csv { delimiter } => {
                let csv = CsvFormat::default().with_has_header(true);
                let csv = csv.with_delimiter(delimiter);
                Arc::new(csv.with_newlines_in_values(line_breaks))
            }
            Self::JsonLines => Arc::new(JsonFormat::default()),
        }
    }
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
    /// Whether values of CSV files may have line breaks.
    line_breaks: bool,
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
        let named = || format!("--table {}={shown}", argument.name);
        let files = files(&argument.path).with_context(named)?;
        let format = one_format(&files).with_context(named)?;
        let mut line_breaks = true;
        if let Format::Csv { delimiter } = format {
            csv_files::check_headers(&files).with_context(named)?;
            if context.copied_config().target_partitions() > 1 {
                let files = files.clone();
                // It reads whole files, and Ctrl-C must not wait for that.
                let found = move || csv_files::have_line_breaks(&files, delimiter);
                let found = tokio::task::spawn_blocking(found).await?;
                line_breaks = found.with_context(named)?;
            }
        }
        let mut table = Self {
            name: argument.name.clone(),
            files,
            format,
            line_breaks,
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
        let options =
            ListingOptions::new(self.format.reader(self.line_breaks)).with_file_extension("");
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
        for name in ["b.CSV", "a.csv", "_manifest.json", ".hidden"] {
            fs_err::write(dir.path().join(name), "text\n").unwrap();
        }
        let found = files(dir.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.csv", "b.CSV"]);
        assert_eq!(one_format(&found).unwrap(), Format::Csv { delimiter: b',' });
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

    #[tokio::test]
    async fn a_cluster_that_sees_no_rows_is_an_error_if_there_are_any_here() {
        let dir = tempfile::tempdir().unwrap();
        let session = async |contents: &str| {
            let path = dir.path().join(format!("{}.csv", contents.len()));
            fs_err::write(&path, contents).unwrap();
            let name = "terms".to_owned();
            let context = SessionContext::new();
            let table = Table::open(&TableArg { name, path }, &context).await;
            (table.unwrap(), context)
        };
        let (full, _) = session("text\na\n").await;
        let (empty, sees_none) = session("text\n").await;
        empty.register(&sees_none, &empty.files).unwrap();
        let seen = full.check_seen(&sees_none, &SessionContext::new()).await;
        let said = seen.unwrap_err().to_string();
        assert!(said.contains("the scheduler sees no rows"), "{said}");
        assert!(
            empty
                .check_seen(&sees_none, &SessionContext::new())
                .await
                .is_ok()
        );
        let sees_all = SessionContext::new();
        full.register(&sees_all, &full.files).unwrap();
        assert!(
            full.check_seen(&sees_all, &SessionContext::new())
                .await
                .is_ok()
        );
    }
}
