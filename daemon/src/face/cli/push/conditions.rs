//! Whether this is a good time to send: on a charger, on a network that costs nothing by the byte. Asked of whoever knows on this system:
//! the kernel, NetworkManager, or Termux's add-on.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::os::clock::monotonic;

/// Programs that ask another app may wait for it for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// What must hold before anything is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Only {
    /// Nothing over a metered network.
    pub(super) unmetered: bool,
    /// No photos over one.
    pub(super) photos_unmetered: bool,
    /// No videos over one.
    pub(super) videos_unmetered: bool,
    /// Nothing on battery.
    pub(super) charging: bool,
}

/// What the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Yes,
    No,
    /// It does not say.
    Nothing,
}

/// What may be sent now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct May {
    pub(super) photos: bool,
    pub(super) videos: bool,
    /// Why something may not.
    pub(super) because: Option<String>,
    /// What was asked for and is not known here.
    pub(super) unknown: Vec<&'static str>,
}

/// Where to ask.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// `/sys`, but for tests.
    pub(super) sys: PathBuf,
    /// Whether this is Termux, on a phone.
    pub(super) termux: bool,
}

impl Surroundings {
    /// Looks at what may be sent now.
    pub(super) fn look(&self, only: Only) -> May {
        let asks_network = only.unmetered || only.photos_unmetered || only.videos_unmetered;
        let charging = if only.charging { self.charging() } else { Told::Yes };
        let metered = if asks_network { self.metered() } else { Told::No };
        judge(only, charging, metered, self.termux)
    }

    fn charging(&self) -> Told {
        if self.termux {
            return run(&mut Command::new("termux-battery-status"))
                .map_or(Told::Nothing, |text| charging_by_termux(&text));
        }
        charging_by_kernel(&self.sys.join("class/power_supply"))
    }

    fn metered(&self) -> Told {
        if self.termux {
            let answer = run(&mut Command::new("termux-wifi-connectioninfo"));
            return answer.map_or(Told::Nothing, |text| metered_by_termux(&text));
        }
        // The property speaks of the connection that leads out; nmcli, where busctl is not, of every device.
        let bus = "org.freedesktop.NetworkManager";
        let mut property = Command::new("busctl");
        property.args(["get-property", bus, "/org/freedesktop/NetworkManager", bus, "Metered"]);
        let told = run(&mut property).map_or(Told::Nothing, |text| metered_by_bus(&text));
        if told != Told::Nothing {
            return told;
        }
        let mut devices = Command::new("nmcli");
        devices.args(["-g", "GENERAL.METERED", "device", "show"]);
        run(&mut devices).map_or(Told::Nothing, |text| metered_by_nmcli(&text))
    }
}

/// What follows from what is asked for and what is so. What is not known holds nothing back on a computer: it would never
/// be backed up. On a phone it does, because bytes cost there.
fn judge(only: Only, charging: Told, metered: Told, phone: bool) -> May {
    let mut may = May { photos: true, videos: true, ..May::default() };
    let mut unknown = |what: &'static str, told: Told, bad: Told| {
        if told == Told::Nothing {
            may.unknown.push(what);
        }
        told == bad || (told == Told::Nothing && phone)
    };
    let on_battery = unknown("whether it charges", charging, Told::No);
    let is_metered = unknown("whether the network is metered", metered, Told::Yes);
    if on_battery {
        (may.photos, may.videos) = (false, false);
        may.because = Some("it is not charging".to_owned());
    } else if is_metered {
        may.photos = !only.unmetered && !only.photos_unmetered;
        may.videos = !only.unmetered && !only.videos_unmetered;
        may.because = Some("the network is metered".to_owned());
    }
    if !may.unknown.is_empty() && phone {
        may.because =
            Some("Android does not say (install the app Termux:API and `pkg install termux-api`)".to_owned());
    }
    may
}

