//! The daemon is killed at any moment, again and again, under traffic: what it acknowledged is there afterwards (I1,
//! P1), what it held is somewhere (P2), and nothing partial has a name (I2).
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes, listing};
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Reply};

const CLIENTS: u64 = 4;

/// What a client knows of its names: the hash of each, and what a request without an answer may have made of them.
#[derive(Default, Clone)]
struct Known {
    names: BTreeMap<String, String>,
    /// Each a possible state of the names that the unanswered request touches; `None`: no such name.
    maybe: Vec<BTreeMap<String, Option<String>>>,
}

/// What all clients share.
struct Sent {
    /// Every content that was ever sent whole or in part.
    all: Mutex<BTreeSet<String>>,
    /// Every content that was acknowledged.
    acknowledged: Mutex<BTreeSet<String>>,
    number: AtomicU64,
    acks: AtomicU64,
}

struct Client<'s> {
    to: SocketAddr,
    basic: String,
    folder: String,
    luck: Luck,
    known: Known,
    sent: &'s Sent,
}

impl Client<'_> {
    fn ask(&self, method: &str, name: &str, more: &str, body: &[u8]) -> Option<Reply> {
        let target = format!("/dav/{}/{name}", self.folder);
        wire::request(self.to, &self.basic, method, &target, more, body).ok()
    }

    /// Requests until one gets no answer: the daemon is dead.
    fn work(mut self) -> Known {
        while self.one() {}
        self.known
    }

    /// One request; `false` when there was no answer.
    fn one(&mut self) -> bool {
        let held: Vec<String> = self.known.names.keys().cloned().collect();
        let any = |luck: &mut Luck| held[luck.below(held.len() as u64) as usize].clone();
        let fresh = self.sent.number.fetch_add(1, Ordering::Relaxed);
        match self.luck.below(10) {
            5 | 6 if !held.is_empty() => {
                let name = any(&mut self.luck);
                self.put(name)
            }
            7 if !held.is_empty() => {
                let from = any(&mut self.luck);
                let to = if self.luck.below(3) == 0 { any(&mut self.luck) } else { format!("m{fresh}.jpg") };
                from == to || self.rename(&from, &to)
            }
            8 if !held.is_empty() => {
                let name = any(&mut self.luck);
                self.delete(&name)
            }
            9 => self.ask("PROPFIND", "", "Depth: 1\r\n", b"").is_some_and(|r| r.status == 207),
            _ => {
                // As sync programs do it: under a temporary name first.
                let part = self.luck.below(3) == 0;
                self.put(format!("n{fresh}.jpg{}", if part { ".part" } else { "" }))
            }
        }
    }

    fn put(&mut self, name: String) -> bool {
        let number = self.sent.number.fetch_add(1, Ordering::Relaxed);
        let len = if self.luck.below(4) == 0 {
            300_000 + self.luck.below(500_000)
        } else {
            1 + self.luck.below(60_000)
        };
        let body = luck::bytes(number, len as usize);
        let content = hash(&body);
        self.sent.all.lock().unwrap().insert(content.clone());
        let before = self.known.names.get(&name).cloned();
        let Some(reply) = self.ask("PUT", &name, "", &body) else {
            self.known.maybe =
                vec![BTreeMap::from([(name.clone(), before)]), BTreeMap::from([(name, Some(content))])];
            return false;
        };
        assert!(matches!(reply.status, 201 | 204), "PUT {name}: {}", reply.text);
        if !name.ends_with(".part") {
            self.sent.acknowledged.lock().unwrap().insert(content.clone());
        }
        self.sent.acks.fetch_add(1, Ordering::Relaxed);
        self.known.names.insert(name, content);
        true
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let to = to.trim_end_matches(".part");
        let (source, target) = (self.known.names[from].clone(), self.known.names.get(to).cloned());
        if from == to {
            return true;
        }
        let more = format!("Destination: /dav/{}/{to}\r\nOverwrite: T\r\n", self.folder);
        let Some(reply) = self.ask("MOVE", from, &more, b"") else {
            let state = |a: Option<&String>, b: Option<&String>| {
                BTreeMap::from([(from.to_owned(), a.cloned()), (to.to_owned(), b.cloned())])
            };
            // The target's old content goes to the trash in a commit of its own.
            self.known.maybe = vec![
                state(Some(&source), target.as_ref()),
                state(Some(&source), None),
                state(None, Some(&source)),
            ];
            return false;
        };
        assert!(matches!(reply.status, 201 | 204), "MOVE {from} {to}: {}", reply.text);
        self.sent.acks.fetch_add(1, Ordering::Relaxed);
        self.sent.acknowledged.lock().unwrap().insert(source.clone());
        self.known.names.remove(from);
        self.known.names.insert(to.to_owned(), source);
        true
    }

    fn delete(&mut self, name: &str) -> bool {
        let Some(reply) = self.ask("DELETE", name, "", b"") else {
            let before = self.known.names.get(name).cloned();
            self.known.maybe =
                vec![BTreeMap::from([(name.to_owned(), before)]), BTreeMap::from([(name.to_owned(), None)])];
            return false;
        };
        assert_eq!(reply.status, 204, "DELETE {name}: {}", reply.text);
        self.sent.acks.fetch_add(1, Ordering::Relaxed);
        self.known.names.remove(name);
        true
    }
}

