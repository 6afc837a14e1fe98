//! Watching a tree for changes by other hands. A hint, never a source of truth.
//!
//! inotify loses events by design: its queue overflows, a file made in a directory that is younger than its watch is
//! never seen, and the number of watches is limited. So nothing read here is a fact about a file: a [`Watch`] wakes
//! somebody and names folders worth looking at first, and says when it went blind ([`Lost`]). Whoever listens compares
//! the whole tree on a period of its own (invariant I16).
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::os::mounts::Mounts;

/// The kernel's limits, inotify(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Directories one user may watch.
    pub watches: u64,
    /// Watchers one user may have.
    pub instances: u64,
    /// Events that may wait; one more and all further ones are dropped.
    pub queued: u64,
}

/// Asks the kernel.
pub fn limits() -> io::Result<Limits> {
    limits_below(Path::new("/proc/sys/fs/inotify"))
}

fn limits_below(dir: &Path) -> io::Result<Limits> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name))?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, name.to_owned()))
    };
    Ok(Limits {
        watches: read("max_user_watches")?,
        instances: read("max_user_instances")?,
        queued: read("max_queued_events")?,
    })
}

/// Why changes may have gone unseen since the watch began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// More happened at once than the kernel keeps for us.
    Overflow,
    /// There are more folders than watches.
    TooManyFolders,
    /// The tree was unmounted, moved or removed. The watch is dead.
    Gone,
    /// The kernel refused something else.
    Failed(String),
}

/// What was seen since it was last taken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Hints {
    /// Folders in which something changed, at most [`MOST_HINTS`].
    pub folders: BTreeSet<PathBuf>,
    /// There were more folders than that.
    pub more: bool,
    /// Set when something may have gone unseen; the first reason.
    pub lost: Option<Lost>,
}

/// How many folders are remembered between two looks.
pub const MOST_HINTS: usize = 256;

/// Why a watch could not begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// More folders than the kernel lets one user watch.
    #[error("more folders than fs.inotify.max_user_watches allows")]
    TooManyFolders,
    /// Anything else.
    #[error("could not watch {path}: {why}")]
    Failed {
        /// The tree.
        path: PathBuf,
        /// The kernel's answer.
        why: String,
    },
}

/// A watched tree. Dropping it ends the watch. It pins no mount: a watched drive can be unmounted.
pub struct Watch {
    seen: Arc<Seen>,
    _watcher: RecommendedWatcher,
    /// Closed with the watch, which the thread that follows its mount hears.
    _life: UnixStream,
}

struct Seen {
    root: PathBuf,
    hints: Mutex<Hints>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Watch {
    /// Watches the tree below `root`. `wake` is called from another thread when there is something to [`Watch::take`];
    /// it must only set a flag. Blocking: reads every directory of the tree.
    pub fn start(root: &Path, wake: impl Fn() + Send + Sync + 'static) -> Result<Self, WatchError> {
        let failed = |why: String| WatchError::Failed { path: root.to_owned(), why };
        let seen = Arc::new(Seen { root: root.to_owned(), hints: Mutex::default(), wake: Box::new(wake) });
        let mount = mount_id(root).map_err(|error| failed(error.to_string()))?;
        let handler = Arc::clone(&seen);
        let config = notify::Config::default().with_follow_symlinks(false);
        let refused = |error: notify::Error| match error.kind {
            notify::ErrorKind::MaxFilesWatch => WatchError::TooManyFolders,
            notify::ErrorKind::Generic(_)
            | notify::ErrorKind::Io(_)
            | notify::ErrorKind::PathNotFound
            | notify::ErrorKind::WatchNotFound
            | notify::ErrorKind::InvalidConfig(_) => failed(error.to_string()),
        };
        let mut watcher =
            RecommendedWatcher::new(move |event| handler.take_in(event), config).map_err(refused)?;
        watcher.watch(root, RecursiveMode::Recursive).map_err(refused)?;
        let weak = Arc::downgrade(&seen);
        let (life, end) = UnixStream::pair().map_err(|error| failed(error.to_string()))?;
        std::thread::Builder::new()
            .name("watch-mount".to_owned())
            .spawn(move || follow_mount(&weak, mount, &end))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { seen, _watcher: watcher, _life: life })
    }

