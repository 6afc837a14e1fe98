//! Certificates: whose authority is used when drives have different ones or none, which names a certificate gets, and when it is made
//! anew.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::certificate::{Fingerprint, Names};

/// Days that a certificate is good for. Apple's systems refuse more than 825, of a person's own authority too (support.apple.com/103769).
pub const DAYS: u64 = 820;
/// It is made anew when it is not good for so many days more: a box that was off for weeks still comes back with a good one.
pub const DAYS_BEFORE: u64 = 60;
/// It is good from so many days ago: clocks of phones are late.
pub const DAYS_BACK: u64 = 2;

/// Ends of host names that nobody else can own: special-use names (RFC 6762, RFC 6761, RFC 8375), `internal` (reserved by ICANN in 2024),
/// and two that routers use and nobody delegates.
const ENDS: [&str; 6] = ["local", "localhost", "home.arpa", "internal", "lan", "home"];

/// What one drive has for an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    None,
    /// A file that is none, or one whose key and certificate do not belong together.
    Broken,
    /// This one.
    Whole(Fingerprint),
}

/// A drive, as far as certificates go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveState {
    /// It is the main drive.
    pub primary: bool,
    /// It takes writes.
    pub writable: bool,
    /// What it has.
    pub held: Held,
}

/// Which authority is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// That of the drive of this number.
    Use(usize),
    /// A new one, made on the main drive.
    Make,
    /// None yet.
    Wait(&'static str),
}

/// The main drive's counts, then any other's. A new one is made only where none can be had any more: phones trust the one they know, so
/// while a drive that may have it is away nothing is made (`all_here` is false).
pub fn choose(drives: &[DriveState], all_here: bool) -> Choice {
    let whole = |drive: &DriveState| matches!(drive.held, Held::Whole(_));
    let primary = drives.iter().position(|drive| drive.primary);
    if let Some(one) = primary.filter(|&one| whole(&drives[one])).or_else(|| drives.iter().position(whole)) {
        return Choice::Use(one);
    }
    match primary {
        None => Choice::Wait("the main drive is not there"),
        Some(one) if !drives[one].writable => Choice::Wait("the main drive takes no writes"),
        Some(_) if !all_here => Choice::Wait("another drive, which may have the authority, is not there"),
        Some(_) => Choice::Make,
    }
}

/// What is to be done on a drive so that it has the chosen authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It has it.
    Nothing,
    /// It gets it.
    Write,
    /// What it has is set aside, and kept; then it gets it.
    SetAside,
}

/// What is to be done on a drive that has this.
pub fn keep(held: Held, chosen: Fingerprint) -> Keep {
    match held {
        Held::Whole(one) if one == chosen => Keep::Nothing,
        Held::None => Keep::Write,
        Held::Whole(_) | Held::Broken => Keep::SetAside,
    }
}

/// The names for a certificate: this machine's, with and without `.local`, those of the settings, and the addresses. One that is known to
/// nobody but this machine is among them, for programs on it.
pub fn names(machine: &str, configured: &[String], addresses: &BTreeSet<IpAddr>) -> Names {
    let machine = machine.trim_end_matches('.').to_lowercase();
    let short = machine.split('.').next().unwrap_or_default();
    let mut hosts: BTreeSet<String> =
        ["localhost".to_owned(), machine.clone(), format!("{short}.local")].into();
    hosts.insert(short.to_owned());
    hosts.extend(configured.iter().map(|host| host.trim_end_matches('.').to_lowercase()));
    hosts.retain(|host| is_host_name(host));
    let this_machine = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    Names { hosts, addresses: addresses.iter().copied().chain(this_machine).collect() }
}

/// Labels of letters, digits and hyphens; no address, which is none of a certificate's host names.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label) && host.parse::<IpAddr>().is_err()
}

/// The host names that a new authority may ever sign for, each with all below it: whoever steals its key can stand in for the box, and for
/// no bank.
pub fn permitted(names: &Names) -> Vec<String> {
    let mut ends: Vec<String> = ENDS.map(str::to_owned).into();
    ends.extend(names.hosts.iter().filter(|host| !is_below(host, &ends)).cloned().collect::<Vec<_>>());
    ends
}

/// Those of the names that every authority of ours may sign for, whatever the settings were when it was made.
pub fn always_permitted(names: &Names) -> Names {
    let ends: Vec<String> = ENDS.map(str::to_owned).into();
    let hosts = names.hosts.iter().filter(|host| is_below(host, &ends)).cloned().collect();
    Names { hosts, addresses: names.addresses.clone() }
}

