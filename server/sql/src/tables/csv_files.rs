//! What DataFusion takes on trust in CSV files.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use anyhow::ensure;
use csv_core::{ReadFieldResult, ReaderBuilder};

/// The longest first line of a CSV file that is read.
const LONGEST_HEADER: u64 = 1 << 20;

/// Checks that CSV files have the same first line. DataFusion reads columns by their place.
///
/// # Errors
/// A file has no line, another one than the first file, or cannot be read.
pub(super) fn check_headers(files: &[PathBuf]) -> anyhow::Result<()> {
    let header = |file: &PathBuf| -> anyhow::Result<String> {
        let mut line = Vec::new();
        let limited = fs_err::File::open(file)?.take(LONGEST_HEADER);
        BufReader::new(limited).read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}').trim_end();
        ensure!(
            !line.is_empty(),
            "{}: the first line names no columns",
            file.display()
        );
        Ok(line.to_owned())
    };
    let Some((first, others)) = files.split_first() else {
        return Ok(());
    };
    let expected = header(first)?;
    for file in others {
        ensure!(
            header(file)? == expected,
            "{}: the first line is not that of {}: give all files of a table the same columns in the same order",
            file.display(),
            first.display()
        );
    }
    Ok(())
}

/// Whether a value of these files has a line break. DataFusion divides a file at line breaks, so only where no value has one. Reads with the
/// parser of DataFusion, in constant memory.
///
/// # Errors
/// A file cannot be read.
pub(super) fn have_line_breaks(files: &[PathBuf], delimiter: u8) -> anyhow::Result<bool> {
    let mut value = [0; 1 << 12];
    for file in files {
        let mut parser = ReaderBuilder::new().delimiter(delimiter).build();
        let mut reader = BufReader::with_capacity(1 << 18, fs_err::File::open(file)?);
        loop {
            let (found, read, written) = parser.read_field(reader.fill_buf()?, &mut value);
            reader.consume(read);
            if value[..written]
                .iter()
                .any(|byte| matches!(byte, b'\n' | b'\r'))
            {
                return Ok(true);
            }
            if matches!(found, ReadFieldResult::End) {
                break;
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_files_of_a_table_have_the_same_header() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, contents: &str| {
            let path = dir.path().join(name);
            fs_err::write(&path, contents).unwrap();
            path
        };
        let (a, b) = (
            file("a.csv", "id,text\n1,x\n"),
            file("b.csv", "id,text\r\n2,y\r\n"),
        );
        assert!(check_headers(&[a.clone(), b]).is_ok());
        let said = |other| check_headers(&[a.clone(), other]).unwrap_err().to_string();
        assert!(
            said(file("c.csv", "text,id\nz,3\n")).contains("c.csv: the first line is not that of")
        );
        assert!(said(file("d.csv", "")).contains("d.csv: the first line names no columns"));
    }

    #[test]
    fn line_breaks_count_where_they_are_part_of_a_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let found = |contents: &str, delimiter| {
            fs_err::write(&path, contents).unwrap();
            have_line_breaks(std::slice::from_ref(&path), delimiter).unwrap()
        };
        assert!(!found("id,text\n1,a\r\n2,\"b, \"\"c\"\"\"\n\n3\n", b','));
        assert!(found("id,text\n1,\"a\nb\"\n", b','));
        assert!(found("id,text\n1,\"a\rb\"\n", b','));
        // A quote within a value begins no quoted value, and one at the start of a value does.
        assert!(found("text,note,more\n5\" x,\"a\nb\",6\" y\n", b','));
        assert!(!found("5\" x,6\" y\n5\" x,6\"\n", b','));
        assert!(found("id\ttext\n1\t\"a\nb\"\n", b'\t'));
        assert!(!found("id,text\n1,\"a\tb\"\n", b'\t'));
    }
}
