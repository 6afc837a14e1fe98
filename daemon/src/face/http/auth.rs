//! Signing in: Basic credentials to a device, and a growing pause after wrong ones.
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, USER_AGENT};

use crate::model::agent::Agent;

/// A user name and a password as sent. No `Debug`: it must not reach a log.
pub(super) struct Credentials {
    /// The person's name, lower case: phones like to capitalise it.
    pub(super) user: String,
    /// The device's token.
    pub(super) password: String,
}

/// Reads `Authorization: Basic …` (RFC 7617). `None`: there is none, or it makes no sense.
pub(super) fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > 1024 {
        return None;
    }
    let decoded = String::from_utf8(ANY_PADDING.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials { user: user.trim().to_lowercase(), password: password.to_owned() })
}

/// The program that asks, as it names itself.
pub(super) fn agent(headers: &HeaderMap) -> Option<Agent> {
    Agent::read(headers.get(USER_AGENT)?.to_str().ok()?)
}

/// How many of those who failed are remembered. The longest untouched makes room for a new one.
const REMEMBERED: usize = 1024;
/// After this long without a failure one starts anew.
const FORGIVEN: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(5);
/// So many failures of an address, whatever the names, or of a name, from wherever, count as one of a pair of both: a family's phones
/// may share an address, and each may have an old password.
const SPREAD: u32 = 8;

/// Who failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    /// Somebody at this address, under this name.
    Both(IpAddr, String),
    /// Somebody in this network: an IPv4 address, or the 64 bits that one machine has all addresses of (RFC 8981).
    Network(IpAddr),
    /// Somebody who says to be this person.
    Name(String),
}

impl Who {
    fn all(from: IpAddr, user: &str) -> (Self, Self, Option<Self>) {
        let name: String = user.chars().take(40).collect();
        let network = match from {
            IpAddr::V4(_) => from,
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        };
        let named = Some(Self::Name(name.clone())).filter(|_| !name.is_empty());
        (Self::Both(from, name), Self::Network(network), named)
    }

    fn weight(&self, failures: u32) -> Duration {
        match self {
            Self::Both(..) => pause(failures),
            Self::Network(_) | Self::Name(_) if failures < SPREAD => Duration::ZERO,
            Self::Network(_) | Self::Name(_) => pause(failures / SPREAD),
        }
    }
}

/// Failed attempts, per address and name, per address, and per name. Only failures wait: tokens have 160 bits, and a phone with the
/// right one must not suffer from a gadget in the same house that guesses.
#[derive(Default)]
pub(super) struct Throttle {
    failures: HashMap<Who, (u32, Instant)>,
}

impl Throttle {
    /// Notes a failed attempt; how long its answer has to wait.
    pub(super) fn failed(&mut self, from: IpAddr, user: &str, now: Instant) -> Duration {
        let (both, network, name) = Who::all(from, user);
        [Some(both), Some(network), name]
            .into_iter()
            .flatten()
            .map(|who| self.count(who, now))
            .max()
            .unwrap_or(LONGEST)
    }

    fn count(&mut self, who: Who, now: Instant) -> Duration {
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(&who) {
            self.failures.retain(|_, (_, last)| now.saturating_duration_since(*last) < FORGIVEN);
            let oldest = self.failures.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone());
            if let (true, Some(oldest)) = (self.failures.len() >= REMEMBERED, oldest) {
                self.failures.remove(&oldest);
            }
        }
        let (count, last) = self.failures.entry(who.clone()).or_insert((0, now));
        if now.saturating_duration_since(*last) >= FORGIVEN {
            *count = 0;
        }
        *count = count.saturating_add(1);
        *last = now;
        who.weight(*count)
    }

    /// How much of the pause after the last failed attempt is left: for those who count attempts that come at once one by one.
    pub(super) fn owed(&self, from: IpAddr, user: &str, now: Instant) -> Duration {
        let (both, _, name) = Who::all(from, user);
        let owed = |who: Who| {
            let (count, last) = self.failures.get(&who)?;
            Some(who.weight(*count).saturating_sub(now.saturating_duration_since(*last)))
        };
        [Some(both), name].into_iter().flatten().filter_map(owed).max().unwrap_or_default()
    }

    /// Notes that somebody signed in. That says nothing of others at that address, nor of others who say to be the same person.
    pub(super) fn succeeded(&mut self, from: IpAddr, user: &str) {
        if !self.failures.is_empty() {
            self.failures.remove(&Who::all(from, user).0);
        }
    }
}

