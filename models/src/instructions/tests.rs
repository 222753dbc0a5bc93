//! The built-in instructions, and the files that extend or replace them.

use super::*;

fn parse(text: &str) -> Result<Instructions> {
    Instructions::parse(text, Path::new("mine.toml"))
}

/// The built-in instructions with this file beside them.
fn loaded(text: &str) -> Result<Instructions> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    fs_err::write(&path, text).unwrap();
    Instructions::load(Some(&path))
}

#[track_caller]
fn invalid(result: Result<Instructions>, named: &str) {
    match result.unwrap_err() {
        Error::Invalid { field, .. } => assert_eq!(field, named),
        error => panic!("{error:?}"),
    }
}

#[test]
fn the_built_in_wordings_are_those_of_the_source() {
    let instructions = Instructions::builtin();
    for (name, text) in [
        ("general", "Represent this text:"),
        ("medical", "Represent the medical concept:"),
        (
            "medical/library",
            "Represent the clinical diagnosis or symptom:",
        ),
        ("legal", "Encode this legal clause for contract analysis:"),
        (
            "legal/library",
            "Encode the legal provision for case retrieval:",
        ),
        ("finance", "Generate embedding for financial instrument:"),
        (
            "finance/library",
            "Embed the financial risk factor for compliance monitoring:",
        ),
        (
            "engineering",
            "Embed technical specification of mechanical component:",
        ),
        ("code", "Represent the technical term in machine learning:"),
        (
            "code/library",
            "Convert the function signature into semantic vector:",
        ),
    ] {
        assert_eq!(instructions.get(name).unwrap(), text);
    }
    assert_eq!(instructions.iter().count(), 10);
    assert!(
        instructions
            .iter()
            .all(|entry| entry.role == QUERY && entry.source.is_some())
    );
}

#[test]
fn domains_are_found_in_any_case_and_by_alias() {
    assert!(Instructions::builtin().get(" Medical ").is_ok());
    let mine =
        parse("[domains.chemistry]\ninstruction = \"a\"\nlibrary = \"b\"\naliases = [\"chem\"]")
            .unwrap();
    assert_eq!(mine.get("chem").unwrap(), "a");
    assert_eq!(mine.get("chem/library").unwrap(), "b");
}

#[test]
fn the_error_for_an_unknown_domain_lists_the_known_ones() {
    let message = Instructions::builtin()
        .get("astrology")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`astrology`") && message.contains("medical, medical/library"),
        "{message}"
    );
}

#[test]
fn a_file_extends_domain_by_domain() {
    let all = loaded(
        "[domains.medical]\ninstruction = \"mine\"\n[domains.art]\ninstruction = \"Paint:\"",
    )
    .unwrap();
    assert_eq!(all.get("medical").unwrap(), "mine");
    assert_eq!(all.get("art").unwrap(), "Paint:");
    assert!(all.get("medical/library").is_err());
    assert!(all.get("legal/library").is_ok());
}

#[test]
fn a_file_may_replace_the_built_in_ones() {
    let all = loaded("replace = true\n[domains.art]\ninstruction = \"Paint:\"").unwrap();
    assert_eq!(all.iter().count(), 1);
    assert!(all.get("medical").is_err());
}

#[test]
fn without_a_file_the_built_in_instructions_are_used() {
    assert_eq!(Instructions::load(None).unwrap(), Instructions::builtin());
}

#[test]
fn unusable_wordings_and_names_are_rejected() {
    invalid(
        parse("[domains.a]\ninstruction = \" \""),
        "domains.a.instruction",
    );
    invalid(
        parse("[domains.a]\ninstruction = \"x\\ny\""),
        "domains.a.instruction",
    );
    invalid(
        parse("[domains.a]\ninstruction = \"x\"\nlibrary = \"\""),
        "domains.a.library",
    );
    invalid(
        parse("[domains.\"a/b\"]\ninstruction = \"x\""),
        "domains.a/b",
    );
    invalid(parse("[domains.A]\ninstruction = \"x\""), "domains.A");
    invalid(
        parse("[domains.a]\ninstruction = \"x\"\nrole = \"document\""),
        "domains.a.role",
    );
    invalid(
        parse(
            "[domains.a]\ninstruction = \"x\"\n[domains.b]\ninstruction = \"y\"\naliases = [\"a\"]",
        ),
        "domains.b.aliases",
    );
    invalid(
        loaded("[domains.b]\ninstruction = \"y\"\naliases = [\"legal\"]"),
        "domains.legal.aliases",
    );
}

#[test]
fn a_misspelt_key_is_an_error_that_names_the_file() {
    let error = parse("[domains.a]\ninstrution = \"x\"").unwrap_err();
    assert!(matches!(error, Error::Toml { .. }));
    assert!(error.to_string().contains("mine.toml"));
}
