//! Settings: one TOML file, every key optional, unknown keys refused, all problems reported at once.
//!
//! The keys are listed once, in `walk`. Reading a file, printing the settings in force and comparing
//! `config.example.toml` with the defaults all go through that list, so they cannot disagree.
//! There is no secret among the settings, and none may be added: `shoebox doctor` prints them all.
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

mod drives;
mod file;
mod network;
mod values;

pub use drives::{Drives, Offline};
use file::{Printer, Reader, Visit};
pub use file::{SettingsError, SettingsProblem};
use network::walk_network;
pub use network::{Announce, Nfs, Plain, Tls, Wanted};
use values::{EXPERIMENTAL, OFF, absolute, distinct, log_level, off_or_experimental, three_numbers};

/// Where the settings are looked for when no file is named.
pub const DEFAULT_FILE: &str = "/etc/shoebox/config.toml";

/// All settings, valid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `[http]`
    pub http: Http,
    /// `[tls]`
    pub tls: Tls,
    /// `[announce]`
    pub announce: Announce,
    /// `[nfs]`
    pub nfs: Nfs,
    /// `[drives]`
    pub drives: Drives,
    /// `[offline]`
    pub offline: Offline,
    /// `[control]`
    pub control: Control,
    /// `[mirror]`
    pub mirror: Mirror,
    /// `[rescan]`
    pub rescan: Rescan,
    /// `[trash]`
    pub trash: Trash,
    /// `[scratch]`
    pub scratch: Scratch,
    /// `[health]`
    pub health: Health,
    /// `[previews]`
    pub previews: Previews,
    /// `[immich]`
    pub immich: Immich,
    /// `[sumu]`
    pub sumu: Sumu,
    /// `[log]`
    pub log: Log,
}

/// Where and how uploads and pages are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// Host names requests may carry besides the machine's own names and addresses; lower case, no port.
    pub hosts: Vec<String>,
    /// The address to print for people, without a trailing slash; `None`: found out.
    pub public_url: Option<String>,
    /// Connections at one time.
    pub connections: usize,
    /// Connections at one time from one address.
    pub per_ip: usize,
    /// How long a request's head may take, and how long a connection may lie idle between two.
    pub header: Duration,
    /// How long the next byte of a body may be on its way.
    pub idle: Duration,
}

/// The control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Where it is.
    pub socket: PathBuf,
}

/// The mirror, and what makes it stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// How long after a deletion on A its copy on B goes to trash.
    pub delete_delay: Duration,
    /// Stop and alarm when more than this share of the files vanishes within an hour.
    pub brake_percent: u64,
    /// Stop and alarm when more than this many files vanish within an hour.
    pub brake_files: u64,
    /// Acknowledge uploads only when B has them.
    pub acknowledge_after_copy: bool,
    /// Seal copies on other drives than A once they were read back, where the filesystem offers it.
    pub seal_copies: bool,
}

/// Comparing drives with the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescan {
    /// How often at least.
    pub period: Duration,
    /// How long a file put there by another hand must be unchanged.
    pub quiet: Duration,
}

/// The trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trash {
    /// How long things stay in it.
    pub keep: Duration,
}

/// The scratch area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch {
    /// How long things stay in it.
    pub keep: Duration,
}

/// The minute check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How often.
    pub period: Duration,
    /// A drive that takes longer to answer is slow.
    pub probe_warn: Duration,
    /// A drive that takes longer to answer is stuck.
    pub probe_stuck: Duration,
    /// A drive fuller than this is worth a word.
    pub space_warn_percent: u64,
    /// A drive fuller than this is an alarm.
    pub space_alarm_percent: u64,
}

/// Small pictures of photos, for apps that show many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previews {
    /// Where they are kept; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// How much of them, MiB.
    pub cache_mib: u64,
}

/// What clients of Immich are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Immich {
    /// The version that is announced to them, such as 3.0.0.
    pub version: String,
    /// Its phone app is answered, too.
    pub phone_app: bool,
}

