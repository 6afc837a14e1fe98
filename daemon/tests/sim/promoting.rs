//! A copy takes the primary's place, and power goes at any call of that: afterwards it is the one or the other, whole (P7).
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use shoebox::model::drive::{DriveRole, Marker};
use shoebox::model::place::Place;
use shoebox::store::catalogue::Catalogue;
use shoebox::store::volume::Volume as _;
use shoebox::work::drive::Attached;
use shoebox::work::primary::Primary;
use shoebox::work::promote;
use shoebox::work::views::VerifyScope;

use crate::faults::{Failure, Fault};
use crate::look;
use crate::medium::Kind;
use crate::world::{Which, World, marker};

const PHOTOS: [(&str, &[u8]); 3] =
    [("anna/phone/a.jpg", b"a photo"), ("anna/phone/b.jpg", b"another"), ("anna/phone/c/d.jpg", b"a third")];

/// Some photos, all of them on both drives.
fn world(kind: Kind) -> World {
    let mut world = World::new(1, (Kind::Ext4, kind));
    world.bring_back(Which::A).unwrap();
    world.bring_back(Which::B).unwrap();
    for (name, bytes) in PHOTOS {
        world.put(name, bytes);
    }
    world.put(PHOTOS[0].0, b"was replaced");
    world.put(PHOTOS[0].0, PHOTOS[0].1);
    world.mirror_all();
    world.b.write_small(&Place::marker(), toml::to_string(&marker(Which::B)).unwrap().as_bytes()).unwrap();
    world
}

fn promoted() -> Marker {
    Marker { role: DriveRole::Primary, generation: 2, ..marker(Which::B) }
}

/// Both drives are let go, and B is mounted anew.
fn unplugged(world: &mut World) {
    for which in [Which::A, Which::B] {
        world.let_go(which).unwrap();
        world.cut(which);
    }
    world.restart();
}

fn attached(world: &World, marker: Marker) -> Arc<Attached> {
    Arc::new(Attached::new(marker, Arc::new(world.b.clone()), PathBuf::from("/nonexistent/b")))
}

fn marker_on_b(world: &World) -> Marker {
    let text = world.b.files()[Place::marker().as_str()].clone();
    toml::from_str(std::str::from_utf8(&text).unwrap()).unwrap()
}

fn names(catalogue: &Catalogue) -> BTreeMap<String, String> {
    let sql = "SELECT path, hex(hash) || ' ' || mtime || ' ' || received || ' ' || by FROM name WHERE hash IS NOT NULL";
    let rows = look::rows(catalogue, sql).unwrap();
    rows.iter().map(|row| (look::text(row, 0), look::text(row, 1))).collect()
}

/// B, which says that it is the primary, is opened as that: it has everything, proved.
fn goes_on_with_b(world: &World, expected: &BTreeMap<String, String>, when: &str) {
    let catalogue = Arc::new(Catalogue::in_memory().unwrap());
    let (primary, _) =
        Primary::open(attached(world, promoted()), Arc::clone(&catalogue), world.now()).unwrap();
    assert_eq!(names(&catalogue), *expected, "{when}");
    let unproved = look::rows(&catalogue, "SELECT at FROM copy WHERE state <> 'verified'").unwrap();
    assert_eq!(unproved.len(), 0, "{when}: what was proved on a copy is proved");
    world.pool.set_primary(Some(Arc::new(primary))).unwrap();
    let report = world.pool.verify_now(&VerifyScope::default(), &mut |_| ()).unwrap();
    assert_eq!((report.equal, report.missing.len()), (PHOTOS.len() as u64, 0), "{when}");
}

#[test]
fn power_may_go_at_any_call_of_a_promotion() {
    for kind in [Kind::Ext4, Kind::Exfat] {
        let (mut before, mut after) = (0, 0);
        for nth in 1.. {
            let mut world = world(kind);
            let expected = names(&world.catalogue);
            unplugged(&mut world);
            let calls = world.b.calls();
            world.b.fail_any(nth, Fault::lasting(Failure::Gone));
            let turned = promote::turn(&attached(&world, marker(Which::B)), &promoted(), world.now());
            let reached = world.b.calls() >= calls + nth;
            world.b.heal();
            world.cut(Which::B);
            let when = format!("{kind:?} call {nth}");
            let found = marker_on_b(&world);
            if found == promoted() {
                after += 1;
            } else {
                assert_eq!(found, marker(Which::B), "{when}");
                assert!(reached && turned.is_err(), "{when}: said to be done, and it is not");
                before += 1;
                // It is the copy it was, and has all its proofs.
                world.catalogue = Arc::new(Catalogue::in_memory().unwrap());
                world.bring_back(Which::A).unwrap();
                world.bring_back(Which::B).unwrap();
                world.mirror_all();
                world.check_rest().unwrap();
                world.check_record_of_b().unwrap();
                unplugged(&mut world);
                promote::turn(&attached(&world, marker(Which::B)), &promoted(), world.now()).unwrap();
                world.cut(Which::B);
                assert_eq!(marker_on_b(&world), promoted(), "{when}");
            }
            goes_on_with_b(&world, &expected, &when);
            if !reached {
                turned.unwrap();
                break;
            }
        }
        assert!(before > 5 && after > 0, "{kind:?}: {before} {after}");
    }
}

/// What was said to be done is done, whatever power does then.
pub(crate) fn what_was_done_is_done() {
    let mut world = world(Kind::Ext4);
    unplugged(&mut world);
    promote::turn(&attached(&world, marker(Which::B)), &promoted(), world.now()).unwrap();
    world.cut(Which::B);
    assert_eq!(marker_on_b(&world), promoted());
}
