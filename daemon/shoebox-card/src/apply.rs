//! Carries the wishes out: at each start, from the beginning, because the card's root forgets everything.
//!
//! The order is what makes a power cut harmless: the network's key is on a drive, flushed, before the password is taken from the card. A
//! cut in between leaves both, and the next start does the same again.
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::folder::Folder;
use crate::wifi::Kept;
use crate::wishes::{Mistake, Wifi, Wishes};
use crate::{keeping, mistakes, psk, secret, wishes};
use shoebox_drive::failure::Failure;

const SUPPLICANT: &str = "etc/wpa_supplicant/wpa_supplicant-wlan0.conf";
/// The daemon may be looking at a drive that has just come.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where everything is: a test has its own.
#[derive(Debug)]
pub struct Box {
    /// The card's first partition.
    pub card: Folder,
    /// Where the system is.
    pub root: PathBuf,
    /// Below it drives are mounted.
    pub places: PathBuf,
}

/// What the card says, as it is now.
struct Read {
    bytes: Vec<u8>,
    wishes: Wishes,
    mistakes: Vec<Mistake>,
}

fn read(at: &Box) -> Result<Option<Read>, Failure> {
    let Some(bytes) = at.card.wishes()? else { return Ok(None) };
    let (wishes, mut mistakes) = match std::str::from_utf8(&bytes) {
        Ok(text) => wishes::read(text),
        Err(_) => (
            Wishes::default(),
            vec![Mistake {
                key: "shoebox.toml",
                why: "it is not plain text (UTF-8). Nothing of it was applied.".into(),
            }],
        ),
    };
    if let Some(zone) = &wishes.time_zone
        && !zone_file(at, zone).is_file()
    {
        mistakes.push(Mistake {
            key: "time_zone",
            why: format!("there is no time zone {zone:?}; one is as in \"Europe/Berlin\""),
        });
    }
    Ok(Some(Read { bytes, wishes, mistakes }))
}

fn zone_file(at: &Box, zone: &str) -> PathBuf {
    at.root.join("usr/share/zoneinfo").join(zone)
}

/// Before the network is up: all that needs no drive. One part that fails does not keep the others from being done.
///
/// # Errors
/// The last thing that could not be done.
pub fn early(at: &Box) -> Result<(), Failure> {
    let Some(read) = read(at)? else { return Ok(()) };
    let mut done = Ok(());
    let mut and = |result: Result<(), Failure>| {
        if result.is_err() {
            done = result;
        }
    };
    and(read.wishes.name.as_deref().map_or(Ok(()), |name| host_name(at, name)));
    and(read.wishes.time_zone.as_deref().map_or(Ok(()), |zone| time_zone(at, zone)));
    and(read.wishes.ssh_key.as_deref().map_or(Ok(()), |key| ssh_key(at, key)));
    and(wifi(at, &read).map(|_changed| ()));
    and(at.card.answer(mistakes::text(&read.mistakes).as_deref()));
    done
}

/// After a drive came: what is kept on drives, and who lives here.
///
/// # Errors
/// The last thing that could not be done.
pub fn drives(at: &Box) -> Result<(), Failure> {
    let Some(read) = read(at)? else { return Ok(()) };
    let joined = wifi(at, &read).and_then(|changed| if changed { join() } else { Ok(()) });
    let moved = joined.and_then(|()| move_secret(at, &read));
    let person = read.wishes.person.as_deref().map_or(Ok(()), first_person);
    moved.and(person)
}

/// The network to join: what the card says with a password, or what was kept of it; on a card that says nothing, what was kept.
fn network(wish: Option<&Wifi>, kept: &[Kept]) -> Option<Kept> {
    match wish {
        Some(Wifi { network, password: Some(password), country }) => Some(Kept {
            network: network.clone(),
            country: country.clone(),
            psk: psk::psk(network, password),
        }),
        Some(wish) => kept.iter().find(|kept| kept.network == wish.network).cloned(),
        None => kept.first().cloned(),
    }
}

