use super::*;

fn reader(name: &str, content: &[u8]) -> (tempfile::TempDir, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs_err::write(&path, content).unwrap();
    let reader = Reader::new(&[path], None, "text", "term").unwrap();
    (dir, reader)
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Vec<Result<Text, RowError>> {
    let (_dir, reader) = reader(name, content.as_ref());
    reader.collect()
}

fn texts(name: &str, content: &str) -> Vec<String> {
    let rows = read(name, content).into_iter();
    rows.map(|row| row.unwrap().text).collect()
}

/// The message of the only row that has no text.
fn message(name: &str, content: impl AsRef<[u8]>) -> String {
    let mut wrong: Vec<_> = read(name, content)
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    match wrong.remove(0) {
        RowError::File(error) => format!("{error:#}"),
        error => error.to_string(),
    }
}

#[test]
fn all_formats_give_their_texts() {
    assert_eq!(texts("a.txt", "one\r\n two \n"), ["one", " two "]);
    let jsonl = "{\"text\":\"one\"}\n{\"text\":\"t\\nwo\",\"id\":2}\n";
    assert_eq!(texts("a.jsonl", jsonl), ["one", "t\nwo"]);
    assert_eq!(texts("a.NDJSON", jsonl), ["one", "t\nwo"]);
    let csv = "id,term\n1,one\n2,\"t,\nwo\"\n";
    assert_eq!(texts("a.csv", csv), ["one", "t,\nwo"]);
    assert_eq!(texts("a.CSV", csv), ["one", "t,\nwo"]);
    let tsv = "id\tterm\n1\tone\n2\t\"t,\nwo\"\n";
    assert_eq!(texts("a.tsv", tsv), ["one", "t,\nwo"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    assert_eq!(texts("a.txt", "\u{feff}one\ntwo"), ["one", "two"]);
    assert_eq!(texts("a.jsonl", "\u{feff}{\"text\":\"one\"}\n"), ["one"]);
    assert_eq!(texts("a.csv", "\u{feff}term,id\none,1\n"), ["one"]);
    assert_eq!(texts("a.csv", "\u{feff}\"term\"\none\n"), ["one"]);
    for name in ["a.txt", "a.jsonl", "a.csv"] {
        let said = message(name, b"\xff\xfeo\0n\0e\0");
        assert!(said.contains(name) && said.contains("UTF-16"), "{said}");
    }
}

#[test]
fn a_carriage_return_within_a_line_is_an_error_that_names_it() {
    for (content, line) in [
        ("one\rtwo\rthree\r", 1),
        ("one\ntwo\r\r\n", 2),
        ("one\n\rtwo\n", 2),
    ] {
        let said = message("a.txt", content);
        let place = format!("a.txt:{line}: the line has a carriage return within it");
        assert!(said.contains(&place), "{said}");
    }
    // The last line may end in half of its two bytes.
    assert_eq!(texts("a.txt", "one\r\ntwo\r"), ["one", "two"]);
    assert_eq!(texts("a.jsonl", "{\"text\":\"one\\r\"}\n"), ["one\r"]);
    assert_eq!(texts("a.csv", "term\n\"one\rtwo\"\n"), ["one\rtwo"]);
}

#[test]
fn what_is_wrong_names_file_and_line() {
    for (name, content, words) in [
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"txt\":1}\n",
            "a.jsonl:2: there is no field `text`; it has txt (--field)",
        ),
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"text\":1}\n",
            "a.jsonl:2: the field `text` holds a number, and a text is needed (--field)",
        ),
        ("a.jsonl", "{}\n", "there is no field `text`; it has none"),
        (
            "a.jsonl",
            "[1]\n",
            "a.jsonl:1: the line is not a JSON object",
        ),
        ("a.jsonl", "one\n", "a.jsonl:1: the line is not JSON"),
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"text\":\"\\ud83d\"}\n",
            "a.jsonl:2: `text`: the escape \\ud83d",
        ),
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"text\":\"two\",\"text\":\"three\"}\n",
            "a.jsonl:2: the field `text` occurs twice",
        ),
        (
            "a.csv",
            "id,term,term\n1,one,two\n",
            "columns 2 and 3 are both named `term`: rename one of them (--column)",
        ),
        (
            "a.csv",
            "id,text\n1,one\n",
            "there is no column `term`; it has id, text (--column)",
        ),
        (
            "a.tsv",
            "id,text\ttext\n1\tone\n",
            "there is no column `term`; it has id,text, text (--column)",
        ),
        (
            "a.csv",
            "id,term\n1,one\n2,\"two\n3,three\n",
            "a.csv: line 3: the quote",
        ),
        (
            "a.csv",
            "id,term\n1,one\n2\n",
            "a.csv:3: the row has 1 fields",
        ),
    ] {
        let said = message(name, content);
        assert!(said.contains(words), "{said}");
    }
    assert!(message("a.txt", b"one\ncaf\xe9\ntwo\n").contains("a.txt:2: the line is not UTF-8"));
    for name in ["a.csv", "a.tsv"] {
        let said = message(name, b"term\none\ncaf\xe9\n");
        assert!(
            said.contains(&format!("{name}:3: the field is not UTF-8")),
            "{said}"
        );
    }
    let pdf = Reader::new(&["a.pdf".into()], None, "", "").unwrap_err();
    assert!(
        pdf.contains("a.pdf") && pdf.contains("--input-format"),
        "{pdf}"
    );
    assert!(Reader::new(&["a.pdf".into()], Some(InputFormat::Lines), "", "").is_ok());
    assert!(Reader::new(&["-".into(), "/dev/stdin".into()], None, "", "").is_err());
}

