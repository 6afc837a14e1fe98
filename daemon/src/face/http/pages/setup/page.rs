//! What the set-up page looks like: plain HTML for a phone's screen, without scripts.
use maud::{Markup, PreEscaped, html};

use super::stage::{Stage, Standing};
use crate::face::apps::{App, Setup};
use crate::model::account::{DeviceKind, Slug};
use crate::model::drive::{self, DriveRole};
use crate::work::views::{DriveView, PersonView};

/// What is shown besides how the box stands.
#[derive(Default)]
pub(super) struct Shown {
    /// What is wrong with what was sent.
    pub(super) problem: Option<String>,
    /// The name that was typed.
    pub(super) typed: Option<String>,
    /// A phone that was added: its label, how its app is set up. There is a password in it.
    pub(super) added: Option<(String, Setup)>,
}

impl Shown {
    pub(super) fn is_plain(&self) -> bool {
        self.problem.is_none() && self.added.is_none()
    }
}

/// All of it.
pub(super) fn whole(standing: &Standing, stage: &Stage, shown: &Shown) -> Markup {
    let typed = shown.typed.as_deref().unwrap_or_default();
    html! {
        @if let Some((label, setup)) = &shown.added { (card(label, setup)) }
        @else { h1 { (title(stage)) } }
        @if let Some(problem) = &shown.problem { p .bad role="alert" { (problem) } }
        @match stage {
            Stage::Drives => (drives(standing)),
            Stage::Away => {
                p { "A drive of this box is here, but its main drive is not, and without that nothing is known of people and photos." }
                (drives(standing))
            }
            Stage::Claim => { (drives(standing)) (claim(typed)) }
            Stage::Locked(true) => (sign_in()),
            Stage::Locked(false) => {
                p .note { "This box was set up on its command line. Whoever looks after it can open this page with " code { "shoebox person password NAME" } "." }
            }
            Stage::Open(keeper) => (open(standing, keeper, typed, shown.added.is_some())),
        }
    }
}

const fn title(stage: &Stage) -> &'static str {
    match stage {
        Stage::Drives => "Two drives first",
        Stage::Away => "The main drive is away",
        Stage::Claim => "Who are you?",
        Stage::Locked(_) => "This box is set up",
        Stage::Open(_) => "Drives, people, phones",
    }
}

/// Every place where something is plugged in.
fn drives(standing: &Standing) -> Markup {
    let adoptable = standing.adoptable();
    let plugged = || standing.drives.iter().filter(|drive| drive.standing != drive::Standing::Absent);
    html! {
        @if plugged().next().is_none() {
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
                        button { (wish(*role)) }
                    }
                    p .hint { "Nothing that is on it already is deleted or changed." }
                }
            }
        }
        @if standing.people.is_some() && !standing.has_two() && adoptable.is_empty() {
            p .note { "There is one drive so far. Plug in a second one: a photo is safe when it is on both." }
        }
    }
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

fn name_field(label: &str, typed: &str, hint: &str) -> Markup {
    html! {
        label for="name" { (label) }
        input #name type="text" name="name" value=(typed) required maxlength="60" autocapitalize="none" autocorrect="off"
            spellcheck="false" autocomplete="username";
        p .hint { (hint) }
    }
}

/// The box becomes somebody's.
fn claim(typed: &str) -> Markup {
    html! {
        p { "The box has its main drive, and nobody uses it yet. Whoever comes first looks after it: adds people, phones and drives on this page." }
        form method="post" autocomplete="on" {
            input type="hidden" name="do" value="claim";
            (name_field("Your name", typed, "A short one, such as anna. Your photos get a folder of that name."))
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

fn sign_in() -> Markup {
    html! {
        p { "To add people, phones or drives, whoever set it up signs in." }
        form method="post" autocomplete="on" {
            input type="hidden" name="do" value="sign-in";
            (name_field("Your name on this box", "", "The short one, such as anna."))
            label for="password" { "Your password" }
            input #password type="password" name="password" required maxlength="200" autocomplete="current-password";
            p .hint {}
            button { "Sign in" }
        }
    }
}

/// What its keeper sees.
fn open(standing: &Standing, keeper: &Slug, typed: &str, again: bool) -> Markup {
    let people = standing.people.as_deref().unwrap_or_default();
    html! {
        h2 { @if again { "Another phone" } @else { "A phone" } }
        (phone(people, keeper))
        h2 { "People" }
        ul {
            @for person in people {
                li { strong { (person.name) } ": " (many(person.devices, "device", "devices")) ", " (many(person.files, "photo or video", "photos and videos")) }
            }
        }
        form method="post" autocomplete="off" {
            input type="hidden" name="do" value="person";
            (name_field("Somebody else", typed, "A short name: it becomes a folder."))
            (new_password(false))
            button { "Add this person" }
        }
        h2 { "Drives" }
        (drives(standing))
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

fn phone(people: &[PersonView], keeper: &Slug) -> Markup {
    let phones = || App::ALL.into_iter().filter(|app| app.kind() == DeviceKind::Phone && *app != App::Sumu);
    html! {
        form method="post" autocomplete="off" {
            input type="hidden" name="do" value="phone";
            label for="whose" { "Whose phone is it?" }
            select #whose name="name" {
                @for person in people {
                    option value=(person.name) selected[person.name == *keeper] { (person.name) }
                }
            }
            label for="phone" { "What is it to be called?" }
            input #phone type="text" name="phone" required maxlength="60" autocapitalize="none" autocorrect="off" spellcheck="false";
            p .hint { "Such as iphone. Its photos get a folder of this name." }
            fieldset {
                legend { "With which app?" }
                @for (n, app) in phones().enumerate() {
                    label .choice {
                        input type="radio" name="app" value=(app.word()) checked[n == 0];
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
        let standing = Standing { drives: vec![], people: Some(vec![]), keeper: None };
        let shown =
            Shown { problem: Some(evil.to_owned()), typed: Some(evil.to_owned()), ..Shown::default() };
        let text = whole(&standing, &Stage::Claim, &shown).into_string();
        assert!(!text.contains("<img") && text.contains("&quot;&gt;&lt;img src=x&gt;"), "{text}");
    }

    #[test]
    fn a_code_is_a_picture_and_says_nothing_in_words() {
        let text = drawn("nc://login/user:anna&password:secret&server:http://x").into_string();
        assert!(text.contains("<svg") && !text.contains("secret") && !text.contains("<?xml"), "{text}");
    }
}