/// Whether there is something new for wpa_supplicant.
fn wifi(at: &Box, read: &Read) -> Result<bool, Failure> {
    let kept: Vec<Kept> = keeping::drives(&at.places).iter().filter_map(keeping::read).collect();
    let Some(network) = network(read.wishes.wifi.as_ref(), &kept) else { return Ok(false) };
    put(&at.root.join(SUPPLICANT), &network.supplicant(), 0o600)
}

/// Without a radio there is nothing to start, and systemd would wait for one. One that comes later starts it.
fn join() -> Result<(), Failure> {
    if !Path::new("/sys/class/net/wlan0").exists() {
        return Ok(());
    }
    run("/usr/bin/systemctl", &["--no-block", "restart", "wpa_supplicant@wlan0.service"]).map(|_said| ())
}

/// On every drive that is there, then from the card.
fn move_secret(at: &Box, read: &Read) -> Result<(), Failure> {
    let Some(wish @ Wifi { password: Some(_), .. }) = &read.wishes.wifi else { return Ok(()) };
    let Some(network) = network(Some(wish), &[]) else { return Ok(()) };
    let drives = keeping::drives(&at.places);
    if drives.is_empty() {
        return Ok(());
    }
    for drive in &drives {
        keeping::write(drive, &network)?;
    }
    let blank = std::str::from_utf8(&read.bytes).ok().and_then(secret::without);
    blank.map_or(Ok(()), |blank| at.card.overwrite(&read.bytes, blank.as_bytes()))
}

fn host_name(at: &Box, name: &str) -> Result<(), Failure> {
    put(&at.root.join("etc/hostname"), &format!("{name}\n"), 0o644)?;
    put(
        &at.root.join("etc/hosts"),
        &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n"),
        0o644,
    )?;
    if at.root == Path::new("/") {
        nix::unistd::sethostname(name).map_err(|e| Failure::io("set the name", name, e))?;
    }
    Ok(())
}

fn time_zone(at: &Box, zone: &str) -> Result<(), Failure> {
    if !zone_file(at, zone).is_file() {
        return Ok(());
    }
    let link = at.root.join("etc/localtime");
    let new = at.root.join("etc/localtime.new");
    let failed = |e| Failure::io("set", &link, e);
    if new.symlink_metadata().is_ok() {
        fs::remove_file(&new).map_err(failed)?;
    }
    symlink(Path::new("/usr/share/zoneinfo").join(zone), &new).map_err(failed)?;
    fs::rename(&new, &link).map_err(failed)
}

fn ssh_key(at: &Box, key: &str) -> Result<(), Failure> {
    let folder = at.root.join("root/.ssh");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|e| Failure::io("make", &folder, e))?;
    let path = folder.join("authorized_keys");
    let held = fs::read_to_string(&path).unwrap_or_default();
    if held.lines().any(|line| line == key) {
        return Ok(());
    }
    put(&path, &format!("{held}{key}\n"), 0o600).map(|_changed| ())
}

