//! Certificates as phones look at them: what is good, until when, under which names, and what an authority may not sign.
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::looking::{Authority, Shown, Unfit};
use super::making;
use crate::model::certificate::Names;
use crate::plan::certifying::{DAYS, DAYS_BACK, names, permitted};

fn home() -> Names {
    names("shoebox", &["photos.example.org".to_owned()], &BTreeSet::from(["192.168.1.9".parse().unwrap()]))
}

fn authority(names: &Names) -> Authority {
    Authority::read(making::authority("1f0a3b5c", &permitted(names)).unwrap().as_bytes()).unwrap()
}

fn shown(authority: &Authority, names: &Names, from: Timestamp) -> Shown {
    Shown::read(making::certificate("1f0a3b5c", authority, names, from).unwrap().as_bytes()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn after(days: i64) -> Timestamp {
    now().saturating_add(SignedDuration::from_hours(24 * days)).unwrap()
}

#[test]
fn a_certificate_is_good_for_its_names_and_its_days() {
    let names = home();
    let authority = authority(&names);
    let shown = shown(&authority, &names, now());
    assert_eq!(shown.fits(&authority, &names, &[after(-1), now(), after(60)]), Ok(()));
    let last = i64::try_from(DAYS - DAYS_BACK).unwrap();
    assert_eq!(shown.until(), Some(after(last)));
    assert_eq!(shown.fits(&authority, &names, &[after(last - 1)]), Ok(()));
    assert_eq!(shown.fits(&authority, &names, &[after(last + 1)]), Err(Unfit::Time));
    assert_eq!(shown.fits(&authority, &names, &[after(-3)]), Err(Unfit::Time));
    let more = Names {
        addresses: names.addresses.iter().copied().chain(["10.0.0.7".parse().unwrap()]).collect(),
        ..names.clone()
    };
    assert_eq!(shown.fits(&authority, &more, &[now()]), Err(Unfit::Name("10.0.0.7".to_owned())));
    shown.config().unwrap();
}

#[test]
fn another_authority_is_another() {
    let names = home();
    let (one, other) = (authority(&names), authority(&names));
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert!(matches!(shown(&one, &names, now()).fits(&other, &names, &[now()]), Err(Unfit::Other(_))));
    let again = Authority::read(one.file()).unwrap();
    assert_eq!(again.fingerprint(), one.fingerprint());
    assert_eq!(shown(&again, &names, now()).fits(&one, &names, &[now()]), Ok(()));
}

#[test]
fn whoever_has_the_key_cannot_stand_in_for_a_bank() {
    let names = home();
    let authority = authority(&names);
    let bank = |host: &str| Names { hosts: [host.to_owned()].into(), ..Names::default() };
    let address = |ip: &str| Names { addresses: [ip.parse().unwrap()].into(), ..Names::default() };
    for stolen in
        [bank("bank.example"), bank("example.org"), bank("local.bank.example"), address("192.0.2.7")]
    {
        let signed = shown(&authority, &stolen, now());
        assert_eq!(signed.fits(&authority, &stolen, &[now()]), Err(Unfit::Constraint), "{stolen:?}");
    }
    for ours in [bank("other.local"), bank("x.photos.example.org"), bank("nas.lan"), address("10.1.2.3")] {
        assert_eq!(shown(&authority, &ours, now()).fits(&authority, &ours, &[now()]), Ok(()), "{ours:?}");
    }
}

#[test]
fn what_is_damaged_is_none() {
    let names = home();
    let (one, other) = (authority(&names), authority(&names));
    let text = |authority: &Authority| String::from_utf8(authority.file().to_vec()).unwrap();
    let (own, foreign) = (text(&one), text(&other));
    let certificate = |file: &str| file[file.find("-----BEGIN CERT").unwrap()..].to_owned();
    let key = |file: &str| file[..file.find("-----BEGIN CERT").unwrap()].to_owned();
    assert!(Authority::read((key(&own) + &certificate(&own)).as_bytes()).is_some());
    for broken in [
        String::new(),
        "x".repeat(9000),
        key(&own),
        certificate(&own),
        key(&own) + &certificate(&foreign),
        own.replace('M', "N"),
        own[..own.len() / 2].to_owned(),
    ] {
        assert!(Authority::read(broken.as_bytes()).is_none(), "{broken}");
        assert!(Shown::read(broken.as_bytes()).is_none(), "{broken}");
    }
}

#[test]
fn any_byte_that_rots_is_noticed_or_does_no_harm() {
    let names = home();
    let authority = authority(&names);
    let good = shown(&authority, &names, now());
    let mut noticed = 0;
    for at in (0..good.file().len()).step_by(7) {
        let mut rotten = good.file().to_vec();
        rotten[at] ^= 1;
        match Shown::read(&rotten) {
            Some(read) => noticed += usize::from(read.fits(&authority, &names, &[now()]).is_err()),
            None => noticed += 1,
        }
    }
    assert!(noticed > 100, "{noticed}");
}
