//! Power goes at any write or flush of either disk: what was acknowledged is there, whole, and what was told of drive B is true
//! (P1, P4; I1, I3, I12). The real binary, real ext4, and disks that lose what was not flushed.
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::disk::{Disk, Plug};
use crate::support::listing::hash;
use crate::support::luck::{self, Luck};
use crate::support::mounted::{Mounted, leave_out};
use crate::support::wire;

const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F"];
const MIB: u64 = 48;
const DRIVES: [&str; 2] = ["a", "b"];

/// A change that a client asks for; all of one story are below a folder of its own.
#[derive(Debug, Clone)]
enum Wish {
    Put(String, u64, usize),
    Folder(String),
    Move(String, String),
    Delete(String),
}

/// Path to content, by hash.
type Tree = BTreeMap<String, String>;

impl Wish {
    fn ask(&self, daemon: &Daemon, who: &Account) -> bool {
        let at = |path: &str| format!("/dav/{path}");
        let (method, target, more, body) = match self {
            Self::Put(path, number, len) => ("PUT", at(path), String::new(), luck::bytes(*number, *len)),
            Self::Folder(path) => ("MKCOL", at(path), String::new(), Vec::new()),
            Self::Move(from, to) => ("MOVE", at(from), format!("Destination: {}\r\n", at(to)), Vec::new()),
            Self::Delete(path) => ("DELETE", at(path), String::new(), Vec::new()),
        };
        let reply = wire::request(daemon.address, &who.basic(), method, &target, &more, &body);
        reply.is_ok_and(|reply| reply.is_success())
    }

    fn done_to(&self, tree: &mut Tree) {
        match self {
            Self::Put(path, number, len) => {
                drop(tree.insert(path.clone(), hash(&luck::bytes(*number, *len))))
            }
            Self::Folder(_) => {}
            Self::Move(from, to) => {
                let content = tree.remove(from).unwrap();
                tree.insert(to.clone(), content);
            }
            Self::Delete(path) => drop(tree.remove(path)),
        }
    }
}

/// What one client does, one after the other.
fn story(folder: &str, luck: &mut Luck) -> Vec<Wish> {
    let mut put = |name: &str| {
        let len = if luck.below(4) == 0 { 300_000 + luck.below(900_000) } else { 1 + luck.below(30_000) };
        Wish::Put(format!("{folder}/{name}"), luck.next(), len as usize)
    };
    let at = |name: &str| format!("{folder}/{name}");
    vec![
        Wish::Folder(folder.to_owned()),
        put("one.jpg"),
        put("two.jpg"),
        put("one.jpg"),
        Wish::Folder(at("trip")),
        Wish::Move(at("two.jpg"), at("trip/two.jpg")),
        put("three.jpg"),
        Wish::Delete(at("one.jpg")),
        put("trip/four.jpg"),
        put("trip/two.jpg"),
    ]
}

/// What a client was told: wishes in their order, and how many were answered with success.
struct Told {
    folder: String,
    wishes: Vec<Wish>,
    granted: usize,
}

impl Told {
    /// The tree after what was granted, and the one wish after that, which may have come true or not.
    fn trees(&self) -> [Tree; 2] {
        [self.granted, self.wishes.len().min(self.granted + 1)].map(|many| {
            let mut tree = Tree::new();
            self.wishes[..many].iter().for_each(|wish| wish.done_to(&mut tree));
            tree
        })
    }

    /// Every path that may have a photo.
    fn paths(&self) -> Vec<String> {
        let path = |wish: &Wish| match wish {
            Wish::Put(path, ..) | Wish::Move(_, path) => Some(path.clone()),
            Wish::Folder(_) | Wish::Delete(_) => None,
        };
        self.wishes.iter().filter_map(path).collect()
    }

    /// Contents that were ever acknowledged.
    fn contents(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut tree = Tree::new();
        for wish in &self.wishes[..self.granted] {
            wish.done_to(&mut tree);
            all.extend(tree.values().cloned());
        }
        all
    }
}

/// What a path of anna's holds, if its receipt says that it is proved on drive B.
fn proved_on_b(daemon: &Daemon, path: &str) -> Option<String> {
    let (_, text) = daemon.run(&["receipt", &format!("anna/{path}"), "--json"]);
    let receipt: Value = serde_json::from_str(&text).ok()?;
    let on_b = |copy: &Value| copy["role"] == "mirror" && copy["state"] == "verified";
    let proved = receipt["copies"].as_array()?.iter().any(on_b);
    proved.then(|| receipt["hash"].as_str().map(str::to_owned)).flatten()
}

