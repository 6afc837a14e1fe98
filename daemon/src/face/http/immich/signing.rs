//! Signing in with a device's token as an API key, and trading a person's name and a token for the token.
use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, COOKIE};
use hyper::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::{json, read};
use super::users::{email, user_id};
use crate::face::http::Shared;
use crate::face::http::reply::{Deny, Reply};
use crate::face::http::upload;
use crate::model::account::Device;
use crate::os::clock;
use crate::work::library::Library;

/// A token has 39 characters.
const LONGEST: usize = 200;
/// Under what failures with a token alone are counted: nobody's name is known.
const NOBODY: &str = "(api key)";
const WRONG: Deny = Deny::Status(StatusCode::UNAUTHORIZED, "Invalid API key");

/// The token that a request carries: as an API key, as a bearer's, or as the phone apps name it. The app puts it into a cookie of its own making;
/// a browser never has one, because none is ever set.
fn token(headers: &HeaderMap) -> Option<&str> {
    let plain = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        let (scheme, token) = plain(AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    };
    let cookie = || {
        let pairs = plain(COOKIE.as_str())?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(name, _)| *name == "immich_access_token").map(|(_, token)| token.trim())
    };
    plain("x-api-key")
        .or_else(bearer)
        .or_else(|| plain("x-immich-user-token"))
        .or_else(|| plain("x-immich-session-token"))
        .or_else(cookie)
        .filter(|token| !token.is_empty() && token.len() <= LONGEST)
}

/// The device that asks.
pub(super) async fn sign_in(shared: &Shared, headers: &HeaderMap, from: IpAddr) -> Result<Device, Deny> {
    shared.face.pool.available()?;
    let Some(token) = token(headers) else {
        return Err(Deny::Status(StatusCode::UNAUTHORIZED, "Authentication required"));
    };
    match shared.face.pool.sign_in_by_token(token)? {
        Some(signed_in) => {
            shared.throttle().succeeded(from, NOBODY);
            shared.came(&signed_in.device, headers);
            Ok(signed_in.device)
        }
        None => Err(wrong(shared, from, NOBODY, WRONG).await),
    }
}

/// Waits as long as this failure has to, and answers so.
async fn wrong(shared: &Shared, from: IpAddr, user: &str, answer: Deny) -> Deny {
    let wait = shared.throttle().failed(from, user, clock::monotonic());
    tokio::time::sleep(wait).await;
    answer
}

/// `LoginCredentialDto`.
#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

/// `LoginResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    access_token: &'a str,
    is_admin: bool,
    is_onboarded: bool,
    name: &'a str,
    profile_image_path: &'a str,
    should_change_password: bool,
    user_email: String,
    user_id: String,
}

/// Who gives a person's name, with or without a mail address's rest, and a device's token, gets that token for the session.
pub(super) async fn login(shared: &Shared, from: IpAddr, body: &[u8]) -> Result<Reply, Deny> {
    shared.face.pool.available()?;
    let given: Credentials = read(body)?;
    let user = given.email.split('@').next().unwrap_or_default().trim().to_lowercase();
    let token = given.password.trim();
    let signed_in = shared.face.pool.sign_in(&user, token)?.filter(|_| token.len() <= LONGEST);
    let Some(signed_in) = signed_in else {
        let answer = Deny::Status(StatusCode::UNAUTHORIZED, "Incorrect email or password");
        return Err(wrong(shared, from, &user, answer).await);
    };
    shared.throttle().succeeded(from, &user);
    if shared.face.immich.phone_app {
        forget(shared, signed_in.device.clone()).await?;
    }
    let person = &signed_in.device.person;
    let session = Session {
        access_token: token,
        is_admin: false,
        is_onboarded: true,
        name: person.as_str(),
        profile_image_path: "",
        should_change_password: false,
        user_email: email(person),
        user_id: user_id(person).to_string(),
    };
    Ok(json(StatusCode::CREATED, &session))
}

/// `LogoutResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedOut {
    redirect_uri: &'static str,
    successful: bool,
}

/// An app that signs in knows nothing of what was here, whatever it was told before it signed out.
async fn forget(shared: &Shared, device: Device) -> Result<(), Deny> {
    let library = shared.face.library.clone();
    upload::blocking(&shared.face.pool, move || Ok(library.unfollow(&device)?)).await
}

/// The client forgets the token, and its app what it was told. The token stays good: it is the device's, and its owner revokes it.
pub(super) fn logout(library: &Library, device: &Device, phone_app: bool) -> Result<Reply, Deny> {
    if phone_app {
        library.unfollow(device)?;
    }
    Ok(json(StatusCode::OK, &LoggedOut { redirect_uri: "", successful: true }))
}

/// `ValidateAccessTokenResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Validated {
    auth_status: bool,
}

/// Whoever gets this far signed in.
pub(super) fn validated() -> Reply {
    json(StatusCode::OK, &Validated { auth_status: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn of(pairs: &[(&'static str, &str)]) -> Option<String> {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        token(&pairs.iter().map(pair).collect()).map(str::to_owned)
    }

    #[test]
    fn where_the_token_is() {
        assert_eq!(of(&[("x-api-key", "abc")]).as_deref(), Some("abc"));
        assert_eq!(of(&[("authorization", "Bearer abc")]).as_deref(), Some("abc"));
        assert_eq!(of(&[("x-immich-user-token", "abc")]).as_deref(), Some("abc"));
        assert_eq!(of(&[("x-immich-session-token", "abc")]).as_deref(), Some("abc"));
        let cookies = "immich_is_authenticated=true; immich_access_token=abc;immich_auth_type=password";
        assert_eq!(of(&[("cookie", cookies)]).as_deref(), Some("abc"));
        assert_eq!(of(&[("cookie", "shoebox=abc; immich_access_tokens=abc")]), None);
        assert_eq!(of(&[("authorization", "Bearer b"), ("x-api-key", "a")]).as_deref(), Some("a"));
        for none in [("authorization", "Basic YTpi"), ("authorization", "Bearer"), ("x-api-key", "")] {
            assert_eq!(of(&[none]), None, "{none:?}");
        }
        assert_eq!(of(&[("x-api-key", &"x".repeat(201))]), None);
    }
}
