//! The table of write locks (RFC 4918 §6, §7): in memory, bounded, gone with a restart as with a timeout.
use std::time::{Duration, Instant};

use super::super::reply::Deny;
use crate::model::account::Slug;
use crate::model::path::RelPath;
use crate::os::clock;
use hyper::StatusCode;

/// The longest a lock holds without being refreshed.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
const MOST: usize = 1024;
const MOST_PER_PERSON: usize = 256;

/// Whether others may hold a lock beside this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nobody else.
    Exclusive,
    /// Others with shared locks.
    Shared,
}

/// A lock.
#[derive(Debug, Clone)]
pub(in super::super) struct Lock {
    /// Its secret name.
    pub(super) token: String,
    /// What it was taken on; a full name.
    pub(super) path: RelPath,
    key: String,
    /// It holds for everything below, too.
    pub(super) deep: bool,
    /// Alone or shared.
    pub(super) scope: Scope,
    /// The `owner` element as the client sent it.
    pub(super) owner: Option<String>,
    /// Whose it is.
    pub(super) person: Slug,
    expires: Instant,
}

impl Lock {
    /// A lock to be added.
    pub(super) fn new(token: String, path: RelPath, deep: bool, scope: Scope, person: Slug) -> Self {
        let key = path.fold_key();
        Self { token, path, key, deep, scope, owner: None, person, expires: clock::monotonic() }
    }

    /// Seconds left.
    pub(super) fn left(&self, now: Instant) -> u64 {
        self.expires.saturating_duration_since(now).as_secs()
    }

    fn covers(&self, key: &str) -> bool {
        self.key == key || (self.deep && is_below(key, &self.key))
    }
}

fn is_below(key: &str, folder: &str) -> bool {
    key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// What a request is about to change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touched<'a> {
    /// The name.
    pub(super) path: &'a RelPath,
    /// The name comes or goes, which changes the folder above (RFC 4918 §7.4).
    pub(super) member: bool,
    /// Everything below goes with it.
    pub(super) deep: bool,
}

/// All locks.
#[derive(Debug, Default)]
pub(in super::super) struct Locks {
    all: Vec<Lock>,
}

impl Locks {
    fn sweep(&mut self, now: Instant) {
        self.all.retain(|lock| lock.expires > now);
    }

    /// Adds a lock that holds for `time`. 423 if another is in the way.
    pub(super) fn add(&mut self, mut lock: Lock, time: Duration, now: Instant) -> Result<Lock, Clash> {
        self.sweep(now);
        let clash = self.all.iter().find(|other| {
            let meet = other.covers(&lock.key) || lock.covers(&other.key);
            meet && (other.scope == Scope::Exclusive || lock.scope == Scope::Exclusive)
        });
        if let Some(other) = clash {
            return Err(Clash::Locked(other.path.clone()));
        }
        let own = self.all.iter().filter(|other| other.person == lock.person).count();
        if self.all.len() >= MOST || own >= MOST_PER_PERSON {
            return Err(Clash::TooMany);
        }
        lock.expires = now + time.min(LONGEST);
        self.all.push(lock.clone());
        Ok(lock)
    }

    /// Starts the time of a lock that covers `path` anew.
    pub(super) fn refresh(
        &mut self,
        path: &RelPath,
        tokens: &[String],
        person: &Slug,
        time: Duration,
        now: Instant,
    ) -> Option<Lock> {
        self.sweep(now);
        let key = path.fold_key();
        let lock = self
            .all
            .iter_mut()
            .find(|lock| lock.covers(&key) && lock.person == *person && tokens.contains(&lock.token))?;
        lock.expires = now + time.min(LONGEST);
        Some(lock.clone())
    }

    /// Gives up a lock that covers `path`. `false`: there is none with that token, or it is another person's.
    pub(super) fn remove(&mut self, path: &RelPath, token: &str, person: &Slug, now: Instant) -> bool {
        self.sweep(now);
        let (key, before) = (path.fold_key(), self.all.len());
        self.all.retain(|lock| !(lock.covers(&key) && lock.token == token && lock.person == *person));
        self.all.len() < before
    }

    /// Forgets the locks on a name that is gone, and below it: locks do not travel (RFC 4918 §7.7, §9.6.1).
    pub(super) fn forget(&mut self, path: &RelPath) {
        let gone = path.fold_key();
        self.all.retain(|lock| lock.key != gone && !is_below(&lock.key, &gone));
    }

    /// The locks that cover `path`.
    pub(super) fn on(&self, path: &RelPath, now: Instant) -> Vec<Lock> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let key = path.fold_key();
        self.all.iter().filter(|lock| lock.expires > now && lock.covers(&key)).cloned().collect()
    }

    /// Whether a change may go on: for every locked resource it touches, a token of one of its locks was shown
    /// by the person whose lock it is. Otherwise the name that is locked.
    pub(super) fn check(
        &self,
        touched: &[Touched<'_>],
        tokens: &[String],
        person: &Slug,
        now: Instant,
    ) -> Result<(), RelPath> {
        for touch in touched {
            let key = touch.path.fold_key();
            let parent = touch.path.parent().map(|parent| parent.fold_key());
            let in_the_way: Vec<&Lock> = (self.all.iter())
                .filter(|lock| lock.expires > now)
                .filter(|lock| {
                    lock.covers(&key)
                        || (touch.deep && is_below(&lock.key, &key))
                        || (touch.member && parent.as_deref() == Some(lock.key.as_str()))
                })
                .collect();
            let usable = |lock: &Lock| lock.person == *person && tokens.contains(&lock.token);
            let locked = in_the_way
                .iter()
                .find(|lock| !in_the_way.iter().any(|other| other.key == lock.key && usable(other)));
            if let Some(lock) = locked {
                return Err(lock.path.clone());
            }
        }
        Ok(())
    }
}

