//! The flags of a query.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use clap::builder::BoolishValueParser;

use super::ModelArgs;
use crate::embed::{Description, Embed};
use crate::job::{self, Job};
use crate::output::{self, FileFormat};
use crate::query;
use crate::session::Place;
use crate::tables::{Table, TableArg};

/// Partitions of a scan on a cluster: tasks for several executors.
const CLUSTER_PARTITIONS: u16 = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    /// The query. Statements before the last one, such as CREATE EXTERNAL TABLE, are separated by semicolons
    query: String,

    #[command(flatten)]
    model: ModelArgs,

    /// A file as a table: .parquet, .csv, .tsv, .jsonl or .ndjson, or a folder of files of one of these formats. May be repeated
    #[arg(short, long = "table", env = "LEXIVEC_TABLE", value_name = "NAME=PATH")]
    tables: Vec<TableArg>,

    /// Output file: .parquet, .csv or .jsonl. It appears when it is complete. Default: a table on standard output
    #[arg(
        short,
        long,
        env = "LEXIVEC_OUTPUT",
        value_name = "FILE",
        conflicts_with = "output_dir"
    )]
    output: Option<PathBuf>,

    /// Run the query once for each shard of a table, and write a folder: a .parquet file per shard, and _manifest.json. --resume continues
    /// a job that was stopped. The query must treat each row by itself
    #[arg(long, env = "LEXIVEC_OUTPUT_DIR", value_name = "DIR")]
    output_dir: Option<PathBuf>,

    /// Continue the job of --output-dir. Shards that are complete are not computed again
    #[arg(long, env = "LEXIVEC_RESUME", value_parser = BoolishValueParser::new(), requires = "output_dir")]
    resume: bool,

    /// The table whose files are the shards. Default: the only --table
    #[arg(
        long,
        env = "LEXIVEC_SHARD",
        value_name = "NAME",
        requires = "output_dir"
    )]
    shard: Option<String>,

    /// Files of the table in one shard
    #[arg(long, env = "LEXIVEC_SHARD_FILES", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), requires = "output_dir")]
    shard_files: u32,

    /// Shards that are computed at a time, so that executors have work while the last tasks of a shard run
    #[arg(long, env = "LEXIVEC_CONCURRENT_SHARDS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64), requires = "output_dir")]
    concurrent_shards: u16,

    /// Run on the cluster of this scheduler. All executors must see the tables' files at the same paths. Default: on this machine
    #[arg(long, env = "LEXIVEC_SCHEDULER", value_name = "HOST:PORT")]
    scheduler: Option<String>,

    /// Parts into which the scan of a table is divided. With one part, rows stay in the order of the files. Default: 1 on this machine, 16 on a
    /// cluster
    #[arg(long, env = "LEXIVEC_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    partitions: Option<u16>,

    /// Truncate texts that are too long instead of rejecting them
    #[arg(long, env = "LEXIVEC_TRUNCATE", value_parser = BoolishValueParser::new())]
    truncate: bool,
}

impl QueryArgs {
    /// Checks everything that needs no model, loads the model, and runs the query.
    ///
    /// # Errors
    /// The query, a table, the model or the output is wrong.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let place = self.scheduler.clone().map_or(Place::Here, Place::Cluster);
        place.check().await?;
        let default = if matches!(place, Place::Here) {
            1
        } else {
            CLUSTER_PARTITIONS
        };
        let partitions = usize::from(self.partitions.unwrap_or(default));
        let format = self.output.as_deref().map(FileFormat::of).transpose()?;
        let info = Arc::new(self.model.describe().await?);
        let description = Description::new(&info, self.truncate);
        let planned = Embed::planned(description.clone(), Some(info)).into_udf();
        let context = place.session(&planned, partitions)?;
        let mut tables = Vec::new();
        for argument in &self.tables {
            let is_new = tables
                .iter()
                .all(|table: &Table| table.name != argument.name);
            ensure!(is_new, "--table names {} twice", argument.name);
            let table = Table::open(argument, &context).await?;
            table.register(&context, &table.files)?;
            tables.push(table);
        }
        self.check_output(&tables)?;
        query::check(&context, &self.query).await?;
        if let Place::Cluster(_) = &place {
            let here = Place::Here.session(&planned, 1)?;
            for table in &tables {
                table.check_seen(&context, &here).await?;
            }
        }
        let job = match &self.output_dir {
            Some(folder) => {
                let shard = self.shard.as_deref();
                let divided = job::divided(&context, &self.query, &tables, shard).await?;
                Some(
                    Job::open(
                        folder,
                        self.resume,
                        &self.query,
                        &description,
                        &tables,
                        divided,
                        self.shard_files as usize,
                    )
                    .await?,
                )
            }
            None => None,
        };
        let embed = match &place {
            Place::Here => {
                Embed::loaded(description, Arc::new(self.model.load().await?)).into_udf()
            }
            Place::Cluster(_) => planned,
        };
        if let Some(job) = job {
            return job
                .run(
                    &place,
                    &embed,
                    partitions,
                    usize::from(self.concurrent_shards),
                )
                .await;
        }
        let context = place.session(&embed, partitions)?;
        for table in &tables {
            table.register(&context, &table.files)?;
        }
        let query = query::plan(&context, &self.query).await?;
        match (&self.output, format) {
            (Some(path), Some(format)) => {
                let rows = output::write(query, path, format).await?;
                eprintln!("{rows} rows");
            }
            _ => writeln!(std::io::stdout(), "{}", output::table(query).await?)?,
        }
        Ok(())
    }

    /// # Errors
    /// The output would replace a file of a table.
    fn check_output(&self, tables: &[Table]) -> anyhow::Result<()> {
        let output = self.output.as_deref().map(fs_err::canonicalize);
        if let Some(Ok(output)) = output {
            let is_input = tables.iter().any(|table| table.files.contains(&output));
            ensure!(
                !is_input,
                "--output {}: this is a file of a --table",
                output.display()
            );
        }
        Ok(())
    }
}
