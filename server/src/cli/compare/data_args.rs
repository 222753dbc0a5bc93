//! The flags that select the data of `lexivec compare`, and reading that data.

use std::path::{Path, PathBuf};

use anyhow::bail;
use lexivec_evaluate::{
    CONFIDENCE, ComparisonData, ComparisonSettings, DataFacts, PairFacts, RetrievalFacts, Sample,
    beir, built_in, drop_duplicates,
};

use super::pair_files;
use crate::cli::Usage;
use crate::cli::common::{DomainArgs, TextArgs, all_texts};
use crate::embed::{is_url, only_texts};
use crate::prefix::instruction;

/// The data of a comparison.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Data")]
pub(super) struct DataArgs {
    /// File of texts: .txt (one text per line), .jsonl or .csv. May be repeated. Folders, patterns and URLs of object stores name files as
    /// for `embed`. Default: built-in terms, sentences, code and documents in some fifty languages
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

impl DataArgs {
    /// Reads the data.
    ///
    /// # Errors
    /// A file cannot be read or is damaged, or [`Usage`].
    pub(super) fn read(
        &self,
        settings: &ComparisonSettings,
    ) -> anyhow::Result<(ComparisonData, DataFacts)> {
        let mut others = self.pairs.iter().chain(&self.retrieval);
        if let Some(url) = others.find(|path| is_url(path)) {
            return Err(Usage(only_texts(url)).into());
        }
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