/// Two drives on their disks, mounted. Unmounted before the disks go.
struct Mounts {
    _mounted: Vec<Mounted>,
    disks: Vec<Disk>,
}

fn mount(dir: &Path, plug: &Plug) -> Result<Mounts, String> {
    let mut mounts = Mounts { _mounted: Vec::new(), disks: Vec::new() };
    for drive in DRIVES {
        let at = dir.join(drive);
        fs::create_dir_all(&at).unwrap();
        let disk = Disk::show(&dir.join(format!("{drive}.img")), &dir.join(format!("{drive}.disk")), plug)?;
        mounts._mounted.push(disk.mount(&at)?);
        mounts.disks.push(disk);
    }
    Ok(mounts)
}

/// Images of two adopted drives, and who may sign in.
fn template(dir: &Path) -> Result<Account, String> {
    let mut mounted = Vec::new();
    for drive in DRIVES {
        fs::create_dir(dir.join(drive)).unwrap();
        mounted.push(Mounted::image(&dir.join(format!("{drive}.img")), MIB, MKFS, &dir.join(drive))?);
    }
    let mut daemon = Daemon::new(dir, 20, &[]);
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    mounted.iter().for_each(|one| one.unmount().unwrap());
    Ok(who)
}

/// All files below a folder of a drive, by their path there: what they hold, by hash.
fn files(dir: &Path, below: &str) -> Tree {
    let (mut found, mut todo) = (Tree::new(), vec![dir.join(below)]);
    while let Some(folder) = todo.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, hash(&fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// What came of one cut.
#[derive(Default, Clone, Copy)]
struct Count {
    cuts: u64,
    untouched: u64,
    granted: u64,
    told_of_b: u64,
}

/// What happens at a call of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The power goes.
    Cut,
    /// The call fails, and the power goes when the clients are done.
    Error,
}

/// Where it happens: at which call of which disk.
struct Cut<'t> {
    fault: Fault,
    plug: Plug,
    template: &'t Path,
    who: &'t Account,
    luck: Luck,
}

