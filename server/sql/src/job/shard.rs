//! One shard: a query over some files of a table.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::logical_expr::ScalarUDF;
use lexivec_models::FileRecord;

use super::inputs::Inputs;
use super::manifest::Part;
use crate::embed::NAME;
use crate::output::{self, FileFormat};
use crate::query;
use crate::session::Place;
use crate::tables::Table;

/// How often a shard is tried on a cluster. Ballista computes the tasks of a lost executor again; a result that was lost with its executor after
/// the query ended needs the whole shard again.
const ATTEMPTS: u32 = 3;
/// The wait before another attempt.
const PAUSE: Duration = Duration::from_secs(2);

/// The files of a shard, and the place of its result.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) query: String,
    pub(super) tables: Vec<Table>,
    /// The place of the table that has only the shard's files.
    pub(super) divided: usize,
    pub(super) files: Vec<PathBuf>,
    pub(super) inputs: Arc<Inputs>,
    pub(super) path: PathBuf,
}

impl Shard {
    /// Computes the shard and writes its part.
    ///
    /// # Errors
    /// The query fails, on a cluster several times; or the scheduler is gone.
    pub(super) async fn run(
        &self,
        place: &Place,
        embed: &ScalarUDF,
        partitions: usize,
    ) -> anyhow::Result<Part> {
        let mut attempt = 1;
        loop {
            match self.attempt(place, embed, partitions).await {
                Ok(rows) => {
                    self.check_inputs()?;
                    return self.part(rows).await;
                }
                Err(error) if is_permanent(&error, place) || attempt == ATTEMPTS => {
                    return Err(error);
                }
                Err(error) => eprintln!(
                    "{}: attempt {attempt} of {ATTEMPTS} failed: {error:#}",
                    self.path.display()
                ),
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
            place.check().await?;
        }
    }

    /// A file that is gone has no rows for DataFusion.
    fn check_inputs(&self) -> anyhow::Result<()> {
        self.inputs.check(&self.files)?;
        for (number, table) in self.tables.iter().enumerate() {
            if number != self.divided {
                self.inputs.check(&table.files)?;
            }
        }
        Ok(())
    }

    async fn attempt(
        &self,
        place: &Place,
        embed: &ScalarUDF,
        partitions: usize,
    ) -> anyhow::Result<usize> {
        let context = place.session(embed, partitions)?;
        for (number, table) in self.tables.iter().enumerate() {
            let files = if number == self.divided {
                &self.files
            } else {
                &table.files
            };
            table.register(&context, files)?;
        }
        let query = query::plan(&context, &self.query).await?;
        output::write(query, &self.path, FileFormat::Parquet).await
    }

    async fn part(&self, rows: usize) -> anyhow::Result<Part> {
        let path = self.path.clone();
        let record = tokio::task::spawn_blocking(move || FileRecord::sha256(&path)).await??;
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Part {
            file: file.into_owned(),
            rows,
            record,
        })
    }
}

/// Whether another attempt would fail in the same way: the function refuses an argument, and on this machine nothing is ever lost.
fn is_permanent(error: &anyhow::Error, place: &Place) -> bool {
    // Errors of executors arrive as text.
    let refused = format!("{NAME}(): argument");
    matches!(place, Place::Here) || format!("{error:#}").contains(&refused)
}
