//! `lexivec man`, for packages of the program.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for the pages, which is created if it does not exist: lexivec.1, lexivec-serve.1 and so on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    fs_err::create_dir_all(&args.out)?;
    Ok(clap_mangen::generate_to(super::command(false), &args.out)?)
}
