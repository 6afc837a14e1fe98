//! `shoebox changes`: what was changed or vanished all at once, and the answer to it.
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;

use super::{Cx, Exit, screen};
use crate::face::control::Request;
use crate::model::path::{BadPath, RelPath};
use crate::work::views::{Answered, ChangeKind, ChangeLine, ChangesPage, Cursor};

const PAGE: usize = 500;

/// See what changed or vanished all at once, and answer for it
///
/// When too many photos vanish from drive A, or are written over or deleted there, within an hour, the box stops taking
/// anything away from the other drives, and asks: was it you, or is it to be put back? New photos are taken and copied
/// all the while.
#[derive(Debug, Subcommand)]
pub(super) enum Changes {
    Show(Show),
    PutItBack(PutItBack),
    ItWasMe(ItWasMe),
}

/// List what vanished and what was changed
///
/// What vanished from drive A without a request is listed however little it is; what was changed or deleted, when it was
/// so much at once that the box waits for an answer. Exit code 1 if there is anything.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox changes show
  shoebox changes show --limit 0 --json | jq -r .path")]
pub(super) struct Show {
    /// At most so many; 0: all of them
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print one JSON object per file, one a line
    #[arg(long)]
    json: bool,
}

/// Put what vanished or was changed back as it was
///
/// Every file is brought back from a copy that is proved while it is read: on another drive, or in a trash. What stands
/// under its name now goes to the trash first; nothing is destroyed. Files that are new stay. Broken off, the command can
/// be repeated, and goes on. Exit code 1 if something could not be put back; the box goes on waiting for an answer then.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox changes put-it-back
  shoebox changes put-it-back anna/iphone/Photos/2026 anna/album/IMG_4711.HEIC")]
pub(super) struct PutItBack {
    /// Only these files and folders of photos/
    #[arg(value_name = "PATH", value_parser = below_photos)]
    below: Vec<RelPath>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Say that it was meant so
///
/// What vanished counts as deleted, and leaves the other drives as any deletion does: a day later, and into their trash.
/// What was changed replaces the old versions there, which go to the trash. With paths, only what vanished of these is
/// let go.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox changes it-was-me --seen 4f9a12c0
  shoebox changes it-was-me anna/album/old")]
pub(super) struct ItWasMe {
    /// Only what vanished of these files and folders of photos/
    #[arg(value_name = "PATH", value_parser = below_photos)]
    below: Vec<RelPath>,
    /// What was seen: the number that 'shoebox changes show' gives. If more has changed since, nothing is answered
    #[arg(long, value_name = "NUMBER", required_unless_present = "below")]
    seen: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Changes {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Show(show) => show.run(cx),
            Self::PutItBack(back) => {
                let request = Request::PutItBack { below: back.below };
                let answered: Answered = cx.ask_and_watch(&request, "putting back")?;
                told(cx, back.json, &answered, &put_back(&answered))
            }
            Self::ItWasMe(it) => {
                let request = Request::ItWasMe { below: it.below, seen: it.seen };
                let answered: Answered = cx.ask_and_watch(&request, "letting go")?;
                told(cx, it.json, &answered, &let_go(&answered))
            }
        }
    }
}

fn told(cx: &mut Cx<'_>, json: bool, answered: &Answered, text: &str) -> anyhow::Result<Exit> {
    if json {
        cx.json(answered)?;
    } else {
        write!(cx.out, "{text}")?;
    }
    Ok(if answered.failed == 0 { Exit::Fine } else { Exit::NeedsPerson })
}

impl Show {
    fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let most = if self.limit == 0 { usize::MAX } else { self.limit };
        let (mut after, mut shown): (Option<Cursor>, usize) = (None, 0);
        let zone = TimeZone::system();
        let first = loop {
            let limit = PAGE.min(most - shown);
            let page: ChangesPage = cx.ask(&Request::Changes { after, limit })?;
            if after.is_none() && !self.json {
                write!(cx.out, "{}", headline(&page, &zone))?;
            }
            for line in &page.lines {
                shown += 1;
                if self.json {
                    cx.json(line)?;
                } else {
                    writeln!(cx.out, "{}", one(line, &zone))?;
                }
            }
            after = page.next;
            if after.is_none() || shown >= most {
                break page;
            }
        };
        if after.is_some() && !self.json {
            writeln!(cx.out, "… and more: --limit 0 lists all.")?;
        }
        let anything = first.summary.is_some() || first.missing > 0;
        Ok(if anything { Exit::NeedsPerson } else { Exit::Fine })
    }
}

