//! The flags of `lexivec compare`, and the settings and data that they select.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use lexivec_evaluate::{
    Bootstrap, CONFIDENCE, ComparisonData, ComparisonReport, ComparisonSettings, DataFacts, Gate,
    Gates, PairFacts, RetrievalFacts, Sample, beir, built_in, drop_duplicates,
};

use super::pair_files;
use crate::cli::Usage;
use crate::cli::common::{DomainArgs, TextArgs, all_texts};
use crate::paths::check_output;
use crate::prefix::instruction;
use crate::stdio::say;

/// The data of a comparison.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Data")]
pub(super) struct DataArgs {
    /// File of texts: .txt (one text per line), .jsonl or .csv. May be repeated. Default: built-in terms, sentences, code and
    /// documents in some fifty languages
    #[arg(
        long,
        env = "LEXIVEC_TEXTS",
        value_name = "FILE",
        value_delimiter = ','
    )]
    texts: Vec<PathBuf>,

    #[command(flatten)]
    places: TextArgs,

    /// File of scored pairs of texts: .csv, .tsv or .jsonl. Adds the Spearman and Pearson correlations of cosines and scores
    #[arg(long, env = "LEXIVEC_PAIRS", value_name = "FILE")]
    pairs: Option<PathBuf>,

    /// Columns of the two texts and the score in that file
    #[arg(
        long,
        env = "LEXIVEC_PAIR_COLUMNS",
        value_name = "A,B,SCORE",
        value_delimiter = ',',
        default_value = "text_a,text_b,score"
    )]
    pair_columns: Vec<String>,

    /// Folder of a retrieval set in BEIR's form (corpus.jsonl, queries.jsonl, qrels/*.tsv). Adds nDCG@10, recall and MRR
    #[arg(long, env = "LEXIVEC_RETRIEVAL", value_name = "DIR")]
    retrieval: Option<PathBuf>,

    /// Split of the retrieval set: its judgements are read from qrels/SPLIT.tsv. Default: test, or the only split
    #[arg(long, env = "LEXIVEC_SPLIT", requires = "retrieval")]
    split: Option<String>,

    /// Instruction before each query of the retrieval set, in your words. Documents and all other texts get none
    #[arg(long, env = "LEXIVEC_INSTRUCTION", conflicts_with = "domain")]
    instruction: Option<String>,

    /// Domain whose instruction is put before each query: general, medical, legal, finance, engineering, code
    #[arg(long, env = "LEXIVEC_DOMAIN")]
    domain: Option<String>,

    #[command(flatten)]
    domains: DomainArgs,
}

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

impl DataArgs {
    /// Reads the data.
    ///
    /// # Errors
    /// A file cannot be read or is damaged, or [`Usage`].
    pub(super) fn read(
        &self,
        settings: &ComparisonSettings,
    ) -> anyhow::Result<(ComparisonData, DataFacts)> {
        let mut texts = self.read_texts()?;
        let duplicates = drop_duplicates(&mut texts);
        let [a, b, score] = self.pair_columns.as_slice() else {
            return Err(Usage("--pair-columns names three columns: A,B,SCORE".to_owned()).into());
        };
        let columns = pair_files::Columns {
            a: a.clone(),
            b: b.clone(),
            score: score.clone(),
        };
        let pairs = match &self.pairs {
            Some(path) => pair_files::read(path, &columns)?,
            None => Vec::new(),
        };
        let instruction = self.instruction()?;
        let retrieval = self.retrieval.as_deref();
        let retrieval = retrieval
            .map(|dir| beir::read(dir, self.split.as_deref(), instruction))
            .transpose()?;
        let facts = DataFacts {
            source: self.source(),
            texts: texts.len(),
            duplicates,
            sampled: texts.len().min(settings.neighbour_texts),
            length_unit: "tokens".to_owned(),
            pairs: self.pairs.as_ref().map(|path| PairFacts {
                source: path.display().to_string(),
                pairs: pairs.len(),
            }),
            retrieval: retrieval.as_ref().map(|set| RetrievalFacts {
                source: set.name.clone(),
                queries: set.queries.len(),
                documents: set.documents.len(),
                instruction: set.instruction.clone(),
            }),
            seed: settings.bootstrap.seed,
            resamples: settings.bootstrap.resamples,
            confidence: CONFIDENCE,
        };
        let data = ComparisonData {
            texts,
            pairs,
            retrieval,
        };
        Ok((data, facts))
    }

    fn source(&self) -> String {
        if self.texts.is_empty() {
            return "the built-in set".to_owned();
        }
        let names: Vec<_> = self.texts.iter().map(|p| p.display().to_string()).collect();
        names.join(", ")
    }

    /// The input files.
    pub(super) fn files(&self) -> Vec<&Path> {
        self.texts
            .iter()
            .chain(&self.pairs)
            .map(PathBuf::as_path)
            .collect()
    }

    fn read_texts(&self) -> anyhow::Result<Vec<Sample>> {
        if self.texts.is_empty() {
            return Ok(built_in());
        }
        let reader = self.places.reader(&self.texts)?;
        let texts = all_texts(reader)?.into_iter();
        let samples: Vec<Sample> = texts
            .map(|text| Sample {
                text: text.text,
                place: text.place,
                kind: None,
            })
            .collect();
        if samples.len() < 2 {
            bail!(
                "{}: {} texts are too few for a comparison",
                self.source(),
                samples.len()
            );
        }
        Ok(samples)
    }

    fn instruction(&self) -> anyhow::Result<Option<String>> {
        if self.retrieval.is_none() && (self.instruction.is_some() || self.domain.is_some()) {
            return Err(Usage(
                "--instruction and --domain are for the queries of a retrieval set: give --retrieval as well"
                    .to_owned(),
            )
            .into());
        }
        if let Some(domain) = &self.domain {
            return Ok(Some(self.domains.load()?.get(domain)?.to_owned()));
        }
        self.instruction
            .as_deref()
            .map(instruction)
            .transpose()
            .map_err(Into::into)
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
