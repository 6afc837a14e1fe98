//! Signing in: who shows which token, who stays signed in, and who came when with which program. In memory; nothing here touches a drive
//! but reading who may.
use std::sync::PoisonError;

use jiff::Timestamp;

use super::Pool;
use crate::model::account::{Device, TokenHash, TokenKey};
use crate::model::agent::Agent;
use crate::work::error::Refusal;
use crate::work::primary::Primary;

/// A device that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::work) struct Visit {
    pub(in crate::work) device: Device,
    pub(in crate::work) at: Timestamp,
    pub(in crate::work) agent: Option<Agent>,
    /// Uploads that were here already.
    pub(in crate::work) already: u64,
}

/// A device that has shown a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The device.
    pub device: Device,
    /// What is stored of its token.
    pub token: TokenHash,
}

impl Pool {
    /// Reads who may sign in.
    pub(in crate::work) fn load_accounts(&self, primary: &Primary) -> Result<(), Refusal> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = primary.catalogue.read(|r| r.devices())?;
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.key = Some(primary.attached.marker.token_key.clone());
        accounts.devices =
            rows.into_iter().filter(|d| d.revoked.is_none()).map(|d| (d.token, d.device)).collect();
        Ok(())
    }

    /// Who `user` (a person's name) with `password` (a device's token) is. In memory: no I/O, one BLAKE3.
    /// `Err(Unavailable)` while no primary was ever attached, so that nobody is told "wrong password" for a missing drive.
    pub fn sign_in(&self, user: &str, password: &str) -> Result<Option<SignedIn>, Refusal> {
        self.sign_in_as(password, |device| device.person.as_str() == user)
    }

    /// The same where the client sends nothing but the token.
    pub fn sign_in_by_token(&self, token: &str) -> Result<Option<SignedIn>, Refusal> {
        self.sign_in_as(token, |_| true)
    }

    fn sign_in_as(
        &self,
        password: &str,
        fits: impl Fn(&Device) -> bool,
    ) -> Result<Option<SignedIn>, Refusal> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = &accounts.key else {
            return Err(Refusal::Unavailable { why: "the main drive is not there".to_owned() });
        };
        let token = key.hash(password);
        let device = accounts.devices.get(&token).filter(|d| fits(d)).cloned();
        drop(accounts);
        if let Some(device) = &device {
            self.note_visit(device, None);
        }
        Ok(device.map(|device| SignedIn { device, token }))
    }

    /// Whether a device may still sign in, as far as is known: while the main drive is away, whoever might before may.
    pub fn may_sign_in(&self, device: &Device) -> bool {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.key.is_none() || accounts.devices.values().any(|other| other == device)
    }

    /// What a client that signs in once shows from then on: good for as long as the device may sign in.
    pub fn pass_of(&self, device: &Device) -> Result<String, Refusal> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let token = accounts.devices.iter().find(|(_, other)| *other == device).map(|(token, _)| token);
        let pass = accounts.key.as_ref().zip(token).map(|(key, token)| key.pass(token));
        Ok(format!("{}.{}.{}", device.person, device.name, pass.ok_or(Refusal::NotFound)?))
    }

    /// Who shows this pass.
    pub fn sign_in_by_pass(&self, pass: &str) -> Result<Option<SignedIn>, Refusal> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = &accounts.key else {
            return Err(Refusal::Unavailable { why: "the main drive is not there".to_owned() });
        };
        let mut parts = pass.split('.');
        let (person, name, sum) =
            (parts.next(), parts.next(), parts.next().and_then(|sum| blake3::Hash::from_hex(sum).ok()));
        let named =
            |device: &Device| Some(device.person.as_str()) == person && Some(device.name.as_str()) == name;
        // Compared as hashes are, in a time that tells nothing.
        let fits = |token| {
            sum.is_some_and(|sum| blake3::Hash::from_hex(key.pass(token)).is_ok_and(|own| own == sum))
        };
        let device = accounts.devices.iter().find(|(token, device)| named(device) && fits(token));
        let found = device.map(|(token, device)| SignedIn { device: device.clone(), token: *token });
        drop(accounts);
        if let Some(SignedIn { device, .. }) = &found {
            self.note_visit(device, None);
        }
        Ok(found)
    }

    /// Notes that a device came, and with which program, to be written down later. A request that does not say takes nothing back.
    pub fn note_visit(&self, device: &Device, agent: Option<Agent>) {
        self.note(device, |visit| visit.agent = agent.or(visit.agent.take()));
    }

    /// Counts an upload of a device that was here already.
    pub(in crate::work) fn note_already(&self, device: &Device) {
        self.note(device, |visit| visit.already += 1);
    }

    fn note(&self, device: &Device, what: impl FnOnce(&mut Visit)) {
        let at = self.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let visit = seen.entry(device.label()).or_insert_with(|| Visit {
            device: device.clone(),
            at,
            agent: None,
            already: 0,
        });
        visit.at = at;
        what(visit);
    }

    /// The key tokens are hashed with.
    pub(in crate::work) fn token_key(&self) -> Option<TokenKey> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).key.clone()
    }

    /// Takes the visits since the last call, to be recorded.
    pub(in crate::work) fn take_seen(&self) -> Vec<Visit> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_values().collect()
    }

    /// Whether a device still has the token it signed in with: neither was revoked since.
    pub fn is_signed_in(&self, device: &Device, token: &TokenHash) -> Result<bool, Refusal> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        if accounts.key.is_none() {
            return Err(Refusal::Unavailable { why: "the main drive is not there".to_owned() });
        }
        Ok(accounts.devices.get(token) == Some(device))
    }
}
