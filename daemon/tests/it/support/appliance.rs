//! What a box has that the daemon is not: disks that come and go, and the command that root runs, which mounts them and answers the
//! daemon. Its own code, on loop devices; udev and systemd are played by the test.
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use shoebox_drive::device::Bus;
use shoebox_drive::mounting::Owner;
use shoebox_drive::name::Name;
use shoebox_drive::placing::Places;
use shoebox_drive::settings::{Nfs, Settings};
use shoebox_drive::{asking, attaching};

/// A program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// The root of a box below a folder, with places `a`, `b` and `c` for drives.
pub(crate) struct Root {
    dir: PathBuf,
    pub(crate) settings: Arc<Settings>,
}

/// A disk that is plugged in.
pub(crate) struct Disk {
    pub(crate) name: Name,
    node: String,
}

impl Root {
    /// `Err`: why that is not possible here.
    pub(crate) fn new(dir: &Path) -> Result<Self, String> {
        let loops = Command::new("losetup").arg("--find").output();
        if !nix::unistd::geteuid().is_root() || !loops.is_ok_and(|done| done.status.success()) {
            return Err("it takes root and a loop device".to_owned());
        }
        let points: Vec<PathBuf> = ["a", "b", "c"].map(|end| dir.join(end)).to_vec();
        for point in &points {
            fs::create_dir_all(point).unwrap();
        }
        let settings = Arc::new(Settings {
            places: Places { points, buses: vec![Bus::Virtual], shown: dir.join("nfs") },
            owner: Owner { uid: 0, gid: 0 },
            reports: dir.join("run"),
            // What is exported is tried by the command's own tests, and in a guest.
            nfs: Nfs { export: false, networks: vec![], root: false, list: dir.join("exports") },
        });
        Ok(Self { dir: dir.to_owned(), settings })
    }

    /// Answers the daemon from now on, as the socket unit has it done: a process of its own for each request.
    pub(crate) fn answer(&self) {
        let listener = UnixListener::bind(self.dir.join("requests.sock")).unwrap();
        let settings = Arc::clone(&self.settings);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let settings = Arc::clone(&settings);
                std::thread::spawn(move || asking::serve(&stream, &stream, &settings));
            }
        });
    }

    /// An image of a new disk.
    pub(crate) fn image(&self, name: &str, mkfs: &[&str]) -> PathBuf {
        let image = self.dir.join(format!("{name}.img"));
        fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
        if let [program, arguments @ ..] = mkfs {
            run(program, &[arguments, &[image.to_str().unwrap()]].concat());
        }
        image
    }

    /// Plugs a disk in: it is looked at, and mounted if it is one of the box's.
    pub(crate) fn plug_in(&self, image: &Path) -> (Disk, Value) {
        let disk = Disk::show(image);
        let report = attaching::attach(&disk.name, &self.settings).unwrap();
        (disk, serde_json::to_value(&report).unwrap())
    }

    /// Pulls it: what was mounted from it is taken from its place, whoever has files of it open.
    pub(crate) fn pull(&self, disk: Disk) {
        attaching::detach(&disk.name, &self.settings).unwrap();
        drop(disk);
    }

    /// Whether anything is mounted at a place.
    pub(crate) fn is_taken(&self, place: &str) -> bool {
        let at = self.dir.join(place).to_str().unwrap().to_owned();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == Some(&at))
    }

    /// Which place a device is mounted at.
    pub(crate) fn place_of(&self, device: &str) -> PathBuf {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().find(|line| line.starts_with(&format!("/dev/{device} ")));
        PathBuf::from(line.unwrap_or_else(|| panic!("{device} is not mounted")).split(' ').nth(1).unwrap())
    }

    /// Looks at an image that is not plugged in.
    pub(crate) fn within<T>(&self, image: &Path, look: impl FnOnce(&Path) -> T) -> T {
        let at = self.dir.join("aside");
        fs::create_dir_all(&at).unwrap();
        run("mount", &["-o", "loop,ro", image.to_str().unwrap(), at.to_str().unwrap()]);
        let seen = look(&at);
        run("umount", &[at.to_str().unwrap()]);
        seen
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for place in ["a", "b", "c", "aside"] {
            let _none = Command::new("umount").arg("-l").arg(self.dir.join(place)).output();
        }
    }
}

impl Disk {
    pub(crate) fn show(image: &Path) -> Self {
        let node = run("losetup", &["--find", "--show", "--partscan", image.to_str().unwrap()]);
        Self { name: node.strip_prefix("/dev/").unwrap().parse().unwrap(), node }
    }

    pub(crate) fn name(&self) -> String {
        self.name.to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("losetup").args(["--detach", &self.node]).output();
    }
}
