//! The files that inputs name: themselves, those of a folder, or those that match a pattern. [`store`] finds objects in the same way.

use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::file_format::{InputFormat, READ_ENDINGS, is_stdin};
use super::location::Location;
use super::store::{self, Object};

/// A file of texts, or an object.
#[derive(Debug)]
pub(crate) enum Input {
    File(PathBuf),
    Object(Object),
}

impl Input {
    /// The path or the URL.
    pub(super) fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Object(object) => Path::new(object.url()),
        }
    }
}

/// The files of all inputs, those of a folder or pattern in the order of their names.
///
/// Of a folder, the files with an ending that is read are taken, or all of them if `any_ending`. Subfolders are left out, and so are names
/// that begin with a dot or an underscore, which programs give to their own files, such as `_SUCCESS`. As in shells, a pattern
/// matches a name that begins with a dot only if it has the dot.
///
/// # Errors
/// A folder or an object store cannot be read, a folder has a link that leads to no file, a pattern is wrong, or either gives no file.
pub(crate) fn expand(inputs: &[PathBuf], any_ending: bool) -> Result<Vec<Input>, String> {
    let mut files = Vec::new();
    let mut stores = store::Stores::default();
    for input in inputs {
        let pattern = input.to_str().filter(|name| is_pattern(name));
        if let Some(location) = Location::of(input)? {
            let objects = stores.expand(&location, any_ending)?;
            files.extend(objects.into_iter().map(Input::Object));
        } else if is_stdin(input) {
            files.push(Input::File(input.clone()));
        } else if input.is_dir() {
            files.extend(folder(input, any_ending)?.into_iter().map(Input::File));
        } else if let Some(pattern) = pattern.filter(|_| !input.exists()) {
            files.extend(matches(pattern)?.into_iter().map(Input::File));
        } else {
            files.push(Input::File(input.clone()));
        }
    }
    Ok(files)
}

pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether a file of a folder is read.
pub(super) fn is_read(file: &Path, any_ending: bool) -> bool {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    let is_own = name.starts_with(b".") || name.starts_with(b"_");
    !is_own && (any_ending || InputFormat::of(file).is_ok())
}

/// How names match a pattern. `*` and `?` match no slash.
pub(super) fn match_options(pattern: &Path) -> MatchOptions {
    // With this option the crate finds no hidden file at all, not even for a pattern that begins with a dot.
    let asks_for_hidden = pattern
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: !asks_for_hidden,
        ..MatchOptions::default()
    }
}

fn folder(path: &Path, any_ending: bool) -> Result<Vec<PathBuf>, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut files = Vec::new();
    for entry in fs_err::read_dir(path).map_err(said)? {
        let entry = entry.map_err(said)?;
        let file = entry.path();
        if !is_read(&file, any_ending) {
            continue;
        }
        if file.is_symlink() && !file.exists() {
            return Err(format!(
                "{}: the symbolic link leads to no file: correct or remove it",
                file.display()
            ));
        }
        if file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{}: the folder contains no file that lexivec reads ({READ_ENDINGS}); subfolders are not read",
            path.display()
        ));
    }
    files.sort();
    Ok(files)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let options = match_options(Path::new(pattern));
    let found = glob::glob_with(pattern, options).map_err(|error| format!("{pattern}: {error}"))?;
    let mut files = Vec::new();
    for file in found {
        let file = file.map_err(|error| error.to_string())?;
        if file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!("{pattern}: no file matches"));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_patterns_are_their_files_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [
            "b.csv",
            "a.txt",
            "c.pdf",
            ".hidden.csv",
            "_SUCCESS",
            "_a.csv",
            "[1].csv",
        ] {
            fs_err::write(at(name), "x").unwrap();
        }
        fs_err::create_dir(at("sub.csv")).unwrap();
        let names = |input: &str, any: bool| -> Result<Vec<String>, String> {
            let files = expand(&[at(input), "-".into()], any)?;
            assert_eq!(files.last().map(Input::name), Some(Path::new("-")));
            let files = files[..files.len() - 1].iter();
            let name = |file: &Input| {
                let name = file.name().file_name().unwrap();
                name.to_str().unwrap().to_owned()
            };
            Ok(files.map(name).collect())
        };
        assert_eq!(names("", false).unwrap(), ["[1].csv", "a.txt", "b.csv"]);
        assert_eq!(
            names("", true).unwrap(),
            ["[1].csv", "a.txt", "b.csv", "c.pdf"]
        );
        assert_eq!(names("?.*", false).unwrap(), ["a.txt", "b.csv", "c.pdf"]);
        assert_eq!(
            names("*.csv", false).unwrap(),
            ["[1].csv", "_a.csv", "b.csv"]
        );
        assert_eq!(names(".h*", false).unwrap(), [".hidden.csv"]);
        assert_eq!(names("[1].csv", false).unwrap(), ["[1].csv"]);
        assert_eq!(names("missing.csv", false).unwrap(), ["missing.csv"]);
        for (input, reason) in [
            ("*.tsv", "no file matches"),
            ("***", "wildcard"),
            ("sub.csv", "the folder contains no file that lexivec reads"),
        ] {
            let said = names(input, false).unwrap_err();
            assert!(said.contains(reason), "{said}");
        }
        std::os::unix::fs::symlink("missing", at("sub.csv/a.csv")).unwrap();
        let said = names("sub.csv", false).unwrap_err();
        assert!(
            said.contains("a.csv: the symbolic link leads to no file"),
            "{said}"
        );
    }
}