/// Where the Sumu Backup app is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sumu {
    /// Addresses to listen on for it; none: not at all.
    pub listen: Vec<SocketAddr>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is still logged.
    pub level: LevelFilter,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080))],
            hosts: Vec::new(),
            public_url: None,
            connections: 64,
            per_ip: 32,
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

impl Http {
    /// The host of [`Http::public_url`], without its port.
    pub fn public_host(&self) -> Option<&str> {
        let (_, host) = self.public_url.as_deref()?.split_once("://")?;
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => Some(name),
            Some(_) | None => Some(host),
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: "/run/shoebox/control.sock".into() }
    }
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            delete_delay: Duration::from_secs(24 * HOUR),
            brake_percent: 1,
            brake_files: 200,
            acknowledge_after_copy: false,
            seal_copies: true,
        }
    }
}

impl Default for Rescan {
    fn default() -> Self {
        Self { period: Duration::from_secs(60 * MINUTE), quiet: Duration::from_secs(5) }
    }
}

impl Default for Trash {
    fn default() -> Self {
        Self { keep: Duration::from_secs(30 * DAY) }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self { keep: Duration::from_secs(24 * HOUR) }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(60),
            probe_warn: Duration::from_secs(10),
            probe_stuck: Duration::from_secs(18),
            space_warn_percent: 85,
            space_alarm_percent: 95,
        }
    }
}

impl Default for Previews {
    fn default() -> Self {
        Self { cache: Some("/var/cache/shoebox/previews".into()), cache_mib: 256 }
    }
}

impl Default for Immich {
    fn default() -> Self {
        Self { version: "3.0.0".to_owned(), phone_app: false }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LevelFilter::Info }
    }
}

impl Settings {
    /// Reads the settings from `file`; without one from [`DEFAULT_FILE`] if it is there, else the defaults.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if file.is_none() && e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(why) => return Err(SettingsError::Unreadable { path: path.to_owned(), why }),
        };
        Self::parse(&text).map_err(|problems| SettingsError::Invalid { path: path.to_owned(), problems })
    }

    /// Reads the settings from the text of a file.
    pub fn parse(text: &str) -> Result<Self, Vec<SettingsProblem>> {
        let mut reader = Reader::new(text)?;
        let mut settings = Self::default();
        walk(&mut settings, &mut reader);
        reader.finish_file();
        settings.check_together(&mut reader);
        reader.end().map(|()| settings)
    }

    /// The settings in force as a file, every key named.
    pub fn render(&self) -> String {
        let mut printer = Printer::default();
        walk(&mut self.clone(), &mut printer);
        printer.text()
    }

    /// What no single key can tell.
    fn check_together(&self, reader: &mut Reader<'_>) {
        if self.http.per_ip > self.http.connections {
            reader.problem_at("http.per_ip", "is above http.connections");
        }
        if let Some(both) = self.sumu.listen.iter().find(|address| self.http.listen.contains(*address)) {
            reader.problem_at("sumu.listen", &format!("has {both}, which is in http.listen"));
        }
        if self.tls.listen.iter().any(|address| self.http.listen.contains(address) && address.port() != 0) {
            reader.problem_at("tls.listen", "has an address of http.listen: HTTPS needs a port of its own");
        }
        if self.offline.remind > self.offline.alarm {
            reader.problem_at("offline.remind_after_days", "is above offline.alarm_after_days");
        }
        if self.health.probe_warn >= self.health.probe_stuck {
            reader.problem_at("health.probe_warn_seconds", "is not below health.probe_stuck_seconds");
        }
        if self.health.space_warn_percent >= self.health.space_alarm_percent {
            reader.problem_at("health.space_warn_percent", "is not below health.space_alarm_percent");
        }
    }
}

