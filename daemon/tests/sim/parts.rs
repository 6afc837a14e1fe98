//! Uploads in parts, and power goes: what was acknowledged of one is there, what was taken away stays away, and none lost its end.
use shoebox::model::account::DeviceKind;
use shoebox::model::hash::ContentHash;
use shoebox::model::offer::Offer;
use shoebox::model::place::Place;
use shoebox::work::error::Refusal;
use shoebox::work::ingest::Ack;
use shoebox::work::parts::{Numbering, Part, Parts, Said, UploadId, Whole};

use crate::faults::{Failure, Fault, Op};
use crate::medium::Kind;
use crate::rng::Rng;
use crate::world::{Which, World, device};

const FIRST: &[u8] = b"the first part";
const SECOND: &[u8] = b"and the second";
const THIRD: &[u8] = b", and the end of it";
const WHOLE: u64 = (FIRST.len() + SECOND.len() + THIRD.len()) as u64;
const FILM: &str = "photos/anna/phone/a.mov";
const COUNTED: Whole = Whole { total: None, numbering: Numbering::From(1) };

fn id() -> UploadId {
    UploadId::of(&device(DeviceKind::Phone), "test", "a video")
}

fn parts(world: &World) -> Parts {
    Parts::new(std::sync::Arc::clone(&world.pool))
}

fn send(world: &World, number: u64, bytes: &[u8]) {
    let mut part = parts(world).begin(&id(), number, Some(bytes.len() as u64)).unwrap();
    part.write(bytes).unwrap();
    part.finish().unwrap();
}

/// Sends what is not there, and has it put together: which parts were acknowledged, and whether the whole was.
fn go_on(world: &World, offer: &Offer) -> Result<Ack, Vec<u64>> {
    let mut acked = Vec::new();
    let mut done = || -> Result<Ack, Refusal> {
        let parts = parts(world);
        if parts.look(&id())?.is_none_or(|upload| upload.assembled.is_none()) {
            let said = Said { total: Some(WHOLE), ..Said::default() };
            let (upload, _is_new) = parts.open(&device(DeviceKind::Phone), &id(), &said)?;
            for (number, bytes) in (1..).zip([FIRST, SECOND, THIRD]) {
                if upload.parts.iter().all(|part| part.number != number) {
                    let mut part = parts.begin(&id(), number, Some(bytes.len() as u64))?;
                    part.write(bytes)?;
                    part.finish()?;
                }
                acked.push(number);
            }
        }
        parts.assemble(&id(), COUNTED, offer.clone())
    };
    done().map_err(|_| acked)
}

/// The same for a part of which is said what it is when its bytes are here.
fn send_loose(world: &World, number: u64, bytes: &[u8]) {
    let mut loose = parts(world).begin_loose(0).unwrap();
    loose.write(bytes).unwrap();
    parts(world).keep(&device(DeviceKind::Phone), &id(), number, loose).unwrap();
}

/// The numbers of the parts that are there; `None`: there is no such upload.
fn there(world: &World) -> Option<Vec<u64>> {
    let upload = parts(world).look(&id()).unwrap()?;
    Some(upload.parts.iter().map(|Part { number, .. }| *number).collect())
}

/// A drive with an upload of two parts.
fn begun(kind: Kind, loose: bool) -> World {
    let mut world = World::new(1, (kind, Kind::Ext4));
    world.bring_back(Which::A).unwrap();
    if loose {
        send_loose(&world, 2, SECOND);
        send_loose(&world, 1, FIRST);
    } else {
        assert!(parts(&world).open(&device(DeviceKind::Phone), &id(), &Said::default()).unwrap().1);
        send(&world, 1, FIRST);
        send(&world, 2, SECOND);
    }
    world
}

fn power_goes(world: &mut World, seed: u64) {
    world.let_go(Which::A).unwrap();
    world.rng = Rng::new(seed);
    world.cut(Which::A);
    world.restart();
    world.bring_back(Which::A).unwrap();
}

fn histories() -> impl Iterator<Item = (World, u64)> {
    let seeds = [Kind::Ext4, Kind::Exfat].into_iter().flat_map(|kind| (0..24).map(move |seed| (kind, seed)));
    seeds.map(|(kind, seed)| (begun(kind, seed % 2 == 1), seed))
}

/// Both parts are there, and become the whole. Its outcome is told after another cut, too.
pub(crate) fn what_was_acknowledged_is_there() {
    for (mut world, seed) in histories() {
        power_goes(&mut world, seed);
        assert_eq!(there(&world), Some(vec![1, 2]), "seed {seed}");
        let whole = [FIRST, SECOND].concat();
        let offer = world.offer(&"anna/phone/a.mov".parse().unwrap(), &whole);
        world.model.given.insert(shoebox::model::hash::ContentHash::of(&whole));
        let ack = parts(&world).assemble(&id(), COUNTED, offer.clone()).unwrap();
        power_goes(&mut world, seed + 100);
        let again = parts(&world).assemble(&id(), COUNTED, offer).unwrap();
        assert_eq!((ack.node().path.as_str(), ack.outcome()), (again.node().path.as_str(), again.outcome()));
        assert!(world.a.files()["photos/anna/phone/a.mov"].as_slice() == whole, "seed {seed}");
    }
}

/// A part that its client threw away is not there again, to be counted as if it were what comes next.
pub(crate) fn what_was_dropped_stays_so() {
    for (mut world, seed) in histories() {
        parts(&world).drop_part(&id(), 2).unwrap();
        power_goes(&mut world, seed);
        assert_eq!(there(&world), Some(vec![1]), "seed {seed}");
    }
}

