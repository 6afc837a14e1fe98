//! `shoebox draw-preview`: what the daemon starts to draw one preview, confined before it reads the photo. Not for people.
use std::io;

use anyhow::Context as _;
use clap::Args;

use super::{Cx, Exit};
use crate::model::preview::{Drawn, Edge};
use crate::work::previews::{self, Undrawable};

/// Draw a preview of the photo on standard input
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct DrawPreview {
    /// Pixels of its longer side
    #[arg(long, value_name = "PIXELS")]
    edge: u32,
}

impl DrawPreview {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        previews::confine().context("could not confine this process")?;
        let drawn = match previews::draw(io::stdin().lock(), Edge::for_asked(self.edge)) {
            Ok(jpeg) => Drawn::Picture(jpeg),
            Err(Undrawable::Unread(_)) => Drawn::Unread,
            Err(Undrawable::NoPicture(_)) => Drawn::Nothing,
        };
        cx.out.write_all(&drawn.told())?;
        Ok(Exit::Fine)
    }
}
