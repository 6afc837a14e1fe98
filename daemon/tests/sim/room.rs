//! A drive that is nearly full: what makes room is done on whatever is left, and uploads at once leave the reserve alone.
use std::sync::{Arc, Barrier};

use shoebox::model::account::DeviceKind;
use shoebox::model::offer::{Expect, Offer};
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;
use shoebox::store::volume::Volume as _;
use shoebox::work::error::Refusal;
use shoebox::work::ingest::{Incoming, Ingest};
use shoebox::work::sweep::Sweep;

use crate::medium::Kind;
use crate::world::{Which, World, device};

const KINDS: [Kind; 2] = [Kind::Ext4, Kind::Exfat];
const MIB: u64 = 1 << 20;

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn world(kind: Kind) -> World {
    let mut world = World::new(1, (kind, Kind::Ext4));
    world.bring_back(Which::A).unwrap();
    world
}

/// Another program takes all but `left` bytes.
fn fill(world: &World, left: u64) {
    let more = world.a.space().unwrap().available - left;
    world.a.put_by_other_hand(&Place::photo(&path("other-hands")), &vec![7; usize::try_from(more).unwrap()]);
}

#[test]
fn scratch_is_swept_and_a_phone_revoked_with_less_left_than_a_change_of_names_needs() {
    for kind in KINDS {
        let mut world = world(kind);
        let by = device(DeviceKind::Computer);
        world.pool.add_person(&by.person).unwrap();
        world.pool.add_device(&by.person, &by.name, by.kind).unwrap();
        world.put("anna/mac/a.jpg", b"a photo");
        for name in ["old.mov.part", "mine.mov.part"] {
            world.put(&format!("anna/mac/{name}"), name.repeat(20_000).as_bytes());
        }
        world.turn(49 * 3600);
        fill(&world, 10_000);
        let photo = world.tree().trash(&by, &path("anna/mac/a.jpg"));
        assert!(matches!(photo, Err(Refusal::Full { .. })), "{photo:?}");
        world.tree().trash(&by, &path("anna/mac/mine.mov.part")).unwrap();
        world.pool.revoke_device(&by.person, &by.name).unwrap();
        while Sweep::new(Arc::clone(&world.pool)).step().unwrap() {}
        assert!(world.a.space().unwrap().available > 10_000 + 400_000);
        world.tree().trash(&by, &path("anna/mac/a.jpg")).unwrap();
    }
}

fn begin(world: &World, name: &str, size: Option<u64>) -> Result<Incoming, Refusal> {
    let offer = Offer {
        by: device(DeviceKind::Computer),
        path: path(name),
        size,
        declared: Vec::new(),
        mtime: None,
        expect: Expect::Anything,
        ctime: None,
        make_parents: true,
    };
    Ingest::new(Arc::clone(&world.pool)).begin(offer)
}

/// As far as it is let; what was written.
fn write(incoming: &mut Incoming, bytes: u64) -> (u64, Result<(), Refusal>) {
    const CHUNK: u64 = 64 << 10;
    for done in 0..bytes / CHUNK {
        if let Err(refusal) = incoming.write(&[7; CHUNK as usize]) {
            return (done * CHUNK, Err(refusal));
        }
    }
    (bytes, Ok(()))
}

#[test]
fn of_announced_uploads_only_those_come_in_for_which_there_is_room_together() {
    for kind in KINDS {
        let world = world(kind);
        let reserve = world.a.space().unwrap().reserve();
        fill(&world, reserve + 50 * MIB);
        let mut both = ["a.mov", "b.mov"].map(|name| begin(&world, name, Some(20 * MIB)).unwrap());
        assert!(matches!(begin(&world, "c.mov", Some(20 * MIB)), Err(Refusal::Full { .. })));
        // Without a length, what is left beside them.
        let mut unknown = begin(&world, "d.mov", None).unwrap();
        let (written, ended) = write(&mut unknown, 20 * MIB);
        assert!(matches!(ended, Err(Refusal::Full { .. })) && written <= 10 * MIB + MIB / 2, "{written}");
        drop(unknown);
        for upload in &mut both {
            assert!(write(upload, 20 * MIB).1.is_ok());
        }
        for upload in both {
            upload.finish().unwrap().settle().unwrap();
        }
        assert!(world.a.space().unwrap().available >= reserve);
        assert!(begin(&world, "e.mov", Some(9 * MIB)).is_ok(), "what was announced is given back");
    }
}

#[test]
fn what_is_not_set_aside_is_measured_while_it_comes() {
    let world = world(Kind::Exfat);
    let reserve = world.a.space().unwrap().reserve();
    let mut upload = begin(&world, "a.mov", Some(30 * MIB)).unwrap();
    assert!(write(&mut upload, 2 * MIB).1.is_ok());
    fill(&world, reserve + MIB);
    let (written, ended) = write(&mut upload, 28 * MIB);
    assert!(matches!(ended, Err(Refusal::Full { .. })) && written <= MIB + MIB / 2, "{written}");
    assert!(world.a.space().unwrap().available + MIB / 2 >= reserve);
}

#[test]
fn two_uploads_of_which_one_fits_do_not_refuse_each_other() {
    for kind in KINDS {
        let world = world(kind);
        fill(&world, world.a.space().unwrap().reserve() + 20 * MIB);
        for round in 0..2000 {
            let (ready, done) = (Barrier::new(2), Barrier::new(2));
            let let_in = std::thread::scope(|scope| {
                let both = ["a.mov", "b.mov"].map(|name| {
                    let (world, ready, done) = (&world, &ready, &done);
                    scope.spawn(move || {
                        ready.wait();
                        let incoming = begin(world, name, Some(15 * MIB));
                        done.wait();
                        incoming.is_ok()
                    })
                });
                both.map(|one| one.join().unwrap())
            });
            assert!(let_in[0] != let_in[1], "round {round}: {let_in:?}");
        }
    }
}