/// The first two come from typing errors: 0.25 s, 0.5 s, 1 s … 5 s.
fn pause(failures: u32) -> Duration {
    Duration::from_millis(125).saturating_mul(1 << failures.min(10)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().ok()?);
        credentials(&headers).map(|c| (c.user, c.password))
    }

    #[test]
    fn basic() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("Basic YW5uYTpzZWNyZXQ="), pair("anna", "secret"));
        assert_eq!(read("basic YW5uYTpzZWNyZXQ"), pair("anna", "secret"));
        assert_eq!(read("Basic QW5uYTphOmI="), pair("anna", "a:b"));
        assert_eq!(read("Basic Og=="), pair("", ""));
        for bad in
            ["Bearer abc", "Basic", "Basic !!!", "Basic YW5uYQ==", "Digest username=\"anna\"", "Basic /w=="]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn failures_wait_longer_and_are_forgotten() {
        let mut throttle = Throttle::default();
        let (ip, start) = (IpAddr::from([192, 168, 1, 7]), Instant::now());
        let waits: Vec<u128> = (0..8).map(|_| throttle.failed(ip, "anna", start).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(throttle.failed(ip, "bert", start).as_millis(), 250);
        assert_eq!(throttle.failed(ip, "anna", start + FORGIVEN).as_millis(), 250);
        throttle.failed(ip, "anna", start);
        let half = start + Duration::from_millis(200);
        assert_eq!(throttle.owed(ip, "anna", half).as_millis(), 300);
        assert_eq!(throttle.owed(ip, "anna", start + Duration::from_millis(500)).as_millis(), 0);
        assert_eq!(throttle.owed(ip, "carl", start).as_millis(), 0);
        throttle.succeeded(ip, "anna");
        assert_eq!(throttle.failed(ip, "anna", start).as_millis(), 250);
    }

    #[test]
    fn guesses_that_spread_over_names_or_addresses_wait_too() {
        let start = Instant::now();
        let ip = |n: u8| IpAddr::from([192, 168, 1, n]);
        let mut throttle = Throttle::default();
        let names: Vec<u128> =
            (0..48).map(|n| throttle.failed(ip(7), &format!("u{n}"), start).as_millis()).collect();
        assert_eq!((names[0], names[14], names[16], names[47]), (250, 250, 500, 5000));
        let mut throttle = Throttle::default();
        let places: Vec<u128> = (0..48).map(|n| throttle.failed(ip(n), "anna", start).as_millis()).collect();
        assert_eq!(places, names);
        assert_eq!(throttle.owed(ip(200), "anna", start).as_millis(), 5000);
        assert_eq!(throttle.owed(ip(200), "bert", start).as_millis(), 0);
        let mut throttle = Throttle::default();
        let six = |n: u16| IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, n]);
        let last = (0..48).map(|n| throttle.failed(six(n), "", start).as_millis()).last();
        assert_eq!(last, Some(5000), "one machine has all addresses of its network");
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        let (ip, start) = (IpAddr::from([192, 168, 1, 7]), Instant::now());
        for n in 0..3000u64 {
            throttle.failed(ip, &format!("user{n}{}", "x".repeat(500)), start + Duration::from_millis(n));
        }
        assert!(throttle.failures.len() <= REMEMBERED);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,100}") {
            let _read = read(&text);
            let _read = read(&format!("Basic {text}"));
        }
    }
}
