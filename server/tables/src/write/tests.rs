use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;

use super::{Settings, Writer};
use crate::{MODEL_DIGEST, Row, Table, Texts, VECTOR_COLUMN, Vectors};

fn settings() -> Settings {
    Settings {
        vector_column: VECTOR_COLUMN.to_owned(),
        width: 2,
        metadata: vec![(MODEL_DIGEST.to_owned(), "abc".to_owned())],
    }
}

fn row(id: u16) -> (Row, [f32; 2]) {
    let columns: Arc<[String]> = ["id".to_owned(), "term".to_owned()].into();
    let row = Row::of_texts(&columns, vec![id.to_string(), format!("term {id}")]);
    (row, [f32::from(id), -1.0])
}

fn write(path: &Path, rows: std::ops::Range<u16>) {
    let sink = fs_err::File::create(path).unwrap();
    let mut writer = Writer::new(sink, &row(0).0, settings()).unwrap();
    for id in rows {
        let (row, vector) = row(id);
        writer.push(row, &vector).unwrap();
    }
    writer.finish().unwrap();
}

fn numbers(path: &Path) -> Vec<f32> {
    let vectors = Vectors::open(path, VECTOR_COLUMN).unwrap();
    assert_eq!((vectors.width(), vectors.model()), (2, Some("abc")));
    let mut numbers = Vec::new();
    vectors
        .for_each_block(|first, block| {
            assert_eq!(numbers.len(), 2 * first);
            numbers.extend_from_slice(block);
            Ok::<_, crate::Error>(())
        })
        .unwrap();
    numbers
}

fn terms(path: &Path, carry: bool) -> Vec<String> {
    let table = Table::open(path).unwrap();
    let texts = Texts::new(&table, "term", carry).unwrap();
    texts.map(|text| text.unwrap().text.unwrap()).collect()
}

#[test]
fn rows_and_vectors_are_read_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 0..3000);
    let expected: Vec<f32> = (0..3000).flat_map(|id| row(id).1).collect();
    assert_eq!(numbers(&path), expected);
    let expected: Vec<String> = (0..3000).map(|id| format!("term {id}")).collect();
    assert_eq!(terms(&path, false), expected);

    // Carried rows keep their columns.
    let again = dir.path().join("b.parquet");
    let table = Table::open(&path).unwrap();
    let mut settings = settings();
    settings.vector_column = "second".to_owned();
    let mut writer: Option<Writer<_>> = None;
    for text in Texts::new(&table, "term", true).unwrap() {
        let carried = text.unwrap().carried.unwrap();
        let sink = || fs_err::File::create(&again).unwrap();
        let writer =
            writer.get_or_insert_with(|| Writer::new(sink(), &carried, settings.clone()).unwrap());
        writer.push(carried, &[1.0, 2.0]).unwrap();
    }
    writer.unwrap().finish().unwrap();
    assert_eq!(terms(&again, true), expected);
    assert_eq!(numbers(&again), numbers(&path));
    let second = Vectors::open(&again, "second").unwrap();
    assert_eq!((second.rows(), second.width()), (3000, 2));
}

#[test]
fn a_resumed_file_has_the_row_groups_of_one_that_was_written_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, partial) = (dir.path().join("a.parquet"), dir.path().join("b.parquet"));
    let groups = [0..1500, 1500..2000, 2000..2001];
    let mut writer =
        Writer::new(fs_err::File::create(&whole).unwrap(), &row(0).0, settings()).unwrap();
    for group in groups.clone() {
        for id in group {
            let (row, vector) = row(id);
            writer.push(row, &vector).unwrap();
        }
        writer.complete().unwrap();
    }
    writer.finish().unwrap();

    let mut footer: Option<Vec<u8>> = None;
    for group in groups {
        let mut sink = fs_err::OpenOptions::new();
        let sink = sink.append(true).create(true).open(&partial).unwrap();
        let mut writer = match footer {
            None => Writer::new(sink, &row(0).0, settings()).unwrap(),
            Some(footer) => {
                let (written, _) = fs_err::File::open(&partial).unwrap().into_parts();
                Writer::resume(sink, &written, footer, settings()).unwrap()
            }
        };
        for id in group {
            let (row, vector) = row(id);
            writer.push(row, &vector).unwrap();
        }
        writer.complete().unwrap();
        footer = Some(writer.footer().unwrap());
    }
    let sink = fs_err::OpenOptions::new()
        .append(true)
        .open(&partial)
        .unwrap();
    let (written, _) = fs_err::File::open(&partial).unwrap().into_parts();
    let writer = Writer::resume(sink, &written, footer.unwrap(), settings()).unwrap();
    writer.finish().unwrap();
    assert_eq!(numbers(&whole), numbers(&partial));
    // The footers differ in statistics of pages, which are not read again.
    let groups = |path: &Path| {
        let mut bytes = fs_err::read(path).unwrap();
        let (_, length) = bytes.split_at(bytes.len() - 8);
        let length = u32::from_le_bytes(length[..4].try_into().unwrap());
        bytes.truncate(bytes.len() - 8 - length as usize);
        bytes
    };
    assert!(groups(&whole) == groups(&partial));
    assert_eq!(terms(&partial, true).len(), 2001);
}