/// What is under the names of a folder, by GET, for every name that a client ever may have made there.
fn asked(daemon: &Daemon, who: &Account, folder: &str, known: &Known) -> BTreeMap<String, Option<String>> {
    let mut names: BTreeSet<String> = known.names.keys().cloned().collect();
    names.extend(known.maybe.iter().flat_map(|state| state.keys().cloned()));
    let mut found = BTreeMap::new();
    for name in names {
        let reply = daemon.request(who, "GET", &format!("/dav/{folder}/{name}"), "", b"");
        let content = match reply.status {
            200 => Some(hash(&reply.body)),
            404 => None,
            other => panic!("GET {folder}/{name}: {other}\n{}", daemon.log()),
        };
        found.insert(name, content);
    }
    found
}

/// Compares what is with what a client knows, and settles what it did not know.
fn compare(daemon: &Daemon, who: &Account, folder: &str, known: &mut Known) -> Result<(), String> {
    let found = asked(daemon, who, folder, known);
    let maybe = std::mem::take(&mut known.maybe);
    let touched: BTreeSet<&String> = maybe.iter().flat_map(BTreeMap::keys).collect();
    for (name, content) in &known.names {
        if !touched.contains(name) && found[name].as_ref() != Some(content) {
            return Err(format!("{folder}/{name}: acknowledged {content}, found {:?}", found[name]));
        }
    }
    let fits = |state: &BTreeMap<String, Option<String>>| {
        state.iter().all(|(name, content)| &found[name] == content)
    };
    if !maybe.is_empty() && !maybe.iter().any(fits) {
        let now: Vec<_> = touched.iter().map(|name| (name, &found[*name])).collect();
        return Err(format!("{folder}: the unanswered request left {now:#?}, which is none of {maybe:#?}"));
    }
    known.names = found.into_iter().filter_map(|(name, content)| Some((name, content?))).collect();
    Ok(())
}

/// What holds on the drives themselves, whatever any client knows.
fn drives_are_whole(daemon: &mut Daemon, sent: &Sent) {
    for drive in ["a", "b"] {
        let incoming = listing(&daemon.dir.join(drive).join(".shoebox/incoming"));
        assert!(incoming.is_empty(), "left in incoming of {drive}: {incoming:?}");
        for (name, content) in listing(&daemon.dir.join(drive).join("photos")) {
            let known = name.ends_with('/') || sent.all.lock().unwrap().contains(&content);
            assert!(known, "{drive}/photos/{name} is nothing that was ever sent");
        }
    }
    let mut held: BTreeSet<String> = hashes(&daemon.photos()).into_iter().collect();
    held.extend(hashes(&daemon.dir.join("a/.shoebox/trash")));
    let lost: Vec<String> = sent.acknowledged.lock().unwrap().difference(&held).cloned().collect();
    assert!(lost.is_empty(), "acknowledged once and on A no more, not even in the trash: {lost:?}");
}

