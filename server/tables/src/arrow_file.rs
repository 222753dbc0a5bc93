//! Arrow files: the IPC file format, also known as Feather version 2.
//!
//! Every size that a file states is compared with the file's length before memory is reserved for it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, MetadataVersion, root_as_footer, root_as_message};
use arrow_schema::{Metadata, Schema, SchemaRef};
use arrow_select::take::take_record_batch;

use crate::table::{BATCH_ROWS, said};

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8; 6] = b"ARROW1";
/// The footer's length and the magic bytes, which end a file.
const TRAILER: usize = 10;
/// The marker and the length before a message.
const PREFIX: usize = 8;

/// An Arrow file whose footer has been read.
#[derive(Debug)]
pub(crate) struct ArrowFile {
    schema: SchemaRef,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
    rows: u64,
}

impl ArrowFile {
    /// Reads the footer of a file.
    ///
    /// # Errors
    /// It cannot be read, or is no complete Arrow file.
    pub(crate) fn open(file: &File) -> Result<Self, String> {
        let length = file.metadata().map_err(said)?.len();
        let end = length
            .checked_sub((TRAILER + MAGIC.len()) as u64)
            .ok_or("it is too short")?;
        let mut trailer = [0; TRAILER];
        file.read_exact_at(&mut trailer, length - TRAILER as u64)
            .map_err(said)?;
        let footer_length = read_footer_length(trailer).map_err(said)?;
        if footer_length as u64 > end {
            return Err("its footer is longer than the file".to_owned());
        }
        let mut footer = vec![0; footer_length];
        let start = length - (TRAILER + footer_length) as u64;
        file.read_exact_at(&mut footer, start).map_err(said)?;
        let footer = root_as_footer(&footer).map_err(said)?;
        let schema = footer.schema().ok_or("its footer has no schema")?;
        let schema = try_fb_to_schema(schema).map_err(said)?;
        let metadata = footer.custom_metadata().into_iter().flatten();
        let metadata = metadata.filter_map(|pair| {
            let (key, value) = (pair.key()?, pair.value()?);
            Some((key.to_owned(), value.to_owned()))
        });
        let metadata = schema.metadata.clone().into_iter().chain(metadata);
        let mut found = Self {
            version: footer.version(),
            dictionaries: checked(footer.dictionaries().iter().flatten(), length)?,
            batches: checked(footer.recordBatches().iter().flatten(), length)?,
            rows: 0,
            schema: Arc::new(Schema::new_with_metadata(
                schema.fields.clone(),
                metadata.collect::<Metadata>(),
            )),
        };
        for block in &found.batches {
            found.rows += rows_of(file, block)?;
        }
        Ok(found)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads columns, or all of them.
    ///
    /// # Errors
    /// A dictionary cannot be read.
    pub(crate) fn batches(
        &self,
        file: File,
        columns: Option<&[usize]>,
    ) -> Result<ArrowBatches, String> {
        let mut decoder = FileDecoder::new(Arc::clone(&self.schema), self.version);
        if let Some(columns) = columns {
            decoder = decoder.with_projection(columns.to_vec());
        }
        for block in &self.dictionaries {
            let bytes = read(&file, block)?;
            decoder.read_dictionary(block, &bytes).map_err(said)?;
        }
        Ok(ArrowBatches {
            file,
            decoder,
            blocks: self.batches.clone().into_iter(),
            current: None,
        })
    }
}

/// The batches of a file, each with at most [`BATCH_ROWS`] rows. Larger ones are divided.
pub(crate) struct ArrowBatches {
    file: File,
    decoder: FileDecoder,
    blocks: std::vec::IntoIter<Block>,
    /// The batch that is read, and its next row.
    current: Option<(RecordBatch, usize)>,
}

impl Iterator for ArrowBatches {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((batch, next)) = &mut self.current
                && *next < batch.num_rows()
            {
                let end = batch.num_rows().min(*next + BATCH_ROWS);
                // A slice would hold the whole batch.
                let rows = UInt32Array::from_iter_values(*next as u32..end as u32);
                *next = end;
                return Some(take_record_batch(batch, &rows).map_err(said));
            }
            let block = self.blocks.next()?;
            match self.decode(&block) {
                Ok(batch) => self.current = batch.map(|batch| (batch, 0)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl ArrowBatches {
    fn decode(&self, block: &Block) -> Result<Option<RecordBatch>, String> {
        let bytes = read(&self.file, block)?;
        let batch = self
            .decoder
            .read_record_batch(block, &bytes)
            .map_err(said)?;
        match batch {
            Some(batch) if u32::try_from(batch.num_rows()).is_err() => {
                Err("a batch has too many rows".to_owned())
            }
            batch => Ok(batch),
        }
    }
}

/// The blocks, if they are within a file of `length` bytes.
fn checked<'a>(blocks: impl Iterator<Item = &'a Block>, length: u64) -> Result<Vec<Block>, String> {
    let blocks: Vec<Block> = blocks.copied().collect();
    match blocks.iter().all(|block| is_within(block, length)) {
        true => Ok(blocks),
        false => Err("a batch is outside the file".to_owned()),
    }
}

fn is_within(block: &Block, length: u64) -> bool {
    let end = || {
        let (metadata, body) = (block.metaDataLength(), block.bodyLength());
        let start = u64::try_from(block.offset()).ok()?;
        let end = start.checked_add(u64::try_from(metadata).ok()?)?;
        end.checked_add(u64::try_from(body).ok()?)
    };
    block.metaDataLength() >= PREFIX as i32 && end().is_some_and(|end| end <= length)
}

/// The bytes of a block, which is within the file.
fn read(file: &File, block: &Block) -> Result<Buffer, String> {
    let length = i64::from(block.metaDataLength()) + block.bodyLength();
    let mut bytes = vec![0; usize::try_from(length).map_err(said)?];
    file.read_exact_at(&mut bytes, block.offset().cast_unsigned())
        .map_err(said)?;
    Ok(Buffer::from_vec(bytes))
}

/// The rows that a block states.
fn rows_of(file: &File, block: &Block) -> Result<u64, String> {
    let mut bytes = vec![0; block.metaDataLength() as usize];
    file.read_exact_at(&mut bytes, block.offset().cast_unsigned())
        .map_err(said)?;
    // Old files have no marker before the length.
    let start = if bytes[..4] == [0xff; 4] { PREFIX } else { 4 };
    let message = root_as_message(&bytes[start..]).map_err(said)?;
    let batch = message
        .header_as_record_batch()
        .ok_or("a block has no batch")?;
    u64::try_from(batch.length()).map_err(said)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow_array::types::{Float32Type, Int32Type};
    use arrow_array::{
        ArrayRef, DictionaryArray, FixedSizeListArray, Int64Array, RecordBatch, StringArray,
    };
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions};

    use crate::{MODEL_DIGEST, Table, Texts, Vectors};

    /// Batches of 1500 and 3 rows, with a dictionary, as pyarrow and polars write them.
    fn write(path: &Path, compression: Option<CompressionType>) {
        let batch = |rows: std::ops::Range<i64>| {
            let texts = rows.clone().map(|id| format!("term {id}"));
            let vectors = rows.clone().map(|id| Some([Some(id as f32), Some(-1.0)]));
            let columns: [(&str, ArrayRef); 4] = [
                ("id", Arc::new(Int64Array::from_iter_values(rows.clone()))),
                ("term", Arc::new(StringArray::from_iter_values(texts))),
                (
                    "language",
                    Arc::new(DictionaryArray::<Int32Type>::from_iter(
                        rows.clone().map(|id| if id % 2 == 0 { "en" } else { "zh" }),
                    )),
                ),
                (
                    "embedding",
                    Arc::new(
                        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2),
                    ),
                ),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let options = IpcWriteOptions::default();
        let options = options.try_with_compression(compression).unwrap();
        let (file, first) = (fs_err::File::create(path).unwrap(), batch(0..1500));
        let mut writer = FileWriter::try_new_with_options(file, &first.schema(), options).unwrap();
        writer.write_metadata(MODEL_DIGEST, "abc");
        writer.write(&first).unwrap();
        writer.write(&batch(1500..1503)).unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn texts_vectors_and_columns_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.arrow");
        for compression in [
            None,
            Some(CompressionType::LZ4_FRAME),
            Some(CompressionType::ZSTD),
        ] {
            write(&path, compression);
            let table = Table::open(&path).unwrap();
            assert_eq!(
                (table.rows(), table.metadata(MODEL_DIGEST)),
                (1503, Some("abc"))
            );
            for (column, text) in [("term", "term 1501"), ("language", "zh")] {
                let texts: Vec<_> = Texts::new(&table, column, true).unwrap().collect();
                assert_eq!(texts.len(), 1503);
                assert_eq!(texts[1501].as_ref().unwrap().text.as_deref(), Some(text));
            }
            let vectors = Vectors::open(&path, "embedding").unwrap();
            assert_eq!(
                (vectors.rows(), vectors.width(), vectors.model()),
                (1503, 2, Some("abc"))
            );
            let mut numbers = Vec::new();
            let read = vectors.for_each_block(|first, block| {
                assert_eq!(first * 2, numbers.len());
                numbers.extend_from_slice(block);
                Ok::<_, crate::Error>(())
            });
            read.unwrap();
            assert_eq!(numbers[3004..], [1502.0, -1.0]);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.arrow");
        write(&path, Some(CompressionType::LZ4_FRAME));
        let whole = fs_err::read(&path).unwrap();
        let read = || -> crate::Result<usize> {
            let table = Table::open(&path)?;
            let mut count = 0;
            for text in Texts::new(&table, "term", true)? {
                text?;
                count += 1;
            }
            Ok(count)
        };
        assert_eq!(read().unwrap(), 1503);
        for length in [6, 20, whole.len() / 2, whole.len() - 1] {
            fs_err::write(&path, &whole[..length]).unwrap();
            let said = read().unwrap_err().to_string();
            assert!(
                said.contains("a.arrow: the file is no complete Arrow file"),
                "{said}"
            );
        }
        fs_err::write(&path, "term\nheart\n").unwrap();
        let said = read().unwrap_err().to_string();
        assert!(said.contains("this is no Arrow file"), "{said}");
        // No byte makes the reader panic or reserve more memory than the file has.
        let mut random = whole.clone();
        for place in (0..whole.len()).step_by(97) {
            random[place] ^= 0x55;
            fs_err::write(&path, &random).unwrap();
            let _ = read();
            random[place] = whole[place];
        }
    }
}
