//! `shoebox push`: a computer, or a phone with Termux, as an uploader. A client of the box like any other: it needs no daemon here, no
//! settings of the box, and no rights but its user's.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Cx, Exit};
use crate::face::control::{Fault, FaultKind};
use crate::model::path::RelPath;
use crate::os::clock;
use address::Address;
use albums::{Album, Choice};
use conditions::{Only, Surroundings};
use dialect::Remote;
use display::Display;
use lock::Lock;
use report::{Failure, Report, Standing};
use run::{End, Run};
use scan::{Group, Scan, Search};
use sending::Worker;
use state::{Became, State};
use stored::{Stored, Target};
use wire::Wire;

mod address;
mod albums;
mod conditions;
mod dialect;
mod display;
mod lock;
mod report;
mod run;
mod scan;
mod sending;
mod setup;
mod state;
mod stored;
mod trouble;
mod trust;
mod wire;

/// A file that failed in so many runs, and has not changed, is left alone until somebody asks for it.
const MOST_ATTEMPTS: u32 = 5;
/// The box is asked again about what it has, after this, and about so many files in one run.
const CONFIRMED: SignedDuration = SignedDuration::from_hours(7 * 24);
const CONFIRM_AT_ONCE: u32 = 500;

/// Send photos and videos from this computer, or from a phone with Termux, to a box
///
/// Set up once, with the address of the box, a name and a device's password that `shoebox device add` printed there; from then on
/// `shoebox push` sends what is new in these folders. The settings are kept in ~/.config/shoebox/push.toml, for you alone; the
/// environment (SHOEBOX_PUSH_ADDRESS, SHOEBOX_PUSH_USER, SHOEBOX_PUSH_PASSWORD) goes over them. An https:// address needs the
/// certificate of the box's authority, once: --ca FILE.
///
/// Before a file is sent the box is asked whether it has these bytes; if so, they are not sent. A file counts as safe only when the
/// box acknowledged it, its hash there was the same, and it had not changed meanwhile. Large files go in chunks of 16 MiB that
/// wait on the box: after a broken network or a restart, here or there, at most one of them is sent again. Both halves of a Live
/// Photo stay together. What was edited here is sent anew, and gets a name beside the one it had: 'IMG_1 (2).JPG'. Nothing on
/// the box is ever replaced, and nothing is deleted, there or here.
///
/// No network: it waits (--wait) and goes on. No room or quota used up: it stops and says so. A file that vanished is skipped, one
/// that may not be read is named. What failed is tried again by the next runs, five times, or at once with --retry-failed.
///
/// Exit code 0 if all was sent (or this is not the time to send), 1 if a file failed or the password is wrong, 3 if the box could
/// not be reached, 5 if it is full or another run is under way.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox push --setup http://shoebox.local:8080 ~/Pictures --exclude Screenshots
  shoebox push
  shoebox push ~/Pictures /media/card/DCIM --only-unmetered
  shoebox push --album 'Rome*' --exclude Rome/Receipts ~/Pictures
  shoebox push --videos-only-unmetered --only-charging
  shoebox push --status
  shoebox push --retry-failed

