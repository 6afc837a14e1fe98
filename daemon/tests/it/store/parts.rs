//! Uploads in parts: what is acknowledged of them outlives a restart, nothing that is not whole becomes a photo, and what nobody
//! finishes goes.
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use shoebox::work::error::Refusal;
use shoebox::work::ingest::{Ack, Outcome};
use shoebox::work::parts::{Numbering, Part, Parts, Said, UploadId, Whole};
use shoebox::work::sweep::Sweep;

use super::furnished::{Furnished, computer, offer, phone};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const COUNTED: Whole = Whole { total: None, numbering: Numbering::From(1) };

struct Sending {
    parts: Parts,
    id: UploadId,
}

impl Sending {
    fn of(home: &Furnished, client_id: &str) -> Self {
        let id = UploadId::of(&computer(), "test", client_id);
        Self { parts: Parts::new(Arc::clone(&home.pool)), id }
    }

    fn open(&self) -> bool {
        self.parts.open(&computer(), &self.id, &Said::default()).unwrap().1
    }

    fn send(&self, number: u64, bytes: &[u8]) -> Result<Part, Refusal> {
        let mut part = self.parts.begin(&self.id, number, Some(bytes.len() as u64))?;
        part.write(bytes)?;
        part.finish()
    }

    fn numbers(&self) -> Vec<(u64, u64)> {
        let upload = self.parts.look(&self.id).unwrap();
        upload.map_or(Vec::new(), |u| u.parts.iter().map(|part| (part.number, part.size)).collect())
    }

    fn assemble(&self, name: &str, whole: Whole) -> Result<Ack, Refusal> {
        self.parts.assemble(&self.id, whole, offer(name, 0))
    }

    fn dir(&self, home: &Furnished) -> PathBuf {
        home.mount("a").join(".shoebox/uploads").join(self.id.as_str())
    }
}

fn sweep(home: &Furnished) {
    while Sweep::new(Arc::clone(&home.pool)).step().unwrap() {}
}

#[test]
fn an_upload_goes_on_after_a_restart_and_its_outcome_is_told_again() {
    let home = Furnished::new();
    let bytes = luck::bytes(4, 700_000);
    let sending = Sending::of(&home, "../../photos");
    assert!(sending.open());
    assert!(!sending.open(), "an upload that is there is found");
    sending.send(2, &bytes[300_000..600_000]).unwrap();
    sending.send(1, &bytes[..100]).unwrap();
    sending.send(1, &bytes[..300_000]).unwrap();
    // A part that is cut off, and one that is longer than was said, leave what is there as it is.
    let mut cut = sending.parts.begin(&sending.id, 3, Some(100_000)).unwrap();
    cut.write(&bytes[600_000..650_000]).unwrap();
    drop(cut);
    let mut long = sending.parts.begin(&sending.id, 1, Some(10)).unwrap();
    assert!(matches!(long.write(&bytes[..11]), Err(Refusal::WrongLength { .. })));
    drop(long);
    drop(sending);
    let home = home.restarted();
    let sending = Sending::of(&home, "../../photos");
    assert_eq!(sending.numbers(), [(1, 300_000), (2, 300_000)]);
    sending.send(3, &bytes[600_000..]).unwrap();
    let ack = sending.assemble("anna/big.mov", COUNTED).unwrap();
    assert_eq!(ack.outcome(), Outcome::Created);
    assert_eq!(fs::read(home.at("a", "anna/big.mov")).unwrap(), bytes);
    assert!(sending.numbers().is_empty());
    // The client did not hear it: the same again, also after the next restart.
    let again = sending.assemble("anna/big.mov", COUNTED).unwrap();
    assert_eq!((again.node(), again.outcome()), (ack.node(), Outcome::Created));
    drop(sending);
    let home = home.restarted();
    let sending = Sending::of(&home, "../../photos");
    assert_eq!(sending.assemble("anna/big.mov", COUNTED).unwrap().node(), ack.node());
    assert!(matches!(sending.send(4, b"late"), Err(Refusal::NotFound)));
    // But not when the name has other bytes by now.
    home.put("anna/big.mov", b"another film");
    assert!(matches!(sending.assemble("anna/big.mov", COUNTED), Err(Refusal::NotFound)));
    home.pass(25);
    sweep(&home);
    assert!(!sending.dir(&home).exists());
}