/// `u 4`: NMMetered of the connection that leads out: 0 unknown, 1 yes, 2 no, 3 yes and 4 no as far as can be guessed (NetworkManager's D-Bus
/// reference).
fn metered_by_bus(text: &str) -> Told {
    match text.trim() {
        "u 1" | "u 3" => Told::Yes,
        "u 2" | "u 4" => Told::No,
        _ => Told::Nothing,
    }
}

/// A line for each device: `yes`, `no (guessed)`, `unknown`.
fn metered_by_nmcli(text: &str) -> Told {
    let any = |word: &str| text.lines().any(|line| line.trim().starts_with(word));
    match (any("yes"), any("no")) {
        (true, _) => Told::Yes,
        (false, true) => Told::No,
        (false, false) => Told::Nothing,
    }
}

/// `termux-wifi-connectioninfo`: on WiFi the supplicant has completed its work, and there is an address.
fn metered_by_termux(text: &str) -> Told {
    let Ok(info) = serde_json::from_str::<serde_json::Value>(text) else { return Told::Nothing };
    let (state, ip) = (info["supplicant_state"].as_str(), info["ip"].as_str());
    match state {
        Some("COMPLETED") if ip.is_some_and(|ip| ip != "0.0.0.0") => Told::No,
        Some(_) => Told::Yes,
        None => Told::Nothing,
    }
}

/// `termux-battery-status`: what it is plugged into.
fn charging_by_termux(text: &str) -> Told {
    let info = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    match info["plugged"].as_str() {
        Some("UNPLUGGED") => Told::No,
        Some(_) => Told::Yes,
        None => Told::Nothing,
    }
}

