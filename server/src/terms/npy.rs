//! Vectors from a NumPy file (.npy), block by block.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ndarray::ArrayView2;

/// How many rows a block has at most.
const BLOCK: usize = 1024;
const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read. NumPy writes 118 bytes for a matrix.
const MOST_HEADER: usize = 1 << 16;

/// A file with a float32 matrix, a vector a row.
#[derive(Debug)]
pub(crate) struct Npy {
    path: PathBuf,
    /// Where the numbers begin.
    start: u64,
    rows: usize,
    width: usize,
}

impl Npy {
    /// Reads the header.
    ///
    /// # Errors
    /// The file cannot be read, or is no float32 matrix in row order, or its size does not match its header.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = BufReader::new(fs_err::File::open(path)?);
        let (header, start) = header(&mut file).with_context(|| path.display().to_string())?;
        let named = |reason: &str| format!("{}: {reason}", path.display());
        let kind = value(&header, "descr").unwrap_or_default();
        ensure!(
            matches!(kind.trim_matches(['\'', '"']), "<f4"),
            named(&format!(
                "its numbers have the type {kind}, and float32 ('<f4') is needed: convert it with numpy's astype"
            ))
        );
        ensure!(
            value(&header, "fortran_order") == Some("False"),
            named("it is in column order: save it with numpy.ascontiguousarray")
        );
        let Some((rows, width)) = value(&header, "shape").and_then(matrix_shape) else {
            bail!(named(
                "it is no matrix: a shape of two numbers is needed, a vector a row"
            ));
        };
        let expected = (rows as u64)
            .checked_mul(width as u64)
            .and_then(|count| count.checked_mul(4)?.checked_add(start));
        let found = fs_err::metadata(path)?.len();
        ensure!(
            expected == Some(found),
            named(&format!(
                "it has {found} bytes, and its header promises {rows} vectors of {width} float32 numbers: is it complete?"
            ))
        );
        Ok(Self {
            path: path.to_owned(),
            start,
            rows,
            width,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Passes all rows to `take`, block by block, with the number of each block's first row.
    ///
    /// # Errors
    /// The file cannot be read, or `take` returns an error.
    pub(crate) fn for_each_block(
        &self,
        mut take: impl FnMut(usize, ArrayView2<'_, f32>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        use std::io::{Seek as _, SeekFrom};
        let mut file = fs_err::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut bytes = vec![0; BLOCK.min(self.rows) * self.width * 4];
        for first in (0..self.rows).step_by(BLOCK) {
            let count = BLOCK.min(self.rows - first);
            let bytes = &mut bytes[..count * self.width * 4];
            file.read_exact(bytes)?;
            let (numbers, _) = bytes.as_chunks();
            let numbers: Vec<f32> = numbers.iter().map(|n| f32::from_le_bytes(*n)).collect();
            take(
                first,
                ArrayView2::from_shape((count, self.width), &numbers)?,
            )?;
        }
        Ok(())
    }
}

/// The header's text, and where the numbers begin (numpy.lib.format).
fn header(file: &mut impl Read) -> anyhow::Result<(String, u64)> {
    let mut prefix = [0; 8];
    let is_npy = file.read_exact(&mut prefix).is_ok() && prefix.starts_with(MAGIC);
    ensure!(is_npy, "this is no .npy file");
    let mut length = [0; 4];
    let length_bytes = if prefix[6] == 1 { 2 } else { 4 };
    file.read_exact(&mut length[..length_bytes])?;
    let length = u32::from_le_bytes(length) as usize;
    ensure!(
        length <= MOST_HEADER,
        "its header of {length} bytes is too long"
    );
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    Ok((
        String::from_utf8_lossy(&text).into_owned(),
        (prefix.len() + length_bytes + length) as u64,
    ))
}

/// The value of a key in the header, a Python dictionary such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    let rest = rest.trim_start();
    let end = match rest.starts_with('(') {
        true => rest.find(')')? + 1,
        false => rest.find([',', '}'])?,
    };
    Some(rest[..end].trim())
}

fn matrix_shape(shape: &str) -> Option<(usize, usize)> {
    let shape = shape.strip_prefix('(')?.strip_suffix(')')?;
    let mut sizes = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    let matrix = (sizes.next()?.parse().ok()?, sizes.next()?.parse().ok()?);
    sizes.next().is_none().then_some(matrix)
}

#[cfg(test)]
mod tests {
    use super::Npy;

    fn write(descr: &str, order: &str, shape: &str, numbers: &[f32]) -> tempfile::NamedTempFile {
        let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn blocks_are_the_rows_in_their_order() {
        let numbers: Vec<f32> = (0_u16..5000).map(f32::from).collect();
        let file = write("'<f4'", "False", "(2500, 2)", &numbers);
        let npy = Npy::open(file.path()).unwrap();
        assert_eq!((npy.rows(), npy.width()), (2500, 2));
        let mut found = Vec::new();
        npy.for_each_block(|first, block| {
            assert_eq!(found.len(), first * 2);
            found.extend(block.iter().copied());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, numbers);
    }

    #[test]
    fn other_files_are_errors_that_say_what_to_do() {
        let numbers = [0.0; 6];
        for (descr, order, shape, said) in [
            ("'<f8'", "False", "(3, 2)", "have the type '<f8'"),
            ("'<f4'", "True", "(3, 2)", "in column order"),
            ("'<f4'", "False", "(6,)", "is no matrix"),
            ("'<f4'", "False", "(1, 3, 2)", "is no matrix"),
            ("'<f4'", "False", "(3, 3)", "is it complete?"),
            (
                "'<f4'",
                "False",
                "(18446744073709551615, 9)",
                "is it complete?",
            ),
        ] {
            let file = write(descr, order, shape, &numbers);
            let error = format!("{:#}", Npy::open(file.path()).unwrap_err());
            assert!(error.contains(said), "{error}");
            assert!(
                error.contains(&file.path().display().to_string()),
                "{error}"
            );
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "term\nheart\n").unwrap();
        let error = format!("{:#}", Npy::open(file.path()).unwrap_err());
        assert!(error.contains("no .npy file"), "{error}");
    }
}
