//! A query in shards: each runs as a query of its own, and its result is a file that is complete or absent.
//!
//! The shards and their manifest are on the client's side, so a job outlives the cluster that it runs on, and the client.

mod divisible;
mod inputs;
mod manifest;
mod shard;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use datafusion::common::TableReference;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::embed::Description;
use crate::query;
use crate::session::Place;
use crate::tables::Table;
use inputs::Inputs;
use manifest::{InputTable, Manifest, Settings};
use shard::Shard;

/// The place of the table that a job divides, and whose files make its shards.
///
/// # Errors
/// There are several tables and none is named, or the query cannot be divided.
pub(crate) async fn divided(
    context: &SessionContext,
    query: &str,
    tables: &[Table],
    named: Option<&str>,
) -> anyhow::Result<usize> {
    let divided = match (named, tables) {
        (None, [_]) => 0,
        (None, []) => {
            bail!("--output-dir needs a table, whose files are the shards: add --table NAME=PATH")
        }
        (None, _) => bail!(
            "--output-dir divides one table, and here are {}: name it with --shard NAME",
            tables.len()
        ),
        (Some(name), tables) => {
            let place = tables.iter().position(|table| table.name == name);
            place.with_context(|| format!("--shard {name}: there is no --table of this name"))?
        }
    };
    let plan = query::only_plan(context, query).await?;
    let table = TableReference::from(tables[divided].name.as_str());
    divisible::check(&plan, table.table())?;
    Ok(divided)
}

/// A job whose folder is open and checked.
pub(crate) struct Job {
    folder: PathBuf,
    manifest: Manifest,
    tables: Vec<Table>,
    /// The place of the table that is divided.
    divided: usize,
    files_per_shard: usize,
    /// What each input was when the job began.
    inputs: Arc<Inputs>,
    /// Another process would write the same parts.
    _lock: fs_err::File,
}

impl Job {
    /// Reads all inputs once, to recognise them, and opens the folder.
    ///
    /// # Errors
    /// An input cannot be read, or the folder belongs to another job or holds other files.
    pub(crate) async fn open(
        folder: &Path,
        resume: bool,
        query: &str,
        model: &Description,
        tables: &[Table],
        divided: usize,
        files_per_shard: usize,
    ) -> anyhow::Result<Self> {
        let named: Vec<_> = tables
            .iter()
            .map(|table| (table.name.clone(), table.files.clone()))
            .collect();
        let inputs = tokio::task::spawn_blocking(move || {
            let files = named.iter().flat_map(|(_, files)| files);
            let identities = Inputs::of(files)?;
            let read = named
                .into_iter()
                .map(|(name, files)| InputTable::read(name, &files));
            Ok((identities, read.collect::<anyhow::Result<_>>()?))
        });
        let inputs: anyhow::Result<(Inputs, Vec<InputTable>)> = inputs.await?;
        let (identities, inputs) = inputs?;
        let settings = Settings {
            query: query.to_owned(),
            model: model.clone(),
            divided: tables[divided].name.clone(),
            files_per_shard,
            tables: inputs,
        };
        let shards = tables[divided].files.len().div_ceil(files_per_shard);
        let (folder, lock) = manifest::lock(folder)?;
        let opened = folder.clone();
        // Parts of an earlier run are read again, to recognise them.
        let manifest =
            tokio::task::spawn_blocking(move || Manifest::open(&opened, settings, shards, resume));
        Ok(Self {
            manifest: manifest.await??,
            folder,
            tables: tables.to_vec(),
            divided,
            files_per_shard,
            inputs: Arc::new(identities),
            _lock: lock,
        })
    }

    /// Computes the shards that have no result yet, several at a time.
    ///
    /// # Errors
    /// A shard fails for good. The results before it stay.
    pub(crate) async fn run(
        mut self,
        place: &Place,
        embed: &ScalarUDF,
        partitions: usize,
        at_a_time: usize,
    ) -> anyhow::Result<()> {
        let mut waiting: VecDeque<usize> = self.manifest.missing().collect();
        let (all, done_before) = (
            self.manifest.shards(),
            self.manifest.shards() - waiting.len(),
        );
        if done_before > 0 {
            eprintln!("{done_before} of {all} shards were complete");
        }
        let started = Instant::now();
        let (mut rows, mut done) = (0, done_before);
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < at_a_time
                && let Some(number) = waiting.pop_front()
            {
                let shard = self.shard(number);
                let (place, embed) = (place.clone(), embed.clone());
                running.push(async move { (number, shard.run(&place, &embed, partitions).await) });
            }
            let Some((number, outcome)) = running.next().await else {
                break;
            };
            let part = outcome.with_context(|| self.unfinished(number))?;
            rows += part.rows;
            done += 1;
            let rate = rows as f64 / started.elapsed().as_secs_f64();
            eprintln!(
                "{}: {} rows; {done} of {all} shards, {rate:.0} rows/s",
                part.file, part.rows
            );
            self.manifest.add(&self.folder, number, part)?;
        }
        self.manifest.finish(&self.folder)?;
        eprintln!(
            "{} rows in {all} parts: {}",
            self.manifest.rows(),
            self.folder.display()
        );
        Ok(())
    }

    fn shard(&self, number: usize) -> Shard {
        let begin = number * self.files_per_shard;
        let files = &self.tables[self.divided].files;
        let end = files.len().min(begin + self.files_per_shard);
        Shard {
            query: self.manifest.query().to_owned(),
            tables: self.tables.clone(),
            divided: self.divided,
            files: files[begin..end].to_vec(),
            inputs: Arc::clone(&self.inputs),
            path: self.folder.join(manifest::part_name(number)),
        }
    }

    fn unfinished(&self, number: usize) -> String {
        format!(
            "shard {number} failed. Complete parts are kept in {}, and the same command with --resume continues",
            self.folder.display()
        )
    }
}
