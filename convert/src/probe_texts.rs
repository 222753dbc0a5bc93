//! The probe texts, on which conversions are verified: short and long ones, many scripts, code, and the inputs on which
//! float16 conversions of Qwen3-Embedding are known to overflow ("import…", "importance of life").

/// One text per line.
const LINES: &str = include_str!("../data/probes.txt");
/// Repeated to make a document of a few hundred tokens.
const SENTENCE: &str = "The patient was admitted with acute chest pain, and the court held that the contract was void. ";
const REPETITIONS: usize = 24;

/// The probe text whose vector the manifest records, so that sessions can test themselves.
pub(crate) fn known_text() -> String {
    lexivec_models::with_instruction("Represent the medical concept:", "cardiac arrest")
}

/// All probe texts.
pub(crate) fn probes() -> Vec<String> {
    let lines = LINES.lines().filter(|line| !line.trim().is_empty());
    let mut texts: Vec<String> = lines.map(str::to_owned).collect();
    texts.push(known_text());
    texts.push(SENTENCE.repeat(REPETITIONS));
    texts
}
