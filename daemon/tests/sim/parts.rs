//! Uploads in parts, and power goes: what was acknowledged of one is there, what was taken away stays away, and none lost its end.
use shoebox::model::account::DeviceKind;
use shoebox::work::parts::{Numbering, Part, Parts, Said, UploadId, Whole};

use crate::medium::Kind;
use crate::rng::Rng;
use crate::world::{Which, World, device};

const FIRST: &[u8] = b"the first part";
const SECOND: &[u8] = b"and the second";
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
