//! One-time passwords: each becomes a new device's own password, once, within a quarter of an hour. In memory only: a restart forgets them.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::account::{Device, DeviceKind, Slug, Token, TokenHash};
use crate::os::clock;
use crate::work::accounts::new_token;
use crate::work::error::Refusal;
use crate::work::pool::Pool;

/// How long one is good for.
pub const GOOD_FOR: Duration = Duration::from_secs(15 * 60);
/// So many at once; the oldest makes room.
const MOST: usize = 64;

/// Those that were given out.
#[derive(Default)]
pub(super) struct OneTimes(Mutex<Vec<OneTime>>);

struct OneTime {
    hash: TokenHash,
    device: Device,
    given: Instant,
}

impl OneTimes {
    fn lock(&self, now: Instant) -> MutexGuard<'_, Vec<OneTime>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| now.saturating_duration_since(one.given) < GOOD_FOR);
        all
    }

    fn put(&self, one: OneTime, now: Instant) {
        let mut all = self.lock(now);
        if all.len() >= MOST {
            drop(all.remove(0));
        }
        all.push(one);
    }

    /// Takes it out: nobody else gets it.
    fn take(&self, hash: TokenHash, person: &str, now: Instant) -> Option<OneTime> {
        let mut all = self.lock(now);
        let at = all.iter().position(|one| one.hash == hash && one.device.person.as_str() == person)?;
        Some(all.remove(at))
    }
}

impl Pool {
    /// A password with which a device that is not there yet fetches its own. `NotFound` (the person), `Exists` (a device of that name
    /// that may sign in).
    pub fn add_one_time(&self, person: &Slug, name: &Slug, kind: DeviceKind) -> Result<Token, Refusal> {
        let device = Device { person: person.clone(), name: name.clone(), kind };
        self.may_be_added(&device)?;
        let token = new_token()?;
        let hash = self.token_key().ok_or(Refusal::NotFound)?.hash(token.reveal());
        let now = clock::monotonic();
        self.onetimes.put(OneTime { hash, device, given: now }, now);
        Ok(token)
    }

    /// Adds the device that a one-time password was given out for; its own password. `None`: there is no such one-time password
    /// for this person, or not any more. While the device cannot be added the one-time password stays good.
    pub fn redeem(&self, user: &str, password: &str) -> Result<Option<(Device, Token)>, Refusal> {
        let Some(key) = self.token_key() else {
            return Err(Refusal::Unavailable { why: "the main drive is not there".to_owned() });
        };
        let Some(one) = self.onetimes.take(key.hash(password), user, clock::monotonic()) else {
            return Ok(None);
        };
        match self.add_device(&one.device.person, &one.device.name, one.device.kind) {
            Ok(token) => Ok(Some((one.device, token))),
            Err(refusal) => {
                self.onetimes.put(one, clock::monotonic());
                Err(refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(n: u8, given: Instant) -> OneTime {
        let device = Device {
            person: "anna".parse().unwrap(),
            name: format!("phone{n}").parse().unwrap(),
            kind: DeviceKind::Phone,
        };
        OneTime { hash: TokenHash::from_bytes([n; 32]), device, given }
    }

    #[test]
    fn once_for_one_person_and_for_a_quarter_of_an_hour() {
        let (all, now) = (OneTimes::default(), Instant::now());
        let hash = |n| TokenHash::from_bytes([n; 32]);
        all.put(one(1, now), now);
        assert!(all.take(hash(1), "ben", now).is_none() && all.take(hash(2), "anna", now).is_none());
        assert!(all.take(hash(1), "anna", now).is_some());
        assert!(all.take(hash(1), "anna", now).is_none());
        all.put(one(2, now), now);
        assert!(all.take(hash(2), "anna", now + GOOD_FOR).is_none());
        for n in 0..200 {
            all.put(one(n, now), now);
        }
        assert_eq!(all.lock(now).len(), MOST);
    }
}
