//! The hub's cache folder and the user's token, looked for where the hub's own tools look for them
//! (`huggingface_hub/constants.py` and `huggingface_hub/utils/_auth.py`).

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::text;

/// The variables that decide about a download: the hub's, and those of proxies, which the HTTP client reads.
const VARIABLES: [&str; 20] = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HOME",
    "XDG_CACHE_HOME",
    "HOME",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// A variable that is not UTF-8. It would count as absent: a download without a token, or from another hub.
pub(super) fn undecodable() -> Option<&'static str> {
    undecodable_of(|name| std::env::var_os(name))
}

fn undecodable_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    let is_text = |name: &str| variable(name).is_none_or(|value| value.to_str().is_some());
    VARIABLES.into_iter().find(|name| !is_text(name))
}

/// The user's token: `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else the file of a login.
///
/// # Errors
/// The token's file exists and cannot be read as UTF-8. Without this error, the hub would deny access and the user would look for
/// the fault there.
pub(super) fn token() -> io::Result<Option<String>> {
    token_from(|name| std::env::var(name).ok())
}

/// Whether the user allows only the cache: `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE`.
pub(super) fn is_offline() -> bool {
    is_offline_by(|name| std::env::var(name).ok())
}

fn is_offline_by(variable: impl Fn(&str) -> Option<String>) -> bool {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let value = variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE"));
    is_switched_on(value.as_deref())
}

/// Whether a variable has one of the values that `huggingface_hub` takes as true.
pub(super) fn is_switched_on(value: Option<&str>) -> bool {
    value.is_some_and(|value| {
        ["1", "on", "yes", "true"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word))
    })
}

/// The folder of the hub's files, given the environment's variables.
pub(super) fn cache(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let variable = &|name: &str| variable(name).filter(|value| !value.is_empty());
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    named
        .map(|dir| expanded(&dir, variable))
        .unwrap_or_else(|| {
            let home = home(variable).unwrap_or_else(|| PathBuf::from("/tmp/.cache/huggingface"));
            home.join("hub")
        })
}

/// The folder of the hub's tools: `HF_HOME`, else `XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
fn home(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let below =
        |name: &str, folder: &str| variable(name).map(|dir| expanded(&dir, variable).join(folder));
    variable("HF_HOME")
        .map(|dir| expanded(&dir, variable))
        .or_else(|| below("XDG_CACHE_HOME", "huggingface"))
        .or_else(|| below("HOME", ".cache/huggingface"))
}

/// A path with `~` and `$NAME` replaced as by Python's `expanduser` and `expandvars`. A shell does not replace them in quotes, in
/// files of variables, and in manifests of containers.
fn expanded(path: &str, variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let mut rest = path;
    let mut found = String::new();
    if let Some(below) = rest.strip_prefix('~')
        && (below.is_empty() || below.starts_with('/'))
        && let Some(home) = variable("HOME")
    {
        found = home;
        rest = below;
    }
    while let Some((before, after)) = rest.split_once('$') {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, behind) = match after.strip_prefix('{').and_then(|s| s.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !is_part(c)).unwrap_or(after.len())),
        };
        found += before;
        match variable(name) {
            Some(value) => found += &value,
            None => found += &rest[before.len()..rest.len() - behind.len()],
        }
        rest = behind;
    }
    PathBuf::from(found + rest)
}

fn token_from(variable: impl Fn(&str) -> Option<String>) -> io::Result<Option<String>> {
    let variable = &|name: &str| variable(name).filter(|value| !value.is_empty());
    if is_switched_on(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").as_deref()) {
        return Ok(None);
    }
    let given = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN"));
    if let Some(token) = given.and_then(|token| clean(&token)) {
        return Ok(Some(token));
    }
    let named = variable("HF_TOKEN_PATH").map(|path| expanded(&path, variable));
    let is_named = named.is_some();
    let Some(path) = named.or_else(|| home(variable).map(|home| home.join("token"))) else {
        return Ok(None);
    };
    match text::read(&path).map_err(|error| (error.kind(), error)) {
        Ok(token) => Ok(clean(&token)),
        Err((io::ErrorKind::NotFound, _)) => Ok(None),
        // The home folder of a container's image may belong to another user.
        Err((io::ErrorKind::PermissionDenied, _)) if !is_named => Ok(None),
        Err((_, error)) => Err(error),
    }
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

    /// The values of these variables.
    fn set<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn with(variables: &[(&str, &str)]) -> Option<String> {
        token_from(set(variables)).unwrap()
    }

    #[test]
    fn the_most_specific_variable_names_the_cache() {
        let with = |variables: &[(&str, &str)]| cache(set(variables));
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
            (&[user, ("HF_HOME", "~/hf")], "/home/u/hf/hub"),
            (
                &[user, ("HF_HUB_CACHE", "$HOME/${X}$Y/a")],
                "/home/u/${X}$Y/a",
            ),
            (&[("HF_HUB_CACHE", "~/a")], "~/a"),
            (&[user, ("HF_HUB_CACHE", "/~a$")], "/~a$"),
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
        let below = [("HF_TOKEN_PATH", "~/secret"), ("HOME", home)];
        assert_eq!(with(&below).as_deref(), Some("hf_other"));
    }

    #[test]
    fn a_token_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = || token_from(set(&[("HF_TOKEN_PATH", path.to_str().unwrap())]));
        assert_eq!(token().unwrap(), None);
        // As Windows PowerShell's `>` and Notepad write it.
        fs_err::write(&path, "\u{feff}hf_abc\r\n").unwrap();
        assert_eq!(token().unwrap().as_deref(), Some("hf_abc"));
        fs_err::write(&path, b"\xff\xfeh\0f\0").unwrap();
        let error = token().unwrap_err().to_string();
        assert!(
            error.contains("token") && error.contains("UTF-16"),
            "{error}"
        );
    }

    #[test]
    fn either_variable_forbids_downloads_and_the_hubs_takes_precedence() {
        let (hub, transformers) = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE");
        for (variables, offline) in [
            (&[][..], false),
            (&[(hub, "1")], true),
            (&[(transformers, "yes")], true),
            (&[(hub, ""), (transformers, "1")], true),
            (&[(hub, "0"), (transformers, "1")], false),
        ] {
            assert_eq!(is_offline_by(set(variables)), offline, "{variables:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf_8_is_named() {
        use std::os::unix::ffi::OsStringExt as _;
        for name in VARIABLES {
            let latin =
                |asked: &str| (asked == name).then(|| OsString::from_vec(b"hf_\xe9".into()));
            assert_eq!(undecodable_of(latin), Some(name));
        }
        assert_eq!(undecodable_of(|_| Some("hf_\u{e9}".into())), None);
        assert_eq!(undecodable_of(|_| None), None);
    }

    #[test]
    fn a_switch_that_is_off_leaves_the_token() {
        let token = ("HF_TOKEN", "hf_abc");
        let switch = "HF_HUB_DISABLE_IMPLICIT_TOKEN";
        assert_eq!(with(&[token, (switch, "1")]), None);
        assert!(with(&[token, (switch, "0")]).is_some());
    }
}