/// The one list of keys.
fn walk(settings: &mut Settings, visit: &mut impl Visit) {
    let Settings {
        http,
        tls,
        announce,
        nfs,
        drives,
        offline,
        control,
        mirror,
        rescan,
        trash,
        scratch,
        health,
        previews,
        immich,
        sumu,
        log,
    } = settings;

    walk_network((http, tls, announce, nfs), visit);

    drives::walk(drives, offline, visit);

    visit.section("control");
    visit.value("socket", &mut control.socket, |socket| absolute(socket));

    visit.section("mirror");
    visit.time("delete_delay_hours", HOUR, &mut mirror.delete_delay, 0..=24 * 365);
    visit.number("brake_percent", &mut mirror.brake_percent, 0..=100);
    visit.number("brake_files", &mut mirror.brake_files, 0..=1_000_000_000);
    visit.value("acknowledge_after_copy", &mut mirror.acknowledge_after_copy, |_| Ok(()));
    visit.value("seal_copies", &mut mirror.seal_copies, |_| Ok(()));

    visit.section("rescan");
    visit.time("period_minutes", MINUTE, &mut rescan.period, 1..=7 * 24 * 60);
    visit.time("quiet_seconds", 1, &mut rescan.quiet, 1..=3600);

    visit.section("trash");
    visit.time("keep_days", DAY, &mut trash.keep, 1..=36_500);

    visit.section("scratch");
    visit.time("keep_hours", HOUR, &mut scratch.keep, 1..=24 * 365);

    visit.section("health");
    visit.time("period_seconds", 1, &mut health.period, 1..=3600);
    visit.time("probe_warn_seconds", 1, &mut health.probe_warn, 1..=3600);
    visit.time("probe_stuck_seconds", 1, &mut health.probe_stuck, 1..=3600);
    visit.number("space_warn_percent", &mut health.space_warn_percent, 1..=100);
    visit.number("space_alarm_percent", &mut health.space_alarm_percent, 1..=100);

    walk_dialects(previews, immich, sumu, visit);

    visit.section("log");
    let mut level = log.level.as_str().to_ascii_lowercase();
    visit.value("level", &mut level, |word| log_level(word).map(|_| ()));
    log.level = log_level(&level).unwrap_or(log.level);
}

