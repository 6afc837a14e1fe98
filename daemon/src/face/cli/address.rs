//! `shoebox address`: where the box is, as text and as a code to scan; on a screen that is attached to it, for as long as it runs.
use std::time::Duration;

use clap::Args;

use super::{Cx, Exit, screen};
use crate::face::address::Address;
use crate::face::control::{Request, StatusReport};
use crate::model::health::Light;
use crate::settings::Settings;

/// How often it is looked whether anything of it has changed.
const PERIOD: Duration = Duration::from_secs(5);
/// Clears the screen (ECMA-48: ED 2, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Show where the box is, as text and as a code to scan
///
/// Its pages are there: setting it up, sending photos from a browser, how it is doing. With --watch it goes on for good, and shows
/// what changes: for a screen that is attached to the box.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox address
  shoebox address --json | jq -r .url
  sudo systemctl enable --now shoebox-screen    # on the screen attached to the box, in place of the prompt")]
pub(super) struct AddressOf {
    /// Go on, and show it anew whenever it changes
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print one JSON object: url, name_url (null where no name is announced), ca_url (null without HTTPS)
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Json {
    url: String,
    name_url: Option<String>,
    ca_url: Option<String>,
}

impl AddressOf {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let settings = cx.settings()?;
        let machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let announced = settings.announce.directory.is_dir();
        let name_url = machine.filter(|_| announced).map(|name| by_name(&settings, &name));
        if self.json {
            let url = Address::for_phones(&settings).web();
            cx.json(&Json { url, name_url, ca_url: Address::for_trust(&settings) })?;
            return Ok(Exit::Fine);
        }
        if !self.watch {
            write!(cx.out, "{}", shown(&Address::for_phones(&settings), name_url.as_deref(), None))?;
            return Ok(Exit::Fine);
        }
        let mut last = String::new();
        loop {
            let report = cx.ask::<StatusReport>(&Request::Status {}).ok();
            let line = report.map_or_else(|| "It is starting.".to_owned(), |report| how(&report));
            let text = shown(&Address::for_phones(&settings), name_url.as_deref(), Some(&line));
            if text != last {
                write!(cx.out, "{CLEAR}{text}")?;
                cx.out.flush()?;
                last = text;
            }
            std::thread::sleep(PERIOD);
        }
    }
}

/// The same address by the machine's name in the home's network (RFC 6762).
fn by_name(settings: &Settings, machine: &str) -> String {
    let of = Address::for_phones(settings);
    let (scheme, _, port) = of.pieces();
    let label = machine.split('.').next().unwrap_or(machine);
    let usual = matches!((scheme, port), ("http", "80") | ("https", "443"));
    if usual { format!("{scheme}://{label}.local/") } else { format!("{scheme}://{label}.local:{port}/") }
}

fn how(report: &StatusReport) -> String {
    let worst = report.findings.iter().find(|finding| finding.light == report.light);
    match worst.filter(|_| report.light != Light::Green) {
        Some(finding) => screen::plain(&format!("{} {}", finding.sentence, finding.remedy)),
        None => "All is well.".to_owned(),
    }
}

/// All of it. A machine without a network has no address that is of any use to a phone.
fn shown(address: &Address, name_url: Option<&str>, line: Option<&str>) -> String {
    let url = address.web();
    let mut text = "Shoebox\n\n".to_owned();
    if address.is_of_this_machine_only() {
        text.push_str(
            "  It is in no network yet: plug in the cable to the router, or give it the Wi-Fi.\n\n",
        );
    } else {
        text.push_str(&format!("  Open  {url}\n"));
        if let Some(name) = name_url {
            text.push_str(&format!("  or    {name}\n"));
        }
        text.push('\n');
        if let Some(code) = screen::qr(&url, false) {
            text.push_str(&code);
            text.push('\n');
        }
    }
    if let Some(line) = line {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_screen_shows() {
        let at = Address::known("http://192.168.1.5:8080".to_owned());
        let text = shown(&at, Some("http://shoebox.local:8080/"), Some("All is well."));
        assert!(
            text.contains("Open  http://192.168.1.5:8080/\n  or    http://shoebox.local:8080/\n"),
            "{text}"
        );
        assert!(text.contains('█') || text.contains('▀'), "{text}");
        assert!(text.ends_with("  All is well.\n"));
        let alone = shown(&Address::known("http://127.0.0.1:8080".to_owned()), None, None);
        assert!(alone.contains("in no network yet") && !alone.contains("127.0.0.1"), "{alone}");
    }

    #[test]
    fn by_the_machines_name() {
        let mut settings = Settings::default();
        settings.http.listen = vec!["10.0.0.9:8080".parse().unwrap()];
        assert_eq!(by_name(&settings, "shoebox.lan"), "http://shoebox.local:8080/");
        settings.http.listen = vec!["10.0.0.9:80".parse().unwrap()];
        assert_eq!(by_name(&settings, "shoebox"), "http://shoebox.local/");
    }
}
