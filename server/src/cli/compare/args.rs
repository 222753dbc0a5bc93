//! The flags of `lexivec compare` but those of its data, and the settings that they select.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use lexivec_evaluate::{Bootstrap, ComparisonReport, ComparisonSettings, Gate, Gates};

use crate::cli::Usage;
use crate::paths::check_output;
use crate::stdio::say;

/// The measures of a comparison.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Measures")]
pub(super) struct MeasureArgs {
    /// Widths to compare at besides full width. Larger widths are left out. The default halves the width, as in the training
    /// of Matryoshka models
    #[arg(
        short,
        long,
        env = "LEXIVEC_COMPARE_DIMENSIONS",
        value_delimiter = ',',
        default_value = "1024,512,256,128,64,32"
    )]
    dimensions: Vec<usize>,

    /// The most texts among which neighbours and pairs are compared; more texts are sampled with the seed. The work grows with
    /// the square: 2000 texts have two million pairs
    #[arg(
        long,
        env = "LEXIVEC_NEIGHBOUR_TEXTS",
        value_name = "N",
        default_value_t = 2000
    )]
    neighbour_texts: usize,

    /// Resamples of each confidence interval; 0 for no intervals. With 2000, the ends vary by a few hundredths of the
    /// interval's width
    #[arg(
        long,
        env = "LEXIVEC_RESAMPLES",
        value_name = "N",
        default_value_t = 2000
    )]
    resamples: usize,

    /// Seed of samples and resamples. The same seed gives the same report, except for times
    #[arg(long, env = "LEXIVEC_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Seconds to spend on measuring each candidate's speed, alternating with the baseline; 0 to skip it. Ten seconds give a small
    /// model some twenty rounds. At least three rounds run, however long they take
    #[arg(
        long,
        env = "LEXIVEC_SPEED_SECONDS",
        value_name = "S",
        default_value_t = 10.0
    )]
    speed_seconds: f64,
}

/// The bounds that candidates must keep, all at full width. Default: none.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gates (exit code 1 names those that failed)")]
pub(super) struct GateArgs {
    /// Least cosine to the baseline that every text must have
    #[arg(long, env = "LEXIVEC_MIN_COSINE", value_name = "X")]
    min_cosine: Option<f64>,

    /// Least mean cosine to the baseline
    #[arg(long, env = "LEXIVEC_MIN_MEAN_COSINE", value_name = "X")]
    min_mean_cosine: Option<f64>,

    /// Least mean overlap of the ten nearest neighbours with the baseline's
    #[arg(long, env = "LEXIVEC_MIN_OVERLAP", value_name = "X")]
    min_overlap: Option<f64>,

    /// Largest allowed drop of nDCG@10 on the retrieval set
    #[arg(
        long,
        env = "LEXIVEC_MAX_NDCG_DROP",
        value_name = "X",
        requires = "retrieval"
    )]
    max_ndcg_drop: Option<f64>,
}

/// The files of the whole report. Its brief form goes to standard output.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Report")]
pub(super) struct OutputArgs {
    /// Write the report as JSON, with every figure
    #[arg(long, env = "LEXIVEC_COMPARE_JSON", value_name = "PATH")]
    json: Option<PathBuf>,

    /// Write the report as Markdown
    #[arg(long, env = "LEXIVEC_COMPARE_MARKDOWN", value_name = "PATH")]
    markdown: Option<PathBuf>,

    /// Write the report as one self-contained HTML page with plots
    #[arg(long, env = "LEXIVEC_COMPARE_HTML", value_name = "PATH")]
    html: Option<PathBuf>,
}

/// The models and keys of servers.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Servers")]
pub(super) struct EndpointArgs {
    /// Model of servers whose address names none. Default: the only one that a server lists
    #[arg(long, env = "LEXIVEC_COMPARE_MODEL", value_name = "NAME")]
    pub(super) model: Option<String>,

    /// API key of a server. With several servers, one key for each, in their order, separated by commas, so that no server gets
    /// another one's key. The environment variable keeps keys out of the process list
    #[arg(
        long,
        env = "LEXIVEC_API_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(super) api_key: Vec<String>,
}

impl MeasureArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// [`Usage`].
    pub(super) fn settings(&self) -> Result<ComparisonSettings, Usage> {
        if self.dimensions.contains(&0) {
            return Err(Usage("--dimensions must be at least 1".to_owned()));
        }
        let speed = Duration::try_from_secs_f64(self.speed_seconds);
        Ok(ComparisonSettings {
            dimensions: self.dimensions.clone(),
            neighbour_texts: self.neighbour_texts,
            bootstrap: Bootstrap {
                resamples: self.resamples,
                seed: self.seed,
            },
            speed: speed
                .map_err(|_| Usage("--speed-seconds must be a time in seconds".to_owned()))?,
        })
    }
}

/// The flag that sets a gate.
pub(super) fn flag_of(gate: Gate) -> &'static str {
    match gate {
        Gate::MinCosine => "--min-cosine",
        Gate::MinMeanCosine => "--min-mean-cosine",
        Gate::MinOverlap => "--min-overlap",
        Gate::MaxNdcgDrop => "--max-ndcg-drop",
    }
}

impl GateArgs {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Usage`].
    pub(super) fn checked(&self) -> Result<Gates, Usage> {
        let bounds = [
            (Gate::MinCosine, self.min_cosine, -1.0..=1.0),
            (Gate::MinMeanCosine, self.min_mean_cosine, -1.0..=1.0),
            (Gate::MinOverlap, self.min_overlap, 0.0..=1.0),
            (Gate::MaxNdcgDrop, self.max_ndcg_drop, 0.0..=1.0),
        ];
        for (gate, bound, range) in bounds {
            if bound.is_some_and(|b| !range.contains(&b)) {
                let (start, end) = (range.start(), range.end());
                let flag = flag_of(gate);
                return Err(Usage(format!("{flag} is a number from {start} to {end}")));
            }
        }
        Ok(Gates {
            min_cosine: self.min_cosine,
            min_mean_cosine: self.min_mean_cosine,
            min_overlap: self.min_overlap,
            max_ndcg_drop: self.max_ndcg_drop,
        })
    }
}

impl OutputArgs {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.json, &self.markdown, &self.html]
            .into_iter()
            .flatten()
    }

    /// Checks before the comparison that the report can be written.
    ///
    /// # Errors
    /// The folder of a file does not exist, or the file is one of the inputs.
    pub(super) fn check(&self, inputs: &[&Path]) -> anyhow::Result<()> {
        for path in self.paths() {
            check_output(path, inputs.iter().copied())?;
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if path.is_dir() || !folder.is_dir() {
                bail!(
                    "{}: a report cannot be written there: its folder must exist",
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// Writes the requested files, and prints their names.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn write(&self, report: &ComparisonReport) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            let mut text = serde_json::to_string_pretty(report).context("the report as JSON")?;
            text.push('\n');
            fs_err::write(path, text)?;
        }
        if let Some(path) = &self.markdown {
            fs_err::write(path, report.to_markdown())?;
        }
        if let Some(path) = &self.html {
            fs_err::write(path, report.to_html()?)?;
        }
        let written: Vec<_> = self.paths().map(|p| p.display().to_string()).collect();
        if !written.is_empty() {
            say!("the whole report: {}", written.join(", "));
        }
        Ok(())
    }
}
