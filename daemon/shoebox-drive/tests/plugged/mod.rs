//! Disks for the tests: image files that the kernel shows as disks, and folders of one test's own.
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use shoebox_drive::attaching;
use shoebox_drive::device::Bus;
use shoebox_drive::exports::Network;
use shoebox_drive::mounting::Owner;
use shoebox_drive::name::Name;
use shoebox_drive::placing::Places;
use shoebox_drive::settings::{Nfs, Settings};

/// Past the test's own output, which nobody sees of one that passes: `scripts/test` counts these lines.
pub(crate) fn leave_out(what: &str, why: &str) {
    let _said = std::io::stderr().write_all(format!("\nleft out {what}: {why}\n").as_bytes());
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An image file that the kernel shows as a disk.
pub(crate) struct Plugged {
    pub(crate) name: Name,
    pub(crate) node: String,
}

impl Plugged {
    pub(crate) fn new(image: &Path) -> Self {
        let node = run("losetup", &["--find", "--show", "--partscan", image.to_str().unwrap()]);
        Self { name: node.strip_prefix("/dev/").unwrap().parse().unwrap(), node }
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        let _gone = Command::new("losetup").args(["--detach", &self.node]).output();
    }
}

/// Folders of one test, and nothing left mounted below them.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    pub(crate) settings: Settings,
}

impl Home {
    /// `None`: not root, or no loop devices, and it was said.
    pub(crate) fn new(what: &str) -> Option<Self> {
        let loops =
            Command::new("losetup").arg("--find").output().is_ok_and(|output| output.status.success());
        if !nix::unistd::geteuid().is_root() || !loops {
            leave_out(what, "it takes root and a loop device");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let points = ["a", "b", "offline"].map(|end| dir.path().join(end)).to_vec();
        let settings = Settings {
            places: Places { points, buses: vec![Bus::Virtual], shown: dir.path().join("nfs") },
            nfs: Nfs {
                export: true,
                networks: Network::own(),
                root: false,
                list: dir.path().join("run/exports"),
            },
            owner: Owner { uid: 12_345, gid: 12_345 },
            reports: dir.path().join("run"),
        };
        Some(Self { dir, settings })
    }

    pub(crate) fn at(&self, end: &str) -> PathBuf {
        self.dir.path().join(end)
    }

    pub(crate) fn image(&self, end: &str) -> PathBuf {
        let image = self.at(end);
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        image
    }

    pub(crate) fn ext4(&self, end: &str) -> PathBuf {
        let image = self.image(end);
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        image
    }

    /// What the daemon writes when it adopts a drive.
    pub(crate) fn adopt(&self, image: &Path, role: &str) {
        let uuid =
            run("blkid", &["-p", "-o", "value", "-s", "UUID", image.to_str().unwrap()]).replace('-', "");
        let filesystem = if uuid.len() == 32 { format!("filesystem = \"{uuid}\"\n") } else { String::new() };
        let (pool, drive) = ("0".repeat(32), "1".repeat(32));
        let marker = format!(
            "format = 1\npool = \"{pool}\"\ndrive = \"{drive}\"\nrole = \"{role}\"\ngeneration = 1\nadopted = \"2026-11-30T12:00:00Z\"\n{filesystem}token_key = \"{}\"\n",
            "2".repeat(64)
        );
        self.within(image, |root| {
            fs::create_dir(root.join(".shoebox")).unwrap();
            fs::write(root.join(".shoebox/drive.toml"), marker).unwrap();
        });
    }

    /// Mounts it by hand.
    pub(crate) fn within(&self, image: &Path, does: impl FnOnce(&Path)) {
        let at = self.at("by-hand");
        fs::create_dir_all(&at).unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        does(&at);
        run("umount", &[at.to_str().unwrap()]);
    }

    pub(crate) fn attach(&self, plugged: &Plugged) -> Value {
        let report = attaching::attach(&plugged.name, &self.settings).unwrap();
        let kept = fs::read(self.at("run").join(format!("{}.json", plugged.name))).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept, serde_json::to_value(&report).unwrap());
        kept
    }

    pub(crate) fn mounts(&self) -> Vec<String> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.dir.path().to_str().unwrap();
        text.lines().filter(|line| line.contains(here)).map(str::to_owned).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for point in ["a", "b", "offline", "by-hand", "run/look", "nfs/photos", "nfs"] {
            let _none = Command::new("umount").arg(self.at(point)).output();
        }
    }
}

/// All bytes of it.
pub(crate) fn bytes(image: &Path) -> Vec<u8> {
    fs::read(image).unwrap()
}
