//! Compares terms under an instruction of your own: `cargo run --example instruction`.

use lexivec::{Model, Prompt, Request, cosine};

fn main() -> Result<(), lexivec::Error> {
    let model = Model::open("models/nano")?;
    let terms = ["bank", "river", "money"];
    for instruction in ["Represent the financial term:", "Represent the landscape:"] {
        let requests = terms.map(|term| Request {
            prompt: Prompt::Instruction(instruction.to_owned()),
            dimensions: Some(64),
            ..Request::text(term)
        });
        let found = model.embed_requests(&requests)?;
        println!("{instruction}");
        for (term, embedding) in terms.iter().zip(&found).skip(1) {
            let score = cosine(&found[0].vector, &embedding.vector);
            println!("  {} and {term}: {score:.3}", terms[0]);
        }
    }
    Ok(())
}
