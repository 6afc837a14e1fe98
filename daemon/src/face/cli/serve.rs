//! `shoebox serve`: the daemon.
use clap::Args;

use super::{Cx, Exit};
use crate::app::App;
use crate::logging;

/// Run the daemon until it is told to stop
///
/// Takes uploads, mirrors and proves them, and watches the drives, until SIGTERM or SIGINT; uploads under way then
/// get 20 seconds to finish. On the box systemd runs this; it logs to the journal there and to standard error
/// elsewhere. Drives may be away at start: that is reported by `shoebox status`, not an error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox serve
  shoebox serve --config ./config.toml")]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let settings = cx.settings()?;
        logging::start(settings.log.level);
        Ok(Exit::Daemon(App::start(settings)?.wait()?))
    }
}
