//! The format of a file of texts, from its name.

use std::path::Path;

use super::parquet;

/// The endings of files that are read, for messages. The help of `embed`, `nearest`, `terms` and `--input-format` lists them, too.
pub(crate) const READ_ENDINGS: &str =
    ".txt, .jsonl (.ndjson), .csv, .tsv, .parquet and .arrow (.feather)";

/// The format of a file of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// A text per line.
    #[value(name = "txt")]
    Lines,
    /// A JSON object per line.
    #[value(name = "jsonl", alias = "ndjson")]
    JsonLines,
    /// A table whose first row names its columns.
    Csv,
    /// The same, with tabs between the fields.
    Tsv,
    /// An Apache Parquet file with a column of texts.
    Parquet,
    /// An Apache Arrow file (Feather) with a column of texts.
    #[value(alias = "feather")]
    Arrow,
}

impl InputFormat {
    /// The format by the file's ending, in upper or lower case. Standard input, pipes and devices hold a text per line.
    ///
    /// # Errors
    /// The ending is unknown.
    pub fn of(path: &Path) -> Result<Self, String> {
        match ending(path).as_str() {
            "txt" => Ok(Self::Lines),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            "tsv" => Ok(Self::Tsv),
            "parquet" if parquet::IS_BUILT => Ok(Self::Parquet),
            "arrow" | "feather" if parquet::IS_BUILT => Ok(Self::Arrow),
            _ if is_table(path) => Err(format!("{}: {}", path.display(), parquet::MISSING)),
            _ if is_stdin(path) || is_special(path) => Ok(Self::Lines),
            _ => Err(format!(
                "{}: lexivec reads {READ_ENDINGS} files; --input-format sets the format of a file with another ending",
                path.display()
            )),
        }
    }
}

/// Whether a file's ending is that of a Parquet or Arrow file.
pub(crate) fn is_table(path: &Path) -> bool {
    matches!(ending(path).as_str(), "parquet" | "arrow" | "feather")
}

/// A file's ending in lower case, without the dot.
pub(super) fn ending(path: &Path) -> String {
    let ending = path.extension().and_then(|e| e.to_str());
    ending.unwrap_or_default().to_ascii_lowercase()
}

/// Whether a name means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]
        .iter()
        .any(|name| path == Path::new(name))
}

/// Whether a name means standard output.
pub(super) fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path == Path::new(name))
}

/// Whether a path is neither a file nor a folder: a pipe, such as a shell's `<(…)`, or a device.
pub(super) fn is_special(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Whether a file can be read more than once.
pub(crate) fn is_seekable(path: &Path) -> bool {
    !is_stdin(path) && !is_special(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_read_in_any_case_and_streams_need_none() {
        for (name, format) in [
            ("a.txt", InputFormat::Lines),
            ("A.TXT", InputFormat::Lines),
            ("a.JsonL", InputFormat::JsonLines),
            ("a.ndjson", InputFormat::JsonLines),
            ("a.CSV", InputFormat::Csv),
            ("a.tsv", InputFormat::Tsv),
            #[cfg(feature = "parquet")]
            ("a.Feather", InputFormat::Arrow),
            ("-", InputFormat::Lines),
            ("/dev/stdin", InputFormat::Lines),
            ("/dev/null", InputFormat::Lines),
        ] {
            assert_eq!(InputFormat::of(Path::new(name)), Ok(format), "{name}");
        }
        for name in ["a.pdf", "a", "csv", "."] {
            assert!(InputFormat::of(Path::new(name)).is_err(), "{name}");
        }
    }
}
