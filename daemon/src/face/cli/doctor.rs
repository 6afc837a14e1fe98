//! `shoebox doctor`: what to attach to a bug report. Works with the daemon down, and holds no secret.
//!
//! Never touches a drive: it reads /proc and asks the daemon, so a drive that hangs cannot hang this.
use std::fs;
use std::path::Path;

use clap::Args;
use jiff::tz::TimeZone;
use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;

use super::{Cx, Exit, screen, status};
use crate::face::control::{Client, Request, StatusReport};
use crate::settings::Settings;

/// Print what to attach to a bug report
///
/// Version, settings, findings, drives, kernel, limits and filesystems, gathered without touching a drive. Works
/// when the daemon does not run, and then says so. It holds no password and no photo's name, but the names of
/// mount points and hosts: read it before you post it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox doctor
  sudo shoebox doctor > report.txt")]
pub(super) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    settings_file: String,
    settings: Option<String>,
    settings_problem: Option<String>,
    daemon: Option<StatusReport>,
    daemon_problem: Option<String>,
    system: Vec<Fact>,
    filesystems: Vec<Filesystem>,
    log: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Fact {
    what: &'static str,
    value: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Filesystem {
    /// The directory asked about.
    path: String,
    /// The mount point it lies on.
    mount: String,
    kind: String,
    source: String,
    options: String,
}

impl Doctor {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let findings = gather(cx);
        if self.json {
            cx.json(&findings)?;
        } else {
            write!(cx.out, "{}", text(&findings))?;
        }
        Ok(Exit::Fine)
    }
}

fn gather(cx: &Cx<'_>) -> Findings {
    let file = cx.config.as_deref().unwrap_or(Path::new(crate::settings::DEFAULT_FILE));
    let (loaded, settings_problem) = split(cx.settings());
    // Invalid settings are a reason to be called, so the daemon is then looked for at its usual place.
    let settings = loaded.clone().unwrap_or_default();
    let client = Client::new(&settings.control.socket);
    let (daemon, daemon_problem) = split(client.call(&Request::Status {}, &mut |_| ()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        settings_file: if file.exists() { file.display().to_string() } else { "none: defaults".to_owned() },
        settings: loaded.map(|settings| settings.render()),
        settings_problem,
        daemon,
        daemon_problem,
        system: system(),
        filesystems: filesystems(&settings, &mounts),
        log: vec!["journalctl -u shoebox -n 200 --no-pager", "journalctl -k -n 100 --no-pager"],
    }
}

fn split<T, E: ToString>(result: Result<T, E>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(e) => (None, Some(e.to_string())),
    }
}

fn system() -> Vec<Fact> {
    let file = |path: &str| fs::read_to_string(path).map_or_else(|e| e.to_string(), |t| t.trim().to_owned());
    let line = |path: &str, key: &str| {
        let text = file(path);
        let found = text.lines().find_map(|line| line.strip_prefix(key));
        found.map_or_else(|| "unknown".to_owned(), |v| v.trim_matches([' ', '"', ':', '=', '\t']).to_owned())
    };
    let files = getrlimit(Resource::RLIMIT_NOFILE)
        .map_or_else(|e| e.to_string(), |(soft, hard)| format!("{soft} (at most {hard}), for this shell"));
    let machine = fs::read_to_string("/proc/device-tree/model");
    [
        (
            "machine",
            machine
                .map_or_else(|_| std::env::consts::ARCH.to_owned(), |m| m.trim_end_matches('\0').to_owned()),
        ),
        ("system", line("/etc/os-release", "PRETTY_NAME")),
        ("kernel", file("/proc/sys/kernel/osrelease")),
        ("memory", line("/proc/meminfo", "MemTotal")),
        ("free memory", line("/proc/meminfo", "MemAvailable")),
        ("load", file("/proc/loadavg")),
        ("open files", files),
        ("inotify watches", file("/proc/sys/fs/inotify/max_user_watches")),
        ("inotify instances", file("/proc/sys/fs/inotify/max_user_instances")),
        ("time zone", TimeZone::system().iana_name().unwrap_or("unknown").to_owned()),
    ]
    .into_iter()
    .map(|(what, value)| Fact { what, value })
    .collect()
}

