//! Embeds texts: `cargo run --example embed -- models/nano "cardiac arrest" 心脏骤停`.

use lexivec::{Model, cosine};

fn main() -> Result<(), lexivec::Error> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("models/nano".to_owned());
    let texts: Vec<String> = arguments.collect();
    let model = Model::open(&name)?;
    let vectors = model.embed(&texts)?;
    for (text, vector) in texts.iter().zip(&vectors) {
        let first = cosine(&vectors[0], vector);
        println!("{first:.3} {text}: {:?} …", &vector[..4]);
    }
    Ok(())
}
