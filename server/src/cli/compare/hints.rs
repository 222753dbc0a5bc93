//! Names the flag that helps against an error of a comparison.

use lexivec_evaluate::Error;

use crate::cli::conversion_hints;

/// Adds to an error what to do about it.
pub(super) fn with_hint(error: Error) -> anyhow::Error {
    match hint(&error) {
        Some(hint) => anyhow::anyhow!("{error}: {hint}"),
        None => error.into(),
    }
}

fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Checkpoint(error) => conversion_hints::hint(error).map(str::to_owned),
        Error::MissingSplit { .. } => Some("choose one of them with --split".to_owned()),
        Error::Server {
            status: Some(401), ..
        } => Some("give its key with --api-key or LEXIVEC_API_KEY".to_owned()),
        Error::UnknownModel { source } => Some(match hint(source) {
            Some(hint) => hint,
            None => "name the model with --model".to_owned(),
        }),
        Error::AmbiguousModel { address, .. } => {
            Some(format!("choose one with --model, or as {address}#MODEL"))
        }
        Error::System { source, .. } => hint(source.downcast_ref()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(status: u16) -> Error {
        Error::Server {
            address: "http://host/v1".to_owned(),
            reason: format!("the server answered {status}"),
            status: Some(status),
        }
    }

    #[test]
    fn a_hint_names_the_flag_that_helps() {
        let message = |error| with_hint(error).to_string();
        let key = message(Error::UnknownModel {
            source: Box::new(server(401)),
        });
        assert!(
            key.contains("the server answered 401: give its key with --api-key"),
            "{key}"
        );
        let model = message(Error::UnknownModel {
            source: Box::new(server(404)),
        });
        assert!(
            model.ends_with("404: name the model with --model"),
            "{model}"
        );
        let several = message(Error::AmbiguousModel {
            address: "http://host/v1".to_owned(),
            models: ["small", "large"].map(str::to_owned).to_vec(),
        });
        assert_eq!(
            several,
            "http://host/v1: the server has the models small, large: choose one with --model, or as http://host/v1#MODEL"
        );
        assert_eq!(
            message(server(500)),
            "http://host/v1: the server answered 500"
        );
    }
}
