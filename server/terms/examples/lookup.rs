//! Measures exact lookups among random vectors: `cargo run --release -p lexivec-terms --example lookup -- ROWS WIDTH QUERIES`.

use std::time::Instant;

use lexivec_terms::{Lookup, Metric};
use ndarray::{Array2, s};

/// Rows of a block, as in a file.
const BLOCK: usize = 1024;
/// Different blocks, more than the processor's caches hold.
const BLOCKS: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|n| n.parse()).collect();
    let [rows, width, queries] = numbers?
        .try_into()
        .map_err(|_| "usage: lookup ROWS WIDTH QUERIES")?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut vectors =
        |rows: usize| Array2::from_shape_simple_fn((rows, width), || random.f32() - 0.5);
    let (queries, vectors) = (vectors(queries), vectors(BLOCK * BLOCKS));
    let start = Instant::now();
    let mut lookup = Lookup::new(queries.view(), 10, Metric::Cosine)?;
    for (number, first) in (0..rows).step_by(BLOCK).enumerate() {
        let block = (number % BLOCKS) * BLOCK;
        let end = block + BLOCK.min(rows - first);
        lookup.push(vectors.slice(s![block..end, ..]), |_, _| true)?;
    }
    let found = lookup.finish();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} queries among {rows} rows of {width} dimensions: {seconds:.2} s",
        found.len()
    );
    Ok(())
}
