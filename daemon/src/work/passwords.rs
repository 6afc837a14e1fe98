//! People's passwords: set, and checked on the login page, one at a time.
use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::model::account::Slug;
use crate::model::password::{Password, PasswordHash};
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::pool::Pool;

/// Costs of a new hash (docs/decisions/0017): memory in KiB, passes, lanes.
const COSTS: (u32, u32, u32) = (32 * 1024, 3, 1);

/// Held while a password is hashed: each takes 32 MiB, and a Pi may have 1 GB for everything.
#[derive(Default)]
pub(super) struct OneAtATime(Mutex<()>);

impl OneAtATime {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Sets a person's password, or takes it away: then nobody signs in as this person on the login page. Devices keep their own
    /// passwords either way. Blocking, for up to a second. `NotFound`.
    pub fn set_password(&self, person: &Slug, password: Option<&Password>) -> Result<(), Refusal> {
        let primary = self.primary()?;
        if !primary.catalogue.read(|r| r.has_person(person))? {
            return Err(Refusal::NotFound);
        }
        let hash = password.map(|password| self.hash(password)).transpose()?;
        primary.submit(Change::Password { person: person.clone(), hash }, self.now())?;
        // The other drives are told at once, not with the next photo.
        self.wake_mirror();
        Ok(())
    }

    /// Adds a person who signs in with this password, in one event: there is no moment at which the person is there without it. `Exists`.
    /// Blocking, for up to a second.
    pub fn add_person_with(&self, person: &Slug, password: &Password) -> Result<(), Refusal> {
        let hash = self.hash(password)?;
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let primary = self.primary()?;
        if primary.catalogue.read(|r| r.has_person(person))? {
            return Err(Refusal::Exists);
        }
        primary.submit(Change::Password { person: person.clone(), hash: Some(hash) }, self.now())?;
        self.wake_mirror();
        Ok(())
    }

    /// Whether this is the person's password. One that is not there, and a person that is not there, take as long as a wrong one, so that
    /// nobody learns who has an account. Blocking, for up to a second.
    pub fn check_password(&self, person: &Slug, typed: &str) -> Result<bool, Refusal> {
        let stored = self.primary()?.catalogue.read(|r| r.password(person))?;
        let compared = match &stored {
            Some(hash) => hash.as_str().to_owned(),
            None => nobodys(),
        };
        let _one = self.hashing.lock();
        let equal =
            hasher().is_ok_and(|argon2| argon2.verify_password(typed.trim().as_bytes(), &*compared).is_ok());
        Ok(equal && stored.is_some())
    }

    /// Whether the box has a main drive, and nobody on it.
    pub fn is_nobodys(&self) -> Result<bool, Refusal> {
        Ok(!self.primary()?.catalogue.read(|r| r.has_people())?)
    }

    /// Whose the box is: the first person with a password. `None`: nobody has one.
    pub fn owner(&self) -> Result<Option<Slug>, Refusal> {
        Ok(self.primary()?.catalogue.read(|r| r.first_with_password())?)
    }

    fn hash(&self, password: &Password) -> Result<PasswordHash, Refusal> {
        let failed = |why: String| Refusal::Unavailable { why };
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|e| failed(e.to_string()))?;
        let _one = self.hashing.lock();
        let argon2 = hasher().map_err(|e| failed(e.to_string()))?;
        let hash = argon2
            .hash_password_with_salt(password.reveal().as_bytes(), &salt)
            .map_err(|e| failed(e.to_string()))?;
        hash.to_string().parse::<PasswordHash>().map_err(|e| failed(e.to_string()))
    }
}

fn hasher() -> Result<Argon2<'static>, argon2::Error> {
    let (memory, passes, lanes) = COSTS;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, passes, lanes, None)?))
}

/// The hash of no password: what a wrong one is compared with where there is none.
fn nobodys() -> String {
    let (memory, passes, lanes) = COSTS;
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$bm9ib2R5bm9ib2R5AA${}", "A".repeat(43))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_nobody_is_one_that_is_checked() {
        // Refused at once, it would tell by the time it takes that there is no such person.
        assert!(nobodys().parse::<PasswordHash>().is_ok());
        let parsed = argon2::password_hash::phc::PasswordHash::new(&nobodys()).unwrap();
        assert_eq!(parsed.hash.map(|hash| hash.as_bytes().len()), Some(32));
        let refused = hasher().unwrap().verify_password(b"anything", &*nobodys()).unwrap_err();
        assert_eq!(refused, argon2::password_hash::Error::PasswordInvalid);
    }
}
