//! `lexivec nearest`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use lexivec_runtime::{Engine, Prompt, Request};

use super::column_args::ColumnArgs;
use super::terms::{run_job, vectors_job};
use super::vector_args::VectorArgs;
use super::{Usage, progress};
use crate::embed::{Reader, RowError, Text, embed_texts, filled};
use crate::stdio::{print, print_exactly, say};
use crate::terms::{Index, Search, Terms, Vectors, check_language, damaged};

/// The most terms that are listed for a query.
const MOST_COUNT: i64 = 10_000;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "--instruction, --domain and --prompt-name apply to the queries. The terms are embedded without an instruction, as \
                  Qwen3-Embedding expects of documents. The search is exact. It reads all vectors once for 1,024 queries, or fewer with a -k above 1,024, so a file \
                  of vectors (--index, --vectors) needs no room in memory. If embedding into an index ends early, the same command \
                  continues it."
)]
pub(crate) struct Args {
    /// File of terms: .csv or .tsv, whose first row names the columns; .jsonl, whose fields are the columns; .parquet or .arrow; or .txt with a
    /// term per line. A .parquet file that `lexivec embed` wrote has the vectors, too
    terms: PathBuf,

    /// Queries. Default: a query per line of standard input
    query: Vec<String>,

    /// File of queries: .txt, .csv, .tsv, .jsonl, .parquet or .arrow; `-` is standard input
    #[arg(
        long,
        env = "LEXIVEC_NEAREST_QUERIES",
        value_name = "FILE",
        conflicts_with = "query"
    )]
    queries: Option<PathBuf>,

    /// Column of the queries in --queries
    #[arg(
        long,
        env = "LEXIVEC_QUERY_COLUMN",
        value_name = "NAME",
        default_value = "query"
    )]
    query_column: String,

    /// Model directory, checkpoint folder, or hub id that embeds the queries, and the terms if they have no vectors
    #[arg(short, long, env = "LEXIVEC_MODEL", value_name = "MODEL")]
    model: String,

    /// Folder that keeps the vectors of the terms. It is written if it does not exist; later runs read it instead of embedding the terms
    /// again. Terms and model must be the same. Default: the vectors are not kept
    #[arg(
        long,
        env = "LEXIVEC_NEAREST_INDEX",
        value_name = "DIR",
        conflicts_with = "vectors"
    )]
    index: Option<PathBuf>,

    /// Vectors of the terms, a .npy or .parquet file that `lexivec embed` wrote with the same model, or an .arrow file. Row n belongs to term n. A .npy
    /// file does not name its model, so that only the width can be checked
    #[arg(long, env = "LEXIVEC_NEAREST_VECTORS", value_name = "FILE")]
    vectors: Option<PathBuf>,

    /// Terms that are printed for each query
    #[arg(short = 'k', long, env = "LEXIVEC_NEAREST_COUNT", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MOST_COUNT))]
    count: u32,

    /// Only terms of this language, as --language-column has it: a query's translations
    #[arg(long, env = "LEXIVEC_NEAREST_LANGUAGE", value_name = "LANGUAGE")]
    language: Option<String>,

    /// Print a JSON object per query: query, and nearest with row, cosine, term and the other columns. Rows are counted from 0
    #[arg(long, env = "LEXIVEC_NEAREST_JSON")]
    json: bool,

    #[command(flatten)]
    columns: ColumnArgs,

    #[command(flatten)]
    embedding: VectorArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let options = args.embedding.engine_options()?;
    let queries = Queries::open(args)?;
    let terms = Terms::read(&args.terms, &args.columns.names())?;
    ensure!(
        !terms.rows().is_empty(),
        "{}: there is no term in the file",
        args.terms.display()
    );
    if let Some(language) = &args.language {
        check_language(&terms, language, &args.columns.language_column)?;
    }
    let source = Source::open(args, &terms)?;
    let (engine, mut template) = args.embedding.open(&args.model, &options)?;
    if template.dimensions.is_none() {
        template.dimensions = source.dimensions();
    }
    let vectors = source.vectors(&engine, &template, &terms)?;
    let (language, index) = (args.language.as_deref(), args.index.as_deref());
    let search = Search::new(&terms, &vectors, language, index)?;
    let count = args.count as usize;
    queries.for_each_chunk(search.queries_at_a_time(count), |chunk| {
        let texts: Vec<(&str, String)> = chunk
            .iter()
            .map(|query| (query.text.as_str(), query.place.clone()))
            .collect();
        let embedded = embed_texts(&engine, &template, &texts, |_| ())?;
        let texts: Vec<&str> = texts.into_iter().map(|(text, _)| text).collect();
        for answer in search.nearest(&texts, &embedded, count)? {
            match args.json {
                true => print_exactly(&serde_json::to_string(&answer)?)?,
                false => print(&answer.to_text())?,
            }
        }
        Ok(())
    })
}

