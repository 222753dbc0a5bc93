//! How an instruction and a text become one prompt.
//!
//! The exact bytes matter: the models were trained with them, and a prompt that differs by one space gives a
//! different vector.

/// Puts `instruction` before `text` the way Qwen3-Embedding was trained.
///
/// This is `get_detailed_instruct` of the model's README: `Instruct: {task}\nQuery:{query}`, with no space after
/// `Query:`. Documents are embedded bare, so this is for the query side alone.
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

    #[test]
    fn the_catalogs_query_prompt_is_the_same_form() {
        let prompt = &crate::catalog()[0].prompts["query"];
        let task = "Given a web search query, retrieve relevant passages that answer the query";
        assert_eq!(*prompt, with_instruction(task, ""));
    }
}
