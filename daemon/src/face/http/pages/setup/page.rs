//! What the set-up page looks like: plain HTML for a phone's screen, without scripts.
use maud::{Markup, PreEscaped, html};

use super::form::Form;
use super::stage::{Found, Stage};
use crate::face::apps::{App, Setup};
use crate::model::account::{DeviceKind, Slug};
use crate::model::drive::{self, DriveRole};
use crate::model::plugged::{Offer, Plugged};
use crate::work::views::DriveView;

/// What is shown besides how the box stands.
#[derive(Default)]
pub(super) struct Shown {
    /// What is wrong with what was sent.
    pub(super) problem: Option<String>,
    /// What was typed, of which the page shows all but passwords.
    pub(super) typed: Form,
    /// A phone that was added: its label, how its app is set up. There is a password in it.
    pub(super) added: Option<(String, Setup)>,
}

impl Shown {
    pub(super) fn is_plain(&self) -> bool {
        self.problem.is_none() && self.added.is_none()
    }
}

/// All of it.
pub(super) fn whole(found: &Found, stage: &Stage, shown: &Shown) -> Markup {
    html! {
        @if let Some((label, setup)) = &shown.added { (card(label, setup)) }
        @else { h1 { (title(stage)) } }
        @if let Some(problem) = &shown.problem { p .bad role="alert" { (problem) } }
        @match stage {
            Stage::Drives => (drives(found)),
            Stage::Away => {
                p { "Without its main drive the box knows nothing of people and photos. It is being looked for; this page sees it by itself." }
                (findings(found))
                (drives(found))
            }
            Stage::Claim => { (drives(found)) (claim(&shown.typed)) }
            Stage::Locked(true) => (sign_in(&shown.typed)),
            Stage::Locked(false) => {
                p .note { "This box was set up on its command line. Whoever looks after it can open this page with " code { "shoebox person password NAME" } "." }
            }
            Stage::Owner(who) => (owner(found, who, shown)),
            Stage::Member(who) => (member(found, who, shown)),
        }
    }
}

const fn title(stage: &Stage) -> &'static str {
    match stage {
        Stage::Drives => "Two drives first",
        Stage::Away => "The main drive is not here",
        Stage::Claim => "Who are you?",
        Stage::Locked(_) => "This box is set up",
        Stage::Owner(_) => "Drives, people, phones",
        Stage::Member(_) => "Your phones",
    }
}

/// Every place where something is plugged in.
fn drives(found: &Found) -> Markup {
    let adoptable = found.adoptable();
    let plugged = || found.drives.iter().filter(|drive| drive.standing != drive::Standing::Absent);
    html! {
        @if plugged().next().is_none() && found.left().next().is_none() {
            p .note { "Plug in two USB drives. This page sees them by itself, a few seconds later." }
        }
        @for drive in plugged() {
            div .drive {
                p { strong { (called(drive)) } " " (how(drive)) }
                @for (mount, role) in adoptable.iter().filter(|(mount, _)| *mount == drive.mount) {
                    form method="post" {
                        input type="hidden" name="do" value="drive";
                        input type="hidden" name="mount" value=(mount.display());
                        input type="hidden" name="role" value=(role.as_str());
                        @if *role == DriveRole::Primary { (is_new()) }
                        button { (wish(*role)) }
                    }
                }
                @if adoptable.iter().any(|(mount, _)| *mount == drive.mount) {
                    p .hint { "Nothing that is on it already is deleted or changed." }
                }
            }
        }
        @for (one, offer, why) in found.left() { (left(one, offer, why)) }
        @if found.people.is_some() && !found.has_two() && adoptable.is_empty() {
            p .note { "There is one drive so far. Plug in a second one: a photo is safe when it is on both." }
        }
    }
}

/// A device that is no drive of the box's, and how it becomes one. What would cost what is on it is not done from a page.
fn left(one: &Plugged, offer: Offer, why: &str) -> Markup {
    let device = &one.device;
    let model = if device.model.trim().is_empty() { "A disk" } else { device.model.trim() };
    html! {
        div .drive {
            p { strong { (model) " (" (device.size.div_ceil(1_000_000_000)) " GB, " (device.name) ")" } " was left alone: " (why) "." }
            @if offer == Offer::Adopt {
                form method="post" {
                    input type="hidden" name="do" value="prepare";
                    input type="hidden" name="device" value=(device.name);
                    button { "Use this one" }
                }
                p .hint { "Nothing that is on it is deleted or changed." }
            } @else {
                p .hint { "To be used it has to be formatted, which deletes all that is on it. That is asked for on the box's command line: " code { "shoebox drive format " (device.disk) } "." }
            }
        }
    }
}