/// Power supplies as the kernel lists them (Documentation/ABI/testing/sysfs-class-power): a charger that is online, or batteries that are
/// not being discharged. No battery at all is a computer on mains.
fn charging_by_kernel(supplies: &Path) -> Told {
    let Ok(entries) = fs::read_dir(supplies) else { return Told::Nothing };
    let mut states = Vec::new();
    for dir in entries.flatten().map(|entry| entry.path()) {
        let read = |name: &str| {
            fs::read_to_string(dir.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        match read("type").as_str() {
            // The battery of a mouse says nothing about the computer.
            "Battery" if read("scope") != "Device" => states.push(read("status")),
            "Mains" | "USB" | "Wireless" if read("online") == "1" => return Told::Yes,
            _ => {}
        }
    }
    let any = |state: &str| states.iter().any(|other| other == state);
    if any("Discharging") {
        Told::No
    } else if any("Unknown") || any("") {
        Told::Nothing
    } else {
        Told::Yes
    }
}

/// What a program prints. `None`: it is not there, fails, or does not answer.
fn run(command: &mut Command) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let began = monotonic();
    loop {
        if child.try_wait().ok()?.is_some() {
            let done = child.wait_with_output().ok()?;
            return done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned());
        }
        if monotonic().saturating_duration_since(began) > PATIENCE {
            child.kill().ok()?;
            child.wait().ok()?;
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_system_says() {
        for (text, told) in [
            ("u 4\n", Told::No),
            ("u 1\n", Told::Yes),
            ("u 3", Told::Yes),
            ("u 2", Told::No),
            ("u 0", Told::Nothing),
            ("", Told::Nothing),
        ] {
            assert_eq!(metered_by_bus(text), told, "{text}");
        }
        for (text, told) in [
            ("yes\n\nno (guessed)\n", Told::Yes),
            ("yes (guessed)\n", Told::Yes),
            ("unknown\n\nno\n", Told::No),
            ("unknown\n", Told::Nothing),
        ] {
            assert_eq!(metered_by_nmcli(text), told, "{text}");
        }
        for (text, told) in [
            (r#"{"supplicant_state": "COMPLETED", "ip": "192.168.1.7"}"#, Told::No),
            (r#"{"supplicant_state": "COMPLETED", "ip": "0.0.0.0"}"#, Told::Yes),
            (r#"{"supplicant_state": "DISCONNECTED", "ip": "0.0.0.0"}"#, Told::Yes),
            (r#"{"API_ERROR": "no permission"}"#, Told::Nothing),
            ("", Told::Nothing),
        ] {
            assert_eq!(metered_by_termux(text), told, "{text}");
        }
        for (text, told) in [
            (r#"{"plugged": "UNPLUGGED", "status": "DISCHARGING"}"#, Told::No),
            (r#"{"plugged": "PLUGGED_AC"}"#, Told::Yes),
            ("", Told::Nothing),
        ] {
            assert_eq!(charging_by_termux(text), told, "{text}");
        }
    }

    #[test]
    fn power_supplies() {
        type Supply = (&'static str, &'static [(&'static str, &'static str)]);
        let cases: [(&[Supply], Told); 7] = [
            (&[], Told::Yes),
            (
                &[
                    ("AC", &[("type", "Mains"), ("online", "1")]),
                    ("BAT0", &[("type", "Battery"), ("status", "Discharging")]),
                ],
                Told::Yes,
            ),
            (
                &[
                    ("AC", &[("type", "Mains"), ("online", "0")]),
                    ("BAT0", &[("type", "Battery"), ("status", "Discharging")]),
                ],
                Told::No,
            ),
            (&[("BAT0", &[("type", "Battery"), ("status", "Full")])], Told::Yes),
            (&[("BAT0", &[("type", "Battery"), ("status", "Unknown")])], Told::Nothing),
            (&[("mouse", &[("type", "Battery"), ("scope", "Device"), ("status", "Discharging")])], Told::Yes),
            (
                &[
                    ("usb", &[("type", "USB"), ("online", "1")]),
                    ("BAT0", &[("type", "Battery"), ("status", "Charging")]),
                ],
                Told::Yes,
            ),
        ];
        for (supplies, told) in cases {
            let dir = tempfile::tempdir().unwrap();
            for (name, files) in supplies {
                fs::create_dir(dir.path().join(name)).unwrap();
                for (file, text) in *files {
                    fs::write(dir.path().join(name).join(file), format!("{text}\n")).unwrap();
                }
            }
            assert_eq!(charging_by_kernel(dir.path()), told, "{supplies:?}");
        }
        assert_eq!(charging_by_kernel(Path::new("/nonexistent")), Told::Nothing);
    }

    #[test]
    fn what_may_be_sent() {
        let all = Only { unmetered: true, ..Only::default() };
        let videos = Only { videos_unmetered: true, ..Only::default() };
        let photos = Only { photos_unmetered: true, ..Only::default() };
        let power = Only { charging: true, ..Only::default() };
        for (only, charging, metered, phone, expected) in [
            (all, Told::Yes, Told::Yes, false, (false, false)),
            (all, Told::Yes, Told::No, false, (true, true)),
            (all, Told::Yes, Told::Nothing, false, (true, true)),
            (all, Told::Yes, Told::Nothing, true, (false, false)),
            (videos, Told::Yes, Told::Yes, false, (true, false)),
            (photos, Told::Yes, Told::Yes, false, (false, true)),
            (videos, Told::Yes, Told::Nothing, true, (true, false)),
            (power, Told::No, Told::No, false, (false, false)),
            (power, Told::Nothing, Told::No, false, (true, true)),
            (power, Told::Nothing, Told::No, true, (false, false)),
            (Only::default(), Told::Yes, Told::No, true, (true, true)),
        ] {
            let may = judge(only, charging, metered, phone);
            assert_eq!((may.photos, may.videos), expected, "{only:?} {charging:?} {metered:?}");
            assert!(may.because.is_some() || (may.photos && may.videos));
            assert_eq!(may.unknown.is_empty(), charging != Told::Nothing && metered != Told::Nothing);
        }
    }
}