fn is_below(host: &str, ends: &[String]) -> bool {
    ends.iter()
        .any(|end| host.strip_suffix(end.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Addresses met since the start, newest first: a certificate names those that are gone for now, too, so that a cable that comes and goes
/// makes no new one each time.
pub fn meet(met: &mut Vec<IpAddr>, now: &BTreeSet<IpAddr>) {
    const MOST: usize = 16;
    let (mut all, gone): (Vec<IpAddr>, Vec<IpAddr>) =
        (now.iter().copied().collect(), met.drain(..).filter(|ip| !now.contains(ip)).collect());
    all.extend(gone);
    all.truncate(MOST);
    *met = all;
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Held = Held::None;

    fn whole(text: &str) -> Held {
        Held::Whole(Fingerprint::of(text.as_bytes()))
    }

    fn drive(primary: bool, held: Held) -> DriveState {
        DriveState { primary, writable: true, held }
    }

    #[test]
    fn the_authority_that_phones_know_is_used_and_a_new_one_is_the_last_resort() {
        let full = DriveState { writable: false, ..drive(true, A) };
        let wait = |choice| matches!(choice, Choice::Wait(_));
        assert_eq!(choose(&[drive(true, whole("x")), drive(false, whole("y"))], true), Choice::Use(0));
        assert_eq!(choose(&[drive(false, whole("y")), drive(true, whole("x"))], false), Choice::Use(1));
        for held in [Held::None, Held::Broken] {
            assert_eq!(choose(&[drive(true, held), drive(false, whole("y"))], true), Choice::Use(1));
            assert_eq!(choose(&[drive(true, held), drive(false, held)], true), Choice::Make);
            assert!(wait(choose(&[drive(true, held)], false)));
            assert!(wait(choose(&[drive(false, held)], true)));
        }
        assert_eq!(choose(&[drive(false, whole("y"))], false), Choice::Use(0));
        assert!(wait(choose(&[full], true)) && wait(choose(&[], true)));
    }

    #[test]
    fn a_drive_gets_the_authority_and_nothing_is_written_over() {
        let chosen = Fingerprint::of(b"x");
        let found = [whole("x"), whole("y"), Held::None, Held::Broken].map(|held| keep(held, chosen));
        assert_eq!(found, [Keep::Nothing, Keep::SetAside, Keep::Write, Keep::SetAside]);
    }

    #[test]
    fn names_of_a_machine() {
        let addresses = BTreeSet::from(["192.168.1.9".parse().unwrap()]);
        let configured = ["shoebox.lan".to_owned(), "photos.example.org".to_owned(), "10.0.0.1".to_owned()];
        let names = names("Shoebox.fritz.box.", &configured, &addresses);
        let hosts: Vec<&str> = names.hosts.iter().map(String::as_str).collect();
        let expected = [
            "localhost",
            "photos.example.org",
            "shoebox",
            "shoebox.fritz.box",
            "shoebox.lan",
            "shoebox.local",
        ];
        assert_eq!(hosts, expected);
        assert_eq!(names.addresses.len(), 3);
        let permitted = permitted(&names);
        assert_eq!(permitted[ENDS.len()..], ["photos.example.org", "shoebox", "shoebox.fritz.box"]);
        let always = always_permitted(&names);
        assert_eq!(
            always.hosts.into_iter().collect::<Vec<_>>(),
            ["localhost", "shoebox.lan", "shoebox.local"]
        );
    }

    #[test]
    fn what_is_no_host_name_is_left_out() {
        let names =
            names("bad_name", &["-x.lan".to_owned(), String::new(), "a..b".to_owned()], &BTreeSet::new());
        assert_eq!(names.hosts.into_iter().collect::<Vec<_>>(), ["localhost"]);
    }

    #[test]
    fn addresses_that_come_and_go_are_remembered_for_a_while() {
        let ip = |n: u8| IpAddr::from([192, 168, 1, n]);
        let mut met = Vec::new();
        meet(&mut met, &[ip(1)].into());
        meet(&mut met, &[ip(2)].into());
        assert_eq!(met, [ip(2), ip(1)]);
        meet(&mut met, &[ip(1), ip(2)].into());
        assert_eq!(met, [ip(1), ip(2)]);
        for n in 3..40 {
            meet(&mut met, &[ip(n)].into());
        }
        assert_eq!((met.len(), met[0]), (16, ip(39)));
    }
}