/// What each configured directory lies on, from the kernel's table (proc_pid_mountinfo(5)).
fn filesystems(settings: &Settings, mountinfo: &str) -> Vec<Filesystem> {
    let dirs = settings.drives.mounts.iter().map(|mount| mount.as_path());
    dirs.map(|dir| {
        // Of several mounts on one point the last one is seen.
        let on = mountinfo.lines().filter_map(mount_line).filter(|mount| dir.starts_with(&mount.mount)).fold(
            None::<Filesystem>,
            |best, next| match best {
                Some(best) if best.mount.len() > next.mount.len() => Some(best),
                Some(_) | None => Some(next),
            },
        );
        let unknown = || Filesystem {
            path: String::new(),
            mount: "unknown".to_owned(),
            kind: String::new(),
            source: String::new(),
            options: String::new(),
        };
        Filesystem { path: dir.display().to_string(), ..on.unwrap_or_else(unknown) }
    })
    .collect()
}

fn mount_line(line: &str) -> Option<Filesystem> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let (mount, options) = (left.nth(4)?, left.next()?);
    let mut right = right.split(' ');
    let (kind, source) = (right.next()?, right.next()?);
    Some(Filesystem {
        path: String::new(),
        mount: unescape(mount),
        kind: kind.to_owned(),
        source: unescape(source),
        options: options.to_owned(),
    })
}

/// The four characters that the kernel writes as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn text(findings: &Findings) -> String {
    let mut text = format!("shoebox {}\n\n", findings.version);
    let rows: Vec<Vec<String>> =
        findings.system.iter().map(|fact| vec![fact.what.to_owned(), screen::plain(&fact.value)]).collect();
    text.push_str(&screen::table(&rows));
    text.push_str("\n== filesystems under the mount points\n");
    let rows: Vec<Vec<String>> = findings
        .filesystems
        .iter()
        .map(|on| {
            let what = format!("{} {} on {} ({})", on.kind, on.source, on.mount, on.options);
            vec![on.path.clone(), what]
        })
        .collect();
    text.push_str(&screen::table(&rows));
    text.push_str(&format!("\n== settings ({})\n", findings.settings_file));
    for part in [&findings.settings, &findings.settings_problem].into_iter().flatten() {
        text.push_str(&format!("{}\n", part.trim_end()));
    }
    text.push_str("\n== daemon\n");
    if let Some(report) = &findings.daemon {
        text.push_str(&format!("version {}\n{}", report.version, status::text(report, &TimeZone::system())));
    }
    if let Some(problem) = &findings.daemon_problem {
        text.push_str(&format!("{problem}\n"));
    }
    text.push_str("\n== please add the output of\n");
    for command in &findings.log {
        text.push_str(&format!("  {command}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_on_the_innermost_and_last_mount() {
        let mountinfo = "\
21 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
40 21 8:1 / /srv/shoebox/a rw,nosuid - ext4 /dev/sda1 rw
41 40 8:2 / /srv/shoebox/a ro - xfs /dev/sdb1 rw
42 21 8:3 / /srv/shoebox/with\\040blank rw - exfat //host/my\\040share rw
";
        let mut settings = Settings::default();
        settings.drives.mounts =
            ["/srv/shoebox/a", "/srv/shoebox/ab", "/srv/shoebox/with blank"].map(Into::into).to_vec();
        let found: Vec<String> = filesystems(&settings, mountinfo)
            .iter()
            .map(|on| format!("{} → {} {} {} {}", on.path, on.mount, on.kind, on.source, on.options))
            .collect();
        expect_test::expect![[r#"
            /srv/shoebox/a → /srv/shoebox/a xfs /dev/sdb1 ro
            /srv/shoebox/ab → / ext4 /dev/root rw,noatime
            /srv/shoebox/with blank → /srv/shoebox/with blank exfat //host/my share rw
        "#]]
        .assert_eq(&(found.join("\n") + "\n"));
    }

    #[test]
    fn it_works_with_nothing_there() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("bad.toml");
        fs::write(&config, "colour = 1\n").unwrap();
        let mut out = Vec::new();
        let mut cx = Cx { config: Some(config), out: &mut out };
        assert_eq!(Doctor { json: false }.run(&mut cx).unwrap(), Exit::Fine);
        let text = String::from_utf8(out).unwrap();
        for part in ["unknown section or key colour", "inotify watches", "== daemon", "journalctl"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