/// A box forgets everything with its card, and finds it again on its drives: only a person knows whether there are any.
fn is_new() -> Markup {
    html! {
        label .choice {
            input type="checkbox" name="fresh" value="yes" required;
            span { strong { "This box never kept photos" } "If it did, plug in its drives instead: people, phones and photos are on them." }
        }
    }
}

/// What needs a person.
fn findings(found: &Found) -> Markup {
    html! { @for finding in &found.findings { p .bad { (finding.sentence) " " (finding.remedy) } } }
}

const fn wish(role: DriveRole) -> &'static str {
    match role {
        DriveRole::Primary => "Make this drive A, where photos arrive",
        DriveRole::Mirror => "Make this drive B, for the second copies",
        DriveRole::Offline => "Keep this one elsewhere, for a third copy",
    }
}

/// By what people tell drives apart.
fn called(drive: &DriveView) -> String {
    let name = match drive.role {
        Some(DriveRole::Primary) => "Drive A",
        Some(DriveRole::Mirror) => "Drive B",
        Some(DriveRole::Offline) => "Offline drive",
        None => "A drive",
    };
    let place = drive.mount.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match drive.space {
        Some(space) => format!("{name} ({} GB, place {place})", space.total.div_ceil(1_000_000_000)),
        None => format!("{name} (place {place})"),
    }
}

fn how(drive: &DriveView) -> String {
    match &drive.standing {
        drive::Standing::Ready => "is in use.".to_owned(),
        drive::Standing::Blank => "is new here.".to_owned(),
        drive::Standing::Foreign { why } => format!("is not one of this box: {why}. It is left alone."),
        drive::Standing::Suspect { why } => format!("made an error: {why}."),
        other @ (drive::Standing::Absent
        | drive::Standing::Ejected
        | drive::Standing::Former
        | drive::Standing::Retired
        | drive::Standing::InUse
        | drive::Standing::ReadOnly
        | drive::Standing::Stuck
        | drive::Standing::Clone { .. }
        | drive::Standing::Failing { .. }) => format!("cannot be used: {}.", other.word()),
    }
}

/// `what`: the form it is in; what was typed in another one is not shown.
fn name_field(label: &str, (what, typed): (&str, &Form), hint: &str) -> Markup {
    let typed = if typed.what == what { typed.name.as_str() } else { "" };
    html! {
        label for="name" { (label) }
        input #name type="text" name="name" value=(typed) required maxlength="60" autocapitalize="none" autocorrect="off"
            spellcheck="false" autocomplete="username";
        p .hint { (hint) }
    }
}

/// The box becomes somebody's.
fn claim(typed: &Form) -> Markup {
    html! {
        p { "The box has its main drive, and nobody uses it yet. Whoever comes first looks after it: adds people, phones and drives on this page." }
        form method="post" autocomplete="on" {
            input type="hidden" name="do" value="claim";
            (name_field("Your name", ("claim", typed), "A short one, such as anna: with it you sign in, and your photos get a folder of that name."))
            (new_password(true))
            button { "This box is mine" }
        }
    }
}

fn new_password(required: bool) -> Markup {
    html! {
        label for="password" { "A password" }
        input #password type="password" name="password" required[required] minlength="8" maxlength="200" autocomplete="new-password";
        p .hint { "At least 8 characters. For this page and for signing in with the Nextcloud app; phones get their own." }
        label for="again" { "The same again" }
        input #again type="password" name="again" required[required] maxlength="200" autocomplete="new-password";
        p .hint {}
    }
}

fn sign_in(typed: &Form) -> Markup {
    html! {
        p { "To add phones, people or drives, sign in." }
        form method="post" autocomplete="on" {
            input type="hidden" name="do" value="sign-in";
            (name_field("Your name on this box", ("sign-in", typed), "The short one."))
            label for="password" { "Your password" }
            input #password type="password" name="password" required maxlength="200" autocomplete="current-password";
            p .hint { "Your own, not a phone's." }
            button { "Sign in" }
        }
        p .after { "Forgotten? Whoever can use the box's command line sets another one: " code { "shoebox person password NAME" } "." }
    }
}