/// Catalogue and drives agree, once files without a row have been taken over.
fn catalogue_agrees(daemon: &mut Daemon) {
    let mut said = String::new();
    daemon.until("the rescan has nothing to wait for", |d| {
        said = d.run(&["rescan", "--json"]).1;
        serde_json::from_str::<serde_json::Value>(&said).is_ok_and(|r| r["waiting"] == 0)
    });
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["missing"], 0, "rescan: {report}\n{}", daemon.log());
    let report = daemon.ask(&["verify", "--json"]);
    for trouble in ["damaged", "missing", "unreadable_drives"] {
        assert_eq!(report[trouble].as_array().map(Vec::len), Some(0), "verify: {report}\n{}", daemon.log());
    }
}

/// Every round looks at everything there is, which is why a long run is made of many boxes.
const ROUNDS_OF_A_BOX: u64 = 50;

/// One box, killed so often. Requests that were acknowledged, and that were cut short.
fn killed(rounds: u64, luck: &mut Luck) -> (u64, usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 10);
    let who = daemon.add_person("anna", "laptop", "computer");
    let sent = Sent {
        all: Mutex::default(),
        acknowledged: Mutex::default(),
        number: AtomicU64::new(0),
        acks: AtomicU64::new(0),
    };
    let mut known: Vec<Known> = Vec::new();
    for client in 0..CLIENTS {
        assert_eq!(daemon.request(&who, "MKCOL", &format!("/dav/c{client}"), "", b"").status, 201);
        known.push(Known::default());
    }
    let mut unanswered = 0;
    for round in 0..rounds {
        let moment = Duration::from_micros(luck.below(200_000));
        known = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS)
                .zip(known)
                .map(|(number, known)| {
                    let client = Client {
                        to: daemon.address,
                        basic: who.basic(),
                        folder: format!("c{number}"),
                        luck: Luck::new(luck.next()),
                        known,
                        sent: &sent,
                    };
                    scope.spawn(move || client.work())
                })
                .collect();
            std::thread::sleep(moment);
            daemon.kill();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        unanswered += known.iter().filter(|known| !known.maybe.is_empty()).count();
        daemon.start();
        drives_are_whole(&mut daemon, &sent);
        catalogue_agrees(&mut daemon);
        for (client, known) in known.iter_mut().enumerate() {
            if let Err(trouble) = compare(&daemon, &who, &format!("c{client}"), known) {
                let kept = dir.keep();
                panic!("round {round}: {trouble}\n{}\nthe drives are kept: {}", daemon.log(), kept.display());
            }
        }
    }
    (sent.acks.load(Ordering::Relaxed), unanswered)
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_acknowledged() {
    let rounds = luck::size("SHOEBOX_KILLS", 15);
    let mut luck = Luck::new(luck::seed("kill"));
    let (mut done, mut acks, mut unanswered) = (0, 0, 0);
    while done < rounds {
        let these = ROUNDS_OF_A_BOX.min(rounds - done);
        let (acknowledged, cut) = killed(these, &mut luck);
        (done, acks, unanswered) = (done + these, acks + acknowledged, unanswered + cut);
        if done < rounds {
            println!("  {done} of {rounds} kills, {acks} requests acknowledged");
        }
    }
    assert!(acks > rounds && unanswered > 0, "too little happened: {acks} acks, {unanswered} cut short");
    println!("kill: {rounds} kills, {acks} requests acknowledged, {unanswered} cut short, 0 lost, 0 partial");
}