/// The part of the list that some apps alone need.
fn walk_dialects(previews: &mut Previews, immich: &mut Immich, sumu: &mut Sumu, visit: &mut impl Visit) {
    visit.section("previews");
    let mut cache = previews.cache.clone().unwrap_or_default();
    visit.value(
        "cache",
        &mut cache,
        |cache| {
            if cache.as_os_str().is_empty() { Ok(()) } else { absolute(cache) }
        },
    );
    previews.cache = Some(cache).filter(|cache| !cache.as_os_str().is_empty());
    visit.number("cache_mib", &mut previews.cache_mib, 1..=1_000_000);

    visit.section("immich");
    visit.value("version", &mut immich.version, |version| three_numbers(version));
    let mut word = if immich.phone_app { EXPERIMENTAL } else { OFF }.to_owned();
    visit.value("phone_app", &mut word, |word| off_or_experimental(word));
    immich.phone_app = word == EXPERIMENTAL;

    visit.section("sumu");
    visit.value("listen", &mut sumu.listen, |all| {
        if all.is_empty() { Ok(()) } else { distinct(all, "an address") }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = include_str!("../../config.example.toml");

    fn problems(text: &str) -> String {
        let problems = Settings::parse(text).expect_err("this text must be refused");
        problems.iter().map(|p| format!("{p}\n")).collect()
    }

    proptest! {
        /// A line of the example spoilt, or any text at all: it is taken, or every problem says where.
        #[test]
        fn no_text_panics(line in any::<prop::sample::Index>(), spoilt in ".{0,40}", alone in any::<bool>()) {
            let mut lines: Vec<&str> = EXAMPLE.lines().collect();
            let line = line.index(lines.len());
            lines[line] = &spoilt;
            let text = if alone { spoilt.clone() } else { lines.join("\n") };
            if let Err(problems) = Settings::parse(&text) {
                prop_assert!(!problems.is_empty() && problems.iter().all(|p| !p.to_string().is_empty()));
            }
        }
    }

    #[test]
    fn the_example_is_the_default_and_names_every_key() {
        assert_eq!(Settings::parse(EXAMPLE), Ok(Settings::default()));
        let example: toml::Table = EXAMPLE.parse().unwrap();
        let all: toml::Table = Settings::default().render().parse().unwrap();
        assert_eq!(example, all);
    }

    #[test]
    fn the_example_says_something_about_every_key() {
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if line.contains(" = ") && !line.starts_with('#') {
                let explained = (index > 0 && lines[index - 1].starts_with('#')) || line.contains(" # ");
                assert!(explained, "no comment for {line:?}");
            }
        }
    }

    #[test]
    fn an_empty_file_is_the_default_and_rendering_comes_back() {
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
        let mut other = Settings::default();
        other.http.listen = vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        other.http.hosts = vec!["box.example".to_owned()];
        other.http.public_url = Some("https://box.example".to_owned());
        other.drives.mounts = vec!["/srv/with \"quotes\"".into()];
        other.drives.require_mount = false;
        other.drives.reports = None;
        other.offline.eject_when_done = false;
        other.tls.listen = vec!["[::]:8443".parse().unwrap()];
        other.tls.plain = Plain::Redirect;
        other.announce = Announce { directory: "/x".into(), nfs: "/srv/b/photos".to_owned() };
        other.nfs = Nfs { wanted: Wanted::On, path: "/srv/shoebox/nfs/photos".into() };
        other.rescan.period = Duration::from_secs(120);
        other.log.level = LevelFilter::Off;
        assert_eq!(Settings::parse(&other.render()), Ok(other));
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = r#"
colour = "blue"
[http]
listen = ["0.0.0.0"]
listn = []
per_ip = 100
public_url = "ftp://x"
hosts = ["Box:80"]
[drives]
mounts = ["a"]
require_mount = "yes"
[health]
space_warn_percent = 96
period_seconds = -1
[mirror]
brake_percent = 101
[log]
level = "loud"
[wlan]
"#;
        expect_test::expect![[r#"
            line 2: unknown section or key colour
            line 4: http.listen: invalid socket address syntax
            line 5: unknown key http.listn; [http] has listen, hosts, public_url, connections, per_ip, header_seconds, idle_seconds
            line 6: http.per_ip is above http.connections
            line 7: http.public_url: "ftp://x" is not like "https://photos.example.org" (and nothing after the host)
            line 8: http.hosts: "Box:80" is not a host name in lower case without a port
            line 10: drives.mounts: "a" is not an absolute path below /
            line 11: drives.require_mount: invalid type: string "yes", expected a boolean
            line 13: health.space_warn_percent is not below health.space_alarm_percent
            line 14: health.period_seconds: invalid value: integer `-1`, expected a whole number
            line 16: mirror.brake_percent: 101 is not between 0 and 100
            line 18: log.level: "loud" is not one of off, error, warn, info, debug, trace
            line 19: unknown section or key wlan
        "#]].assert_eq(&problems(text));
    }

    #[test]
    fn every_syntax_error_has_a_line() {
        expect_test::expect![[r#"
            line 3: string values must be quoted, expected literal string
            line 4: missing comma between array elements, expected `,`
        "#]]
        .assert_eq(&problems("[http]\nlisten = [\n[drives\nmounts = 'a\n"));
    }

    #[test]
    fn a_section_is_not_a_value() {
        expect_test::expect![[r#"
            line 1: http is a section: write [http]
        "#]]
        .assert_eq(&problems("http = 8080\n"));
    }

    #[test]
    fn lists_are_neither_empty_nor_double() {
        expect_test::expect![[r#"
            line 2: http.listen: needs at least an address
            line 4: drives.mounts: "/a" is there twice
        "#]]
        .assert_eq(&problems("[http]\nlisten = []\n[drives]\nmounts = ['/a', '/a']\n"));
    }

    #[test]
    fn a_named_file_must_exist_and_the_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.toml");
        let error = Settings::load(Some(&path)).unwrap_err();
        assert!(matches!(error, SettingsError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("none.toml"));
        std::fs::write(&path, "x = 1\ny = 2\n").unwrap();
        let error = Settings::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("line 2"), "{error}");
    }
}
