//! A person has everything put back, or lets it through, and power goes at any call of it: the question stays until it is
//! answered, and answering once more finishes (P2, P5; I15, I19).
use std::sync::Arc;

use shoebox::model::account::DeviceKind;
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;
use shoebox::work::views::{Answered, VerifyScope};

use crate::faults::{Failure, Fault};
use crate::medium::Kind;
use crate::world::{BRAKE, Which, World, device};

const KINDS: [(Kind, Kind); 2] = [(Kind::Ext4, Kind::Ext4), (Kind::Exfat, Kind::Exfat)];
/// Of each kind of change.
const EACH: usize = 3;

fn place(number: usize) -> Place {
    Place::photo(&path(number))
}

fn path(number: usize) -> RelPath {
    RelPath::parse(&format!("anna/phone/{number}.jpg")).unwrap()
}

fn photo(number: usize) -> Vec<u8> {
    format!("photo {number}").into_bytes()
}

fn encrypted(number: usize) -> Vec<u8> {
    format!("no photo any more, but money {number}").into_bytes()
}

/// Photos on both drives, of which a third is deleted by the computer, a third written over and a third taken away by others.
fn struck(kinds: (Kind, Kind)) -> World {
    let mut world = World::new(1, kinds);
    world.bring_back(Which::A).unwrap();
    world.bring_back(Which::B).unwrap();
    for number in 0..3 * EACH {
        world.put(path(number).as_str(), &photo(number));
    }
    world.mirror_all();
    world.turn(100);
    for number in 0..EACH {
        world.tree().trash(&device(DeviceKind::Computer), &path(number)).unwrap();
    }
    for number in EACH..2 * EACH {
        world.a.put_by_other_hand(&place(number), &encrypted(number));
    }
    for number in 2 * EACH..3 * EACH {
        world.a.remove_by_other_hand(&place(number));
        world.a.settle_name(&place(number));
    }
    world.rescan_all().unwrap();
    world.turn(20);
    world.rescan_all().unwrap();
    world.mirror_all();
    let summary = world.pool.changes(None, 1).unwrap().summary.unwrap();
    assert!(3 * EACH as u64 > BRAKE && summary.vanished == EACH as u64, "{summary:?}");
    world
}

fn answer(world: &World, back: bool) -> Result<Answered, shoebox::work::error::Refusal> {
    if back { world.pool.put_it_back(&[], &mut |_| ()) } else { world.pool.it_was_me(&[], None, &mut |_| ()) }
}

/// Whether a drive has these bytes in a file below one of these folders.
fn has(world: &World, which: Which, trees: &[&str], bytes: &[u8]) -> bool {
    let files = world.volume(which).files();
    files.iter().any(|(at, found)| trees.iter().any(|tree| at.starts_with(tree)) && found.as_slice() == bytes)
}

/// Every photo is under its name on both drives, and what was written over it is kept.
fn all_is_back(world: &mut World, kinds: (Kind, Kind), when: &str) {
    world.mirror_all();
    for number in 0..3 * EACH {
        for which in [Which::A, Which::B] {
            let there = world.volume(which).files().get(place(number).as_str()).map(|b| b.to_vec());
            assert_eq!(there, Some(photo(number)), "{when}: {number} on {which:?}");
        }
    }
    for number in EACH..2 * EACH {
        let kept = has(world, Which::A, &[".shoebox/trash/"], &encrypted(number));
        // Without a journal a rename that power broke off may have lost both names.
        assert!(kept || kinds.0 == Kind::Exfat, "{when}: what {number} was written over with is gone");
    }
    let verified = world.pool.verify_now(&VerifyScope::default(), &mut |_| ()).unwrap();
    assert_eq!((verified.equal, verified.damaged.len()), (6 * EACH as u64, 0), "{when}");
    assert!(world.pool.changes(None, 1).unwrap().summary.is_none(), "{when}");
}

/// No photo is lost, and B's photos are what they were until the answer's time has come.
fn all_is_let_through(world: &mut World, forgot: bool, when: &str) {
    assert!(world.pool.changes(None, 1).unwrap().summary.is_none(), "{when}");
    let trees = ["photos/", ".shoebox/trash/"];
    for days in [0, 2] {
        world.turn(days * 86_400);
        world.mirror_all();
        for number in 0..3 * EACH {
            assert!(
                has(world, Which::B, &trees, &photo(number)),
                "{when}: {number} is lost after {days} days"
            );
        }
    }
    for number in 0..3 * EACH {
        let written_over = (EACH..2 * EACH).contains(&number);
        let there = world.b.files().get(place(number).as_str()).map(|b| b.to_vec());
        // With the catalogue goes what waits to leave B: that stays for good.
        let stayed = forgot && !written_over && there == Some(photo(number));
        let right = there == written_over.then(|| encrypted(number));
        assert!(right || stayed, "{when}: {number} on B");
    }
}

#[test]
fn power_may_go_at_any_call_of_an_answer() {
    for kinds in KINDS {
        for (which, back) in [(Which::A, true), (Which::A, false), (Which::B, true)] {
            let mut cuts = 0;
            // Every call of one kind of drive, and some of the other.
            let step = if kinds.0 == Kind::Ext4 { 1 } else { 4 };
            for nth in (1..).step_by(step) {
                let mut world = struck(kinds);
                let before = world.volume(which).calls();
                world.volume(which).fail_any(nth, Fault::lasting(Failure::Gone));
                let answered = answer(&world, back);
                let when = format!("{kinds:?} {which:?} back: {back}, call {nth}");
                let reached = world.volume(which).calls() >= before + nth;
                if !reached {
                    let answered = answered.unwrap();
                    assert!(!answered.open && answered.failed == 0, "{when}: {answered:?}");
                } else {
                    cuts += 1;
                }
                world.volume(which).heal();
                for cut in [Which::A, Which::B] {
                    world.let_go(cut).unwrap();
                    world.cut(cut);
                }
                world.restart();
                // The record alone has to know: every other time the catalogue is lost, too.
                let forgot = cuts % 2 == 0;
                if forgot {
                    world.catalogue = Arc::new(shoebox::store::catalogue::Catalogue::in_memory().unwrap());
                }
                world.bring_back(Which::A).unwrap();
                world.bring_back(Which::B).unwrap();
                world.mirror_all();
                world.rescan_all().unwrap();
                world.turn(20);
                world.rescan_all().unwrap();
                let again = answer(&world, back).unwrap();
                assert!(!again.open && again.failed == 0, "{when}: {again:?}");
                if back {
                    all_is_back(&mut world, kinds, &when)
                } else {
                    all_is_let_through(&mut world, forgot, &when)
                }
                if !reached {
                    break;
                }
            }
            println!("{kinds:?} {which:?} back: {back}: power went at {cuts} calls");
            assert!(cuts > 1, "{kinds:?} {which:?}: {cuts}");
        }
    }
}