fn headline(page: &ChangesPage, zone: &TimeZone) -> String {
    let Some(all) = page.summary else {
        return match page.missing {
            0 => "Nothing vanished, and nothing waits for an answer.\n".to_owned(),
            some => format!(
                "{} gone from drive A without a request. The other copies stay. To put them back: shoebox changes \
                 put-it-back. If it was meant so: shoebox changes it-was-me --seen {}\n",
                if some == 1 { "1 file is".to_owned() } else { format!("{some} files are") },
                page.question
            ),
        };
    };
    format!(
        "Since {}: {} vanished from drive A, {} changed, {} deleted. The other drives and the trash keep all they have until \
         you answer:\n  shoebox changes it-was-me --seen {}   lets it through\n  shoebox changes put-it-back                 brings it all back\n",
        screen::moment(all.since, zone),
        all.vanished,
        all.changed,
        all.deleted,
        page.question
    )
}

fn one(line: &ChangeLine, zone: &TimeZone) -> String {
    let what = match line.kind {
        ChangeKind::Vanished => "vanished",
        ChangeKind::Changed => "changed ",
        ChangeKind::Deleted => "deleted ",
    };
    let by = if line.by.is_empty() { String::new() } else { format!(" by {}", screen::plain(&line.by)) };
    let at = screen::moment(line.at, zone);
    format!("{what}  {at}  {}{by}", screen::plain(line.path.as_str()))
}

fn put_back(answered: &Answered) -> String {
    let mut text = format!("{} put back", screen::many(answered.done, "file", "files"));
    if answered.already > 0 {
        text.push_str(&format!(", {} were as they had been", answered.already));
    }
    text.push_str(".\n");
    for lost in &answered.not_put_back {
        text.push_str(&format!(
            "NOT PUT BACK {}: {}\n",
            screen::plain(lost.path.as_str()),
            screen::plain(&lost.why)
        ));
    }
    let unnamed = answered.failed.saturating_sub(answered.not_put_back.len() as u64);
    if unnamed > 0 {
        text.push_str(&format!("NOT PUT BACK {unnamed} more\n"));
    }
    text.push_str(still(answered));
    text
}

fn let_go(answered: &Answered) -> String {
    let gone = screen::many(answered.done, "file that vanished counts", "files that vanished count");
    format!("{gone} as deleted now.\n{}", still(answered))
}

const fn still(answered: &Answered) -> &'static str {
    if answered.open { "The box still waits for an answer: shoebox changes show\n" } else { "" }
}

fn below_photos(text: &str) -> Result<RelPath, BadPath> {
    let text = text.trim_matches('/');
    RelPath::parse(text.strip_prefix("photos/").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::ContentHash;
    use crate::work::views::{ChangesSummary, NotPutBack};

    #[test]
    fn what_people_read() {
        let at = "2026-11-21T18:02:11Z".parse().unwrap();
        let path =
            || RelPath::parse("anna/a\u{1b}.jpg").unwrap_or_else(|_| RelPath::parse("anna/a.jpg").unwrap());
        let line = ChangeLine {
            kind: ChangeKind::Deleted,
            path: path(),
            at,
            by: "anna/mac".to_owned(),
            size: 7,
            hash: ContentHash::of(b"x"),
        };
        let summary = ChangesSummary { since: at, vanished: 300, changed: 2, deleted: 1 };
        let question = "4f9a12c0".to_owned();
        let quiet = ChangesPage { summary: None, missing: 0, question, lines: Vec::new(), next: None };
        let answered = Answered {
            done: 3,
            already: 1,
            failed: 2,
            not_put_back: vec![NotPutBack { path: path(), why: "no drive that is here has it".to_owned() }],
            open: true,
        };
        let text = [
            headline(&quiet, &TimeZone::UTC),
            headline(&ChangesPage { missing: 1, ..quiet.clone() }, &TimeZone::UTC),
            headline(&ChangesPage { summary: Some(summary), ..quiet }, &TimeZone::UTC),
            one(&line, &TimeZone::UTC),
            put_back(&answered),
            let_go(&Answered { done: 1, ..Answered::default() }),
        ];
        expect_test::expect![[r#"
            Nothing vanished, and nothing waits for an answer.

            1 file is gone from drive A without a request. The other copies stay. To put them back: shoebox changes put-it-back. If it was meant so: shoebox changes it-was-me --seen 4f9a12c0

            Since 21 Nov 2026 18:02:11: 300 vanished from drive A, 2 changed, 1 deleted. The other drives and the trash keep all they have until you answer:
              shoebox changes it-was-me --seen 4f9a12c0   lets it through
              shoebox changes put-it-back                 brings it all back

            deleted   21 Nov 2026 18:02:11  anna/a.jpg by anna/mac
            3 files put back, 1 were as they had been.
            NOT PUT BACK anna/a.jpg: no drive that is here has it
            NOT PUT BACK 1 more
            The box still waits for an answer: shoebox changes show

            1 file that vanished counts as deleted now.
        "#]].assert_eq(&text.join("\n"));
    }
}