By itself every hour: `systemctl --user enable --now shoebox-push.timer`. On a phone with Termux: docs/PUSH.md.")]
pub(super) struct Push {
    /// Folders to send, each under its own name; none: those that --setup kept
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Ask for a name and a password, try them, and keep them with these folders and switches
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["status", "retry_failed", "again"])]
    setup: Option<Address>,
    /// With --setup: the name, which is then not asked for
    #[arg(long, value_name = "PERSON", requires = "setup")]
    user: Option<String>,
    /// With --setup https://…: the certificate of the box's authority, as http://BOX:8080/ca.pem gives it
    #[arg(long, value_name = "FILE", requires = "setup")]
    ca: Option<PathBuf>,
    /// Only these albums: folders by name, or by path; * stands for any text (may be repeated)
    #[arg(long, value_name = "FOLDER")]
    album: Vec<String>,
    /// Not these, whatever is chosen (may be repeated)
    #[arg(long, value_name = "FOLDER")]
    exclude: Vec<String>,
    /// Put everything into this folder on the box
    #[arg(long, value_name = "FOLDER", value_parser = into)]
    into: Option<RelPath>,
    /// Files of every kind, not only photos, videos and what lies beside them
    #[arg(long)]
    all_files: bool,
    /// Send nothing over a metered network (where NetworkManager or Termux tells)
    #[arg(long)]
    only_unmetered: bool,
    /// Send no photos over a metered network
    #[arg(long)]
    photos_only_unmetered: bool,
    /// Send no videos over a metered network
    #[arg(long)]
    videos_only_unmetered: bool,
    /// Send nothing on battery (where the kernel or Termux tells)
    #[arg(long)]
    only_charging: bool,
    /// Only what failed before
    #[arg(long)]
    retry_failed: bool,
    /// Ask about everything again, and send what the box does not have any more
    #[arg(long)]
    again: bool,
    /// Send nothing; show what was sent, what failed, and when the last complete backup was
    #[arg(long, conflicts_with_all = ["retry_failed", "again"])]
    status: bool,
    /// So many files at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
    /// Wait so long for a box that cannot be reached
    #[arg(long, value_name = "MINUTES", default_value_t = 15)]
    wait: u32,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The settings file [default: ~/.config/shoebox/push.toml]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Where it is noted what was sent [default: ~/.local/state/shoebox]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where the kernel tells of chargers
    #[arg(long, value_name = "DIR", default_value = "/sys", hide = true)]
    sysfs: PathBuf,
}

fn into(text: &str) -> Result<RelPath, String> {
    RelPath::parse(text.trim_matches('/')).map_err(|e| e.to_string())
}

