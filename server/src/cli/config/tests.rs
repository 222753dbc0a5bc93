use std::path::PathBuf;

use super::*;
use crate::cli::command;

/// A folder with a configuration file.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("lexivec.toml"), text).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("lexivec.toml")
    }

    fn read(&self, arguments: &[&str]) -> Result<ArgMatches, String> {
        let file = self.file();
        let (name, flags) = arguments.split_first().unwrap();
        let mut all = vec!["lexivec".into(), (*name).into(), "--config".into()];
        all.push(OsString::from(file));
        all.extend(flags.iter().map(OsString::from));
        match read(command(false), &all) {
            Ok(matches) => Ok(matches.unwrap().subcommand().unwrap().1.clone()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[test]
fn the_file_sets_what_the_command_line_does_not() {
    let folder = Folder::with(
        "[serve]\nmodel = 'here'\nmodels = ['a=one', 'b=two']\nmax-batch-tokens = 4_096\nport = 31000\ngpu-memory-utilization = 0.5\n\
         onnx = true\noffline = false\ncuda-graphs = false\ndevice = [0, 1]\nqueue = 7\n[embed]\nmodel = 'there'\n",
    );
    let matches = folder.read(&["serve", "--queue", "9"]).unwrap();
    let text = |id: &str| -> Vec<String> {
        let raw = matches.get_raw(id).unwrap();
        raw.map(|raw| raw.to_string_lossy().into_owned()).collect()
    };
    assert_eq!(text("model"), ["here"]);
    assert_eq!(text("models"), ["a=one", "b=two"]);
    assert_eq!(matches.get_one::<usize>("max_batch_tokens"), Some(&4096));
    assert_eq!(text("port"), ["31000"]);
    assert_eq!(matches.get_one::<f64>("gpu_memory_utilization"), Some(&0.5));
    assert!(matches.get_flag("onnx") && !matches.get_flag("offline"));
    assert_eq!(matches.get_one::<bool>("cuda_graphs"), Some(&false));
    assert_eq!(text("devices"), ["0", "1"]);
    assert_eq!(matches.get_one::<usize>("queue"), Some(&9));
    assert_eq!(matches.get_one::<u64>("body_timeout"), Some(&60));
}

#[test]
fn the_model_of_embed_comes_from_the_file_if_the_first_argument_is_a_file_of_texts() {
    let folder = Folder::with("[embed]\nmodel = 'there'\n");
    for (arguments, model, files) in [
        (&["embed"][..], "there", &[][..]),
        (&["embed", "a.txt", "b.csv"], "there", &["a.txt", "b.csv"]),
        (&["embed", "here", "a.txt"], "here", &["a.txt"]),
        (&["embed", "-"], "there", &["-"]),
    ] {
        let matches = folder.read(arguments).unwrap();
        assert_eq!(matches.get_one::<String>("model").unwrap(), model);
        let found: Vec<_> = matches
            .get_many::<PathBuf>("files")
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(found, files.iter().map(Path::new).collect::<Vec<_>>());
    }
}

#[test]
fn an_error_in_the_file_names_its_line_and_the_nearest_flag() {
    for (text, line, reason) in [
        (
            "[serve]\n\nmax-batch-token = 1",
            3,
            "did you mean `max-batch-tokens`?",
        ),
        (
            "[serve]\nmax_batch_tokens = 1",
            2,
            "did you mean `max-batch-tokens`?",
        ),
        (
            "[serve]\nxyz = 1",
            2,
            "`lexivec serve --help` lists the flags",
        ),
        ("[serve]\nconfig = 'x'", 2, "there is no setting `config`"),
        (
            "[serve]\nqueue = 'many'",
            2,
            "`queue` takes a number without quotes, and this is a string",
        ),
        (
            "[serve]\nqueue = [1]",
            2,
            "takes a number without quotes, and this is an array",
        ),
        (
            "[serve]\nonnx = 'yes'",
            2,
            "`onnx` takes true or false, and this is a string",
        ),
        (
            "[serve]\nhost = true",
            2,
            "`host` takes a text in quotes, and this is a boolean",
        ),
        (
            "[serve]\nlog = 3",
            2,
            "`log` takes a text in quotes, and this is an integer",
        ),
        (
            "[serve]\nqueue = -1",
            2,
            "invalid value '-1' for '--queue <TEXTS>'",
        ),
        (
            "[serve]\nep = ['cpu', 'gpu']",
            2,
            "invalid value 'gpu' for '--ep <NAME>'",
        ),
        ("[serve]\ntls-cert = 'a'", 0, "--tls-key <FILE>"),
        ("queue = 1\n[serve]", 1, "put it below `[serve]`"),
        (
            "[[serve]]\nqueue = 1",
            1,
            "`serve` is a table: write `[serve]`, once and in single brackets",
        ),
        ("\nserve = 1", 2, "`serve` is a table"),
        (
            "[server]\nqueue = 1",
            1,
            "there is no command `server`; there are convert, serve",
        ),
        ("[serve]\nqueue = ", 2, ""),
    ] {
        let folder = Folder::with(text);
        let said = folder.read(&["serve", "model"]).unwrap_err();
        assert!(said.contains(reason), "{text}: {said}");
        let place = format!("{}:{line}: ", folder.file().display());
        assert!(line == 0 || said.starts_with(&place), "{text}: {said}");
    }
    let missing = [
        OsString::from("lexivec"),
        "serve".into(),
        "--config=/nowhere/x.toml".into(),
    ];
    let said = format!("{:#}", read(command(false), &missing).unwrap_err());
    assert!(
        said.contains("--config") && said.contains("/nowhere/x.toml"),
        "{said}"
    );
}

#[test]
fn the_printed_configuration_names_its_sources_and_can_be_read_again() {
    let folder = Folder::with(
        "[serve]\nmodel = 'here'\napi-key = ['sk-secret']\nport = 31000\nep = 'cpu'\n",
    );
    let mut command = command(false);
    command.build();
    let subcommand = command.find_subcommand("serve").unwrap();
    let matches = folder.read(&["serve", "--queue", "9", "--onnx"]).unwrap();
    let inserted = [Inserted {
        id: "port".to_owned(),
        shown: String::new(),
        source: "lexivec.toml:4".to_owned(),
    }];
    let printed = print::as_toml("serve", subcommand, &matches, &inserted);
    for line in [
        "[serve]",
        "model = \"here\"  # flag",
        "queue = 9  # flag",
        "onnx = true  # flag",
        "offline = false  # default",
        "port = 31000  # lexivec.toml:4",
        "api-key = [\"***\"]  # flag",
        "ep = [\"cpu\"]  # flag",
        "# tls-key: not set",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}\n{printed}"
        );
    }
    assert!(!printed.contains("sk-secret"));
    // A mask is no secret.
    assert!(Folder::with(&printed).read(&["serve"]).is_err());
    let again = Folder::with(&printed.replace("***", "sk-secret"));
    again.read(&["serve"]).unwrap();
}