impl Cut<'_> {
    /// `calls`: how many calls a story took at most that was not cut; the power goes at one of them.
    fn run(mut self, calls: &[AtomicU64; 2]) -> Result<Count, String> {
        let dir = tempfile::tempdir().unwrap();
        for drive in DRIVES {
            let image = format!("{drive}.img");
            fs::copy(self.template.join(&image), dir.path().join(&image)).unwrap();
        }
        let which = self.luck.below(2) as usize;
        let usual = calls[which].load(Ordering::SeqCst);
        // Until one story has run to its end, nobody knows how long one is.
        let call = if usual == 0 { u64::MAX } else { 1 + self.luck.below(usual) };
        let when = format!("call {call} of drive {}", DRIVES[which]);
        let plug = self.plug.clone();
        let mounts = mount(dir.path(), &plug)?;
        let mut daemon = Daemon::new(dir.path(), 20, &[]);
        daemon.start();
        mounts.disks[1 - which].pull_at(u64::MAX);
        match self.fault {
            Fault::Cut => mounts.disks[which].pull_at(call),
            Fault::Error => mounts.disks[which].fail_at(call),
        }
        let (told, proved) = self.traffic(&mut daemon, &plug);
        let cut = plug.is_pulled() || mounts.disks[which].calls() >= call;
        for (usual, disk) in calls.iter().zip(&mounts.disks).filter(|_| !cut) {
            usual.fetch_max(disk.calls(), Ordering::SeqCst);
        }
        plug.pull();
        daemon.kill();
        let Mounts { _mounted, disks } = mounts;
        drop(_mounted);
        disks.iter().for_each(|disk| disk.lose_power(&mut self.luck));
        drop(disks);
        self.check(dir.path(), &mut daemon, &told, &proved).map_err(|why| format!("{when}: {why}"))?;
        let told_of_b = proved.len() as u64;
        let granted = told.iter().map(|one| one.granted as u64).sum();
        Ok(Count { cuts: u64::from(cut), untouched: u64::from(!cut), granted, told_of_b })
    }

    /// Two clients at a time, until all is done and mirrored or the power is gone. With it, what a third one was told meanwhile to be
    /// proved on B.
    fn traffic(&mut self, daemon: &mut Daemon, plug: &Plug) -> (Vec<Told>, BTreeSet<String>) {
        let mut all: Vec<Told> = ["left", "right"]
            .map(|folder| {
                let wishes = story(folder, &mut self.luck);
                Told { folder: folder.to_owned(), wishes, granted: 0 }
            })
            .into();
        let mut proved = BTreeSet::new();
        let asked: BTreeSet<String> = all.iter().flat_map(Told::paths).collect();
        std::thread::scope(|scope| {
            let clients = all.iter_mut().map(|told| {
                let (daemon, who) = (&*daemon, self.who);
                scope.spawn(move || {
                    for wish in &told.wishes {
                        if !wish.ask(daemon, who) {
                            return;
                        }
                        told.granted += 1;
                    }
                })
            });
            let clients: Vec<_> = clients.collect();
            while !clients.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                proved.extend(asked.iter().filter_map(|path| proved_on_b(daemon, path)));
            }
        });
        let names: Vec<String> = all.iter().flat_map(|told| told.trees()[0].clone().into_keys()).collect();
        let began = Instant::now();
        daemon.until("all is mirrored, or the power gone", |d| {
            // A drive on which something failed may want to be plugged in again.
            let patient = self.fault == Fault::Cut || began.elapsed() < Duration::from_secs(1);
            let there: Vec<_> = names.iter().map(|name| proved_on_b(d, name)).collect();
            let all = there.iter().all(Option::is_some);
            proved.extend(there.into_iter().flatten());
            !patient || plug.is_pulled() || all
        });
        (all, proved)
    }

    /// Power is back. First without drive B: what was told of it is compared with what it holds.
    fn check(
        &self,
        dir: &Path,
        daemon: &mut Daemon,
        told: &[Told],
        proved: &BTreeSet<String>,
    ) -> Result<(), String> {
        let looked_at = dir.join("b-as-it-is");
        fs::create_dir(&looked_at).unwrap();
        let a = Mounted::behind(&dir.join("a.img"), &dir.join("a"))?;
        let b = Mounted::behind(&dir.join("b.img"), &looked_at)?;
        daemon.spawn();
        daemon.until("A is ready", |d| d.run(&["person", "list"]).0 == 0);
        let on_a = files(&dir.join("a"), "photos/anna");
        // Whatever was replaced or deleted since lies in its trash.
        let on_b: BTreeSet<String> = files(&looked_at, "").into_values().collect();
        if let Some(lost) = proved.iter().find(|content| !on_b.contains(*content)) {
            return Err(format!("{lost}: said to be proved on B, and is not there"));
        }
        for one in told {
            let own: Tree = on_a
                .iter()
                .filter_map(|(path, content)| {
                    Some((path.strip_prefix("photos/anna/")?.to_owned(), content.clone()))
                })
                .filter(|(path, _)| path.starts_with(&format!("{}/", one.folder)))
                .collect();
            let trees = one.trees();
            if !trees.contains(&own) {
                let next = one.wishes.get(one.granted);
                return Err(format!(
                    "{} granted, then {next:?}: {own:#?} instead of {:#?}",
                    one.granted, trees[0]
                ));
            }
            for (path, content) in &own {
                // What nobody was told may be a file that the catalogue learns of from the next rescan.
                let granted = trees[0].get(path) == Some(content);
                let reply = daemon.request(self.who, "GET", &format!("/dav/{path}"), "", b"");
                if granted && (reply.status != 200 || hash(&reply.body) != *content) {
                    return Err(format!("{path}: {} and other bytes than on the drive", reply.status));
                }
                // Said now, of what was not re-read yet.
                if let Some(content) = proved_on_b(daemon, path).filter(|content| !on_b.contains(content)) {
                    return Err(format!("{path}: {content} is said to be proved on B, and is not there"));
                }
            }
        }
        let kept: BTreeSet<String> = files(&dir.join("a"), "").into_values().collect();
        if let Some(lost) = told.iter().flat_map(Told::contents).find(|content| !kept.contains(content)) {
            return Err(format!("{lost}: acknowledged, and neither in the tree nor in the trash"));
        }
        daemon.kill();
        b.unmount()?;
        let b = Mounted::behind(&dir.join("b.img"), &dir.join("b"))?;
        self.goes_on(daemon, &on_a)?;
        daemon.kill();
        drop((a, b));
        Ok(())
    }

    /// With both drives: everything is brought to rest, and is well.
    fn goes_on(&self, daemon: &mut Daemon, on_a: &Tree) -> Result<(), String> {
        daemon.start();
        if !Wish::Put("after.jpg".to_owned(), 7, 5000).ask(daemon, self.who) {
            return Err("no upload is taken".to_owned());
        }
        let names = on_a.keys().filter_map(|path| path.strip_prefix("photos/"));
        let names: Vec<&str> = names.chain(["anna/after.jpg"]).collect();
        let began = Instant::now();
        while let Some(lacks) = names.iter().find(|name| !daemon.is_mirrored(name)) {
            if began.elapsed() > Duration::from_secs(120) {
                let (_, receipt) = daemon.run(&["receipt", lacks]);
                return Err(format!("B never has {lacks}: {receipt}\n{}", daemon.log()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let (code, text) = daemon.run(&["verify"]);
        if code != 0 {
            return Err(format!("verify: {text}"));
        }
        // What a worker is writing right now (a list, a snapshot) gets its name a moment later: only what stays was left behind.
        let incoming = || -> BTreeSet<PathBuf> {
            let all =
                DRIVES.map(|drive| fs::read_dir(daemon.dir.join(drive).join(".shoebox/incoming")).unwrap());
            all.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
        };
        let (mut left, began) = (incoming(), Instant::now());
        while !left.is_empty() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(100));
            left = &left & &incoming();
        }
        if left.is_empty() { Ok(()) } else { Err(format!("left in incoming: {left:?}")) }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// Three boxes at a time, each with a fault at another call, until there were as many as wanted: stories that came to their end
/// first do not count.
fn sweep(name: &str, test: &str, fault: Fault, times: u64) {
    let seed = luck::seed(name);
    let template_dir = tempfile::tempdir().unwrap();
    let who = match template(template_dir.path()) {
        Ok(who) => who,
        Err(why) => return leave_out(test, &why),
    };
    let calls = [AtomicU64::new(0), AtomicU64::new(0)];
    let (next, failed, sum) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(Count::default()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let cuts = sum.lock().unwrap_or_else(PoisonError::into_inner).cuts;
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if cuts >= times || number >= 4 * times + 20 {
                        return;
                    }
                    let luck = Luck::new(seed.wrapping_add(number * 7919));
                    let plug = Plug::default();
                    let cut = Cut { fault, plug, template: template_dir.path(), who: &who, luck };
                    // One that hangs, too, is one that failed.
                    match catch_unwind(AssertUnwindSafe(|| cut.run(&calls)))
                        .unwrap_or_else(|why| Err(said(&*why)))
                    {
                        Ok(count) => {
                            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                            sum.cuts += count.cuts;
                            sum.untouched += count.untouched;
                            sum.granted += count.granted;
                            sum.told_of_b += count.told_of_b;
                            // Long campaigns say how far they are.
                            if count.cuts > 0 && sum.cuts % 250 == 0 {
                                println!("  {} of {times}, {} acknowledged", sum.cuts, sum.granted);
                            }
                        }
                        Err(why) => failed.lock().unwrap().push(format!("{name} {number}: {why}")),
                    }
                }
            });
        }
    });
    let (sum, failed) = (*sum.lock().unwrap(), failed.into_inner().unwrap());
    println!(
        "{name}: {} times, {} stories to their end, {} acknowledged, {} told of B, {} failed (calls: {} of A, {} of B)",
        sum.cuts,
        sum.untouched,
        sum.granted,
        sum.told_of_b,
        failed.len(),
        calls[0].load(Ordering::SeqCst),
        calls[1].load(Ordering::SeqCst)
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(sum.cuts >= times, "only {} of {times}", sum.cuts);
}

