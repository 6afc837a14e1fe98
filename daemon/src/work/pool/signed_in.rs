//! Who stays signed in: asked again at every request of a page.
use std::sync::PoisonError;

use super::Pool;
use crate::model::account::{Device, TokenHash};
use crate::work::error::Refusal;

impl Pool {
    /// Whether a device still has the token it signed in with: neither was revoked since.
    pub fn is_signed_in(&self, device: &Device, token: &TokenHash) -> Result<bool, Refusal> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        if accounts.key.is_none() {
            return Err(Refusal::Unavailable { why: "the main drive is not there".to_owned() });
        }
        Ok(accounts.devices.get(token) == Some(device))
    }
}
