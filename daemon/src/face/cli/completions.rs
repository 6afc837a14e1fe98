//! `shoebox completions`: for the shell. For packaging.
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{CommandLine, Cx, Exit};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command(), "shoebox", &mut text);
        cx.out.write_all(&text)?;
        Ok(Exit::Fine)
    }
}