/// Why a lock was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clash {
    /// Another is in the way; on this name.
    Locked(RelPath),
    /// There are too many.
    TooMany,
}

impl Clash {
    /// The answer. `href` spells a name for the client.
    pub(super) fn deny(&self, href: impl FnOnce(&RelPath) -> String) -> Deny {
        match self {
            Self::Locked(path) => Deny::Locked(href(path)),
            Self::TooMany => Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "too many locks"),
        }
    }
}

/// The time a client asks for: the first understood of its wishes (RFC 4918 §10.7).
pub(super) fn timeout(header: Option<&str>) -> Duration {
    let wishes = header.unwrap_or("").split(',').map(str::trim);
    let understood = |wish: &str| -> Option<Duration> {
        if wish.eq_ignore_ascii_case("infinite") {
            return Some(LONGEST);
        }
        let seconds = wish.get(..7).filter(|word| word.eq_ignore_ascii_case("second-")).and(wish.get(7..))?;
        let plain = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
    };
    wishes.into_iter().find_map(understood).unwrap_or(LONGEST).clamp(Duration::from_secs(1), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn lock(token: &str, on: &str, deep: bool, scope: Scope) -> Lock {
        Lock::new(token.into(), path(on), deep, scope, "anna".parse().unwrap())
    }

    fn check(locks: &Locks, on: &str, tokens: &[&str], person: &str, now: Instant) -> bool {
        let path = path(on);
        let touched = Touched { path: &path, member: true, deep: true };
        let tokens: Vec<String> = tokens.iter().map(|t| (*t).to_owned()).collect();
        locks.check(&[touched], &tokens, &person.parse().unwrap(), now).is_ok()
    }

    #[test]
    fn exclusive_and_shared() {
        use Scope::{Exclusive, Shared};
        let (mut locks, now) = (Locks::default(), Instant::now());
        locks.add(lock("1", "anna/a", true, Shared), LONGEST, now).unwrap();
        locks.add(lock("2", "anna/A", true, Shared), LONGEST, now).unwrap();
        let clash = locks.add(lock("3", "anna/a/b", false, Exclusive), LONGEST, now).unwrap_err();
        assert_eq!(clash, Clash::Locked(path("anna/a")));
        assert!(locks.add(lock("4", "anna", true, Exclusive), LONGEST, now).is_err());
        assert!(locks.add(lock("5", "anna", false, Exclusive), LONGEST, now).is_ok());
        assert!(locks.add(lock("6", "anna/ab", true, Exclusive), LONGEST, now).is_ok());
    }

    #[test]
    fn who_may_change_what() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        locks.add(lock("t", "anna/dir", false, Scope::Exclusive), LONGEST, now).unwrap();
        for (on, tokens, person, expected) in [
            ("anna/dir", &["t"][..], "anna", true),
            ("anna/dir", &[], "anna", false),
            ("anna/DIR", &["x"], "anna", false),
            ("anna/dir", &["t"], "bert", false),
            ("anna/dir/new", &[], "anna", false),
            ("anna/dir/sub/new", &[], "anna", true),
            ("anna", &[], "anna", false),
            ("anna/dir2", &[], "anna", true),
        ] {
            assert_eq!(check(&locks, on, tokens, person, now), expected, "{on} {tokens:?} {person}");
        }
        assert!(check(&locks, "anna/dir", &[], "anna", now + LONGEST));
        assert!(!locks.remove(&path("anna/dir"), "t", &"bert".parse().unwrap(), now));
        assert!(!locks.remove(&path("anna/other"), "t", &"anna".parse().unwrap(), now));
        assert!(locks.remove(&path("anna/dir"), "t", &"anna".parse().unwrap(), now));
        assert!(check(&locks, "anna/dir", &[], "anna", now));
    }

    #[test]
    fn refreshed_and_forgotten() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        let minute = Duration::from_secs(60);
        locks.add(lock("t", "anna/dir", true, Scope::Exclusive), minute, now).unwrap();
        let anna = "anna".parse().unwrap();
        let later = now + Duration::from_secs(50);
        assert!(locks.refresh(&path("anna/dir/x"), &["t".into()], &anna, minute, later).is_some());
        assert!(!check(&locks, "anna/dir", &[], "anna", now + Duration::from_secs(100)));
        locks.forget(&path("anna"));
        assert!(check(&locks, "anna/dir", &[], "anna", later));
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        let added = (0..2000).filter(|n| {
            locks.add(lock("t", &format!("anna/{n}"), false, Scope::Shared), LONGEST, now).is_ok()
        });
        assert_eq!(added.count(), MOST_PER_PERSON);
    }

    #[test]
    fn timeouts() {
        for (header, seconds) in [
            (None, 3600),
            (Some("Second-60"), 60),
            (Some("Infinite, Second-4100000000"), 3600),
            (Some("second-4100000000"), 3600),
            (Some("Extend, Second-5"), 5),
            (Some("Second-0"), 1),
            (Some("Second-99999999999999999999999"), 3600),
            (Some("Second-"), 3600),
            (Some("ö"), 3600),
        ] {
            assert_eq!(timeout(header).as_secs(), seconds, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn timeouts_never_panic(text in "\\PC{0,40}|(Second-|Infinite|,|[0-9]| ){0,8}") {
            let time = timeout(Some(&text));
            prop_assert!(time <= LONGEST && time >= Duration::from_secs(1));
        }
    }
}