/// What its owner sees.
fn owner(found: &Found, who: &Slug, shown: &Shown) -> Markup {
    let people = found.people.as_deref().unwrap_or_default();
    html! {
        @if shown.added.is_none() { (findings(found)) }
        (phone(found, who, shown))
        h2 { "People" }
        ul {
            @for person in people {
                li { strong { (person.name) } ": " (many(person.devices, "device", "devices")) ", " (many(person.files, "photo or video", "photos and videos")) }
            }
        }
        form method="post" autocomplete="off" {
            input type="hidden" name="do" value="person";
            (name_field("Somebody else", ("person", &shown.typed), "A short name: it becomes a folder."))
            (new_password(false))
            p .hint { "With a password they add their phones here themselves, and nobody else does. Without one, you do." }
            button { "Add this person" }
        }
        h2 { "Drives" }
        (drives(found))
        (out())
    }
}

/// What everybody else of the family sees.
fn member(found: &Found, who: &Slug, shown: &Shown) -> Markup {
    html! { (phone(found, who, shown)) (out()) }
}

fn out() -> Markup {
    html! {
        hr;
        form method="post" {
            input type="hidden" name="do" value="out";
            button { "Sign out" }
        }
    }
}

fn many(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn phone(found: &Found, who: &Slug, shown: &Shown) -> Markup {
    let phones = || App::ALL.into_iter().filter(|app| app.kind() == DeviceKind::Phone && *app != App::Sumu);
    let again = shown.typed.what == "phone";
    let (whose, called) =
        if again { (shown.typed.name.as_str(), shown.typed.phone.as_str()) } else { (who.as_str(), "") };
    let chosen = phones().position(|app| again && app.word() == shown.typed.app).unwrap_or(0);
    html! {
        h2 { @if shown.added.is_some() { "Another phone" } @else { "A phone" } }
        form method="post" autocomplete="off" {
            input type="hidden" name="do" value="phone";
            label for="whose" { "Whose phone is it?" }
            select #whose name="name" {
                @for name in found.may_add_for(who) {
                    option value=(name) selected[name.as_str() == whose] { (name) }
                }
            }
            label for="phone" { "What is it to be called?" }
            input #phone type="text" name="phone" value=(called) required maxlength="60" autocapitalize="none" autocorrect="off"
                spellcheck="false";
            p .hint { "Such as iphone. Its photos get a folder of this name." }
            fieldset {
                legend { "With which app?" }
                @for (n, app) in phones().enumerate() {
                    label .choice {
                        input type="radio" name="app" value=(app.word()) checked[n == chosen];
                        span { (app.about()) }
                    }
                }
            }
            button { "Show the code for it" }
        }
    }
}

/// What is to be scanned or typed on the phone. Shown once.
fn card(label: &str, setup: &Setup) -> Markup {
    html! {
        h1 { (label) " is added" }
        p .note { "What follows is shown only now: there is a password in it. Do it before you leave this page." }
        @if let Some(code) = &setup.code {
            (drawn(&code.content))
            p { (code.how) }
            @if code.content.starts_with("nc://") {
                p { "Is this page open on that very phone? " a #here href=(code.content) { "Open it in the app" } "." }
            }
        }
        table {
            @for (name, value) in &setup.settings {
                tr { th { (name) } td { code { (value) } } }
            }
        }
        ul { @for switch in &setup.switches { li { (switch) } } }
        p .hint { "Its files lie in " code { (setup.folder) } " on the drives." }
    }
}

/// A code to scan: black on white in the dark, too. What it holds is not in the picture's text.
fn drawn(content: &str) -> Markup {
    use qrcode::render::svg;
    let Ok(code) = qrcode::QrCode::with_error_correction_level(content, qrcode::EcLevel::L) else {
        return html! {};
    };
    let picture = code
        .render::<svg::Color<'_>>()
        .min_dimensions(260, 260)
        .dark_color(svg::Color("#000"))
        .light_color(svg::Color("#fff"))
        .build();
    // After the declaration of XML, which has no place in HTML.
    let from = picture.find("<svg").unwrap_or(0);
    html! { div .code role="img" aria-label="A code to scan with the phone" { (PreEscaped(&picture[from..])) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_is_text() {
        let evil = "\"><img src=x>";
        let found = Found { people: Some(vec![]), ..Found::default() };
        let typed = Form { what: "claim".to_owned(), name: evil.to_owned(), ..Form::default() };
        let shown = Shown { problem: Some(evil.to_owned()), typed, added: None };
        let text = whole(&found, &Stage::Claim, &shown).into_string();
        assert!(!text.contains("<img") && text.contains("&quot;&gt;&lt;img src=x&gt;"), "{text}");
    }

    #[test]
    fn a_code_is_a_picture_and_says_nothing_in_words() {
        let text = drawn("nc://login/user:anna&password:secret&server:http://x").into_string();
        assert!(text.contains("<svg") && !text.contains("secret") && !text.contains("<?xml"), "{text}");
    }
}
