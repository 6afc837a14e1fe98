//! A box with two people in it, and hostile clients: what they get is looked through, and the drives compared.
use std::collections::BTreeMap;

use super::daemon::{Account, Daemon};
use super::listing::listing;
use super::wire::{self, Reply};

/// A box with two people in it; bob's file is what nobody else may hear of.
pub(crate) struct Scene {
    pub(crate) daemon: Daemon,
    pub(crate) anna: Account,
    pub(crate) bob: Account,
    _dir: tempfile::TempDir,
}

const SECRET: &str = "bobs-secret-holiday.jpg";

pub(crate) fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 2);
    let anna = daemon.add_person("anna", "laptop", "computer");
    let bob = daemon.add_person("bob", "laptop", "computer");
    for (who, name) in [(&anna, "mine.jpg"), (&bob, SECRET)] {
        assert_eq!(daemon.request(who, "PUT", &format!("/dav/{name}"), "", name.as_bytes()).status, 201);
    }
    // Nothing of the box's own work may be under way when the drives are compared.
    daemon.until("B has both", |d| d.is_mirrored("anna/mine.jpg") && d.is_mirrored(&format!("bob/{SECRET}")));
    Scene { daemon, anna, bob, _dir: dir }
}

impl Scene {
    /// All that is on both drives, but for the catalogue and what the health probe writes.
    pub(crate) fn drives(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for drive in ["a", "b"] {
            let found = listing(&self.daemon.dir.join(drive));
            all.extend(found.into_iter().map(|(name, content)| (format!("{drive}/{name}"), content)));
        }
        all.retain(|name, _| {
            !name.contains(".shoebox/catalogue.db")
                && !name.contains(".shoebox/probe")
                && !name.contains("/incoming/")
        });
        all
    }

    /// Sends bytes as they are. `None`: the connection was closed without a word.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Option<Reply> {
        let answer = wire::exchange(self.daemon.address, bytes).unwrap_or_else(|e| {
            panic!("no end of {:?}: {e}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
        });
        self.leaks_nothing(&String::from_utf8_lossy(&answer));
        Reply::parse(&answer)
    }

    fn leaks_nothing(&self, answer: &str) {
        let dir = self.daemon.dir.to_string_lossy().into_owned();
        for secret in [dir.as_str(), SECRET, &self.anna.password, &self.bob.password, "root:x:", "panicked"] {
            assert!(!answer.contains(secret), "an answer tells {secret:?}: {answer}");
        }
    }

    pub(crate) fn head(&self, method: &str, target: &str, more: &str) -> String {
        let (to, basic) = (self.daemon.address, self.anna.basic());
        format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nAuthorization: {basic}\r\n{more}")
    }

    /// Sends one request of anna's and expects a refusal of the client's making.
    pub(crate) fn refused(&self, what: &str, bytes: &[u8]) -> u16 {
        let reply = self.raw(bytes).unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert!((400..500).contains(&reply.status), "{what}: {}", reply.text);
        reply.status
    }

    /// It answers, and both files can still be had.
    pub(crate) fn goes_on(&mut self) {
        assert!(self.daemon.lives(), "{}", self.daemon.log());
        for (who, name) in [(&self.anna, "mine.jpg"), (&self.bob, SECRET)] {
            let reply = self.daemon.request(who, "GET", &format!("/dav/{name}"), "", b"");
            assert_eq!((reply.status, reply.body.as_slice()), (200, name.as_bytes()));
        }
        let log = self.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}