#[test]
fn a_row_without_a_text_keeps_its_place() {
    for (name, content, line) in [
        ("a.txt", "one\n\ntwo\n", 2),
        ("a.txt", "one\n \u{3000}\ntwo\n", 2),
        ("a.txt", "one\ntwo\n\n", 3),
        ("a.jsonl", "{\"text\":\"one\"}\n\n{\"text\":\"two\"}\n", 2),
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"text\":\"\"}\n",
            3,
        ),
        ("a.csv", "term\none\n\ntwo\n", 3),
        ("a.csv", "id,term\n1,one\n2,\n3,two\n", 3),
        ("a.csv", "id,term\n1,one\n2,\" \n\u{a0}\"\n4,two\n", 3),
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"text\":\" \\n\"}\n{\"text\":\"two\"}\n",
            2,
        ),
        (
            "a.jsonl",
            "{\"text\":\"one\"}\n{\"text\":null}\n{\"text\":\"two\"}\n",
            2,
        ),
    ] {
        let rows = read(name, content);
        assert_eq!(rows.len(), 3, "{content:?}");
        let said = message(name, content);
        assert!(
            said.contains(&format!("{name}:{line}: there is no text")),
            "{said}"
        );
        assert!(said.contains("--skip-empty"), "{said}");
    }
}

#[test]
fn a_row_of_another_length_keeps_its_fields() {
    let rows = read("a.csv", "id,term\n1,one\n2,\"t,\nwo\",x\n3\n");
    let of_row = |row: &Result<Text, RowError>| match row {
        Err(RowError::Bad { text, .. }) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(of_row(&rows[1]), "2,\"t,\nwo\",x");
    assert_eq!(of_row(&rows[2]), "3");
}

#[test]
fn files_are_checked_before_they_are_read() {
    let (dir, mut reader) = reader("a.txt", b"one\n\ntwo\ncaf\xe9\n");
    let mut wrong = Vec::new();
    let count = reader.check(|error| {
        wrong.push(error.to_string());
        Ok(())
    });
    assert_eq!((count.unwrap(), wrong.len()), (Some(2), 2));
    // The check has used up nothing.
    assert_eq!(reader.by_ref().count(), 4);
    let files = [dir.path().join("a.txt"), dir.path().join("b.txt")];
    let missing = Reader::new(&files, None, "", "").unwrap();
    let error = missing.check(|error| panic!("{error}")).unwrap_err();
    assert!(format!("{error:#}").contains("b.txt"), "{error:#}");
}