/// One that was given up is gone, or whole: with its end lost it would pass for a shorter one.
pub(crate) fn what_was_given_up_is_gone_or_whole() {
    for (mut world, seed) in histories() {
        parts(&world).abandon(&id()).unwrap();
        power_goes(&mut world, seed);
        let there = there(&world);
        assert!(matches!(there.as_deref(), None | Some([1, 2])), "seed {seed}: {there:?}");
    }
}

fn new_world(kind: Kind) -> (World, Vec<u8>, Offer) {
    let mut world = World::new(1, (kind, Kind::Ext4));
    world.bring_back(Which::A).unwrap();
    let whole = [FIRST, SECOND, THIRD].concat();
    let offer = world.offer(&"anna/phone/a.mov".parse().unwrap(), &whole);
    world.model.given.insert(ContentHash::of(&whole));
    (world, whole, offer)
}

/// Power goes at one call after the other, before it is carried out or after: what was acknowledged is there, its client goes on, and has
/// its film.
pub(crate) fn power_may_go_at_any_call() {
    for (kind, after) in [(Kind::Ext4, false), (Kind::Ext4, true), (Kind::Exfat, false), (Kind::Exfat, true)]
    {
        let calls = (1..).find(|&call| (0..3).all(|seed| is_through(kind, after, call, seed))).unwrap();
        assert!(calls > 60, "{kind:?}: {calls} calls");
    }
}

/// Whether the upload was through before that call.
fn is_through(kind: Kind, after: bool, call: u64, seed: u64) -> bool {
    let (mut world, whole, offer) = new_world(kind);
    let fault = Fault::lasting(Failure::Gone);
    world.a.fail_any(call, if after { fault.after_the_deed() } else { fault });
    let outcome = go_on(&world, &offer);
    world.a.heal();
    world.rng = Rng::new(seed);
    world.cut(Which::A);
    world.restart();
    world.bring_back(Which::A).unwrap();
    match &outcome {
        Ok(_) => assert!(world.a.files()[FILM].as_slice() == whole, "{kind:?}, call {call}, seed {seed}"),
        Err(acked) => {
            let there = there(&world).unwrap_or_default();
            let is_made = world.a.files().get(FILM).is_some_and(|bytes| bytes.as_slice() == whole);
            let has_all = acked.iter().all(|number| there.contains(number));
            assert!(has_all || is_made, "{kind:?}, call {call}, seed {seed}: {acked:?} and not {there:?}");
        }
    }
    let ended = go_on(&world, &offer);
    assert!(ended.is_ok(), "{kind:?}, call {call}, seed {seed}: {:?}", ended.err());
    assert!(world.a.files()[FILM].as_slice() == whole, "{kind:?}, call {call}, seed {seed}");
    let left = world.a.files().into_keys().find(|at| at.contains("/uploads/") && at.ends_with("/whole"));
    assert_eq!(left, None, "{kind:?}, call {call}, seed {seed}");
    outcome.is_ok()
}

/// What a flush failed of is never flushed again, also not by the next program on the same mount: the drive would panic. What was on
/// record is used all the same, and nothing is lost.
pub(crate) fn a_flush_that_failed_is_not_repeated() {
    for at_the_end in [false, true] {
        let (mut world, whole, offer) = new_world(Kind::Ext4);
        parts(&world).open(&device(DeviceKind::Phone), &id(), &Said::default()).unwrap();
        send(&world, 1, FIRST);
        if at_the_end {
            send(&world, 2, SECOND);
            send(&world, 3, THIRD);
        }
        world.a.fail_nth(Op::SyncStaged, 1, Fault::once(Failure::Io));
        if at_the_end {
            assert!(parts(&world).assemble(&id(), COUNTED, offer.clone()).is_err());
        } else {
            let mut part = parts(&world).begin(&id(), 2, None).unwrap();
            part.write(SECOND).unwrap();
            assert!(part.finish().is_err());
        }
        world.a.heal();
        world.restart();
        world.bring_back(Which::A).unwrap();
        assert_eq!(there(&world), Some(if at_the_end { vec![1, 2, 3] } else { vec![1] }));
        assert!(go_on(&world, &offer).is_ok());
        assert_eq!(world.a.repeated_flushes(), Vec::<String>::new());
        power_goes(&mut world, 1);
        assert!(world.a.files()[FILM].as_slice() == whole);
    }
}

/// The flush of a record failed, and the client sends the same part again: it is there, and now it stays.
pub(crate) fn a_record_that_was_not_flushed_is_made_again() {
    for seed in 0..16 {
        let (mut world, ..) = new_world(Kind::Ext4);
        parts(&world).open(&device(DeviceKind::Phone), &id(), &Said::default()).unwrap();
        send(&world, 1, FIRST);
        world.a.fail_nth(Op::SyncDir, 1, Fault::once(Failure::Full));
        let mut part = parts(&world).begin(&id(), 2, None).unwrap();
        part.write(SECOND).unwrap();
        assert!(part.finish().is_err());
        send(&world, 2, SECOND);
        let alone = Place::part(&id(), 2);
        assert!(!world.a.files().contains_key(alone.as_str()), "it was there");
        power_goes(&mut world, seed);
        assert_eq!(there(&world), Some(vec![1, 2]), "seed {seed}");
    }
}