/// Nobody was ever added: who was removed since is not added again.
fn first_person(name: &str) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let people = run("/usr/bin/shoebox", &["person", "list", "--json"]).and_then(|said| {
            serde_json::from_str::<Vec<serde_json::Value>>(&said)
                .map_err(|e| Failure::new(format!("the people: {e}")))
        });
        let added = match people {
            Ok(people) if !people.is_empty() => return Ok(()),
            Ok(_) => run("/usr/bin/shoebox", &["person", "add", name]).map(|_said| ()),
            Err(failure) => Err(failure),
        };
        // Without a main drive there are no people: a new box waits for its drives, and this is done when the next one comes.
        if added.is_ok() || began.elapsed() > PATIENCE {
            return added;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// Whether the file was not that already. In the root of the card, which is in memory: no power cut to think of.
fn put(path: &Path, text: &str, mode: u32) -> Result<bool, Failure> {
    if fs::read_to_string(path).is_ok_and(|held| held == text) {
        return Ok(false);
    }
    let failed = |e| Failure::io("write", path, e);
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(failed)?;
    }
    let new = path.with_extension("shoebox-new");
    fs::write(&new, "").map_err(failed)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).map_err(failed)?;
    fs::write(&new, text).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    Ok(true)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/sbin:/usr/bin")
        .stdin(Stdio::null());
    let done = command.output().map_err(|e| Failure::io("start", program, e))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(Failure::new(format!(
        "{program} {}: {}: {}",
        arguments.join(" "),
        done.status,
        String::from_utf8_lossy(&done.stderr).trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (tempfile::TempDir, Box) {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["card", "root/etc", "root/usr/share/zoneinfo/Europe", "places"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("root/usr/share/zoneinfo/Europe/Berlin"), "").unwrap();
        fs::write(dir.path().join("card/shoebox.toml"), text).unwrap();
        let of = |name: &str| dir.path().join(name);
        let at = Box { card: Folder(of("card")), root: of("root"), places: of("places") };
        (dir, at)
    }

    #[test]
    fn what_is_right_is_applied_and_what_is_wrong_is_told() {
        let (dir, at) = place(
            "name = \"photos\"\ntime_zone = \"Europe/Atlantis\"\n[wifi]\nnetwork = \"Home\"\npassword = \"long enough\"\ncountry = \"DE\"\n",
        );
        early(&at).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("root/etc/hostname")).unwrap(), "photos\n");
        assert!(
            fs::read_to_string(dir.path().join("card/shoebox-error.txt"))
                .unwrap()
                .contains("Europe/Atlantis")
        );
        assert!(!dir.path().join("root/etc/localtime").exists());
        let supplicant = dir.path().join("root").join(SUPPLICANT);
        assert!(fs::read_to_string(&supplicant).unwrap().contains("psk="));
        assert_eq!(fs::metadata(&supplicant).unwrap().permissions().mode() & 0o777, 0o600);
        // No drive is there that could keep it: the password stays.
        let all = read(&at).unwrap().unwrap();
        move_secret(&at, &all).unwrap();
        assert!(fs::read_to_string(dir.path().join("card/shoebox.toml")).unwrap().contains("long enough"));
        fs::write(dir.path().join("card/shoebox.toml"), "time_zone = \"Europe/Berlin\"\n").unwrap();
        early(&at).unwrap();
        assert!(!dir.path().join("card/shoebox-error.txt").exists());
        assert_eq!(
            fs::read_link(dir.path().join("root/etc/localtime")).unwrap(),
            Path::new("/usr/share/zoneinfo/Europe/Berlin")
        );
    }

    #[test]
    fn a_key_is_added_once() {
        let (dir, at) = place("");
        for _ in 0..2 {
            ssh_key(&at, "ssh-ed25519 AAAA").unwrap();
        }
        assert_eq!(
            fs::read_to_string(dir.path().join("root/root/.ssh/authorized_keys")).unwrap(),
            "ssh-ed25519 AAAA\n"
        );
    }

    #[test]
    fn which_network_is_joined() {
        let kept = |name: &str| Kept { network: name.into(), country: "DE".into(), psk: "0".repeat(64) };
        let wish = |name: &str, password: Option<&str>| Wifi {
            network: name.into(),
            password: password.map(str::to_owned),
            country: "FR".into(),
        };
        let old = [kept("Old"), kept("Home")];
        let joined = |wish: Option<&Wifi>, kept: &[Kept]| {
            network(wish, kept).map(|found| (found.network, found.country))
        };
        assert_eq!(
            joined(Some(&wish("Home", Some("long enough"))), &old),
            Some(("Home".into(), "FR".into()))
        );
        assert_eq!(joined(Some(&wish("Home", None)), &old), Some(("Home".into(), "DE".into())));
        assert_eq!(joined(Some(&wish("Other", None)), &old), None);
        assert_eq!(joined(None, &old), Some(("Old".into(), "DE".into())));
        assert_eq!(joined(None, &[]), None);
    }
}
