//! Writes a checkpoint that computes what another computes and is hard to quantise.

use std::path::Path;

use lexivec_tests::surgery::{CASES, Surgery};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let surgery = match &arguments[..] {
        [case, checkpoint, out] if CASES.contains(&case.as_str()) => {
            let surgery = Surgery::on(Path::new(checkpoint)).named(case);
            surgery.map(|done| (done, out))
        }
        _ => None,
    };
    match surgery {
        Some((done, out)) => done.write(Path::new(out)),
        None => {
            eprintln!("usage: hard_case {} CHECKPOINT OUT", CASES.join("|"));
            std::process::exit(2);
        }
    }
}
