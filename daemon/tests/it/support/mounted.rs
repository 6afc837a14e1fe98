//! Filesystems for tests that run as root: mounted for as long as the guard lives. Where that is not possible, a test says on
//! standard error what it leaves out.
use std::cell::Cell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) struct Mounted {
    at: PathBuf,
    /// Detached at the end; the loop device lives on until its last user is gone.
    looped: Option<String>,
    there: Cell<bool>,
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    let Output { status, stdout, stderr } = done;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&stderr).trim()))
}

/// Where nothing is mounted from a loop device: `mkfs.btrfs` asks each of those for its file, and gives up at one whose FUSE
/// process has ended, as those of other tests at the same time do.
fn alone(program: &str, args: &[&str]) -> Result<String, String> {
    const SCRIPT: &str =
        r#"awk '$1 ~ "^/dev/loop" { print $2 }' /proc/self/mounts | xargs -r umount -l; exec "$@""#;
    run("unshare", &[&["--mount", "sh", "-c", SCRIPT, "sh", program], args].concat())
}

/// What a test leaves behind. Not by `eprintln!`, which is shown only of tests that fail.
#[expect(clippy::explicit_write, reason = "is shown of tests that pass, too")]
fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

/// What a test leaves out because it is not root, or the machine has no such filesystem. `scripts/test` counts these lines.
pub(crate) fn leave_out(test: &str, why: &str) {
    say(&format!("\nleft out {test}: {why}"));
}

/// As the kernel knows it; where it knows no exFAT, by the driver that runs as a process.
fn mount(device: &str, at: &Path) -> Result<(), String> {
    let at = at.to_string_lossy();
    let mounted = run("mount", &[device, &at]).or_else(|why| {
        if !why.contains("exfat") {
            return Err(why);
        }
        run("mount", &["-t", "exfat-fuse", device, &at]).map_err(|fuse| format!("{why}; {fuse}"))
    });
    mounted.map(drop)
}

/// Unmounts, once nobody uses it any more.
pub(crate) fn detach(at: &Path) {
    if let Err(why) = run("umount", &["-l", &at.to_string_lossy()]) {
        say(&why);
    }
}

impl Mounted {
    /// A filesystem in memory.
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Result<Self, String> {
        run("mount", &["-t", "tmpfs", "-o", options, "none", &at.to_string_lossy()])?;
        Ok(Self { at: at.to_owned(), looped: None, there: Cell::new(true) })
    }

    /// An image file of `mib` MiB, formatted by `mkfs`, behind a loop device.
    pub(crate) fn image(image: &Path, mib: u64, mkfs: &[&str], at: &Path) -> Result<Self, String> {
        std::fs::File::create(image).and_then(|f| f.set_len(mib << 20)).map_err(|e| e.to_string())?;
        Self::existing_image(image, mkfs, at)
    }

    /// The same on what is there already, whatever shows it as a file.
    pub(crate) fn existing_image(image: &Path, mkfs: &[&str], at: &Path) -> Result<Self, String> {
        let file = image.to_string_lossy();
        let [program, args @ ..] = mkfs else { return Err("no mkfs".to_owned()) };
        let whole = [args, &[&file]].concat();
        run(program, &whole).or_else(|why| {
            if why.contains("cannot check mount status") { alone(program, &whole) } else { Err(why) }
        })?;
        Self::behind(image, at)
    }

    /// The filesystem on a file, mounted through a loop device.
    pub(crate) fn behind(image: &Path, at: &Path) -> Result<Self, String> {
        Self::looped(image, at, |device| mount(device, at))
    }

    /// The same to be looked at: its journal is replayed, and nothing is written from then on. A program that has mounts of its own may
    /// keep it a while after it is unmounted here, and would write dates into a filesystem that is mounted anew.
    pub(crate) fn to_look_at(image: &Path, at: &Path) -> Result<Self, String> {
        Self::looped(image, at, |device| run("mount", &["-o", "ro", device, &at.to_string_lossy()]).map(drop))
    }

    fn looped(
        image: &Path,
        at: &Path,
        mount: impl FnOnce(&str) -> Result<(), String>,
    ) -> Result<Self, String> {
        let device = run("losetup", &["-f", "--show", &image.to_string_lossy()])?;
        let guard = Self { at: at.to_owned(), looped: Some(device), there: Cell::new(false) };
        mount(guard.looped.as_deref().unwrap_or_default())?;
        guard.there.set(true);
        Ok(guard)
    }

    /// Unmounts although it is in use, as happens to a drive that is pulled.
    pub(crate) fn pull(&self) {
        run("umount", &["-l", &self.at.to_string_lossy()]).unwrap();
        self.there.set(false);
    }

    /// Unmounts as people do: refused while anything on it is open.
    pub(crate) fn unmount(&self) -> Result<(), String> {
        run("umount", &[&self.at.to_string_lossy()])?;
        self.there.set(false);
        Ok(())
    }

    pub(crate) fn mount_again(&self) {
        mount(self.looped.as_deref().unwrap(), &self.at).unwrap();
        self.there.set(true);
    }

    /// The same filesystem at a second place.
    pub(crate) fn mount_also(&self, at: &Path) -> Self {
        run("mount", &[self.looped.as_deref().unwrap(), &at.to_string_lossy()]).unwrap();
        Self { at: at.to_owned(), looped: None, there: Cell::new(true) }
    }

    /// An error inside the filesystem, as the kernel finds them on a medium that dies: ext4 that was made for it lets nobody write
    /// any more, whoever has files open. `Err`: this kernel has no way to ask for it.
    pub(crate) fn break_down(&self) -> Result<(), String> {
        let device = self.looped.as_deref().and_then(|device| device.rsplit('/').next()).unwrap_or_default();
        let at = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&at, "a test's").map_err(|e| format!("{at}: {e}"))
    }

    fn free_loop(&self) {
        if let Some(device) = &self.looped
            && let Err(why) = run("losetup", &["-d", device])
        {
            say(&why);
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that failed may hold on to files.
        if self.there.get()
            && let Err(why) = run("umount", &["-l", &self.at.to_string_lossy()])
        {
            say(&why);
        }
        self.free_loop();
    }
}