#[test]
fn what_is_not_whole_becomes_no_photo_and_can_still_be_completed() {
    let home = Furnished::new();
    let sending = Sending::of(&home, "1");
    sending.open();
    sending.send(1, b"one").unwrap();
    sending.send(3, b"three").unwrap();
    assert!(matches!(sending.assemble("anna/a.jpg", COUNTED), Err(Refusal::NotWhole(_))));
    let total = |total| Whole { total: Some(total), numbering: Numbering::Rising };
    assert!(matches!(sending.assemble("anna/a.jpg", total(9)), Err(Refusal::NotWhole(_))));
    assert!(matches!(
        sending.assemble("anna/a.jpg", Whole { total: None, ..total(0) }),
        Err(Refusal::NotWhole(_))
    ));
    sending.parts.drop_part(&sending.id, 3).unwrap();
    assert!(matches!(sending.parts.drop_part(&sending.id, 3), Err(Refusal::NotFound)));
    assert!(!home.at("a", "anna/a.jpg").exists());
    sending.assemble("anna/a.jpg", total(3)).unwrap();
    assert_eq!(fs::read(home.at("a", "anna/a.jpg")).unwrap(), b"one");
}

#[test]
fn what_came_of_a_part_is_kept_where_the_dialect_goes_on_from_there() {
    let home = Furnished::new();
    let sending = Sending::of(&home, "1");
    sending.open();
    let mut part = sending.parts.begin(&sending.id, 0, Some(100)).unwrap();
    part.write(b"0123456").unwrap();
    assert_eq!(part.keep().unwrap().size, 7);
    sending.send(7, b"789").unwrap();
    let whole = Whole { total: Some(10), numbering: Numbering::Offsets };
    sending.assemble("anna/a.jpg", whole).unwrap();
    assert_eq!(fs::read(home.at("a", "anna/a.jpg")).unwrap(), b"0123456789");
}

#[test]
fn a_part_that_rots_while_it_waits_is_asked_for_again() {
    for in_order in [true, false] {
        let home = Furnished::new();
        let sending = Sending::of(&home, "1");
        sending.open();
        let mut all = [(1, b"one"), (2, b"two"), (3, b"six")];
        if !in_order {
            all.reverse();
        }
        for (number, bytes) in all {
            sending.send(number, bytes).unwrap();
        }
        let grown = sending.dir(&home).join("whole");
        let (file, at) = match in_order && grown.exists() {
            true => (grown, 4),
            false => (sending.dir(&home).join(format!("{:020}", 2)), 1),
        };
        let mut rotten = fs::read(&file).unwrap();
        rotten[at] ^= 1;
        fs::write(&file, rotten).unwrap();
        assert!(matches!(sending.assemble("anna/a.jpg", COUNTED), Err(Refusal::Unavailable { .. })));
        assert!(!home.at("a", "anna/a.jpg").exists());
        assert_eq!(sending.numbers(), [(1, 3)]);
        sending.send(2, b"two").unwrap();
        // What was behind it went with it, and was acknowledged once.
        assert!(matches!(sending.assemble("anna/a.jpg", COUNTED), Err(Refusal::Unavailable { .. })));
        assert!(!home.at("a", "anna/a.jpg").exists());
        sending.send(3, b"six").unwrap();
        sending.assemble("anna/a.jpg", COUNTED).unwrap();
        assert_eq!(fs::read(home.at("a", "anna/a.jpg")).unwrap(), b"onetwosix");
    }
}

