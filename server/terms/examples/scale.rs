//! Measures an analysis of random clustered unit vectors: `cargo run --release -p lexivec-terms --example scale -- ROWS WIDTH [CLUSTERS]`.
//! More rows than `Search::MOST_EXACT_ROWS` are searched approximately; `exact` or `approximate` as the last word asks for one.

use std::time::Instant;

use lexivec_terms::hdbscan::{NOISE, Options};
use lexivec_terms::pca::{Components, Moments};
use lexivec_terms::{Metric, Neighbours, Search, layout};
use ndarray::Array2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let asked = match words.last().map(String::as_str) {
        Some("exact") => Some(Search::Exact),
        Some("approximate") => Some(Search::Approximate),
        _ => None,
    };
    words.truncate(words.len() - usize::from(asked.is_some()));
    let numbers: Result<Vec<usize>, _> = words.iter().map(|word| word.parse()).collect();
    let numbers = numbers?;
    let &[rows, width, ..] = numbers.as_slice() else {
        return Err("usage: scale ROWS WIDTH [CLUSTERS] [exact|approximate]".into());
    };
    let clusters = numbers.get(2).copied().unwrap_or(rows / 100).max(1);
    let vectors = clustered(rows, width, clusters);
    let start = Instant::now();
    let mut moments = Moments::new(width)?;
    moments.push(vectors.view())?;
    let covariance = start.elapsed().as_secs_f64();
    let pca = moments.decompose()?;
    let decomposition = start.elapsed().as_secs_f64() - covariance;
    let projection = pca.projection(Components::Count((width / 5).max(1)), None)?;
    let start = Instant::now();
    drop(projection.reduce(vectors.view())?);
    let reduction = start.elapsed().as_secs_f64();
    println!(
        "PCA: covariance {covariance:.1} s, eigenvectors {decomposition:.1} s, reduction to {} dimensions {reduction:.1} s",
        projection.output_width()
    );

    let options = Options {
        min_cluster_size: 10,
        min_samples: Some(5),
        ..Options::default()
    };
    let start = Instant::now();
    let search = asked.unwrap_or_else(|| Search::for_rows(rows));
    let listed = options.listed(rows);
    let neighbours = Neighbours::find_by(search, vectors.view(), listed, Metric::Cosine)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("neighbours of {rows} rows, {search:?} search: {seconds:.1} s");
    if search == Search::Approximate {
        let start = Instant::now();
        let recall = neighbours.recall(vectors.view(), 1000)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("recall of 1,000 rows: {recall:.4} ({seconds:.1} s)");
    }

    let start = Instant::now();
    let found = options.cluster_with(vectors.view(), &neighbours)?;
    let noise = found.labels.iter().filter(|label| **label == NOISE).count();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "HDBSCAN: {seconds:.1} s, {} clusters, {noise} rows of noise",
        found.clusters
    );

    let start = Instant::now();
    let first = pca
        .projection(Components::Count(2), None)?
        .coordinates(vectors.view())?;
    let map = layout::place(&neighbours, first.view(), 1)?;
    println!("map: {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    for (name, map) in [("map", map), ("principal components", first)] {
        let trust = layout::trustworthiness(vectors.view(), Metric::Cosine, map.view(), 15, 200)?;
        println!("trustworthiness of the {name}, 15 neighbours: {trust:.4}");
    }
    println!("trustworthiness: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Unit vectors around random centres. The noise is as long as the centres; every tenth vector has no centre.
fn clustered(rows: usize, width: usize, clusters: usize) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut normal = move || (0..4).map(|_| random.f32() - 0.5).sum::<f32>();
    let centres = Array2::from_shape_simple_fn((clusters, width), &mut normal);
    let mut vectors = Array2::from_shape_simple_fn((rows, width), &mut normal);
    for (index, mut vector) in vectors.rows_mut().into_iter().enumerate() {
        if index % 10 != 0 {
            vector += &centres.row(index % clusters);
        }
        let length = vector.dot(&vector).sqrt();
        vector /= length;
    }
    vectors
}