#[test]
fn a_row_of_another_batch_counts_the_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 0..3000);
    let table = Table::open(&path).unwrap();
    let texts = Texts::new(&table, "term", true).unwrap();
    let rows: Vec<Row> = texts.map(|text| text.unwrap().carried.unwrap()).collect();
    let counted = (1..rows.len()).filter(|i| rows[*i].bytes_beside(Some(&rows[i - 1])) > 0);
    assert_eq!(counted.collect::<Vec<_>>(), [1024, 2048]);
    assert!(rows[1].bytes_beside(None) > 1024 * 10);
}

#[test]
fn rows_that_do_not_fit_are_errors() {
    let sink = || Vec::new();
    let columns: Arc<[String]> = [VECTOR_COLUMN.to_owned()].into();
    let taken = Row::of_texts(&columns, vec!["x".to_owned()]);
    let error = Writer::new(sink(), &taken, settings()).unwrap_err();
    assert!(
        error.to_string().contains("a column `embedding` already"),
        "{error}"
    );
    let columns: Arc<[String]> = ["id".to_owned(), "id".to_owned()].into();
    let twice = Row::of_texts(&columns, vec!["1".to_owned(), "2".to_owned()]);
    let error = Writer::new(sink(), &twice, settings()).unwrap_err();
    assert!(
        error.to_string().contains("several columns named `id`"),
        "{error}"
    );
    let mut writer = Writer::new(sink(), &row(0).0, settings()).unwrap();
    let error = writer.push(row(0).0, &[1.0]).unwrap_err();
    assert!(
        error.to_string().contains("1 numbers instead of 2"),
        "{error}"
    );
    let columns: Arc<[String]> = ["id".to_owned()].into();
    writer.push(row(0).0, &[1.0, 2.0]).unwrap();
    writer
        .push(Row::of_texts(&columns, vec!["x".to_owned()]), &[1.0, 2.0])
        .unwrap();
    let error = writer.complete().unwrap_err().to_string();
    assert!(
        error.contains("have different ones: id (Utf8), term (Utf8); and id (Utf8)"),
        "{error}"
    );
}

#[test]
fn files_that_are_no_table_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 0..100);
    let said = |column: &str| match Vectors::open(&path, column) {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    };
    let error = said("vector");
    assert!(
        error.contains("no column `vector`; it has id, term, embedding"),
        "{error}"
    );
    assert!(said("term").contains("the column `term` has the type Utf8"));
    let table = Table::open(&path).unwrap();
    let error = Texts::new(&table, "embedding", false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("and texts are needed"), "{error}");
    let whole = fs_err::read(&path).unwrap();
    for length in [0, 3, 10, whole.len() / 2, whole.len() - 1] {
        fs_err::write(&path, &whole[..length]).unwrap();
        let error = said(VECTOR_COLUMN);
        assert!(
            error.contains("a.parquet: the file is no complete Parquet file"),
            "{error}"
        );
    }
}

#[test]
fn a_compression_that_is_not_read_is_an_error_that_names_it() {
    use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataWriter};

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 0..10);
    let (file, _) = fs_err::File::open(&path).unwrap().into_parts();
    let whole = ParquetMetaDataReader::new()
        .parse_and_finish(&file)
        .unwrap();
    let groups = whole.row_groups().iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let brotli = Compression::BROTLI(parquet::basic::BrotliLevel::default());
            let column = column.clone().into_builder().set_compression(brotli);
            column.build().unwrap()
        });
        let columns = columns.collect();
        let group = group.clone().into_builder().set_column_metadata(columns);
        group.build().unwrap()
    });
    let other = ParquetMetaData::new(whole.file_metadata().clone(), groups.collect());
    let mut bytes = fs_err::read(&path).unwrap();
    ParquetMetaDataWriter::new(&mut bytes, &other)
        .finish()
        .unwrap();
    fs_err::write(&path, bytes).unwrap();
    let error = Table::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("a.parquet: the column `id` is compressed with Brotli"),
        "{error}"
    );
}
