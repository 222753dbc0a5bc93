//! The prompt that the argument `instruction` stands for.

use lexivec::{Instructions, ModelInfo, Prompt};

/// Returns the prompt before each text. One word names a domain (`'medical'`) or one of the checkpoint's prompts (`'query'`); more words are
/// the instruction itself. A prompt comes before a domain of the same name. '' is the bare text. Without an instruction the checkpoint's default
/// prompt applies, as in `lexivec embed`.
///
/// # Errors
/// The name is unknown, or the instruction cannot be used.
pub(super) fn resolve(instruction: Option<&str>, model: &ModelInfo) -> Result<Prompt, String> {
    let Some(words) = instruction else {
        let default = model.default_prompt.as_ref();
        let text = default.and_then(|name| model.prompts.get(name));
        return Ok(text.map_or(Prompt::None, |text| verbatim(text)));
    };
    if words.is_empty() {
        return Ok(Prompt::None);
    }
    if words.trim().is_empty() {
        return Err(
            "argument `instruction` is blank: write '' to embed the bare text, or leave it out for the checkpoint's default prompt"
                .to_owned(),
        );
    }
    if words.contains(char::is_control) {
        // The prompt's next line is the text, so a line feed here would end the instruction.
        return Err("argument `instruction` has a line feed or another control character: give the sentence alone".to_owned());
    }
    if words.trim().contains(char::is_whitespace) {
        return Ok(Prompt::Instruction(words.to_owned()));
    }
    if let Some(text) = model.prompts.get(words) {
        return Ok(verbatim(text));
    }
    match Instructions::builtin().get(words) {
        Ok(text) => Ok(Prompt::Instruction(text.to_owned())),
        Err(error) => Err(format!(
            "argument `instruction`: {error}{}. An instruction of your own has more than one word",
            match model.prompts.keys().cloned().collect::<Vec<_>>().join(", ") {
                names if names.is_empty() => String::new(),
                names => format!("; this model's prompts are {names}"),
            }
        )),
    }
}

fn verbatim(text: &str) -> Prompt {
    match text {
        "" => Prompt::None,
        text => Prompt::Verbatim(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelInfo {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/nano");
        let mut model = ModelInfo::read(folder.as_ref()).unwrap();
        model.prompts = [("query".to_owned(), "query: ".to_owned())].into();
        model.default_prompt = None;
        model
    }

    #[test]
    fn one_word_is_a_name_and_more_words_are_an_instruction() {
        let model = model();
        let of = |words| resolve(Some(words), &model);
        assert_eq!(resolve(None, &model), Ok(Prompt::None));
        assert_eq!(of("query"), Ok(Prompt::Verbatim("query: ".to_owned())));
        let words = "Represent the medical concept:";
        assert_eq!(of(words), Ok(Prompt::Instruction(words.to_owned())));
        assert!(matches!(of("medical"), Ok(Prompt::Instruction(text)) if text.contains(' ')));
        let unknown = of("medicla").unwrap_err();
        assert!(
            unknown.contains("medicla") && unknown.contains("legal") && unknown.contains("query"),
            "{unknown}"
        );
        assert_eq!(of(""), Ok(Prompt::None));
        assert!(of(" ").unwrap_err().contains("is blank"));
        assert!(of("one\ntwo").unwrap_err().contains("line feed"));
    }

    #[test]
    fn the_default_prompt_applies_without_an_instruction() {
        let mut model = model();
        model.default_prompt = Some("query".to_owned());
        assert_eq!(
            resolve(None, &model),
            Ok(Prompt::Verbatim("query: ".to_owned()))
        );
        assert_eq!(resolve(Some(""), &model), Ok(Prompt::None));
    }
}
