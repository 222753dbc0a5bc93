//! The hub's cache folder and the user's token, looked for where the hub's own tools look for them
//! (`huggingface_hub/constants.py` and `huggingface_hub/utils/_auth.py`).

use std::path::PathBuf;

use super::is_switched_on;

/// The user's token: `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else the file of a login.
pub(super) fn token() -> Option<String> {
    token_from(|name| std::env::var(name).ok())
}

/// The folder of the hub's files, given the environment's variables.
pub(super) fn cache(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let variable = &|name: &str| variable(name).filter(|value| !value.is_empty());
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    named.map(PathBuf::from).unwrap_or_else(|| {
        let home = home(variable).unwrap_or_else(|| PathBuf::from("/tmp/.cache/huggingface"));
        home.join("hub")
    })
}

/// The folder of the hub's tools: `HF_HOME`, else `XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
fn home(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let below =
        |name: &str, folder: &str| variable(name).map(|dir| PathBuf::from(dir).join(folder));
    variable("HF_HOME")
        .map(PathBuf::from)
        .or_else(|| below("XDG_CACHE_HOME", "huggingface"))
        .or_else(|| below("HOME", ".cache/huggingface"))
}

fn token_from(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let variable = &|name: &str| variable(name).filter(|value| !value.is_empty());
    if is_switched_on(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").as_deref()) {
        return None;
    }
    let file = || {
        let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
        let path = path.or_else(|| home(variable).map(|home| home.join("token")))?;
        clean(&fs_err::read_to_string(path).ok()?)
    };
    variable("HF_TOKEN")
        .or_else(|| variable("HUGGING_FACE_HUB_TOKEN"))
        .and_then(|token| clean(&token))
        .or_else(file)
}

/// Removes line ends and blanks, which secrets from files often have, as huggingface_hub's `_clean_token` does.
fn clean(token: &str) -> Option<String> {
    let token = token.replace(['\r', '\n'], "");
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Whether an HTTP header can hold the token.
pub(super) fn is_sendable(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Option<String> {
        token_from(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_most_specific_variable_names_the_cache() {
        let with = |variables: &[(&str, &str)]| {
            cache(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let user = ("HOME", "/home/u");
        let xdg = ("XDG_CACHE_HOME", "/x");
        let home = ("HF_HOME", "/h");
        let old = ("HUGGINGFACE_HUB_CACHE", "/old");
        let new = ("HF_HUB_CACHE", "/new");
        for (variables, folder) in [
            (&[user][..], "/home/u/.cache/huggingface/hub"),
            (&[user, xdg], "/x/huggingface/hub"),
            (&[user, xdg, home], "/h/hub"),
            (&[user, home, old], "/old"),
            (&[user, home, old, new], "/new"),
            (
                &[user, ("HF_HUB_CACHE", "")],
                "/home/u/.cache/huggingface/hub",
            ),
        ] {
            assert_eq!(with(variables), PathBuf::from(folder));
        }
    }

    /// The expected values are those that huggingface_hub 2.4's `get_token()` returned.
    #[test]
    fn tokens_are_trimmed_as_huggingface_hub_does() {
        for (given, cleaned) in [
            ("hf_abc\n", Some("hf_abc")),
            ("  hf_abc\r\n", Some("hf_abc")),
            ("hf_\nabc", Some("hf_abc")),
            ("\thf_abc ", Some("hf_abc")),
            ("\n", None),
        ] {
            assert_eq!(
                with(&[("HF_TOKEN", given)]).as_deref(),
                cleaned,
                "{given:?}"
            );
            let old = with(&[("HUGGING_FACE_HUB_TOKEN", given)]);
            assert_eq!(old.as_deref(), cleaned, "{given:?}");
        }
        let both = [("HF_TOKEN", "new"), ("HUGGING_FACE_HUB_TOKEN", "old")];
        assert_eq!(with(&both).as_deref(), Some("new"));
        let empty = [("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "old")];
        assert_eq!(with(&empty).as_deref(), Some("old"));
    }

    #[test]
    fn token_files_are_read_and_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        fs_err::write(dir.path().join("token"), " hf_file\r\n").unwrap();
        assert_eq!(with(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        let blank = [("HF_TOKEN", " "), ("HF_HOME", home)];
        assert_eq!(with(&blank).as_deref(), Some("hf_file"));
        let other = dir.path().join("secret");
        fs_err::write(&other, "hf_other\n").unwrap();
        let path = [
            ("HF_TOKEN_PATH", other.to_str().unwrap()),
            ("HF_HOME", home),
        ];
        assert_eq!(with(&path).as_deref(), Some("hf_other"));
    }

    #[test]
    fn a_switch_that_is_off_leaves_the_token() {
        let token = ("HF_TOKEN", "hf_abc");
        let switch = "HF_HUB_DISABLE_IMPLICIT_TOKEN";
        assert_eq!(with(&[token, (switch, "1")]), None);
        assert!(with(&[token, (switch, "0")]).is_some());
    }
}
