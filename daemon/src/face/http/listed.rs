//! Every kind of request there is, one example of each at least, with who may make it: for the test that makes each of them as everybody
//! (`daemon/tests/it/rights.rs`). A route that is not here fails a test of this file.
use super::immich;

/// Who may make a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody who reaches the port.
    Anybody,
    /// A device that signs in, for what is its own or its person's.
    Device,
    /// Whoever shows a password that is good once; no device does.
    Once,
    /// A person, with the password that no device has (decisions/0017).
    Person,
}

/// How a client of that kind signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// `Authorization: Basic`, a person's name and a device's password.
    Basic,
    /// `x-api-key`, the password.
    ApiKey,
    /// `Authorization: token=…`, what `/login` gave.
    Lomorage,
    /// A name and a password in the body, in the form that the path has.
    Body,
}

/// An example. In the path `{asset}` stands for an Immich id, `{upload}` for an upload that was begun, `{flow}` for a login that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// Who may.
    pub who: Who,
    /// How they sign in.
    pub signs: Signs,
}

use Who::{Anybody, Device, Once, Person};

/// Of our own and of the dialects without a table. What takes a right away comes last.
const OWN: [(&str, &str, Who); 54] = [
    ("GET", "/", Anybody),
    ("PROPFIND", "/", Device),
    ("OPTIONS", "/dav/", Device),
    ("PROPFIND", "/dav/", Device),
    ("GET", "/dav/secret.jpg", Device),
    ("GET", "/dav/left/secret.jpg", Device),
    ("PUT", "/dav/new.jpg", Device),
    ("MKCOL", "/dav/new", Device),
    ("PROPPATCH", "/dav/new.jpg", Device),
    ("LOCK", "/dav/new.jpg", Device),
    ("DELETE", "/dav/secret.jpg", Device),
    ("MOVE", "/dav/secret.jpg", Device),
    ("COPY", "/dav/secret.jpg", Device),
    ("PUT", "/inbox/new.jpg", Device),
    ("GET", "/status.php", Anybody),
    ("GET", "/index.php/204", Anybody),
    ("POST", "/index.php/core/wipe/check", Anybody),
    ("GET", "/ocs/v2.php/cloud/capabilities", Anybody),
    ("GET", "/ocs/v2.php/cloud/user", Device),
    ("GET", "/ocs/v1.php/cloud/user", Device),
    ("GET", "/ocs/v2.php/apps/files_sharing/api/v1/shares", Device),
    ("PROPFIND", "/remote.php/dav/", Device),
    ("SEARCH", "/remote.php/dav/", Device),
    ("PROPFIND", "/remote.php/dav/files/anna/", Device),
    ("GET", "/remote.php/dav/files/anna/secret.jpg", Device),
    ("GET", "/remote.php/dav/files/anna/left/secret.jpg", Device),
    ("GET", "/remote.php/webdav/secret.jpg", Device),
    ("PUT", "/remote.php/dav/files/anna/cloud.jpg", Device),
    ("MKCOL", "/remote.php/dav/uploads/anna/u1", Device),
    ("PROPFIND", "/remote.php/dav/uploads/anna/u1", Device),
    ("GET", "/index.php/core/preview?file=secret.jpg", Device),
    ("GET", "/apps/photos/api/v1/preview/1", Device),
    ("GET", "/index.php/apps/files/api/v1/thumbnail/64/64/secret.jpg", Device),
    ("GET", "/index.php/avatar/anna/64", Anybody),
    ("PROPFIND", "/remote.php/dav/trashbin/anna/", Anybody),
    ("HEAD", "/tus/{upload}", Device),
    ("PATCH", "/tus/{upload}", Device),
    ("POST", "/tus/", Device),
    ("GET", "/setup", Anybody),
    ("POST", "/setup", Anybody),
    ("GET", "/upload", Anybody),
    ("POST", "/upload/share", Anybody),
    ("GET", "/upload/assets/upload.js", Anybody),
    ("DELETE", "/upload/session", Anybody),
    ("POST", "/upload/proofs", Device),
    ("GET", "/ca", Anybody),
    ("GET", "/health", Anybody),
    ("POST", "/index.php/login/v2", Anybody),
    ("POST", "/index.php/login/v2/poll", Anybody),
    ("GET", "/index.php/login/v2/flow/none", Anybody),
    ("GET", "/nothing", Anybody),
    ("POST", "/health", Anybody),
    ("GET", "/ocs/v2.php/core/getapppassword-onetime", Once),
    ("DELETE", "/ocs/v2.php/core/apppassword", Device),
];

