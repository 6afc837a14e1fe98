//! The login page: plain HTML that works without scripts, on a phone, and loads nothing.
use base64::Engine as _;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::flows::Shown;
use crate::face::http::reply::{self, Reply};
use crate::model::account::{DeviceKind, Slug};

const STYLE: &str = include_str!("../../../../../assets/login.css");

/// What the form shows.
pub(super) struct Filled<'a> {
    pub(super) shown: &'a Shown,
    /// The form's mark.
    pub(super) mark: &'a str,
    /// Whether the browser is at another address than the program that began this.
    pub(super) elsewhere: bool,
    /// What was typed, or is proposed.
    pub(super) person: &'a str,
    pub(super) device: &'a str,
    pub(super) kind: DeviceKind,
    /// What is wrong with what was sent.
    pub(super) problem: Option<&'a str>,
}

/// The form.
pub(super) fn form(filled: &Filled<'_>) -> Markup {
    html! {
        h1 { "Add this device" }
        (asked_by(filled))
        (problem(filled.problem))
        form method="post" autocomplete="on" {
            input type="hidden" name="mark" value=(filled.mark);
            label for="person" { "Your name on this box" }
            input #person type="text" name="person" value=(filled.person) required maxlength="40" autocapitalize="none"
                autocorrect="off" spellcheck="false" autocomplete="username";
            p .hint { "The short one, such as anna." }
            label for="password" { "Your password" }
            input #password type="password" name="password" required maxlength="200" autocomplete="current-password";
            p .hint { "Your own, not a device's. Whoever looks after the box sets it." }
            label for="device" { "What this device is to be called" }
            input #device type="text" name="device" value=(filled.device) required maxlength="60" autocapitalize="none"
                autocorrect="off" spellcheck="false" autocomplete="off";
            p .hint { "Its photos get a folder of this name." }
            (kinds(filled.kind))
            button { "Sign in and add it" }
        }
        p .after { "Was it not you who began this, or not just now? Close this page, and nothing happens." }
    }
}

fn asked_by(filled: &Filled<'_>) -> Markup {
    let agent = filled.shown.agent.as_ref();
    html! {
        p {
            @if let Some(agent) = agent { strong { (agent) } } @else { "A program" }
            " at " (filled.shown.from) " asks to keep photos on this box."
        }
        @if filled.elsewhere {
            p .note {
                "It runs on another device than the one you are reading this on. Go on only if you began this there yourself, a moment ago."
            }
        }
    }
}

fn problem(problem: Option<&str>) -> Markup {
    html! { @if let Some(problem) = problem { p .bad role="alert" { (problem) } } }
}

fn kinds(kind: DeviceKind) -> Markup {
    html! {
        fieldset {
            legend { "What it may do" }
            label .choice {
                input type="radio" name="kind" value="phone" checked[kind == DeviceKind::Phone];
                span { strong { "Only add photos" } "For a phone: it deletes and changes nothing here, whatever happens to it." }
            }
            label .choice {
                input type="radio" name="kind" value="computer" checked[kind == DeviceKind::Computer];
                span { strong { "See, rename and delete" } "For a computer: all of your photos. What it deletes goes to the trash." }
            }
        }
    }
}

/// There is a device of that name: to be replaced, or not?
pub(super) fn ask(filled: &Filled<'_>) -> Markup {
    let (person, device) = (filled.person, filled.device);
    html! {
        h1 { "There is a " (device) " already" }
        p { (person) " has a device of this name. Is this the same one, set up again?" }
        form method="post" {
            input type="hidden" name="mark" value=(filled.mark);
            input type="hidden" name="person" value=(person);
            input type="hidden" name="device" value=(device);
            input type="hidden" name="kind" value=(filled.kind.as_str());
            input type="hidden" name="replace" value="yes";
            p .note {
                "Its photos stay, and new ones go on in the same folder. The password it had until now stops working at once."
            }
            button { "Yes, it is the same device" }
        }
        hr;
        form method="post" {
            input type="hidden" name="mark" value=(filled.mark);
            input type="hidden" name="person" value=(person);
            input type="hidden" name="kind" value=(filled.kind.as_str());
            label for="device" { "No: call this one" }
            input #device type="text" name="device" required maxlength="60" autocapitalize="none" autocorrect="off"
                spellcheck="false" autocomplete="off";
            p .hint { "Its photos get a folder of this name." }
            button { "Add it under this name" }
        }
    }
}

/// It was granted.
pub(super) fn done(device: Option<(&Slug, &Slug)>) -> Markup {
    html! {
        h1 { "Done" }
        @if let Some((person, device)) = device {
            p { strong { (device) } " of " (person) " may send its photos now." }
        } @else {
            p { "This device was added." }
        }
        p .note { "Close this page, and go back to the app: it goes on by itself." }
    }
}

/// Nothing to be done here.
pub(super) fn dead_end(title: &str, words: &str) -> Markup {
    html! { h1 { (title) } p .note { (words) } }
}

/// A whole page. Nothing on it may be loaded, framed, kept, or sent elsewhere. `same-origin`, not `no-referrer`: with that, browsers
/// name no origin when the form is sent (Fetch, "append a request `Origin` header"), and it would be refused as another site's.
pub(super) fn reply(status: StatusCode, content: &Markup) -> Reply {
    document(status, "Shoebox: add this device", content)
}

/// The same for any page of this kind.
pub(in crate::face::http) fn document(status: StatusCode, title: &str, content: &Markup) -> Reply {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { p .box { "Shoebox" } (content) } }
        }
    };
    let mut reply = reply::whole(status, "text/html; charset=utf-8", page.into_string());
    let style = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    reply::set_text(&mut reply, CONTENT_SECURITY_POLICY, &policy);
    for (name, value) in
        [(REFERRER_POLICY, "same-origin"), (CACHE_CONTROL, "no-store"), (X_FRAME_OPTIONS, "DENY")]
    {
        reply::set(&mut reply, name, HeaderValue::from_static(value));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::agent::Agent;
    use std::net::IpAddr;

    #[test]
    fn what_came_from_outside_is_text() {
        let shown = Shown {
            from: IpAddr::from([192, 168, 1, 7]),
            agent: Agent::read("<script>alert(1)</script>"),
            done: false,
        };
        let evil = "\"><img src=x>";
        let filled = Filled {
            shown: &shown,
            mark: "m",
            elsewhere: true,
            person: evil,
            device: evil,
            kind: DeviceKind::Phone,
            problem: Some(evil),
        };
        for text in [form(&filled).into_string(), ask(&filled).into_string()] {
            assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
            assert!(text.contains("&quot;&gt;&lt;img src=x&gt;"), "{text}");
        }
    }
}
