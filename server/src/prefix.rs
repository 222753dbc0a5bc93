//! The prompt before a text: an instruction, a domain's instruction, or one of the checkpoint's prompts.
//!
//! A caller may name one of them, because each fixes the whole prompt. If a caller names none, the checkpoint's default prompt
//! applies, as in sentence-transformers. Most checkpoints have no default prompt; the text is then embedded alone, as documents are.

use lexivec_models::Instructions;
use lexivec_runtime::{Error, ModelInfo, Prompt, Result};

/// A caller's choice of a prompt. The names are those of the request's fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice<'a> {
    /// An instruction in the caller's words.
    pub instruction: Option<&'a str>,
    /// The name of an instruction in the registry.
    pub domain: Option<&'a str>,
    /// The name of one of the checkpoint's prompts.
    pub prompt_name: Option<&'a str>,
}

impl Choice<'_> {
    /// The field that was given, if any.
    #[must_use]
    pub fn given(&self) -> Option<&'static str> {
        let fields = [
            (self.instruction.is_some(), "instruction"),
            (self.domain.is_some(), "domain"),
            (self.prompt_name.is_some(), "prompt_name"),
        ];
        fields
            .into_iter()
            .find_map(|(given, name)| given.then_some(name))
    }

    /// Returns the prompt before each text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`]: more than one is given, a name is unknown, or an instruction cannot be used.
    pub fn resolve(&self, model: &ModelInfo, instructions: &Instructions) -> Result<Prompt> {
        match *self {
            Self {
                instruction: None,
                domain: None,
                prompt_name: None,
            } => match &model.default_prompt {
                Some(name) => prompt(model, name),
                None => Ok(Prompt::None),
            },
            Self {
                instruction: Some(text),
                domain: None,
                prompt_name: None,
            } => Ok(Prompt::Instruction(instruction(text)?)),
            Self {
                instruction: None,
                domain: Some(domain),
                prompt_name: None,
            } => match instructions.get(domain) {
                Ok(text) => Ok(Prompt::Instruction(text.to_owned())),
                Err(error) => Err(invalid("domain", error.to_string())),
            },
            Self {
                instruction: None,
                domain: None,
                prompt_name: Some(name),
            } => prompt(model, name),
            Self {
                instruction: Some(_),
                ..
            } => Err(invalid("instruction", ONE_OF.to_owned())),
            Self { .. } => Err(invalid("domain", ONE_OF.to_owned())),
        }
    }
}

const ONE_OF: &str =
    "`instruction`, `domain` and `prompt_name` exclude each other: give one of them";

fn invalid(field: &'static str, reason: String) -> Error {
    Error::InvalidInput { field, reason }
}

/// Checks an instruction in a caller's words.
///
/// # Errors
/// [`Error::InvalidInput`]: it is empty, or has a line feed.
pub(crate) fn instruction(text: &str) -> Result<String> {
    if text.trim().is_empty() {
        return Err(invalid(
            "instruction",
            "`instruction` is empty: leave it out to embed the bare text".to_owned(),
        ));
    }
    if text.contains(char::is_control) {
        // The prompt's next line is the query, so a line feed here would end the instruction.
        let reason = "`instruction` has a line feed or another control character: give the sentence alone, without \
                      `Instruct:` and `Query:`, which lexivec adds";
        return Err(invalid("instruction", reason.to_owned()));
    }
    Ok(text.to_owned())
}

fn prompt(model: &ModelInfo, name: &str) -> Result<Prompt> {
    match model.prompts.get(name) {
        Some(text) if text.is_empty() => Ok(Prompt::None),
        Some(text) => Ok(Prompt::Verbatim(text.clone())),
        None if model.prompts.is_empty() => Err(invalid(
            "prompt_name",
            "this model's checkpoint names no prompts: use `instruction` or `domain`".to_owned(),
        )),
        None => {
            let known: Vec<&str> = model.prompts.keys().map(String::as_str).collect();
            Err(invalid(
                "prompt_name",
                format!(
                    "there is no prompt `{name}`; this model has {}",
                    known.join(", ")
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::model_info;

    fn resolve(choice: Choice<'_>) -> Result<Prompt> {
        choice.resolve(&model_info(), &Instructions::builtin())
    }

    fn field(result: Result<Prompt>) -> &'static str {
        match result {
            Err(Error::InvalidInput { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_choice_resolves_to_its_prefix() {
        let by_domain = resolve(Choice {
            domain: Some("medical"),
            ..Choice::default()
        })
        .unwrap();
        assert_eq!(
            by_domain,
            Prompt::Instruction("Represent the medical concept:".to_owned())
        );
        let by_words = resolve(Choice {
            instruction: Some("As a verb:"),
            ..Choice::default()
        })
        .unwrap();
        assert_eq!(by_words, Prompt::Instruction("As a verb:".to_owned()));
        let by_prompt = resolve(Choice {
            prompt_name: Some("query"),
            ..Choice::default()
        })
        .unwrap();
        assert_eq!(by_prompt, Prompt::Verbatim("Query: ".to_owned()));
        let empty_prompt = resolve(Choice {
            prompt_name: Some("document"),
            ..Choice::default()
        })
        .unwrap();
        assert_eq!(empty_prompt, Prompt::None);
        assert_eq!(resolve(Choice::default()).unwrap(), Prompt::None);
    }

    #[test]
    fn the_checkpoints_default_prompt_applies_without_a_choice() {
        let model = ModelInfo {
            default_prompt: Some("query".to_owned()),
            ..model_info()
        };
        let prefix = Choice::default()
            .resolve(&model, &Instructions::builtin())
            .unwrap();
        assert_eq!(prefix, Prompt::Verbatim("Query: ".to_owned()));
    }

    #[test]
    fn an_unusable_choice_names_its_field() {
        let choice = |instruction, domain, prompt_name| Choice {
            instruction,
            domain,
            prompt_name,
        };
        assert_eq!(
            field(resolve(choice(Some("a"), Some("medical"), None))),
            "instruction"
        );
        assert_eq!(
            field(resolve(choice(None, Some("medical"), Some("query")))),
            "domain"
        );
        assert_eq!(field(resolve(choice(Some(" "), None, None))), "instruction");
        assert_eq!(
            field(resolve(choice(Some("a\nQuery:"), None, None))),
            "instruction"
        );
        assert_eq!(
            field(resolve(choice(None, Some("astrology"), None))),
            "domain"
        );
        assert_eq!(
            field(resolve(choice(None, None, Some("passage")))),
            "prompt_name"
        );
    }
}
