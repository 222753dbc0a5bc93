use super::*;

fn model_of_job() -> Description {
    Description {
        version: "1".to_owned(),
        model: "nano".to_owned(),
        model_digest: "abc".to_owned(),
        width: 256,
        truncate: false,
    }
}

fn settings(input: &Path) -> Settings {
    Settings {
        query: "SELECT embed(text) FROM terms".to_owned(),
        model: model_of_job(),
        divided: "terms".to_owned(),
        files_per_shard: 1,
        tables: vec![InputTable::read("terms".to_owned(), &[input.to_owned()]).unwrap()],
    }
}

fn part(folder: &Path, number: usize, contents: &str) -> Part {
    let path = folder.join(part_name(number));
    fs_err::write(&path, contents).unwrap();
    Part {
        file: part_name(number),
        rows: 3,
        record: FileRecord::sha256(&path).unwrap(),
    }
}

#[test]
fn a_job_continues_with_the_shards_that_have_no_part() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("a.csv");
    fs_err::write(&input, "text\na\n").unwrap();
    let folder = dir.path().join("out");
    let (folder, held) = lock(&folder).unwrap();
    assert!(
        lock(&folder)
            .unwrap_err()
            .to_string()
            .contains("another process")
    );
    drop(held);
    let open = |resume| {
        Manifest::open(&folder, settings(&input), 2, resume).map_err(|error| error.to_string())
    };
    let mut manifest = open(false).unwrap();
    assert_eq!(manifest.missing().collect::<Vec<_>>(), [0, 1]);
    manifest.add(&folder, 1, part(&folder, 1, "abc")).unwrap();
    fs_err::write(folder.join(".part-00000.parquet.x.partial"), "").unwrap();
    assert!(open(false).unwrap_err().contains("add --resume"));
    let mut manifest = open(true).unwrap();
    assert_eq!(
        (manifest.missing().collect::<Vec<_>>(), manifest.rows()),
        (vec![0], 3)
    );
    assert!(!folder.join(".part-00000.parquet.x.partial").exists());
    manifest.add(&folder, 0, part(&folder, 0, "abd")).unwrap();
    manifest.finish(&folder).unwrap();
    assert_eq!(open(true).unwrap().missing().count(), 0);
    fs_err::write(folder.join(part_name(1)), "abx").unwrap();
    assert!(
        open(true)
            .unwrap_err()
            .contains("not the one that the manifest lists")
    );
    fs_err::write(folder.join(FILE), "{}").unwrap();
    assert!(open(true).unwrap_err().contains("no manifest"));
    fs_err::remove_file(folder.join(FILE)).unwrap();
    assert!(
        open(true)
            .unwrap_err()
            .contains("has files, and no _manifest.json")
    );
}

#[test]
fn a_job_does_not_continue_with_other_settings_or_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("a.csv");
    fs_err::write(&input, "text\na\n").unwrap();
    let before = settings(&input);
    let said = |now: &Settings| before.check(now).unwrap_err().to_string();
    assert!(before.check(&before).is_ok());
    let query = Settings {
        query: "SELECT 1".to_owned(),
        ..before.clone()
    };
    assert!(said(&query).contains("the query is not the same"));
    let model = Settings {
        model: Description {
            model_digest: "abd".to_owned(),
            ..model_of_job()
        },
        ..before.clone()
    };
    assert!(said(&model).contains("the model (it was nano abc)"));
    let of = |description: Description| Settings {
        model: description,
        ..before.clone()
    };
    let upgraded = of(Description {
        version: "2".to_owned(),
        ..model_of_job()
    });
    assert!(said(&upgraded).contains("lexivec's version (it was 1)"));
    let truncates = of(Description {
        truncate: true,
        ..model_of_job()
    });
    assert!(said(&truncates).contains("--truncate"));
    let shards = Settings {
        files_per_shard: 2,
        ..before.clone()
    };
    assert!(said(&shards).contains("--shard-files"));
    fs_err::write(&input, "text\nb\n").unwrap();
    assert!(said(&settings(&input)).contains("a.csv"));
}