#[test]
fn power_goes_at_any_call_of_either_disk() {
    sweep("power", "power-cuts", Fault::Cut, luck::size("SHOEBOX_POWER_CUTS", 6));
}

/// A write or a flush fails with EIO, once, and the kernel may forget what it was to write (fsyncgate): what is acknowledged
/// after that, too, is there when the power is back (I5).
#[test]
fn any_write_or_flush_of_either_disk_fails() {
    sweep("errors", "disk-errors", Fault::Error, luck::size("SHOEBOX_DISK_ERRORS", 6));
}

/// The same on disks that lie about every flush: if that goes unnoticed, the test above proves nothing.
#[test]
fn disks_that_lie_are_caught() {
    let template_dir = tempfile::tempdir().unwrap();
    let who = match template(template_dir.path()) {
        Ok(who) => who,
        Err(why) => return leave_out("power-cuts-of-liars", &why),
    };
    let calls = [AtomicU64::new(0), AtomicU64::new(0)];
    let caught = (0..20).find_map(|number| {
        let luck = Luck::new(number);
        let cut =
            Cut { fault: Fault::Cut, plug: Plug::of_liars(), template: template_dir.path(), who: &who, luck };
        cut.run(&calls).err()
    });
    println!("power: of liars: {caught:?}");
    assert!(caught.is_some(), "20 cuts on disks that lie, and all was well");
}
