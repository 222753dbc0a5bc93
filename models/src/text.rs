//! Reads text files without their byte order mark, and rejects UTF-16 and UTF-32 by name. Makes text from elsewhere printable.
//!
//! Editors and spreadsheets on Windows begin UTF-8 files with a byte order mark. It would become part of the first text, column
//! name or key.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

const UTF8: &[u8] = &[0xef, 0xbb, 0xbf];

/// Unsupported encodings and their marks. UTF-32's little-endian mark comes before UTF-16's, because it begins with it.
const OTHERS: [(&[u8], &str); 4] = [
    (&[0xff, 0xfe, 0, 0], "UTF-32 (little-endian)"),
    (&[0, 0, 0xfe, 0xff], "UTF-32 (big-endian)"),
    (&[0xff, 0xfe], "UTF-16 (little-endian)"),
    (&[0xfe, 0xff], "UTF-16 (big-endian)"),
];

/// Returns a reader that skips the byte order mark of `source`.
///
/// # Errors
/// `source` cannot be read, or its mark is that of UTF-16 or UTF-32.
///
/// # Example
/// ```
/// use std::io::BufRead as _;
///
/// let mut csv = lexivec_models::text::without_mark("\u{feff}term,code\n".as_bytes())?;
/// let mut line = String::new();
/// csv.read_line(&mut line)?;
/// assert_eq!(line, "term,code\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn without_mark<R: Read>(mut source: R) -> io::Result<impl BufRead + use<R>> {
    let mut start = Vec::with_capacity(4);
    let mut byte = [0];
    // A pipe may deliver fewer bytes than a mark has. Reading stops at the first byte that fits no mark, because a terminal
    // would wait for more.
    while start.len() < 4 && begins_a_mark(&start) {
        match source.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => start.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let rest = rest(&start)?.to_vec();
    Ok(Cursor::new(rest).chain(BufReader::new(source)))
}

/// Reads a whole UTF-8 file without its byte order mark.
///
/// # Errors
/// The file cannot be read or has another encoding; the message names the file.
///
/// # Example
/// ```
/// use lexivec_models::text;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("terms.txt");
/// std::fs::write(&path, "\u{feff}cardiac arrest")?;
/// assert_eq!(text::read(&path)?, "cardiac arrest");
/// assert_eq!(text::read_bytes(&path)?, b"cardiac arrest");
///
/// std::fs::write(&path, b"\xff\xfeh\0")?;
/// assert!(text::read(&path).unwrap_err().to_string().contains("UTF-16"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read(path: &Path) -> io::Result<String> {
    text_of(path, fs_err::read(path)?)
}

/// Reads a whole text file of at most `limit` bytes, without its byte order mark. A device such as /dev/zero has no end.
///
/// # Errors
/// The file cannot be read, is larger, or is not UTF-8; the message names the file.
///
/// # Example
/// ```
/// use lexivec_models::text;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("terms.txt");
/// std::fs::write(&path, "cardiac arrest")?;
/// assert_eq!(text::read_up_to(&path, 14)?, "cardiac arrest");
/// assert!(text::read_up_to(&path, 13).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_up_to(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let reason = format!("{}: more than {limit} bytes", path.display());
        return Err(invalid(reason));
    }
    text_of(path, bytes)
}

/// Reads a whole file that need not be UTF-8, such as PEM with comments, without its byte order mark.
///
/// # Errors
/// The file cannot be read, or begins with the mark of another encoding; the message names the file.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    unmarked(path, fs_err::read(path)?)
}

/// The most bytes of a message that [`message`] keeps from its beginning, and from its end, which often says what to do.
const KEPT: (usize, usize) = (1500, 500);

/// A text that a terminal prints as it is: characters that control a terminal or the direction of writing become escapes.
///
/// ```
/// use lexivec_models::text::printable;
///
/// assert_eq!(printable("two\nlines"), "two\nlines");
/// assert_eq!(printable("\u{1b}[31mred\r"), "\\u{1b}[31mred\\r");
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let controls = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || c.is_control() && c != '\n' && c != '\t'
    };
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if controls(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// The words of a message that may quote a file or a server: [`printable`], and without its middle if it is very long.
///
/// ```
/// use lexivec_models::text::message;
///
/// assert_eq!(message("`r` is 0"), "`r` is 0");
/// let long = message(&format!("`r` is {}: correct it", "0".repeat(1 << 20)));
/// assert!(long.len() < 2100 && long.starts_with("`r` is 0") && long.ends_with(": correct it"));
/// ```
#[must_use]
pub fn message(words: &str) -> String {
    let (first, last) = KEPT;
    if words.len() <= first + last {
        return printable(words).into_owned();
    }
    let (first, last) = (
        words.floor_char_boundary(first),
        words.ceil_char_boundary(words.len() - last),
    );
    let (start, end) = (printable(&words[..first]), printable(&words[last..]));
    format!("{start} … ({} bytes left out) … {end}", last - first)
}

fn text_of(path: &Path, bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(unmarked(path, bytes)?)
        .map_err(|error| invalid(format!("{}: not UTF-8 text: {error}", path.display())))
}

fn unmarked(path: &Path, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let rest = rest(&bytes);
    let rest = rest.map_err(|error| invalid(format!("{}: {error}", path.display())))?;
    Ok(if rest.len() < bytes.len() {
        rest.to_vec()
    } else {
        bytes
    })
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn begins_a_mark(start: &[u8]) -> bool {
    let marks = OTHERS.iter().map(|(mark, _)| *mark);
    let mut marks = marks.chain([UTF8]);
    marks.any(|mark| mark.len() > start.len() && mark.starts_with(start))
}

/// Returns the bytes after the mark of UTF-8; all bytes if there is none.
fn rest(bytes: &[u8]) -> io::Result<&[u8]> {
    let found = OTHERS.iter().find(|(mark, _)| bytes.starts_with(mark));
    match found {
        Some((_, encoding)) => Err(invalid(format!(
            "the text is in {encoding}, as its byte order mark says: convert it to UTF-8"
        ))),
        None => Ok(bytes.strip_prefix(UTF8).unwrap_or(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers a byte at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn streamed(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        without_mark(Slow(bytes))?.read_to_end(&mut found)?;
        Ok(found)
    }

    #[test]
    fn the_mark_of_utf_8_is_dropped_once_and_only_at_the_start() {
        for (bytes, expected) in [
            ("\u{feff}one\ntwo", "one\ntwo"),
            ("\u{feff}\u{feff}one", "\u{feff}one"),
            ("one\u{feff}", "one\u{feff}"),
            ("\u{feff}", ""),
            ("", ""),
            ("ï", "ï"),
        ] {
            assert_eq!(streamed(bytes.as_bytes()).unwrap(), expected.as_bytes());
            assert_eq!(rest(bytes.as_bytes()).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn other_encodings_are_named() {
        for (bytes, name) in [
            (&b"\xff\xfeh\0"[..], "UTF-16 (little-endian)"),
            (b"\xfe\xff\0h", "UTF-16 (big-endian)"),
            (b"\xff\xfe\0\0h\0\0\0", "UTF-32 (little-endian)"),
            (b"\0\0\xfe\xff\0\0\0h", "UTF-32 (big-endian)"),
        ] {
            assert!(streamed(bytes).unwrap_err().to_string().contains(name));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.txt");
        fs_err::write(&path, b"\xff\xfeh\0").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(
            message.contains("keys.txt: the text is in UTF-16"),
            "{message}"
        );
        fs_err::write(&path, b"caf\xe9").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("keys.txt: not UTF-8 text"), "{message}");
    }
}