#[test]
fn what_nobody_finishes_goes_after_two_weeks_and_not_before() {
    let home = Furnished::new();
    let (left, given_up) = (Sending::of(&home, "left"), Sending::of(&home, "given up"));
    for sending in [&left, &given_up] {
        sending.open();
        sending.send(1, b"one").unwrap();
    }
    given_up.parts.abandon(&given_up.id).unwrap();
    assert!(!given_up.dir(&home).exists());
    assert!(matches!(given_up.parts.abandon(&given_up.id), Err(Refusal::NotFound)));
    home.pass(13 * 24);
    sweep(&home);
    left.send(2, b"two").unwrap();
    home.pass(13 * 24);
    sweep(&home);
    assert_eq!(left.numbers(), [(1, 3), (2, 3)]);
    home.pass(2 * 24);
    sweep(&home);
    assert!(!left.dir(&home).exists());
    assert!(matches!(left.send(3, b"late"), Err(Refusal::NotFound)));
}

#[test]
fn parts_count_against_their_persons_quota() {
    let home = Furnished::new();
    home.pool.set_quota(&computer().person, Some(1000)).unwrap();
    let sending = Sending::of(&home, "1");
    sending.open();
    sending.send(1, &[1; 600]).unwrap();
    assert!(matches!(sending.send(2, &[2; 600]), Err(Refusal::OverQuota { .. })));
    sending.send(2, &[2; 400]).unwrap();
    assert!(matches!(sending.send(3, &[3; 1]), Err(Refusal::OverQuota { .. })));
    // Put together, they are used once.
    sending.assemble("anna/a.jpg", COUNTED).unwrap();
    assert_eq!(home.tree().room(&computer().person).unwrap().1, 1000);
}

#[test]
fn more_than_the_drive_holds_is_refused_at_the_start() {
    let home = Furnished::new();
    let sending = Sending::of(&home, "1");
    let said = Said { total: Some(1 << 60), ..Said::default() };
    let refused = sending.parts.open(&computer(), &sending.id, &said);
    assert!(matches!(refused, Err(Refusal::Full { .. })));
    let long = Said { notes: [("name".to_owned(), "x".repeat(9000))].into(), ..Said::default() };
    assert!(matches!(sending.parts.open(&computer(), &sending.id, &long), Err(Refusal::TooMany(_))));
    assert!(!sending.dir(&home).exists());
    let other = UploadId::of(&phone(), "test", "1");
    sending.open();
    assert!(sending.parts.look(&other).unwrap().is_none(), "another device's id is another upload");
}

#[test]
fn two_that_put_it_together_at_once_have_one_outcome() {
    let home = Furnished::new();
    let sending = Sending::of(&home, "1");
    sending.open();
    let bytes = luck::bytes(9, 3_000_000);
    sending.send(1, &bytes).unwrap();
    let acks: Vec<Ack> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| sending.assemble("anna/a.mov", COUNTED).unwrap())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(acks.iter().all(|ack| ack.outcome() == Outcome::Created && ack.node() == acks[0].node()));
    assert_eq!(fs::read(home.at("a", "anna/a.mov")).unwrap(), bytes);
}

/// exFAT has neither nameless files nor, served by FUSE, a rename that refuses to replace.
#[test]
fn parts_on_exfat() {
    let spare = tempfile::tempdir().unwrap();
    let image = spare.path().join("exfat.img");
    let exfat = |at: &std::path::Path| Mounted::image(&image, 64, &["mkfs.exfat"], at);
    let (home, _mounted) = match Furnished::mounted("a", exfat) {
        Ok(made) => made,
        Err(why) => return leave_out("parts-on-exfat", &why),
    };
    let sending = Sending::of(&home, "1");
    sending.open();
    sending.send(1, b"one").unwrap();
    sending.send(1, b"eins").unwrap();
    sending.send(2, b"zwei").unwrap();
    drop(sending);
    let home = home.restarted();
    let sending = Sending::of(&home, "1");
    sending.assemble("anna/a.jpg", COUNTED).unwrap();
    assert_eq!(fs::read(home.at("a", "anna/a.jpg")).unwrap(), b"einszwei");
    assert!(!sending.dir(&home).join(format!("{:020}", 1)).exists());
}
