//! Searches the lines of a file by meaning: `cargo run --example search -- terms.txt "heart attack"`.

use lexivec::{Model, Prompt, Request, cosine};

const INSTRUCTION: &str = "Given a query, retrieve passages that are relevant to it";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(query)) = (arguments.next(), arguments.next()) else {
        return Err("usage: search FILE QUERY".into());
    };
    let text = fs_err::read_to_string(path)?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let model = Model::open("models/nano")?;
    let documents = model.embed(&lines)?;
    // Queries have an instruction, documents do not.
    let query = Request {
        prompt: Prompt::Instruction(INSTRUCTION.to_owned()),
        ..Request::text(query)
    };
    let query = &model.embed_requests(&[query])?[0].vector;
    let scores = documents.iter().map(|document| cosine(query, document));
    let mut ranked: Vec<(f64, &str)> = scores.zip(lines).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (score, line) in ranked.into_iter().take(5) {
        println!("{score:.3} {line}");
    }
    Ok(())
}
