//! `lexivec man`, for packages of the program.

use std::path::PathBuf;

use anyhow::Context as _;
use clap_mangen::Man;
use time::OffsetDateTime;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for the pages, which is created if it does not exist: lexivec.1, lexivec-serve.1 and so on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    fs_err::create_dir_all(&args.out)?;
    let date = date(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    // Manual pages have no page of the command `help`.
    let mut root = super::documented().disable_help_subcommand(true);
    root.build();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        Man::new(command.clone())
            .title(name.to_uppercase())
            .section("1")
            .date(&date)
            .source(concat!("lexivec ", env!("CARGO_PKG_VERSION")))
            .manual("User Commands")
            .generate_to(&args.out)?;
    }
    Ok(())
}

/// The date of the pages: today, or that of `SOURCE_DATE_EPOCH`, with which packages are built reproducibly.
fn date(epoch: Option<&str>) -> anyhow::Result<String> {
    let time = match epoch {
        Some(epoch) => {
            let seconds = epoch.parse().ok();
            let time = seconds.and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
            time.context("SOURCE_DATE_EPOCH is not a number of seconds since 1970")?
        }
        None => OffsetDateTime::now_utc(),
    };
    Ok(time.date().to_string())
}
