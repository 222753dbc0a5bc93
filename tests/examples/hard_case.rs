//! Writes a checkpoint that computes what another computes and is hard to quantise.

use std::path::Path;

use lexivec_tests::surgery::{CASES, Surgery};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [case, checkpoint, out] = &arguments[..]
        && let Some((_, operation)) = CASES.iter().find(|(name, _)| name == case)
    {
        operation(Surgery::on(Path::new(checkpoint))).write(Path::new(out));
        return;
    }
    let names = CASES.map(|(name, _)| name).join("|");
    eprintln!("usage: hard_case {names} CHECKPOINT OUT");
    std::process::exit(2);
}