fn usage(why: impl Into<String>, remedy: &str) -> anyhow::Error {
    Fault::new(FaultKind::BadRequest, why, remedy).into()
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where everything of a run is.
struct Places {
    settings: PathBuf,
    state: PathBuf,
}

impl Push {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let places = self.places()?;
        let stored = match (&self.setup, Stored::load(&places.settings, environment)) {
            // What cannot be read is written anew.
            (Some(_), Err(_)) => Stored::default(),
            (_, stored) => stored?,
        };
        if let Some(address) = &self.setup {
            return self.set_up(cx, address, stored, &places.settings);
        }
        let (target, options) = (stored.target(&places.settings)?, self.options(&stored)?);
        stored::make_private(&places.state)?;
        if self.status {
            return self.show(cx, &target, &State::open(&places.state)?);
        }
        let folders = folders(if self.folders.is_empty() { &stored.folders } else { &self.folders })?;
        let _alone = Lock::take(&places.state)?;
        let state = State::open(&places.state)?;
        let report = self.send(&target, &options, &folders, &state)?;
        if self.json {
            cx.json(&report)?;
        } else {
            write!(cx.out, "{}", report.text(&TimeZone::system()))?;
        }
        Ok(report.exit())
    }

    fn places(&self) -> anyhow::Result<Places> {
        let settings = match &self.settings {
            Some(path) => path.clone(),
            None => stored::own("XDG_CONFIG_HOME", ".config", environment)?.join("push.toml"),
        };
        let state = match &self.state {
            Some(path) => path.clone(),
            None => stored::own("XDG_STATE_HOME", ".local/state", environment)?,
        };
        Ok(Places { settings, state })
    }

    /// Keeps what was given with --setup.
    fn set_up(
        &self,
        cx: &mut Cx<'_>,
        address: &Address,
        mut stored: Stored,
        path: &Path,
    ) -> anyhow::Result<Exit> {
        if !self.folders.is_empty() {
            stored.folders = folders(&self.folders)?.into_iter().map(|(folder, _)| folder).collect();
        }
        match &self.ca {
            Some(file) if address.is_secure() => stored.authority = trust::read(file)?,
            Some(_) => {
                return Err(usage("--ca is for https:// addresses", "http:// proves nobody; leave --ca out"));
            }
            None => {}
        }
        let options = self.options(&stored)?;
        if !self.album.is_empty() {
            stored.albums.clone_from(&self.album);
        }
        if !self.exclude.is_empty() {
            stored.exclude.clone_from(&self.exclude);
        }
        stored.into = options.into.as_ref().map(RelPath::to_string);
        (stored.all_files, stored.only) = (options.all_files, options.only);
        let user = setup::set_up(address, self.user.as_deref(), stored, path)?;
        writeln!(cx.out, "{address} lets {user} in; kept in {}. Now: shoebox push", path.display())?;
        Ok(Exit::Fine)
    }

    /// What was kept, and what the command line says over it.
    fn options(&self, stored: &Stored) -> anyhow::Result<Options> {
        let albums = |given: &[String], kept: &[String]| {
            let all = if given.is_empty() { kept } else { given };
            all.iter()
                .map(|text| text.parse::<Album>().map_err(|why| usage(why, "")))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        let kept_into = || stored.into.as_deref().map(into).transpose().map_err(|why| usage(why, ""));
        Ok(Options {
            choice: Choice {
                chosen: albums(&self.album, &stored.albums)?,
                excluded: albums(&self.exclude, &stored.exclude)?,
            },
            into: self.into.clone().map_or_else(kept_into, |into| Ok(Some(into)))?,
            all_files: self.all_files || stored.all_files,
            only: Only {
                unmetered: self.only_unmetered || stored.only.unmetered,
                photos_unmetered: self.photos_only_unmetered || stored.only.photos_unmetered,
                videos_unmetered: self.videos_only_unmetered || stored.only.videos_unmetered,
                charging: self.only_charging || stored.only.charging,
            },
        })
    }

    fn show(&self, cx: &mut Cx<'_>, target: &Target, state: &State) -> anyhow::Result<Exit> {
        let whose = (target.address.to_string(), target.user.clone());
        let id = state.box_at(&whose.0, &whose.1)?.unwrap_or_default();
        let failed = state.having(&id, Became::Failed)?;
        let standing = Standing::of(whose, &state.counts(&id)?, state.runs(&id)?, failed);
        if self.json {
            cx.json(&standing)?;
        } else {
            write!(cx.out, "{}", standing.text(&TimeZone::system()))?;
        }
        Ok(if standing.failed.is_empty() { Exit::Fine } else { Exit::NeedsPerson })
    }

    fn send(
        &self,
        target: &Target,
        options: &Options,
        folders: &[(PathBuf, String)],
        state: &State,
    ) -> anyhow::Result<Report> {
        let display = Display::new(self.quiet);
        let surroundings =
            Surroundings { sys: self.sysfs.clone(), termux: environment("TERMUX_VERSION").is_some() };
        let conditions = (options.only, &surroundings);
        let patience = Duration::from_secs(u64::from(self.wait) * 60);
        let mut report = Report::default();
        // Which box this is has to be known before anything is looked up; nothing is asked for where nothing may be sent.
        let first = Run::new((state, ""), &display, conditions, (patience, false));
        let may = first.may();
        for what in &may.unknown {
            display.say(&format!(
                "This system does not say {what}{}.",
                if surroundings.termux { "" } else { ": sending all the same" }
            ));
        }
        let mut remote = self.remote(target)?;
        let id = if may.photos || may.videos {
            first.patiently(|| remote.who())
        } else {
            first.end(End::NotNow(may.because.unwrap_or_default()));
            Err(trouble::Trouble::Ended)
        };
        let id = match id {
            Ok(id) => id,
            Err(trouble) => {
                first.end(End::Unreachable(trouble.sentence()));
                report.take(first.conclude().0, run::Tally::default());
                let known = state.box_at(&target.address.to_string(), &target.user)?.unwrap_or_default();
                report.last_backup = state.runs(&known)?.whole;
                return Ok(report);
            }
        };
        state.note_box(&id, &target.address.to_string(), &target.user)?;
        let search =
            Search { choice: &options.choice, all_files: options.all_files, into: options.into.as_ref() };
        let groups = self.sort_out(search.scan(folders), state, &id, &mut report)?;
        let run = Run::new((state, &id), &display, conditions, (patience, self.again));
        confirm(&run, &mut remote)?;
        self.work(&run, target, groups)?;
        let (end, tally) = run.conclude();
        report.take(end, tally);
        report.missing = state.counts(&id)?.missing;
        // A run that looks at some files only says nothing of the others.
        state.note_run(&id, clock::now(), report.is_whole() && !self.retry_failed)?;
        report.last_backup = state.runs(&id)?.whole;
        Ok(report)
    }

    fn remote(&self, target: &Target) -> anyhow::Result<Remote> {
        let wire = Wire::new(target.address.clone(), target.authorization.clone(), target.trust.clone());
        Ok(Remote::new(wire.context("could not begin to send")?, &target.user))
    }

    /// Leaves out what need not be sent, and counts it.
    fn sort_out(
        &self,
        scan: Scan,
        state: &State,
        id: &str,
        report: &mut Report,
    ) -> anyhow::Result<Vec<Group>> {
        report.not_photos = scan.others;
        let unreadable = scan.unreadable.into_iter();
        report.failed.extend(unreadable.map(|(path, why)| Failure { path, why }));
        report.total =
            scan.groups.iter().map(|group| group.0.len() as u64).sum::<u64>() + report.failed.len() as u64;
        let mut groups = Vec::new();
        for Group(files) in scan.groups {
            let mut left = Vec::new();
            for file in files {
                let row = state.find(id, &file.path)?;
                let same = row.as_ref().filter(|row| row.look == file.look);
                let failed = row.as_ref().is_some_and(|row| row.became == Became::Failed);
                match same.map(|row| row.became) {
                    _ if self.retry_failed && !failed => report.unchanged += 1,
                    Some(Became::Sent | Became::There | Became::Missing) if !self.again => {
                        report.unchanged += 1
                    }
                    Some(Became::Failed)
                        if !self.retry_failed && same.is_some_and(|row| row.attempts >= MOST_ATTEMPTS) =>
                    {
                        report.given_up += 1;
                        let why = same.map(|row| row.why.clone()).unwrap_or_default();
                        report.failed.push(Failure { path: file.path, why });
                    }
                    Some(_) | None => left.push(file),
                }
            }
            if !left.is_empty() {
                groups.push(Group(left));
            }
        }
        Ok(groups)
    }

    fn work(&self, run: &Run<'_>, target: &Target, groups: Vec<Group>) -> anyhow::Result<()> {
        let workers = usize::from(self.parallel).min(groups.len());
        let files: usize = groups.iter().map(|group| group.0.len()).sum();
        run.display.expect(files as u64, groups.iter().map(Group::bytes).sum());
        run.lay_out(groups, workers);
        let remotes = (0..workers).map(|_| self.remote(target)).collect::<anyhow::Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let drawing = scope.spawn(|| run.display.draw());
            let working: Vec<_> =
                remotes.into_iter().map(|remote| scope.spawn(|| Worker { run, remote }.work())).collect();
            for worker in working {
                if worker.join().is_err() {
                    run.end(End::Here("a part of this program failed: a defect".to_owned()));
                }
            }
            run.display.end();
            drop(drawing.join());
        });
        Ok(())
    }
}

