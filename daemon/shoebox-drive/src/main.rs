//! `shoebox-drive`: the few things about drives that take root, each a verb; systemd starts it, and nobody else needs to.
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use shoebox_drive::failure::Failure;
use shoebox_drive::name::Name;
use shoebox_drive::settings::{self, Settings};
use shoebox_drive::{asking, attaching, ejecting, exporting, preparing, report};

const HELP: &str = "\
shoebox-drive: recognises, checks and mounts the drives of a Shoebox. Run by systemd as root.

Usage: shoebox-drive VERB [DEVICE]      DEVICE is the kernel's name of it, as sda1 is

  probe DEVICE    tell, as JSON, what is on it and what would be done; changes nothing on it
  attach DEVICE   if it bears the marker of a Shoebox: check its filesystem and mount it where drives go.
                  Anything else is left as it is, to the byte
  detach DEVICE   take it from its place at once (it was pulled, or is about to be)
  eject DEVICE    unmount it when nobody uses it any more, and switch it off
  prepare DEVICE  mount a drive that is to become one of the box's, so that the daemon can adopt it; all that is
                  on it stays
  export          make what is exported over NFS equal to what should be: the photos of drive B, if it is there, and
                  nothing else. Done by itself when a drive comes and goes
  unexport        export nothing, until the next of these
  list            tell, as JSON, of all devices that were looked at
  answer          read one request from standard input and answer it: how the daemon asks, through a socket of
                  systemd's. Formatting is asked for only in this way, with everything that would be lost named

What was done is in /run/shoebox-drive/DEVICE.json. Places, buses and the daemon's user: /etc/shoebox/drive.toml.
Exit codes: 0 done, or nothing was to be done; 1 it could not be done; 2 not understood.
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Verb {
    Probe(Name),
    Attach(Name),
    Detach(Name),
    Eject(Name),
    Prepare(Name),
    Export,
    Unexport,
    Answer,
    List,
    Help,
}

fn parse(words: &[String]) -> Result<Verb, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = |text: &str| text.parse::<Name>().map_err(|bad| bad.to_string());
    match words.as_slice() {
        ["probe", device] => name(device).map(Verb::Probe),
        ["attach", device] => name(device).map(Verb::Attach),
        ["detach", device] => name(device).map(Verb::Detach),
        ["eject", device] => name(device).map(Verb::Eject),
        ["prepare", device] => name(device).map(Verb::Prepare),
        ["list"] => Ok(Verb::List),
        ["export"] => Ok(Verb::Export),
        ["unexport"] => Ok(Verb::Unexport),
        ["answer"] => Ok(Verb::Answer),
        ["-h" | "--help" | "help"] => Ok(Verb::Help),
        _ => Err("a verb, and for most of them a device; see shoebox-drive --help".into()),
    }
}

fn show(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(format!("could not write it as JSON: {e}")))?;
    writeln!(std::io::stdout(), "{text}").map_err(|e| Failure::io("write to", "standard output", e))
}

fn run(verb: &Verb) -> Result<(), Failure> {
    let settings = || Settings::read(Path::new(settings::FILE));
    match verb {
        Verb::Probe(name) => show(&attaching::probe(name, &settings()?)?),
        Verb::Attach(name) => {
            let settings = settings()?;
            let done = attaching::attach(name, &settings).and_then(|report| show(&report));
            // A drive is there also where the computers of the house do not see its photos: the box tells of that (`nfs-not-exported`).
            if let Err(failure) = exporting::settle(&settings) {
                complain(&failure);
            }
            done
        }
        Verb::Detach(name) => attaching::detach(name, &settings()?),
        Verb::Eject(name) => show(&ejecting::eject(name, &settings()?)?),
        Verb::Prepare(name) => show(&preparing::prepare(name, &settings()?)?),
        Verb::Export => show(&exporting::settle(&settings()?)?),
        Verb::Unexport => exporting::stop(&settings()?),
        Verb::Answer => asking::serve(std::io::stdin(), std::io::stdout(), &settings()?),
        Verb::List => show(&report::all(Path::new(report::FOLDER))),
        Verb::Help => {
            write!(std::io::stdout(), "{HELP}").map_err(|e| Failure::io("write to", "standard output", e))
        }
    }
}

fn complain(words: &dyn std::fmt::Display) {
    // Where standard error is closed there is nobody to tell.
    let _said = writeln!(std::io::stderr(), "shoebox-drive: {words}");
}

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match parse(&words) {
        Err(why) => {
            complain(&why);
            ExitCode::from(2)
        }
        Ok(verb) => run(&verb).map_or_else(
            |failure| {
                complain(&failure);
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_words_are_understood() {
        let parse = |words: &str| parse(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("attach sda1"), Ok(Verb::Attach("sda1".parse().unwrap())));
        assert_eq!(parse("list"), Ok(Verb::List));
        for bad in [
            "",
            "attach",
            "attach /dev/sda1",
            "attach ../sda",
            "attach sda1 sdb1",
            "format sda1",
            "list sda",
            "export sda1",
            "export /srv",
            "attach --force sda1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
