//! What the mirror takes next, and for what it waits: small before big, newest first, uploads before everything.
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use shoebox::model::drive::DriveRole;
use shoebox::plan::mirroring::LONGEST_WAIT;
use shoebox::store::catalogue::apply::BIG;
use shoebox::store::catalogue::copies::failed;
use shoebox::store::catalogue::queue::WantedRow;
use shoebox::work::news::{NewsKind, PhotoNews};

use super::decorated::Call;
use super::furnished::Furnished;

const GIVE_UP: Duration = Duration::from_secs(60);

/// The mirror has met drive B: what is put from now on is queued for it one by one.
fn enrolled() -> Furnished {
    let mut home = Furnished::new();
    home.mirrored();
    home
}

fn queue(home: &Furnished, now: Timestamp, limit: usize) -> Vec<WantedRow> {
    let latest = now.checked_add(LONGEST_WAIT).unwrap();
    home.pool
        .primary()
        .unwrap()
        .catalogue
        .read(|r| r.wanted(home.id("b"), now, latest, false, limit))
        .unwrap()
}

fn names(rows: &[WantedRow]) -> Vec<&str> {
    rows.iter().map(|row| row.path.name()).collect()
}

#[test]
fn small_before_big_and_newest_first() {
    let mut home = enrolled();
    let big = vec![7; usize::try_from(BIG).unwrap() + 1];
    for (name, bytes) in [("old.jpg", &b"1"[..]), ("film.mov", &big), ("new.jpg", b"2")] {
        home.put(&format!("anna/{name}"), bytes);
    }
    let now = home.pool.now();
    let expected = ["new.jpg", "old.jpg", "film.mov"];
    assert_eq!(names(&queue(&home, now, 10)), expected);
    assert_eq!(names(&queue(&home, now, 2)), expected[..2]);
    let news = home.pool.feed();
    home.mirrored();
    let of_b = |one: &PhotoNews| one.what == NewsKind::Proved { drive_role: DriveRole::Mirror };
    let proved: Vec<PhotoNews> = news.try_iter().filter(of_b).collect();
    assert_eq!(proved.iter().map(|one| one.path.name()).collect::<Vec<_>>(), expected);
    assert_eq!(names(&queue(&home, now, 10)), [""; 0]);
}

#[test]
fn what_failed_waits_for_its_time_and_a_clock_set_back_strands_nothing() {
    let home = enrolled();
    home.put("anna/fails.jpg", b"1");
    home.put("anna/other.jpg", b"2");
    let now = home.pool.now();
    let row = queue(&home, now, 10).pop().unwrap();
    let put_off = |until: Timestamp| {
        let primary = home.pool.primary().unwrap();
        primary.catalogue.write(|tx| failed(tx, row.name, home.id("b"), until)).unwrap();
    };
    let second = SignedDuration::from_secs(1);
    let soon = now.checked_add(second).unwrap();
    put_off(soon);
    assert_eq!(names(&queue(&home, now, 10)), ["other.jpg"]);
    let due = queue(&home, soon, 10);
    assert_eq!(names(&due), ["other.jpg", "fails.jpg"]);
    assert_eq!((due[0].tries, due[1].tries), (0, 1));
    let longest = now.checked_add(LONGEST_WAIT).unwrap();
    put_off(longest);
    assert_eq!(names(&queue(&home, now, 10)), ["other.jpg"]);
    put_off(longest.checked_add(second).unwrap());
    assert_eq!(names(&queue(&home, now, 10)), ["other.jpg", "fails.jpg"]);
}

#[test]
fn the_mirror_waits_for_the_lane_of_its_drive() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"a photo");
    let pool = std::sync::Arc::clone(&home.pool);
    let b = pool.others().pop().unwrap();
    let lane = b.turns.background();
    let (say, hear) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            home.mirrored();
            say.send(()).unwrap();
        });
        assert!(hear.recv_timeout(Duration::from_millis(300)).is_err(), "two at once on drive B");
        drop(lane);
        hear.recv_timeout(GIVE_UP).unwrap();
    });
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
}

#[test]
fn an_upload_announces_itself_while_it_is_settled() {
    let (home, a, _) = Furnished::new().decorated();
    let (say, hear) = channel();
    let primary = home.pool.primary().unwrap();
    let drive = std::sync::Arc::clone(&primary.attached);
    a.step_in(move |call, _| {
        if call == Call::Append {
            let began = Instant::now();
            drop(drive.turns.background());
            say.send(began.elapsed()).unwrap();
        }
        Ok(())
    });
    home.put("anna/a.jpg", b"a photo");
    let waited = hear.recv_timeout(GIVE_UP).unwrap();
    assert!(waited >= Duration::from_millis(20), "background work waited {waited:?}");
}