/// Where the vectors of the terms come from.
enum Source<'a> {
    /// A file, and its name.
    File(Vectors, &'a Path),
    Index(Index, &'a str),
    Model,
}

impl<'a> Source<'a> {
    /// # Errors
    /// The file or the index cannot be read, or does not belong to the terms.
    fn open(args: &'a Args, terms: &Terms) -> anyhow::Result<Self> {
        let column = args.columns.vector_column.as_str();
        if let Some(folder) = &args.index {
            return Ok(Self::Index(Index::open(folder, terms)?, column));
        }
        let own = Vectors::is_in(&args.terms, column)?.then_some(args.terms.as_path());
        let Some(file) = args.vectors.as_deref().or(own) else {
            return Ok(Self::Model);
        };
        let vectors = Vectors::open(file, column)?;
        terms.check_vectors(&vectors)?;
        ensure!(
            !vectors.is_projected(),
            "{}: a projection reduced these vectors, and not those of queries: embed the terms without --projection",
            file.display()
        );
        Ok(Self::File(vectors, file))
    }

    /// The width that the vectors have.
    fn dimensions(&self) -> Option<usize> {
        match self {
            Self::File(vectors, _) => Some(vectors.width()),
            Self::Index(index, _) => index.dimensions(),
            Self::Model => None,
        }
    }

    /// The vectors of the terms, which are embedded if there are none. `template` is that of the queries.
    ///
    /// # Errors
    /// They are another model's or have another width, or embedding fails.
    fn vectors(
        self,
        engine: &Engine,
        template: &Request<'_>,
        terms: &Terms,
    ) -> anyhow::Result<Vectors> {
        let model = engine.model();
        let dimensions = template.dimensions.unwrap_or(model.hidden_size);
        let template = Request {
            prompt: Prompt::None,
            ..template.clone()
        };
        match self {
            Self::File(vectors, file) => {
                let file = file.display();
                if let Some(found) = vectors.model() {
                    ensure!(
                        found == model.digest,
                        "{file}: the vectors were computed by the model {found}, and {} is {}: name that model with --model",
                        model.name,
                        model.digest
                    );
                }
                let width = vectors.width();
                ensure!(
                    width == dimensions,
                    "{file}: the vectors have {width} dimensions, and not {dimensions}: leave --dimensions out"
                );
                engine
                    .check_dimensions(Some(width))
                    .with_context(|| format!("{file}: the vectors are not this model's"))?;
                Ok(vectors)
            }
            Self::Index(mut index, column) => {
                engine
                    .check_dimensions(Some(dimensions))
                    .with_context(|| index.folder().display().to_string())?;
                let lock = index.claim(&model.name, &model.digest, dimensions)?;
                if !index.is_complete() {
                    let job = vectors_job(terms, &index.vectors(), column)?;
                    run_job(job, engine, &template)?;
                }
                drop(lock);
                let vectors = Vectors::open(&index.vectors(), column);
                let vectors = vectors.with_context(|| damaged(index.folder()))?;
                let width = vectors.width();
                ensure!(
                    width == dimensions,
                    "{}: its vectors have {width} dimensions, and not {dimensions}",
                    damaged(index.folder())
                );
                Ok(vectors)
            }
            Self::Model => {
                let place = |row| format!("{}: row {row}", terms.path().display());
                let rows = 0..terms.rows().len();
                let texts: Vec<_> = rows.map(|row| (terms.term(row), place(row))).collect();
                let bar = progress::text_bar(Some(texts.len() as u64));
                let vectors = embed_texts(engine, &template, &texts, |count| {
                    bar.set_position(count as u64);
                });
                bar.finish_and_clear();
                Ok(Vectors::Memory(vectors?))
            }
        }
    }
}

/// Queries from the command line, a file, or standard input.
enum Queries<'a> {
    Given(&'a [String]),
    File(Box<Reader>),
}

impl<'a> Queries<'a> {
    /// # Errors
    /// [`Usage`] for a file of an unsupported format.
    fn open(args: &'a Args) -> anyhow::Result<Self> {
        if !args.query.is_empty() {
            for row in given(&args.query) {
                row.map_err(reason)?;
            }
            return Ok(Self::Given(&args.query));
        }
        let column = &args.query_column;
        let reader = Reader::new(args.queries.as_slice(), None, column, column).map_err(Usage)?;
        reader.check(|error| Err(reason(error)))?;
        if reader.reads_stdin() && std::io::stdin().is_terminal() {
            say!("reading queries from the terminal, one per line; Ctrl-D ends");
        }
        Ok(Self::File(Box::new(reader)))
    }

    /// Passes at most `most` queries at a time to `take`.
    ///
    /// # Errors
    /// A query cannot be read, or `take` returns an error.
    fn for_each_chunk(
        self,
        most: usize,
        mut take: impl FnMut(&[Text]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut rows: Box<dyn Iterator<Item = Result<Text, RowError>> + 'a> = match self {
            Self::Given(texts) => Box::new(given(texts)),
            Self::File(reader) => reader,
        };
        for number in 0_u64.. {
            let chunk = rows.by_ref().take(most);
            let chunk: Vec<Text> = chunk.collect::<Result<_, _>>().map_err(reason)?;
            ensure!(
                number > 0 || !chunk.is_empty(),
                "no query: give one as an argument, with --queries, or on standard input"
            );
            if chunk.is_empty() {
                break;
            }
            take(&chunk)?;
        }
        Ok(())
    }
}

/// The queries of the command line as rows.
fn given(texts: &[String]) -> impl Iterator<Item = Result<Text, RowError>> {
    let texts = texts.iter().enumerate();
    texts.map(|(index, text)| filled(text, format!("query {}", index + 1)))
}

/// The error, without the flags of `embed`.
fn reason(error: RowError) -> anyhow::Error {
    match error {
        RowError::Empty { place } => anyhow!("{place}: there is no query in this row"),
        RowError::File(error) => error,
        error => error.into(),
    }
}
