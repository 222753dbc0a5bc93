//! How well the clusters of `lexivec terms` find the domains of a list of terms, with and without principal components and an
//! instruction. It takes seconds, and prints the tables of RESULTS.md:
//!
//! ```sh
//! cargo run -p lexivec-benches --example term_quality [MODEL]
//! ```
//!
//! terms.csv has 200 concepts of five domains, each in English and Chinese. It was written for this purpose.

use std::path::Path;

use anyhow::Context as _;
use lexivec::{Model, Prompt, Request};
use lexivec_terms::agreement::{adjusted_rand, purity};
use lexivec_terms::hdbscan::{NOISE, Options};
use lexivec_terms::pca::{Components, Moments, Pca};
use lexivec_terms::{Metric, Neighbours, layout};
use ndarray::Array2;

const INSTRUCTIONS: [Option<&str>; 3] = [
    None,
    Some("Represent this text:"),
    Some("Represent the subject of this term:"),
];
const REDUCTIONS: [Reduction; 6] = [
    Reduction::None,
    Reduction::Variance(0.99),
    Reduction::Variance(0.95),
    Reduction::Variance(0.9),
    Reduction::Count(16),
    Reduction::Map,
];

/// The components that `lexivec terms` keeps.
const KEPT: Components = Components::Variance(0.95);

#[derive(Clone, Copy)]
enum Reduction {
    None,
    Variance(f64),
    Count(usize),
    /// The map, by Euclidean distance.
    Map,
}

/// Terms, and the domain of each.
struct Terms {
    terms: Vec<String>,
    domains: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::args().nth(1);
    let path = named.unwrap_or_else(|| root.join("../models/nano").display().to_string());
    let model = Model::open(&path)?;
    let list = Terms::read(&root.join("terms/terms.csv"))?;
    println!("{} terms", list.terms.len());
    for instruction in INSTRUCTIONS {
        let vectors = embed(&model, &list, instruction)?;
        println!("\nInstruction: {}\n", instruction.unwrap_or("none"));
        println!(
            "| reduction | dimensions | clusters | in none | purity | adjusted Rand index | without noise |"
        );
        println!("|---|---|---|---|---|---|---|");
        let pca = decompose(&vectors)?;
        for reduction in REDUCTIONS {
            clusters(&list, &vectors, &pca, reduction)?;
        }
        maps(&vectors, &pca)?;
    }
    Ok(())
}

impl Terms {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let (mut terms, mut domains) = (Vec::new(), Vec::new());
        for row in csv::Reader::from_path(path)?.records() {
            let row = row?;
            terms.push(row.get(0).context("no term")?.to_owned());
            domains.push(row.get(2).context("no domain")?.to_owned());
        }
        Ok(Self { terms, domains })
    }
}

fn embed(model: &Model, list: &Terms, instruction: Option<&str>) -> anyhow::Result<Array2<f32>> {
    let prompt = instruction.map_or(Prompt::None, |text| Prompt::Instruction(text.to_owned()));
    let requests = list.terms.iter().map(|term| Request {
        prompt: prompt.clone(),
        ..Request::text(term)
    });
    let embeddings = model.embed_requests(&requests.collect::<Vec<_>>())?;
    let width = embeddings[0].vector.len();
    let numbers = embeddings
        .into_iter()
        .flat_map(|embedding| embedding.vector);
    Ok(Array2::from_shape_vec(
        (list.terms.len(), width),
        numbers.collect(),
    )?)
}

fn decompose(vectors: &Array2<f32>) -> anyhow::Result<Pca> {
    let mut moments = Moments::new(vectors.ncols())?;
    moments.push(vectors.view())?;
    Ok(moments.decompose()?)
}

/// Prints a row of the first table.
fn clusters(
    list: &Terms,
    vectors: &Array2<f32>,
    pca: &Pca,
    reduction: Reduction,
) -> anyhow::Result<()> {
    let reduce = |components| -> anyhow::Result<Array2<f32>> {
        Ok(pca.projection(components, None)?.reduce(vectors.view())?)
    };
    let (name, rows) = match reduction {
        Reduction::None => ("none".to_owned(), vectors.clone()),
        Reduction::Variance(share) => {
            let name = format!("{:.0} % of the variance", 100.0 * share);
            (name, reduce(Components::Variance(share))?)
        }
        Reduction::Count(count) => (
            format!("{count} components"),
            reduce(Components::Count(count))?,
        ),
        Reduction::Map => ("the map".to_owned(), map(vectors, pca)?),
    };
    let options = Options {
        min_samples: Some(2),
        metric: match reduction {
            Reduction::Map => Metric::Euclidean,
            _ => Metric::Cosine,
        },
        ..Options::default()
    };
    let found = options.cluster(rows.view())?;
    let labels = &found.labels;
    let noise = labels.iter().filter(|label| **label == NOISE).count();
    let purity = purity(labels, &list.domains)?.unwrap_or_default();
    let all = adjusted_rand(labels, &list.domains)?;
    let rows_in_clusters = labels
        .iter()
        .zip(&list.domains)
        .filter(|(label, _)| **label != NOISE);
    let (inside, domains): (Vec<&i32>, Vec<&String>) = rows_in_clusters.unzip();
    let clustered = adjusted_rand(&inside, &domains)?;
    println!(
        "| {name} | {} | {} | {noise} | {purity:.3} | {all:.3} | {clustered:.3} |",
        rows.ncols(),
        found.clusters,
    );
    Ok(())
}

/// The map of neighbours.
fn map(vectors: &Array2<f32>, pca: &Pca) -> anyhow::Result<Array2<f32>> {
    let reduced = pca.projection(KEPT, None)?.reduce(vectors.view())?;
    let first = plane(vectors, pca)?;
    let neighbours = Neighbours::find(reduced.view(), layout::NEIGHBOURS, Metric::Cosine)?;
    Ok(layout::place(&neighbours, first.view(), 1)?)
}

/// The first two principal components.
fn plane(vectors: &Array2<f32>, pca: &Pca) -> anyhow::Result<Array2<f32>> {
    let projection = pca.projection(Components::Count(2), None)?;
    Ok(projection.coordinates(vectors.view())?)
}

/// Prints the trustworthiness of both maps.
fn maps(vectors: &Array2<f32>, pca: &Pca) -> anyhow::Result<()> {
    let reduced = pca.projection(KEPT, None)?.reduce(vectors.view())?;
    println!("\n| map | trustworthiness, 5 neighbours | 15 neighbours |");
    println!("|---|---|---|");
    for (name, map) in [
        ("neighbours", map(vectors, pca)?),
        ("pca", plane(vectors, pca)?),
    ] {
        let trust = |count| {
            layout::trustworthiness(
                reduced.view(),
                Metric::Cosine,
                map.view(),
                count,
                usize::MAX,
            )
        };
        println!("| {name} | {:.3} | {:.3} |", trust(5)?, trust(15)?);
    }
    Ok(())
}
