//! Filesystems for tests that run as root: mounted for as long as the guard lives. Where that is not possible, a test says on
//! standard error what it leaves out.
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(super) struct Mounted {
    at: PathBuf,
    /// Detached at the end; the loop device lives on until its last user is gone.
    looped: Option<String>,
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    let Output { status, stdout, stderr } = done;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&stderr).trim()))
}

/// What a test leaves out, or leaves behind.
pub(super) fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

impl Mounted {
    pub(super) fn tmpfs(at: &Path) -> Result<Self, String> {
        run("mount", &["-t", "tmpfs", "none", &at.to_string_lossy()])?;
        Ok(Self { at: at.to_owned(), looped: None })
    }

    /// An image file of `mib` MiB, formatted by `mkfs`, behind a loop device.
    pub(super) fn image(image: &Path, mib: u64, mkfs: &[&str], at: &Path) -> Result<Self, String> {
        std::fs::File::create(image).and_then(|f| f.set_len(mib << 20)).map_err(|e| e.to_string())?;
        let file = image.to_string_lossy();
        let [program, args @ ..] = mkfs else { return Err("no mkfs".to_owned()) };
        run(program, &[args, &[&file]].concat())?;
        let device = run("losetup", &["-f", "--show", &file])?;
        let mounted = run("mount", &[&device, &at.to_string_lossy()]);
        let guard = Self { at: at.to_owned(), looped: Some(device) };
        if let Err(why) = mounted {
            guard.free_loop();
            std::mem::forget(guard);
            return Err(why);
        }
        Ok(guard)
    }

    /// Unmounts although it is in use, as `umount -l` after a drive was pulled.
    pub(super) fn pull(&self) {
        run("umount", &["-l", &self.at.to_string_lossy()]).unwrap();
    }

    pub(super) fn mount_again(&self) {
        run("mount", &[self.looped.as_deref().unwrap(), &self.at.to_string_lossy()]).unwrap();
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
        if let Err(why) = run("umount", &["-l", &self.at.to_string_lossy()]) {
            say(&why);
        }
        self.free_loop();
    }
}
