//! `lexivec completions`.

use clap_complete::{Shell, generate};

use crate::stdio::print_exactly;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell that reads the script. With bash: `lexivec completions bash > /etc/bash_completion.d/lexivec`
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::documented(), "lexivec", &mut script);
    print_exactly(String::from_utf8_lossy(&script).trim_end())
}