    /// Whether there is something to take.
    pub fn has_seen(&self) -> bool {
        *self.seen.hints.lock().unwrap_or_else(PoisonError::into_inner) != Hints::default()
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Hints {
        std::mem::take(&mut *self.seen.hints.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn take_in(&self, event: notify::Result<notify::Event>) {
        match event {
            Ok(event) => {
                if event.need_rescan() {
                    self.lose(Lost::Overflow);
                }
                for path in &event.paths {
                    self.take_in_path(event.kind, path);
                }
            }
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                self.lose(Lost::TooManyFolders);
            }
            Err(error) => self.lose(Lost::Failed(error.to_string())),
        }
    }

    fn take_in_path(&self, kind: EventKind, path: &Path) {
        match kind {
            // Also seen for every file that anybody merely reads.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return,
            EventKind::Remove(RemoveKind::Folder | RemoveKind::Other | RemoveKind::Any)
            | EventKind::Modify(ModifyKind::Name(_))
                if path == self.root =>
            {
                return self.lose(Lost::Gone);
            }
            // Files can be in it already, made before its watch was.
            EventKind::Create(CreateKind::Folder) => self.hint(path),
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => {}
        }
        if let Some(folder) = path.parent().filter(|folder| folder.starts_with(&self.root)) {
            self.hint(folder);
        }
    }

    fn hint(&self, folder: &Path) {
        self.change(|hints| {
            if hints.folders.len() < MOST_HINTS {
                hints.folders.insert(folder.to_owned());
            } else if !hints.folders.contains(folder) {
                hints.more = true;
            }
        });
    }

    fn lose(&self, why: Lost) {
        self.change(|hints| {
            hints.lost.get_or_insert(why);
        });
    }

    fn change(&self, how: impl FnOnce(&mut Hints)) {
        let news = {
            let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
            let before = (hints.folders.len(), hints.more, hints.lost.is_some());
            how(&mut hints);
            before != (hints.folders.len(), hints.more, hints.lost.is_some())
        };
        if news {
            (self.wake)();
        }
    }
}

fn mount_id(path: &Path) -> io::Result<u64> {
    Mounts::read()?.of(path).map(|mount| mount.id).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Waits for the tree to be unmounted or mounted over: the kernel tells inotify about it (IN_UNMOUNT), `notify` 8 does
/// not pass it on. proc(5): a change in the list of mounts makes mountinfo readable with POLLPRI. Ends with the watch, whose end of
/// `end` is closed then.
fn follow_mount(seen: &Weak<Seen>, mount: u64, end: &UnixStream) {
    let Ok(list) = std::fs::File::open("/proc/self/mountinfo") else {
        return;
    };
    loop {
        match seen.upgrade() {
            None => return,
            // Asked before each wait: what changed before the list was opened is not told.
            Some(seen) if mount_id(&seen.root).ok() != Some(mount) => return seen.lose(Lost::Gone),
            Some(_) => {}
        }
        let mut wait =
            [PollFd::new(list.as_fd(), PollFlags::POLLPRI), PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, PollTimeout::NONE) {
            Ok(_) if wait[1].any().unwrap_or(true) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => {
                if let Some(seen) = seen.upgrade() {
                    seen.lose(Lost::Gone);
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    struct Fixture {
        watch: Watch,
        woken: mpsc::Receiver<()>,
        root: PathBuf,
        _dir: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("photos");
        fs::create_dir_all(root.join("anna/phone")).unwrap();
        let (send, woken) = mpsc::channel();
        let watch = Watch::start(&root, move || {
            let _ = send.send(());
        })
        .unwrap();
        Fixture { watch, woken, root, _dir: dir }
    }

    impl Fixture {
        /// Collects until `enough`, for at most ten seconds.
        fn until(&self, enough: impl Fn(&Hints) -> bool) -> Hints {
            let end = clock::monotonic() + Duration::from_secs(10);
            let mut all = Hints::default();
            while !enough(&all) && clock::monotonic() < end {
                let _ = self.woken.recv_timeout(Duration::from_millis(200));
                let new = self.watch.take();
                all.folders.extend(new.folders);
                all.more |= new.more;
                all.lost = all.lost.or(new.lost);
            }
            all
        }
    }

    #[test]
    fn the_folder_of_a_new_file_is_hinted() {
        let f = fixture();
        let folder = f.root.join("anna/phone");
        fs::write(folder.join("a.jpg"), b"x").unwrap();
        let hints = f.until(|hints| hints.folders.contains(&folder));
        assert!(hints.folders.contains(&folder) && hints.lost.is_none(), "{hints:?}");
    }

    #[test]
    fn a_new_folder_is_hinted_itself_and_watched() {
        let f = fixture();
        let folder = f.root.join("anna/new/deep");
        fs::create_dir_all(&folder).unwrap();
        assert!(
            f.until(|h| h.folders.contains(&f.root.join("anna/new")))
                .folders
                .contains(&f.root.join("anna/new"))
        );
        // Until its watch stands, a change in it may go unseen: keep changing.
        let end = clock::monotonic() + Duration::from_secs(10);
        while !f.watch.take().folders.contains(&folder) {
            assert!(clock::monotonic() < end, "the new folder is not watched");
            fs::write(folder.join("a.jpg"), b"x").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn reading_wakes_nobody() {
        let f = fixture();
        let file = f.root.join("anna/phone/a.jpg");
        fs::write(&file, b"x").unwrap();
        f.until(|hints| !hints.folders.is_empty());
        std::thread::sleep(Duration::from_millis(200));
        f.watch.take();
        while f.woken.try_recv().is_ok() {}
        for _ in 0..50 {
            fs::read(&file).unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(f.watch.take(), Hints::default());
        assert!(f.woken.try_recv().is_err());
    }

    #[test]
    fn a_removed_root_is_a_lost_watch() {
        let f = fixture();
        fs::rename(&f.root, f.root.with_file_name("elsewhere")).unwrap();
        assert_eq!(f.until(|hints| hints.lost.is_some()).lost, Some(Lost::Gone));
    }

    #[test]
    fn the_thread_that_follows_the_mount_ends_with_its_watch() {
        let fixture = fixture();
        let (seen, mount) = (Arc::downgrade(&fixture.watch.seen), mount_id(&fixture.root).unwrap());
        let (life, end) = UnixStream::pair().unwrap();
        let following = std::thread::spawn(move || follow_mount(&seen, mount, &end));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!following.is_finished(), "the watch is there");
        drop(life);
        let until = clock::monotonic() + Duration::from_secs(10);
        while !following.is_finished() {
            assert!(clock::monotonic() < until, "it outlives its watch");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(fixture.watch.take(), Hints::default(), "nothing is lost");
    }

    #[test]
    fn hints_are_bounded_and_overflow_is_lost() {
        let seen = Seen { root: PathBuf::from("/p"), hints: Mutex::default(), wake: Box::new(|| {}) };
        for index in 0..=MOST_HINTS {
            seen.hint(&PathBuf::from(format!("/p/{index}")));
        }
        seen.take_in(Ok(notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)));
        seen.take_in(Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch)));
        let hints = seen.hints.into_inner().unwrap();
        assert_eq!((hints.folders.len(), hints.more), (MOST_HINTS, true));
        assert_eq!(hints.lost, Some(Lost::Overflow), "the first reason stays");
    }

    #[test]
    fn the_kernel_tells_its_limits() {
        let limits = limits().unwrap();
        assert!(limits.watches > 0 && limits.instances > 0 && limits.queued > 0);
        assert!(limits_below(Path::new("/nonexistent")).is_err());
    }

    /// Needs the right to mount, and says so where it has not.
    #[test]
    fn an_unmounted_tree_is_a_lost_watch() {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().canonicalize().unwrap();
        let mount = |args: &[&str]| {
            std::process::Command::new("mount")
                .args(args)
                .arg(&point)
                .output()
                .is_ok_and(|o| o.status.success())
        };
        if !mount(&["-t", "tmpfs", "shoebox-test"]) {
            eprintln!("left out: no right to mount here");
            return;
        }
        let (send, woken) = mpsc::channel();
        let watch = Watch::start(&point, move || {
            let _ = send.send(());
        })
        .unwrap();
        let freed = std::process::Command::new("umount").arg(&point).output().unwrap();
        assert!(freed.status.success(), "a watch must not keep a drive from being unmounted");
        woken.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(watch.take().lost, Some(Lost::Gone));
    }
}
