//! `shoebox man`: manual pages, from the same definitions as `--help`. For packaging.
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::{CommandLine, Cx, Exit};

/// Write the manual pages into a directory
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Man {
    /// The directory, which is made if need be
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub(super) fn run(self, _cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let name = self.out.display();
        std::fs::create_dir_all(&self.out).with_context(|| format!("could not make {name}"))?;
        clap_mangen::generate_to(CommandLine::command(), &self.out)
            .with_context(|| format!("could not write into {name}"))?;
        Ok(Exit::Fine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("man");
        let mut nowhere = std::io::sink();
        let mut cx = Cx { config: None, out: &mut nowhere };
        Man { out: out.clone() }.run(&mut cx).unwrap();
        for page in ["shoebox", "shoebox-demo", "shoebox-device-add", "shoebox-receipt"] {
            let text = std::fs::read_to_string(out.join(format!("{page}.1"))).unwrap();
            assert!(text.contains(".TH"), "{page}");
        }
        let root = std::fs::read_to_string(out.join("shoebox.1")).unwrap();
        assert!(root.contains("Exit codes"), "{root}");
    }
}
