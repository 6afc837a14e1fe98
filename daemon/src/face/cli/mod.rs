//! The command line: one file per sub-command, all alike: ask the daemon, print, return an exit code.
//!
//! Apart from `serve` and `demo`, which are the daemon, `restore`, which only reads drives, `rebuild`, which works where no
//! daemon is, and `push`, which is a client of a box elsewhere, nothing here touches a drive or the catalogue.
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::face::control::{CallError, Client, Request};
use crate::settings::{Settings, SettingsError};
use crate::work::views::Progress;

mod address;
mod ca;
mod card;
mod changes;
mod completions;
mod demo;
mod device;
mod disk;
mod doctor;
mod draw_preview;
mod drive;
mod exit;
mod find;
mod man;
mod mount_help;
mod person;
mod push;
mod reached;
mod rebuild;
mod receipt;
mod rescan;
mod restore;
mod screen;
mod serve;
mod status;
mod typed;
mod verify;

pub use exit::Exit;

const ABOUT: &str = "Keeps a family's photos safe on two drives, and proves it";

const LONG_ABOUT: &str = "\
Shoebox takes photos from phones and computers, keeps each one on two drives, reads the copies back, and says \
for every single photo when that was last proved.

`shoebox demo` shows all of it without a drive. On the box itself `shoebox serve` runs as a service, and the \
other commands talk to it through its control socket.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "shoebox", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = exit::HELP)]
#[command(max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
struct CommandLine {
    /// The settings file [default: /etc/shoebox/config.toml, or the defaults if there is none]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Status(status::Status),
    #[command(subcommand)]
    Person(person::Person),
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Drive(drive::Drive),
    #[command(subcommand)]
    Ca(ca::Ca),
    Address(address::AddressOf),
    Find(find::Find),
    Receipt(receipt::ReceiptOf),
    Verify(verify::Verify),
    Rescan(rescan::Rescan),
    #[command(subcommand)]
    Changes(changes::Changes),
    Restore(restore::Restore),
    Rebuild(rebuild::Rebuild),
    Push(Box<push::Push>),
    MountHelp(mount_help::MountHelp),
    Doctor(doctor::Doctor),
    Man(man::Man),
    DrawPreview(draw_preview::DrawPreview),
    Completions(completions::Completions),
}

/// Carries out a command line and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(e) => {
            // Help and version are "errors" to clap, with exit code 0 and standard output.
            drop(e.print());
            return if e.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    let mut out = io::stdout();
    let done = line.carry_out(&mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    match done {
        Ok(code) => code.into(),
        Err(e) => {
            let code = Exit::of(&e);
            if code != Exit::Fine {
                // There is nowhere left to say that standard error is closed.
                drop(writeln!(io::stderr(), "shoebox: {e:#}{}", exit::remedy(&e)));
            }
            code.into()
        }
    }
}

impl CommandLine {
    fn carry_out(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mut cx = Cx { config: self.config, out };
        match self.command {
            Command::Demo(command) => command.run(&mut cx),
            Command::Serve(command) => command.run(&mut cx),
            Command::Status(command) => command.run(&mut cx),
            Command::Person(command) => command.run(&mut cx),
            Command::Device(command) => command.run(&mut cx),
            Command::Drive(command) => command.run(&mut cx),
            Command::Ca(command) => command.run(&mut cx),
            Command::Address(command) => command.run(&mut cx),
            Command::Find(command) => command.run(&mut cx),
            Command::Receipt(command) => command.run(&mut cx),
            Command::Verify(command) => command.run(&mut cx),
            Command::Rescan(command) => command.run(&mut cx),
            Command::Changes(command) => command.run(&mut cx),
            Command::Restore(command) => command.run(&mut cx),
            Command::Rebuild(command) => command.run(&mut cx),
            Command::Push(command) => command.run(&mut cx),
            Command::MountHelp(command) => command.run(&mut cx),
            Command::Doctor(command) => command.run(&mut cx),
            Command::Man(command) => command.run(&mut cx),
            Command::DrawPreview(command) => command.run(&mut cx),
            Command::Completions(command) => command.run(&mut cx),
        }
    }
}

