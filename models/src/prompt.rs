//! The prompt that an instruction and a text form.
//!
//! The exact bytes matter because the models were trained with them: a prompt that differs by one space gives a different
//! vector.

/// Puts `instruction` before `text` in the form that Qwen3-Embedding was trained with.
///
/// This is `get_detailed_instruct` of the model's README: `Instruct: {task}\nQuery:{query}`, with no space after
/// `Query:`. It is for queries only, because documents are embedded without an instruction.
///
/// ```
/// let prompt = lexivec_models::with_instruction("Represent the medical concept:", "cardiac arrest");
/// assert_eq!(prompt, "Instruct: Represent the medical concept:\nQuery:cardiac arrest");
/// ```
pub fn with_instruction(instruction: &str, text: &str) -> String {
    format!("Instruct: {instruction}\nQuery:{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_model_card() {
        let task = "Given a web search query, retrieve relevant passages that answer the query";
        let expected: &[u8] =
            b"Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:What is it?";
        assert_eq!(with_instruction(task, "What is it?").as_bytes(), expected);
    }
}
