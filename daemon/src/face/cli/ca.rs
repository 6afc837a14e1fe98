//! `shoebox ca`: what phones need to trust the box over HTTPS.
use std::fmt::Write as _;

use clap::Subcommand;

use super::{Cx, Exit};
use crate::face::address::Address;
use crate::face::control::{Fault, FaultKind, Request};
use crate::work::certificates::CertificateView;

/// Show the authority of the box's certificates, which phones are told to trust
#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Show its fingerprint, where phones get it, and what the box's certificate names
    ///
    /// The box makes an authority of its own when HTTPS is first on, and keeps it on every drive: whoever trusts it goes on doing
    /// so when the card or a drive is replaced. It may vouch for this box's names and for addresses in homes, and for nothing
    /// else. Exit code 1 while there is none, or not on every drive.
    #[command(after_long_help = "\
Examples:
  shoebox ca show
  shoebox ca show --pem > shoebox.pem
  shoebox ca show --json | jq -r .authority.fingerprint")]
    Show {
        /// Print its certificate, for programs that ask for a file
        #[arg(long, conflicts_with = "json")]
        pem: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Ca {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let Self::Show { pem, json } = self;
        let view: CertificateView = cx.ask(&Request::CaShow {})?;
        let well = view.authority.is_some() && view.waiting.is_none();
        if json {
            cx.json(&view)?;
        } else if pem {
            let Some(authority) = &view.authority else { return Err(none(&view).into()) };
            write!(cx.out, "{}", authority.pem)?;
        } else if view.wanted {
            let page = Address::for_trust(&cx.settings()?);
            write!(cx.out, "{}", shown(&view, page.as_deref()))?;
        } else {
            writeln!(
                cx.out,
                "HTTPS is not on. To turn it on, set `listen` in section [tls] of the settings."
            )?;
        }
        Ok(if well || !view.wanted { Exit::Fine } else { Exit::NeedsPerson })
    }
}

fn none(view: &CertificateView) -> Fault {
    if view.wanted {
        let why = view.waiting.as_deref().unwrap_or("it is being made");
        Fault::new(
            FaultKind::Unavailable,
            format!("there is no certificate yet: {why}"),
            "see `shoebox status`",
        )
    } else {
        Fault::new(FaultKind::NotFound, "HTTPS is not on", "set `listen` in section [tls] of the settings")
    }
}

fn shown(view: &CertificateView, page: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(authority) = &view.authority {
        let _ = writeln!(text, "  authority    {}", authority.name);
        let _ = writeln!(text, "  SHA-256      {}", authority.fingerprint);
        let drives: Vec<String> = authority.kept_on.iter().map(|drive| drive.short()).collect();
        let _ = writeln!(text, "  kept on      {}", drives.join(", "));
        let hosts: Vec<&str> = view.names.hosts.iter().map(String::as_str).collect();
        let _ = writeln!(text, "  names        {}", hosts.join(", "));
        let addresses: Vec<String> = view.names.addresses.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  addresses    {}", addresses.join(", "));
        if let Some(until) = view.until {
            let day = until.to_zoned(jiff::tz::TimeZone::UTC).date();
            let _ = writeln!(text, "  good until   {day}; made anew before that");
        }
    } else {
        let _ = writeln!(text, "There is no certificate yet.");
    }
    if let Some(why) = &view.waiting {
        let _ = writeln!(text, "  waiting      {why}");
    }
    if let Some(page) = page {
        let _ = writeln!(text, "\nOn each phone, once: open {page}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::certificate::Names;
    use crate::work::certificates::AuthorityView;

    #[test]
    fn what_people_compare() {
        let authority = AuthorityView {
            name: "Shoebox 1f0a3b5c".to_owned(),
            fingerprint: "AA:BB".to_owned(),
            pem: String::new(),
            kept_on: vec!["1f0a3b5c1f0a3b5c1f0a3b5c1f0a3b5c".parse().unwrap()],
        };
        let names = Names {
            hosts: ["shoebox.local".to_owned(), "localhost".to_owned()].into(),
            addresses: ["192.168.1.9".parse().unwrap()].into(),
        };
        let until = Some("2029-02-27T12:00:00Z".parse().unwrap());
        let mut view =
            CertificateView { wanted: true, waiting: None, authority: Some(authority), names, until };
        expect_test::expect![[r#"
              authority    Shoebox 1f0a3b5c
              SHA-256      AA:BB
              kept on      1f0a3b5c
              names        localhost, shoebox.local
              addresses    192.168.1.9
              good until   2029-02-27; made anew before that

            On each phone, once: open http://192.168.1.9:8080/ca
        "#]]
        .assert_eq(&shown(&view, Some("http://192.168.1.9:8080/ca")));
        view.authority = None;
        view.waiting = Some("the main drive is not there".to_owned());
        assert!(
            shown(&view, None).contains("no certificate yet.\n  waiting      the main drive is not there")
        );
        assert_eq!(none(&view).kind, FaultKind::Unavailable);
    }
}
