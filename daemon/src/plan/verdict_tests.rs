//! Every condition of the verdict is raised once and cleared once here (invariant I26), and dates are kept.
use super::*;
use crate::model::drive::{Id, Space};
use crate::plan::facts::{BlockedOn, BrakeFacts, LostFacts, SharingFacts, StepFacts, WorkerError};

const GB: u64 = 1 << 30;

fn now() -> Timestamp {
    "2026-11-21T18:00:00Z".parse().unwrap()
}

fn ago(duration: Duration) -> Option<Timestamp> {
    now().checked_sub(duration).ok()
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn space(percent: u64) -> Option<Space> {
    Some(Space { total: 100 * GB, available: (100 - percent) * GB, inodes: u64::MAX })
}

/// A box with nothing to report: two drives, all at work.
fn well() -> Facts {
    let drive = |id: &str, role| DriveFacts {
        id: id.to_owned(),
        role: Some(role),
        standing: Standing::Ready,
        since: ago(minutes(600)),
        last_ready: Some(now()),
        space: space(41),
        probe: Some(Duration::from_millis(12)),
        ..DriveFacts::default()
    };
    Facts {
        uptime: minutes(600),
        drives: vec![drive("aaaa", DriveRole::Primary), drive("bbbb", DriveRole::Mirror)],
        catalogue: CatalogueFacts::Open,
        memory: 80 << 20,
        memory_limit: Some(512 << 20),
        descriptors: 40,
        descriptor_limit: 1024,
        workers: vec![WorkerReport { name: "mirror".to_owned(), critical: true, ..WorkerReport::default() }],
        last_rescan: ago(minutes(300)),
        ..Facts::default()
    }
}

/// Whoever reaches the port may read findings (`/health`).
#[test]
fn no_finding_names_a_photo() {
    let whys = [
        (
            "could not flush photos/bob/phone/my: secret/a b.jpg: Input/output error (os error 5)",
            "a photo: Input",
        ),
        ("could not flush photos/bob/secret.jpg: I/O error", "a photo: I/O error"),
        ("could not compare the tree: could not open photos/bob/secret.jpg: not there", "a photo: not there"),
        ("could not make .shoebox/trash/2026-11-21/5/bob/secret.jpg", "make a photo"),
        ("could not flush .shoebox/probe: I/O error", ".shoebox/probe: I/O error"),
    ];
    for (why, expected) in whys {
        let why = why.to_owned();
        let mut facts = well();
        facts.drives[0].standing = Standing::Suspect { why: why.clone() };
        facts.drives[1].standing = Standing::Foreign { why: why.clone() };
        facts.catalogue = CatalogueFacts::Trouble { why: why.clone() };
        facts.workers[0].failures = 100;
        facts.drives[1].steps = StepFacts { failures: 100, last: why.clone() };
        facts.workers[0].last_error = Some(WorkerError { at: now(), what: why });
        let found = judge(&facts, &[], &Limits::default(), now());
        let told: Vec<&Finding> = found.iter().filter(|f| f.sentence.contains(expected)).collect();
        assert_eq!(told.len(), 5, "{found:?}");
        let private = |f: &&Finding| f.sentence.contains("bob") || f.sentence.contains("secret");
        assert!(!found.iter().any(|f| private(&f)), "{found:?}");
    }
}

fn found(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = well();
    change(&mut facts);
    judge(&facts, &[], &Limits::default(), now())
        .into_iter()
        .map(|f| {
            format!(
                "{} {}{}",
                f.light.as_str(),
                f.code,
                if f.about.is_empty() { f.about } else { format!(" {}", f.about) }
            )
        })
        .collect()
}

type Change = fn(&mut Facts);

/// What raises a finding, what it reads as, and the nearest state that does not raise it.
fn table() -> Vec<(&'static str, Change, Change)> {
    let mut rows: Vec<(&'static str, Change, Change)> = Vec::new();
    rows.extend(drive_rows());
    rows.extend(strange_rows());
    rows.extend(copy_rows());
    rows.extend(box_rows());
    rows.extend(sharing_rows());
    rows
}

fn stranger(facts: &mut Facts, standing: Standing) {
    facts.drives.push(DriveFacts { id: "/srv/x".to_owned(), standing, ..DriveFacts::default() });
}

fn fails(facts: &mut Facts, drive: usize, closed: bool) {
    facts.drives[drive].standing = Standing::Failing { incidents: 2, last: now(), closed };
}

fn clones(facts: &mut Facts, of: u8, role: DriveRole, diverged: &[bool]) {
    for (place, diverged) in ["/srv/x", "/srv/y"].into_iter().zip(diverged) {
        let standing = Standing::Clone { of: Id::from_random([of; 16]), role, diverged: *diverged };
        facts.drives.push(DriveFacts { id: place.to_owned(), standing, ..DriveFacts::default() });
    }
}

/// Rows about drives that are not what they should be.
fn strange_rows() -> [(&'static str, Change, Change); 10] {
    [
        (
            "amber drive-unreadable aaaa",
            |f| f.drives[0].unreadable.push(".shoebox/incoming".to_owned()),
            |_| {},
        ),
        ("red drive-failing aaaa", |f| fails(f, 0, true), |_| {}),
        ("red drive-failing aaaa", |f| fails(f, 0, false), |_| {}),
        ("red drive-failing bbbb", |f| fails(f, 1, true), |_| {}),
        ("amber drive-clone aaaaaaaa", |f| clones(f, 0xaa, DriveRole::Primary, &[false]), |_| {}),
        // In A's place there are two, which is all there is to say of it.
        (
            "red drives-diverged aaaaaaaa",
            |f| (f.drives.remove(0), clones(f, 0xaa, DriveRole::Primary, &[true, true])).1,
            |_| {},
        ),
        (
            "red drives-diverged bbbbbbbb",
            |f| {
                f.drives[1].id = "bbbbbbbb".to_owned();
                f.drives[1].standing = Standing::Absent;
                clones(f, 0xbb, DriveRole::Mirror, &[false, true]);
            },
            |_| {},
        ),
        // A was seen since the start, or was not.
        (
            "red primary-blank aaaa",
            |f| (stranger(f, Standing::Blank), f.drives[0].standing = Standing::Absent).1,
            |_| {},
        ),
        ("red primary-blank", |f| (stranger(f, Standing::Blank), f.drives.remove(0)).0, |_| {}),
        // On its way, perhaps.
        (
            "red primary-blank",
            |f| (stranger(f, Standing::Blank), f.drives.remove(0)).0,
            |f| {
                stranger(f, Standing::Blank);
                f.drives.remove(0);
                f.uptime = Duration::from_secs(9);
            },
        ),
    ]
}

fn drive_rows() -> [(&'static str, Change, Change); 25] {
    [
        ("red no-primary", |f| f.drives.clear(), |_| {}),
        ("red primary-absent", |f| drop(f.drives.remove(0)), |_| {}),
        ("amber no-mirror", |f| f.drives.truncate(1), |_| {}),
        ("red drive-absent aaaa", |f| f.drives[0].standing = Standing::Absent, |_| {}),
        ("red drive-absent bbbb", |f| f.drives[1].standing = Standing::Absent, |_| {}),
        (
            "amber drive-absent bbbb",
            |f| (f.drives[1].standing, f.drives[1].since) = (Standing::Absent, ago(minutes(59))),
            |_| {},
        ),
        ("red drive-ejected aaaa", |f| f.drives[0].standing = Standing::Ejected, |_| {}),
        (
            "amber drive-ejected bbbb",
            |f| (f.drives[1].standing, f.drives[1].since) = (Standing::Ejected, ago(minutes(59))),
            |_| {},
        ),
        (
            "red drive-foreign aaaa",
            |f| f.drives[0].standing = Standing::Foreign { why: "another box's".to_owned() },
            |_| {},
        ),
        ("red drive-in-use aaaa", |f| f.drives[0].standing = Standing::InUse, |_| {}),
        ("amber drive-blank /srv/x", |f| stranger(f, Standing::Blank), |_| {}),
        ("amber drive-former /srv/x", |f| stranger(f, Standing::Former), |_| {}),
        ("amber drive-retired /srv/x", |f| stranger(f, Standing::Retired), |_| {}),
        ("red drive-read-only aaaa", |f| f.drives[0].standing = Standing::ReadOnly, |_| {}),
        (
            "red drive-suspect bbbb",
            |f| f.drives[1].standing = Standing::Suspect { why: "a flush failed".to_owned() },
            |_| {},
        ),
        ("red drive-stuck aaaa", |f| f.drives[0].standing = Standing::Stuck, |_| {}),
        (
            "red drive-stuck aaaa",
            |f| f.drives[0].probe_waiting = Some(Duration::from_secs(30)),
            |f| f.drives[0].probe_waiting = Some(Duration::from_secs(4)),
        ),
        (
            "red drive-stuck bbbb",
            |f| f.workers[0].blocked_on = blocked(90),
            |f| f.workers[0].blocked_on = blocked(89),
        ),
        (
            "amber drive-slow bbbb",
            |f| f.drives[1].probe = Some(Duration::from_secs(5)),
            |f| f.drives[1].probe = Some(Duration::from_millis(4999)),
        ),
        ("amber drive-filling aaaa", |f| f.drives[0].space = space(85), |f| f.drives[0].space = space(84)),
        ("red drive-full aaaa", |f| f.drives[0].space = space(95), |f| f.drives[0].space = space(40)),
        ("red drive-full aaaa", |f| f.refused_for_room = 1, |_| {}),
        (
            "amber drive-full-soon bbbb",
            |f| f.drives[1].full_in = Some(29),
            |f| f.drives[1].full_in = Some(30),
        ),
        ("amber quota-nearly-used", |f| f.quotas = vec![(90, 100), (1, 2)], |f| f.quotas = vec![(89, 100)]),
        ("red two-drives-one-disk aaaa", twins, |f| (twins(f), f.demo = true).1),
    ]
}

fn blocked(seconds: u64) -> Option<BlockedOn> {
    Some(BlockedOn { drive: "bbbb".to_owned(), seconds })
}

fn twins(f: &mut Facts) {
    f.drives[0].same_disk_as = Some("bbbb".to_owned());
    f.drives[1].same_disk_as = Some("aaaa".to_owned());
}

fn behind(f: &mut Facts, age: Duration) {
    (f.drives[1].wanted, f.drives[1].oldest_wanted) = (3, ago(age));
}

fn offline(f: &mut Facts, seen: Duration) {
    f.drives.push(DriveFacts {
        id: "cccc".to_owned(),
        label: "Grandma".to_owned(),
        role: Some(DriveRole::Offline),
        last_ready: ago(seen),
        ..DriveFacts::default()
    });
}

fn failing(f: &mut Facts, drive: usize, failures: u32) {
    f.drives[drive].steps = StepFacts { failures, last: "could not copy".to_owned() };
}

fn offline_done(f: &mut Facts, since: Duration) {
    offline(f, since);
    if let Some(drive) = f.drives.last_mut() {
        drive.unpluggable = ago(since);
    }
}

fn offline_failing(f: &mut Facts, failures: u32) {
    offline(f, minutes(0));
    f.drives[2].standing = Standing::Ready;
    failing(f, 2, failures);
}

fn lost(f: &mut Facts, noted: Duration) {
    let ago = |age| ago(age).unwrap();
    f.lost = Some(LostFacts { noted: ago(noted), since: ago(noted + minutes(90)) });
}

fn copy_rows() -> [(&'static str, Change, Change); 12] {
    [
        ("red record-lost", |f| lost(f, minutes(29 * 24 * 60)), |f| lost(f, minutes(30 * 24 * 60))),
        ("amber mirror-behind bbbb", |f| behind(f, minutes(16)), |f| behind(f, minutes(15))),
        (
            "red mirror-behind bbbb",
            |f| behind(f, minutes(24 * 60)),
            |f| f.drives[1].oldest_wanted = ago(minutes(3000)),
        ),
        (
            "red mirror-held",
            |f| f.brake = Some(BrakeFacts { since: now(), vanished: 300, changed: 0, deleted: 7 }),
            |_| {},
        ),
        ("red copies-damaged bbbb", |f| f.drives[1].damaged = 1, |_| {}),
        ("red copies-missing aaaa", |f| f.drives[0].missing = 1, |_| {}),
        ("red copies-failing bbbb", |f| failing(f, 1, 5), |f| failing(f, 1, 4)),
        ("amber copies-failing cccc", |f| offline_failing(f, 5), |f| offline_failing(f, 0)),
        ("amber reread-overdue bbbb", |f| f.drives[1].unread = 1, |_| {}),
        (
            "amber offline-drive-due cccc",
            |f| offline(f, minutes(61 * 24 * 60)),
            |f| offline(f, minutes(44 * 24 * 60)),
        ),
        (
            "green offline-drive-due cccc",
            |f| offline(f, minutes(46 * 24 * 60)),
            |f| offline(f, minutes(44 * 24 * 60)),
        ),
        (
            "green offline-drive-done cccc",
            |f| offline_done(f, minutes(60)),
            |f| offline_done(f, minutes(25 * 60)),
        ),
    ]
}

fn box_rows() -> [(&'static str, Change, Change); 16] {
    [
        (
            "red catalogue-trouble",
            |f| f.catalogue = CatalogueFacts::Trouble { why: "quick_check".to_owned() },
            |f| f.catalogue = CatalogueFacts::Away,
        ),
        ("amber watcher-lost", |f| f.watching.lost_since = ago(minutes(5)), |_| {}),
        (
            "amber watch-limit-low",
            |f| (f.watching.folders, f.watching.limit) = (800, 1000),
            |f| (f.watching.folders, f.watching.limit) = (799, 1000),
        ),
        ("amber clock-unsure", |f| f.clock_unsure = true, |_| {}),
        ("amber memory-high", |f| f.memory = 410 << 20, |f| f.memory = 399 << 20),
        (
            "amber memory-high",
            |f| (f.memory, f.memory_limit) = (400 << 20, None),
            |f| (f.memory, f.memory_limit) = (399 << 20, None),
        ),
        ("amber descriptors-low", |f| f.descriptors = 820, |f| f.descriptors = 800),
        ("red descriptors-low", |f| f.descriptors = 1000, |_| {}),
        ("red worker-failing mirror", |f| fail(f, 5), |f| fail(f, 4)),
        ("amber worker-failing mirror", |f| (fail(f, 5), f.workers[0].critical = false).1, |_| {}),
        ("red worker-failing mirror", |f| f.workers[0].silent = true, |_| {}),
        (
            "amber snapshot-overdue",
            |f| f.unsaved_since = ago(minutes(7 * 24 * 60)),
            |f| f.unsaved_since = ago(minutes(7 * 24 * 60 - 1)),
        ),
        (
            "amber snapshot-overdue",
            |f| (f.unsaved_since, f.uptime) = (ago(minutes(8 * 24 * 60)), minutes(180)),
            |f| (f.unsaved_since, f.uptime) = (ago(minutes(8 * 24 * 60)), minutes(179)),
        ),
        ("amber names-unholdable", |f| f.unholdable = 1, |_| {}),
        (
            "amber rescan-overdue",
            |f| f.last_rescan = ago(minutes(26 * 60 + 1)),
            |f| f.last_rescan = ago(minutes(26 * 60)),
        ),
        (
            "amber rescan-overdue",
            |f| (f.last_rescan, f.uptime) = (None, minutes(27 * 60)),
            |f| (f.last_rescan, f.uptime) = (None, minutes(5)),
        ),
    ]
}

fn sharing_rows() -> [(&'static str, Change, Change); 3] {
    let well: Change = |f| f.sharing = SharingFacts::Well;
    [
        ("amber nfs-dead", |f| f.sharing = SharingFacts::Silent { why: "timed out".to_owned() }, well),
        (
            "amber nfs-not-exported",
            |f| f.sharing = SharingFacts::NotExported { why: "it was not told of them".to_owned() },
            |f| f.sharing = SharingFacts::Away,
        ),
        (
            "amber nfs-unreadable",
            |f| f.sharing = SharingFacts::Unreadable { why: "the server answers with error 5".to_owned() },
            well,
        ),
    ]
}

fn fail(f: &mut Facts, failures: u32) {
    f.workers[0].failures = failures;
    f.workers[0].last_error = Some(WorkerError { at: now(), what: "could not copy".to_owned() });
}

#[test]
fn each_condition_is_raised_and_cleared() {
    assert!(found(|_| {}).is_empty());
    for (line, raise, clear) in table() {
        assert_eq!(found(raise), [line], "raised");
        assert!(found(clear).is_empty(), "{line} cleared: {:?}", found(clear));
    }
}

#[test]
fn every_code_of_this_file_is_in_the_table() {
    let source = concat!(
        include_str!("verdict.rs"),
        include_str!("verdict/copies.rs"),
        include_str!("verdict/drives.rs"),
        include_str!("verdict/room.rs"),
        include_str!("verdict/sharing.rs")
    );
    let mut codes = std::collections::BTreeSet::new();
    for part in source.split("self.find(").skip(1) {
        codes.extend(part.split('"').nth(1));
    }
    assert!(codes.len() >= 23, "{codes:?}");
    for code in codes {
        assert!(
            table().iter().any(|(line, ..)| line.split(' ').nth(1) == Some(code)),
            "{code} is never raised in a test"
        );
    }
}

#[test]
fn sentences_are_for_people() {
    for (line, raise, _) in table() {
        let mut facts = well();
        raise(&mut facts);
        for finding in judge(&facts, &[], &Limits::default(), now()) {
            for text in [&finding.sentence, &finding.remedy] {
                assert!(
                    text.chars().next().is_some_and(|c| c.is_uppercase() || c.is_numeric()),
                    "{line}: {text}"
                );
                assert!(!text.contains('\n') && !text.contains("  "), "{line}: {text}");
            }
            assert!(finding.remedy.ends_with('.'), "{line}: {}", finding.remedy);
            for word in ["inode", "mount", "fsync", "SQLite", "bbbb", "daemon", " 0 "] {
                assert!(!finding.sentence.contains(word), "{line}: {}", finding.sentence);
            }
        }
    }
}

#[test]
fn the_sentences_read_so() {
    let text = |change: Change| {
        let mut facts = well();
        change(&mut facts);
        status_line(&judge(&facts, &[], &Limits::default(), now()), &facts)
    };
    let lines = [
        text(|_| {}),
        text(|f| f.drives.clear()),
        text(|f| (f.drives[1].standing, f.drives[1].wanted) = (Standing::Absent, 12)),
        text(|f| (f.drives[0].standing, f.clock_unsure) = (Standing::ReadOnly, true)),
        text(|f| behind(f, minutes(20))),
        text(|f| offline(f, minutes(61 * 24 * 60))),
        text(|f| failing(f, 1, 5)),
        text(|f| offline_failing(f, 7)),
        text(|f| fails(f, 0, true)),
        text(|f| fails(f, 0, false)),
        text(|f| fails(f, 1, true)),
        text(|f| clones(f, 0xaa, DriveRole::Primary, &[false])),
        text(|f| clones(f, 0xaa, DriveRole::Primary, &[true, true])),
        text(|f| (stranger(f, Standing::Blank), f.drives.remove(0)).0),
    ];
    expect_test::expect![[r#"
        green: drive A (main) 41 % full, drive B (copy) 41 % full
        red: No main drive has been set up, so the box cannot take photos yet
        red: Drive B (copy) is not there; 12 photos and videos have no second copy until it is back
        red: Drive A (main) can be read but takes nothing new; new photos are refused until it is back (and 1 more)
        amber: Drive B (copy) still lacks 3 photos and videos, the oldest for 20 minutes
        amber: The offline drive "Grandma" has not been here for 61 days and does not have the newest photos
        red: Drive B (copy) does not get its copies: 5 attempts in a row failed (could not copy)
        amber: The offline drive "Grandma" does not get its copies: 7 attempts in a row failed (could not copy)
        red: Drive A (main) is failing: it made errors 2 times within a day or two; new photos are refused, because they might not be safe on it; what is on it is copied on
        red: Drive A (main) is failing: it made errors 2 times within a day or two; what it loses is made anew from the other drive
        red: Drive B (copy) is failing: it made errors 2 times within a day or two; its copies do not count as safe
        amber: The drive at /srv/x is a copy of drive A (main), and only one of the two is used; this one is left alone
        red: The drives at /srv/x and /srv/y both say that they are drive A (main), and each has something that the other has not; neither is used, and new photos are refused until one is unplugged
        red: Drive A (main) is not there, and at /srv/x there is a disk that this box does not know; nothing is written to that disk, and new photos are refused until the main drive is back"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_finding_keeps_its_date_while_it_persists() {
    let mut facts = well();
    facts.clock_unsure = true;
    facts.drives[1].standing = Standing::Absent;
    let first = judge(&facts, &[], &Limits::default(), now());
    let dates = |all: &[Finding]| all.iter().map(|f| (f.code.clone(), f.since)).collect::<Vec<_>>();
    assert_eq!(dates(&first)[0], ("drive-absent".to_owned(), ago(minutes(600)).unwrap()));
    assert_eq!(dates(&first)[1], ("clock-unsure".to_owned(), now()));

    let later = now() + minutes(7);
    assert_eq!(dates(&judge(&facts, &first, &Limits::default(), later)), dates(&first));

    // Gone and come back: a new date.
    facts.clock_unsure = false;
    let between = judge(&facts, &first, &Limits::default(), later);
    facts.clock_unsure = true;
    assert_eq!(dates(&judge(&facts, &between, &Limits::default(), later))[1].1, later);

    // Dates written by a clock that ran ahead do not stay in the future (invariant I24).
    let back = now() - Duration::from_secs(86_400);
    assert!(judge(&facts, &first, &Limits::default(), back).iter().all(|f| f.since <= back));
}

#[test]
fn the_light_is_the_worst() {
    let mut facts = well();
    assert_eq!(light(&judge(&facts, &[], &Limits::default(), now())), Light::Green);
    facts.clock_unsure = true;
    assert_eq!(light(&judge(&facts, &[], &Limits::default(), now())), Light::Amber);
    facts.drives[0].damaged = 2;
    let findings = judge(&facts, &[], &Limits::default(), now());
    assert_eq!(light(&findings), Light::Red);
    assert_eq!(findings[0].code, "copies-damaged", "worst first");
}

#[test]
fn what_is_on_no_other_drive_is_not_said_to_be_on_one() {
    let told = |missing, nowhere| {
        let mut facts = well();
        (facts.drives[0].missing, facts.drives[0].nowhere) = (missing, nowhere);
        let found = judge(&facts, &[], &Limits::default(), now());
        let found = found.into_iter().find(|one| one.code == "copies-missing").unwrap();
        (
            found.sentence,
            found.remedy.contains("still on another drive"),
            found.remedy.contains("send them once more"),
        )
    };
    let gone = "3 photos and videos are gone from drive A (main) and nobody asked for that";
    assert_eq!(told(3, 0), (gone.to_owned(), true, false));
    assert_eq!(told(3, 1), (format!("{gone}; 1 of them is on no other drive either"), false, true));
    assert_eq!(told(3, 3), (format!("{gone}; no other drive is known to have them"), false, true));
}