/// What every sub-command needs.
struct Cx<'a> {
    config: Option<PathBuf>,
    out: &'a mut dyn Write,
}

impl Cx<'_> {
    fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::load(self.config.as_deref())
    }

    fn client(&self) -> Result<Client, SettingsError> {
        Ok(Client::new(&self.settings()?.control.socket))
    }

    /// Asks the daemon for something that is answered at once.
    fn ask<T: serde::de::DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        Ok(self.client()?.call(request, &mut |_| ())?)
    }

    /// Asks the daemon for something that takes a while, and shows how far it is.
    fn ask_and_watch<T: serde::de::DeserializeOwned>(
        &self,
        request: &Request,
        doing: &str,
    ) -> anyhow::Result<T> {
        let mut line = screen::ProgressLine::new(doing);
        let answer: Result<T, CallError> = self.client()?.call(request, &mut |now: &Progress| line.show(now));
        line.clear();
        Ok(answer?)
    }

    /// Writes one JSON value on one line.
    fn json<T: serde::Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{}", serde_json::to_string(value)?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::CommandFactory as _;

    use super::*;

    fn each(command: &mut clap::Command, path: &str, visit: &mut dyn FnMut(&str, &mut clap::Command)) {
        visit(path, command);
        for sub in command.get_subcommands_mut() {
            if sub.get_name() != "help" {
                each(sub, &format!("{path} {}", sub.get_name()), visit);
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_is_what_it_was() {
        let mut text = String::new();
        let mut root = CommandLine::command().term_width(100);
        root.build();
        each(&mut root, "shoebox", &mut |path, command| {
            let help = command.render_long_help().to_string();
            let help: Vec<&str> = help.lines().map(str::trim_end).collect();
            writeln!(text, "$ {path} --help\n{}\n", help.join("\n")).unwrap();
        });
        expect_test::expect_file!["help.txt"].assert_eq(&text);
    }

    #[test]
    fn every_command_teaches_by_example() {
        let mut root = CommandLine::command();
        root.build();
        let mut without = Vec::new();
        each(&mut root, "shoebox", &mut |path, command| {
            let leaf = !command.has_subcommands() && !command.is_hide_set();
            let help = command.render_long_help().to_string();
            if leaf && !help.contains(&format!("$ {path}")) && !help.contains(&format!("{path} ")) {
                without.push(path.to_owned());
            }
            if leaf && !help.contains("Examples:") {
                without.push(path.to_owned());
            }
        });
        assert!(without.is_empty(), "no example in {without:?}");
    }

    #[test]
    fn usage_errors_and_help_have_their_codes() {
        let code = |args: &[&str]| format!("{:?}", run(args.iter().map(OsString::from)));
        assert_eq!(code(&["shoebox", "--version"]), format!("{:?}", ExitCode::from(0)));
        assert_eq!(code(&["shoebox", "format"]), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(&["shoebox", "person", "add", "Not A Slug"]), format!("{:?}", ExitCode::from(2)));
        assert_eq!(
            code(&["shoebox", "--config", "/nonexistent/x", "status"]),
            format!("{:?}", ExitCode::from(64))
        );
    }

    #[test]
    fn a_daemon_that_is_not_there_is_code_3() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        let socket = dir.path().join("none.sock");
        std::fs::write(&config, format!("[control]\nsocket = {:?}\n", socket)).unwrap();
        for command in [&["status"][..], &["person", "list"], &["receipt", "a.jpg"], &["verify"]] {
            let args = ["shoebox", "--config"].map(OsString::from).into_iter();
            let args = args.chain([config.clone().into()]).chain(command.iter().map(OsString::from));
            assert_eq!(format!("{:?}", run(args)), format!("{:?}", ExitCode::from(3)), "{command:?}");
        }
    }
}