/// What is sent, and when.
struct Options {
    choice: Choice,
    into: Option<RelPath>,
    all_files: bool,
    only: Only,
}

/// The folders as they really are, each with the name it gets.
fn folders(given: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, String)>> {
    if given.is_empty() {
        return Err(usage("no folder is named, and --setup kept none", "name one: shoebox push ~/Pictures"));
    }
    let mut all: Vec<(PathBuf, String)> = Vec::new();
    for folder in given {
        let what = || format!("could not open {}", folder.display());
        let real = fs::canonicalize(folder)
            .map_err(|e| usage(format!("{}: {e}", what()), "name a folder that is there"))?;
        let name = real.file_name().map(|name| name.to_string_lossy().into_owned());
        let name =
            name.filter(|_| real.is_dir()).ok_or_else(|| usage(what(), "name a folder that has a name"))?;
        if all.iter().any(|(_, other)| other.to_lowercase() == name.to_lowercase()) {
            let remedy = "send one of them by a command of its own, with --into";
            return Err(usage(format!("two folders are called {name}, and would become one"), remedy));
        }
        all.push((real, name));
    }
    Ok(all)
}

/// Asks about files that the box was not asked about for long, so that what is said of them stays true.
fn confirm(run: &Run<'_>, remote: &mut Remote) -> anyhow::Result<()> {
    let now: Timestamp = clock::now();
    let rows = run.state.unconfirmed(run.id, now.checked_sub(CONFIRMED)?, CONFIRM_AT_ONCE)?;
    let hashes: Vec<_> = rows.iter().filter_map(|row| row.hash).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    // What cannot be asked now is asked in the next run.
    if let Ok(there) = run.patiently(|| remote.there(&hashes)) {
        for row in rows {
            run.state.confirm(run.id, &row.path, row.hash.is_some_and(|hash| there.contains(&hash)), now)?;
        }
    }
    Ok(())
}