/// Lomorage's, whose clients sign in in a way of their own.
const LOMORAGE: [(&str, &str, Who); 7] = [
    ("GET", "/system", Anybody),
    ("GET", "/login", Device),
    ("HEAD", "/asset/0000000000000000000000000000000000000000", Device),
    ("POST", "/asset/0000000000000000000000000000000000000000", Device),
    ("PATCH", "/asset/0000000000000000000000000000000000000000", Device),
    ("GET", "/assets/merkletree", Device),
    ("GET", "/assets/merkletree/2026/11", Device),
];

/// Where somebody signs in who is nobody before it.
const LOGINS: [(&str, &str, Who); 3] = [
    ("POST", "/upload/session", Device),
    ("POST", "/api/auth/login", Device),
    ("POST", "/index.php/login/v2/flow/{flow}", Person),
];

/// All of them. Figures (`/metrics`) are left out: they change from one request to the next.
pub fn listed() -> Vec<Listed> {
    let line = |signs| {
        move |(method, path, who): &(&'static str, &str, Who)| Listed {
            method,
            path: (*path).to_owned(),
            who: *who,
            signs,
        }
    };
    let own = OWN.split_at(OWN.len() - 2);
    let immich = immich::listed().map(|(method, path, open)| Listed {
        method,
        path,
        who: if open { Anybody } else { Device },
        signs: Signs::ApiKey,
    });
    let early =
        own.0.iter().map(line(Signs::Basic)).chain(immich).chain(LOMORAGE.iter().map(line(Signs::Lomorage)));
    let late = LOGINS.iter().map(line(Signs::Body)).chain(own.1.iter().map(line(Signs::Basic)));
    early.chain(late).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::Method;

    use super::super::lomorage::Door;
    use super::super::nextcloud::CloudRoute;
    use super::super::nextcloud::login::Login;
    use super::super::route::{Access, Route, route};
    use super::*;

    /// What a rule of routing means for those who ask.
    fn means(access: Access, signs: Signs) -> &'static [Who] {
        match access {
            // Everybody may try.
            Access::Open if signs == Signs::Body => &[Device, Person],
            Access::Open => &[Anybody],
            Access::Device | Access::Page => &[Device],
            // Each of the dialect's own.
            Access::Dialect => &[Anybody, Device, Once],
        }
    }

    /// Routes by number. One that is added has to be named here, and with it in the list.
    fn number(route: &Route<'_>) -> usize {
        match route {
            Route::Dav(_) => 0,
            Route::DavRoot => 1,
            Route::Inbox(_) => 2,
            Route::Immich => 3,
            Route::Tus(_) => 4,
            Route::UploadPage => 5,
            Route::Share => 6,
            Route::Asset(_) => 7,
            Route::Session => 8,
            Route::Proofs => 9,
            Route::Authority(_) => 10,
            Route::Health => 11,
            Route::Page => 12,
            Route::WrongMethod(_) => 13,
            Route::Unknown => 14,
            Route::Lomorage(Door::System) => 15,
            Route::Lomorage(Door::Login) => 16,
            Route::Lomorage(Door::Asset(_)) => 17,
            Route::Lomorage(Door::Months) => 18,
            Route::Lomorage(Door::Month(_)) => 19,
            Route::Login(Login::Begin) => 20,
            Route::Login(Login::Poll) => 21,
            Route::Login(Login::Page(_)) => 22,
            Route::Login(Login::OneTime) => 23,
            Route::Login(Login::GiveBack) => 24,
            Route::Cloud(CloudRoute::Status) => 25,
            Route::Cloud(CloudRoute::NoContent) => 26,
            Route::Cloud(CloudRoute::Capabilities { .. }) => 27,
            Route::Cloud(CloudRoute::User { .. }) => 28,
            Route::Cloud(CloudRoute::OtherOcs { .. }) => 29,
            Route::Cloud(CloudRoute::Discovery) => 30,
            Route::Cloud(CloudRoute::Files { .. }) => 31,
            Route::Cloud(CloudRoute::Uploads { .. }) => 32,
            Route::Cloud(CloudRoute::Wipe) => 33,
            Route::Cloud(CloudRoute::Preview(_)) => 34,
            Route::Cloud(CloudRoute::Nothing) => 35,
            Route::Metrics => 36,
            Route::Setup => 37,
        }
    }

    #[test]
    fn every_route_is_listed_with_the_rule_it_has() {
        let mut seen = BTreeSet::from([36]);
        for one in listed() {
            let path = one.path.split('?').next().unwrap_or_default();
            let method = Method::from_bytes(one.method.as_bytes()).unwrap();
            let found = route(&method, path);
            assert!(
                means(found.access(), one.signs).contains(&one.who),
                "{} {}: {:?}",
                one.method,
                one.path,
                found.access()
            );
            seen.insert(number(&found));
        }
        assert_eq!(seen, (0..=37).collect());
    }
}
