//! People and devices: adding, listing, revoking, and recording who was seen.
use std::sync::PoisonError;

use crate::model::account::{App, Device, DeviceKind, Slug, Token};
use crate::model::lomorage;
use crate::plan::albums::is_reserved;
use crate::store::catalogue::accounts::{self, DeviceRow};
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Visit};
use crate::work::views::{DeviceView, PersonView, QuotaView};

impl Pool {
    /// All people.
    pub fn people(&self) -> Result<Vec<PersonView>, Refusal> {
        let primary = self.primary()?;
        let (rows, quotas, passwords) =
            primary.catalogue.read(|r| Ok((r.people()?, r.quotas()?, r.passwords()?)))?;
        let view = |(name, devices, files, bytes)| {
            let quota = quotas.iter().find(|(person, _)| *person == name).map(|(_, quota)| *quota);
            let quota = quota
                .map(|bytes| Ok::<_, Refusal>(QuotaView { bytes, used: self.used(&primary, &name)? }))
                .transpose()?;
            let password = passwords.iter().any(|(person, _)| *person == name);
            Ok(PersonView { name, devices, files, bytes, password, quota })
        };
        rows.into_iter().map(view).collect()
    }

    /// Adds a person; `Exists`.
    pub fn add_person(&self, name: &Slug) -> Result<(), Refusal> {
        let primary = self.primary()?;
        if primary.catalogue.read(|r| r.has_person(name))? {
            return Err(Refusal::Exists);
        }
        primary.submit(Change::Person { person: name.clone() }, self.now()).map(drop)
    }

    /// All devices, those that may no longer sign in included.
    pub fn devices(&self) -> Result<Vec<DeviceView>, Refusal> {
        let primary = self.primary()?;
        self.record_seen()?;
        let (rows, usage) = primary.catalogue.read(|r| Ok((r.devices()?, r.usage_by_device()?)))?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let label = row.device.label();
                let (files, bytes) = usage
                    .iter()
                    .find(|(by, ..)| *by == label)
                    .map_or((0, 0), |(_, files, bytes)| (*files, *bytes));
                DeviceView {
                    person: row.device.person,
                    name: row.device.name,
                    kind: row.device.kind,
                    created: row.created,
                    last_seen: row.last_seen,
                    app: row.app,
                    app_version: row.app_version,
                    revoked: row.revoked.is_some(),
                    files,
                    bytes,
                    already: row.already,
                }
            })
            .collect())
    }

    /// Adds a device and makes its folder; the token is shown to its owner and kept nowhere. `NotFound` (the person),
    /// `Exists` (a device of that name that may sign in).
    pub fn add_device(&self, person: &Slug, name: &Slug, kind: DeviceKind) -> Result<Token, Refusal> {
        self.add_device_for(person, name, kind, App::Any)
    }

    /// The same for a device whose one app sends passwords in a form of its own.
    pub fn add_device_for(
        &self,
        person: &Slug,
        name: &Slug,
        kind: DeviceKind,
        app: App,
    ) -> Result<Token, Refusal> {
        let token = new_token()?;
        let sent = match app {
            App::Any => Some(token.reveal().to_owned()),
            App::Lomorage => lomorage::sent_for(person, token.reveal()),
        };
        let sent =
            sent.ok_or_else(|| Refusal::Unavailable { why: "no memory to hash a password".to_owned() })?;
        self.put_device(person, name, kind, &sent, false)?;
        Ok(token)
    }

    /// Gives a device a new token, or adds it where it is not there; the token it had is worth nothing from then on. In one event: there is
    /// no moment at which neither is right. `NotFound` (the person).
    pub fn renew_device(&self, person: &Slug, name: &Slug, kind: DeviceKind) -> Result<Token, Refusal> {
        let token = new_token()?;
        self.put_device(person, name, kind, token.reveal(), true)?;
        Ok(token)
    }

    /// `sent`: what the device's app will send as its password.
    fn put_device(
        &self,
        person: &Slug,
        name: &Slug,
        kind: DeviceKind,
        sent: &str,
        renew: bool,
    ) -> Result<(), Refusal> {
        let device = Device { person: person.clone(), name: name.clone(), kind };
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        match self.may_be_added(&device) {
            Err(Refusal::Exists) if renew => {}
            other => other?,
        }
        let primary = self.primary()?;
        let key = self.token_key().ok_or(Refusal::NotFound)?;
        let change = Change::Device { device, token: key.hash(sent) };
        primary.submit(change, self.now())?;
        self.wake_mirror();
        self.load_accounts(&primary)
    }

    /// Whether a device can be added: `NotFound` (the person), `Exists` (one of that name that may sign in), `Reserved` (a folder of
    /// that name is the box's own).
    pub(super) fn may_be_added(&self, device: &Device) -> Result<(), Refusal> {
        if is_reserved(device.name.as_str()) {
            return Err(Refusal::Reserved);
        }
        let primary = self.primary()?;
        let (known, devices) =
            primary.catalogue.read(|r| Ok((r.has_person(&device.person)?, r.devices()?)))?;
        let same = |row: &DeviceRow| {
            row.device.person == device.person && row.device.name == device.name && row.revoked.is_none()
        };
        match known {
            false => Err(Refusal::NotFound),
            true if devices.iter().any(same) => Err(Refusal::Exists),
            true => Ok(()),
        }
    }

    /// Takes a device's right to sign in away; effective with the next request. `NotFound`.
    pub fn revoke_device(&self, person: &Slug, name: &Slug) -> Result<(), Refusal> {
        let primary = self.primary()?;
        let devices = primary.catalogue.read(|r| r.devices())?;
        if !devices
            .iter()
            .any(|d| d.device.person == *person && d.device.name == *name && d.revoked.is_none())
        {
            return Err(Refusal::NotFound);
        }
        primary.submit(Change::Revoke { person: person.clone(), device: name.clone() }, self.now())?;
        self.wake_mirror();
        self.load_accounts(&primary)
    }

    /// Writes down when devices were last seen. Called by the minute check; losing a minute of it costs nothing.
    pub fn record_seen(&self) -> Result<(), Refusal> {
        let seen: Vec<Visit> = self.take_seen();
        if seen.is_empty() {
            return Ok(());
        }
        let primary = self.primary()?;
        primary.catalogue.write(|tx| {
            seen.iter().try_for_each(|v| accounts::seen(tx, &v.device, v.at, v.agent.as_ref(), v.already))
        })?;
        Ok(())
    }
}

/// A token from the kernel's randomness.
pub(super) fn new_token() -> Result<Token, Refusal> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|e| Refusal::Unavailable { why: e.to_string() })?;
    Ok(Token::from_random(bytes))
}
