//! `shoebox-card`: applies `shoebox.toml` of the card's first partition; systemd starts it, and nobody else needs to.
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use shoebox_card::apply::{self, Box};
use shoebox_card::folder::Folder;
use shoebox_drive::failure::Failure;

const HELP: &str = "\
shoebox-card: applies what a family wrote into shoebox.toml on the card. Run by systemd as root.

Usage: shoebox-card early|drives

  early    host name, time zone, SSH key, wireless network. What was not understood is in shoebox-error.txt beside the file
  drives   what needs a drive: the wireless network's key is kept there, its password taken from the card; the first person

Exit codes: 0 done, or nothing was asked for; 1 something could not be done; 2 not understood.
";

fn run(verb: &str) -> Result<(), Failure> {
    let at = Box {
        card: Folder(Path::new("/boot/firmware").to_owned()),
        root: Path::new("/").to_owned(),
        places: Path::new("/srv/shoebox").to_owned(),
    };
    match verb {
        "early" => apply::early(&at),
        "drives" => apply::drives(&at),
        _ => write!(std::io::stdout(), "{HELP}").map_err(|e| Failure::io("write to", "standard output", e)),
    }
}

fn main() -> ExitCode {
    let complain = |words: &dyn std::fmt::Display| {
        // Where standard error is closed there is nobody to tell.
        let _said = writeln!(std::io::stderr(), "shoebox-card: {words}");
    };
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [verb @ ("early" | "drives" | "-h" | "--help" | "help")] => match run(verb) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure);
                ExitCode::FAILURE
            }
        },
        _ => {
            complain(&"early or drives; see shoebox-card --help");
            ExitCode::from(2)
        }
    }
}
