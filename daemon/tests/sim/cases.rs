//! Single histories told step by step: one for each flaw that was found by a seed which no longer shows it.
use shoebox::model::account::DeviceKind;
use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;
use shoebox::store::volume::Volume as _;
use shoebox::work::checksums::Checksums;

use crate::faults::{Failure, Fault, Op};
use crate::look::{self, Picture};
use crate::medium::Kind;
use crate::parts;
use crate::promoting;
use crate::rng::Rng;
use crate::world::{Which, World, device};

macro_rules! cases {
    ($($name:ident,)*) => { [$((stringify!($name), $name as fn()),)*] };
}

/// All of them by name, for the mutation test of the code.
pub(crate) const CASES: [(&str, fn()); 23] = cases![
    a_manifest_whose_first_append_failed_is_not_lost_with_its_name,
    two_moves_of_one_copy_are_replayed_one_after_the_other,
    a_file_of_other_hands_whose_flush_failed_is_not_taken_over_as_zeros,
    a_file_renamed_over_its_equal_brings_its_time_along,
    a_file_renamed_over_a_vanished_equal_takes_its_place,
    half_a_replacement_on_record_is_made_whole,
    a_strangers_file_does_not_come_back_from_the_trash,
    lines_that_nobody_flushed_are_not_believed,
    what_other_hands_put_back_stays,
    a_strangers_file_that_ends_a_replacement_stays,
    a_list_that_counts_as_written_stays,
    a_deletion_that_was_taken_back_stays_so,
    a_copy_that_another_hand_laid_on_b_stays,
    what_other_hands_wrote_anew_stays,
    a_drive_that_took_another_role_has_it_after_a_cut,
    what_a_step_that_broke_off_had_in_bs_trash_is_not_lost,
    an_upload_under_a_temporary_name_can_be_ended_after_a_cut,
    parts_that_were_acknowledged_are_there_after_a_cut,
    a_part_that_was_dropped_stays_so,
    an_upload_that_was_given_up_has_not_lost_its_end,
    what_a_flush_failed_of_is_not_flushed_again,
    a_part_that_is_sent_again_is_on_record,
    an_upload_in_parts_goes_on_wherever_power_went,
];

fn world(b: Kind) -> World {
    let mut world = World::new(1, (Kind::Ext4, b));
    world.bring_back(Which::A).unwrap();
    world.bring_back(Which::B).unwrap();
    world
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

impl World {
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) {
        let mut offer = self.offer(&path(name), bytes);
        offer.mtime = Some(self.now());
        self.model.given.insert(ContentHash::of(bytes));
        self.send(offer, bytes).unwrap();
    }

    fn moved(&self, from: &str, to: &str) {
        self.tree().rename(&device(DeviceKind::Computer), &path(from), &path(to), true).unwrap();
    }

    /// Whether A has these bytes there.
    fn has(&self, place: &Place, bytes: &[u8]) -> bool {
        self.a.files().get(place.as_str()).is_some_and(|there| there.as_slice() == bytes)
    }

    pub(crate) fn mirror_all(&mut self) {
        while self.mirror.step(&|| true).unwrap() {}
    }

    /// Name on B and state, in order.
    fn on_b(&self) -> Vec<(String, String)> {
        let sql = "SELECT c.at, c.state, c.drive FROM copy c ORDER BY c.at";
        let rows = look::rows(&self.catalogue, sql).unwrap();
        let own = rows.iter().filter(|row| look::text(row, 2) == World::id(Which::B).to_string());
        own.map(|row| (look::text(row, 0), look::text(row, 1))).collect()
    }
}

/// An append that failed had made the file; its name was then taken for durable by the next one.
#[test]
fn a_manifest_whose_first_append_failed_is_not_lost_with_its_name() {
    let mut world = world(Kind::Ext4);
    world.put("anna/phone/a.jpg", b"a");
    world.b.fail_nth(Op::Append, 1, Fault::once(Failure::Full));
    world.mirror.step(&|| true).unwrap_err();
    world.mirror_all();
    world.check_record_of_b().unwrap();
    for _ in 0..20 {
        world.cut(Which::B);
        world.check_record_of_b().unwrap();
    }
}

/// B followed two renames of one file. The catalogue is of before both.
#[test]
fn two_moves_of_one_copy_are_replayed_one_after_the_other() {
    let mut world = world(Kind::Ext4);
    world.put("anna/phone/a.jpg", b"a");
    world.mirror_all();
    let older = Picture::of(&world.catalogue).unwrap();
    world.moved("anna/phone/a.jpg", "anna/phone/b.jpg");
    world.mirror_all();
    world.moved("anna/phone/b.jpg", "anna/phone/c.jpg");
    world.mirror_all();
    for which in [Which::A, Which::B] {
        world.let_go(which).unwrap();
        world.cut(which);
    }
    world.restart();
    world.catalogue = std::sync::Arc::new(older.restore().unwrap());
    world.bring_back(Which::A).unwrap();
    world.bring_back(Which::B).unwrap();
    world.mirror_all();
    assert_eq!(world.on_b(), [("anna/phone/c.jpg".to_owned(), "verified".to_owned())]);
    world.check_proofs(Which::B).unwrap();
}

/// The kernel forgets the pages of a flush that failed: memory shows the photo, the medium has zeros.
#[test]
fn a_file_of_other_hands_whose_flush_failed_is_not_taken_over_as_zeros() {
    let mut world = world(Kind::Ext4);
    let place = Place::photo(&path("anna/phone/card.jpg"));
    world.a.put_by_other_hand(&place, b"a photo");
    world.a.fail_nth(Op::SyncFile, 1, Fault::once(Failure::Io));
    for _ in 0..4 {
        world.rescan.start();
        while world.rescan.step(&|| true).unwrap_or(false) {}
        world.turn(11);
        world.watch(Which::A).unwrap();
        world.bring_back(Which::A).unwrap();
    }
    assert_eq!(world.names().unwrap(), Vec::<look::Row>::new());
    assert_eq!(world.a.repeated_flushes(), Vec::<String>::new());
    // Written once more, it is a new file.
    world.a.remove_by_other_hand(&place);
    world.a.put_by_other_hand(&place, b"a photo");
    world.rescan_all().unwrap();
    world.turn(11);
    world.rescan_all().unwrap();
    assert_eq!(world.names().unwrap().len(), 1);
}

/// Nextcloud clients send other times for bytes that are there already, under a temporary name, and look whether they took.
#[test]
fn a_file_renamed_over_its_equal_brings_its_time_along() {
    let mut world = world(Kind::Ext4);
    world.put("anna/mac/a.jpg", b"a");
    world.turn(100);
    world.put("anna/mac/a.jpg.part", b"a");
    world.moved("anna/mac/a.jpg.part", "anna/mac/a.jpg");
    let node = world.tree().find(&path("anna/mac/a.jpg")).unwrap().unwrap();
    assert_eq!(node.mtime, world.now());
}

/// What other hands took away is no equal: the file that is there must not go to the trash for it.
#[test]
fn a_file_renamed_over_a_vanished_equal_takes_its_place() {
    let mut world = world(Kind::Ext4);
    world.put("anna/mac/a.jpg", b"a");
    world.put("anna/mac/b.jpg", b"a");
    world.a.remove_by_other_hand(&Place::photo(&path("anna/mac/b.jpg")));
    world.moved("anna/mac/a.jpg", "anna/mac/b.jpg");
    let files = world.a.files();
    assert_eq!(files.get("photos/anna/mac/b.jpg").map(|bytes| bytes.to_vec()), Some(b"a".to_vec()));
}

/// The line that the old file went to the trash was written, and the one of what replaced it torn.
#[test]
fn half_a_replacement_on_record_is_made_whole() {
    let mut world = world(Kind::Ext4);
    world.put("anna/mac/a.jpg", b"old");
    world.a.fail_nth(Op::Append, 1, Fault::once(Failure::Full));
    let offer = world.offer(&path("anna/mac/a.jpg"), b"new");
    world.send(offer, b"new").unwrap_err();
    let torn = world.a.files()[".shoebox/manifest/2026-09.jsonl"].to_vec();
    let lines = String::from_utf8(torn).unwrap();
    assert!(lines.contains("\"trashed\"") && lines.matches("\"stored\"").count() == 1, "{lines}");
    world.watch(Which::A).unwrap();
    world.bring_back(Which::A).unwrap();
    let rows = world.names().unwrap();
    assert_eq!(look::hash(&rows[0], 1).unwrap(), ContentHash::of(b"new"));
    assert_eq!(world.a.files()["photos/anna/mac/a.jpg"].as_slice(), b"new");
}

/// A stranger's file that went to the trash for an upload is not what other hands took away from the same name later.
#[test]
fn a_strangers_file_does_not_come_back_from_the_trash() {
    let mut world = world(Kind::Ext4);
    let place = Place::photo(&path("anna/phone/a.jpg"));
    world.a.put_by_other_hand(&place, b"a stranger");
    world.put("anna/phone/a.jpg", b"a photo");
    world.a.remove_by_other_hand(&place);
    world.restart();
    world.bring_back(Which::A).unwrap();
    assert!(!world.a.files().contains_key("photos/anna/phone/a.jpg"));
}

/// Lines of an append that failed are read when the manifest is opened anew: they count only once they are flushed.
#[test]
fn lines_that_nobody_flushed_are_not_believed() {
    for seed in 0..20 {
        let mut world = world(Kind::Ext4);
        world.put("anna/phone/a.jpg", b"a");
        world.put("anna/phone/b.jpg", b"b");
        world.b.fail_nth(Op::Append, 1, Fault::once(Failure::Full));
        world.b.fail_nth(Op::Append, 2, Fault::once(Failure::Full));
        world.mirror.step(&|| true).unwrap_err();
        world.mirror.step(&|| true).unwrap_err();
        assert_eq!(world.on_b().iter().filter(|(_, state)| state == "verified").count(), 1);
        world.rng = Rng::new(seed);
        world.cut(Which::B);
        world.check_record_of_b().unwrap();
    }
}

/// Other hands put back what they had taken away, and flushed nothing: once it counts again, it stays.
#[test]
fn what_other_hands_put_back_stays() {
    for seed in 0..16 {
        let mut world = world(Kind::Ext4);
        let place = Place::photo(&path("anna/phone/a.jpg"));
        world.put("anna/phone/a.jpg", b"a photo");
        world.a.remove_by_other_hand(&place);
        world.a.settle_name(&place);
        world.rescan_all().unwrap();
        assert_eq!(world.missing_on_a().unwrap().len(), 1);
        world.a.put_by_other_hand(&place, b"a photo");
        world.rescan_all().unwrap();
        assert_eq!(world.missing_on_a().unwrap().len(), 0);
        world.rng = Rng::new(seed);
        world.cut(Which::A);
        assert!(world.has(&place, b"a photo"));
    }
}

/// A replacement broke off before the new file had the name, and other hands put one of their own there before the next start:
/// that is on record from then on, and stays.
#[test]
fn a_strangers_file_that_ends_a_replacement_stays() {
    for seed in 0..16 {
        let mut world = world(Kind::Ext4);
        let place = Place::photo(&path("anna/mac/a.jpg"));
        world.put("anna/mac/a.jpg", b"old");
        world.a.fail_nth(Op::PublishOver, 1, Fault::lasting(Failure::Gone));
        let offer = world.offer(&path("anna/mac/a.jpg"), b"new");
        world.send(offer, b"new").unwrap_err();
        world.let_go(Which::A).unwrap();
        world.cut(Which::A);
        world.a.remove_by_other_hand(&place);
        world.a.put_by_other_hand(&place, b"a stranger");
        world.bring_back(Which::A).unwrap();
        let rows = world.names().unwrap();
        assert_eq!(look::hash(&rows[0], 1).unwrap(), ContentHash::of(b"a stranger"));
        world.rng = Rng::new(seed);
        world.cut(Which::A);
        assert!(world.has(&place, b"a stranger"));
    }
}

/// A month's list for strangers is noted as written: nobody writes it again until something of that month changes.
#[test]
fn a_list_that_counts_as_written_stays() {
    for seed in 0..16 {
        let mut world = world(Kind::Ext4);
        world.put("anna/phone/a.jpg", b"a photo");
        world.mirror_all();
        let mut lists = Checksums::new(std::sync::Arc::clone(&world.pool));
        while lists.step().unwrap() {}
        let list = |world: &World| world.a.files().get(".shoebox/manifest/2026-09.sha256").cloned();
        let before = list(&world).unwrap();
        assert!(!before.is_empty());
        world.rng = Rng::new(seed);
        world.cut(Which::A);
        assert_eq!(list(&world), Some(before));
    }
}

/// A deletion broke off before its record and was taken back at the next start. Once later changes have used its number, nobody
/// takes it back again.
#[test]
fn a_deletion_that_was_taken_back_stays_so() {
    for seed in 0..16 {
        let mut world = world(Kind::Ext4);
        let name = path("anna/mac/a.jpg");
        world.put("anna/mac/a.jpg", b"a photo");
        world.a.fail_nth(Op::Append, 1, Fault::lasting(Failure::Gone));
        world.tree().trash(&device(DeviceKind::Computer), &name).unwrap_err();
        world.a.settle();
        world.let_go(Which::A).unwrap();
        world.cut(Which::A);
        assert!(!world.a.files().contains_key("photos/anna/mac/a.jpg"));
        world.bring_back(Which::A).unwrap();
        world.put("anna/phone/b.jpg", b"another");
        world.put("anna/phone/c.jpg", b"and another");
        world.let_go(Which::A).unwrap();
        world.rng = Rng::new(seed);
        world.cut(Which::A);
        world.bring_back(Which::A).unwrap();
        assert!(world.has(&Place::photo(&name), b"a photo"));
    }
}

/// A copy that another hand had laid on B is proved and taken over, and was never flushed by that hand.
#[test]
fn a_copy_that_another_hand_laid_on_b_stays() {
    for seed in 0..16 {
        let mut world = world(Kind::Ext4);
        let place = Place::photo(&path("anna/phone/a.jpg"));
        world.put("anna/phone/a.jpg", b"a photo");
        world.b.put_by_other_hand(&place, b"a photo");
        let inode = world.b.stat(&place).unwrap().inode;
        world.mirror_all();
        assert_eq!(world.b.stat(&place).unwrap().inode, inode);
        world.rng = Rng::new(seed);
        world.cut(Which::B);
        world.check_proofs(Which::B).unwrap();
    }
}

/// Other hands wrote a photo anew, in place, and flushed nothing: once it counts as a version of its own, it stays.
#[test]
fn what_other_hands_wrote_anew_stays() {
    for seed in 0..16 {
        let mut world = world(Kind::Ext4);
        let place = Place::photo(&path("anna/phone/a.jpg"));
        world.put("anna/phone/a.jpg", b"a photo");
        world.mirror_all();
        world.turn(100);
        world.a.put_by_other_hand(&place, b"edited by hand");
        world.rescan_all().unwrap();
        world.turn(20);
        world.rescan_all().unwrap();
        world.let_go(Which::A).unwrap();
        world.rng = Rng::new(seed);
        world.cut(Which::A);
        assert!(world.has(&place, b"edited by hand"));
        world.bring_back(Which::A).unwrap();
        world.mirror_all();
        assert_eq!(world.b.files()[place.as_str()].as_slice(), b"edited by hand");
        let trash = world.b.files();
        assert!(
            trash
                .iter()
                .any(|(at, bytes)| at.starts_with(".shoebox/trash/") && bytes.as_slice() == b"a photo")
        );
    }
}

/// Its marker is what it is by: written anew, it must not be the old one again.
#[test]
fn a_drive_that_took_another_role_has_it_after_a_cut() {
    promoting::what_was_done_is_done();
}

/// B's old version was renamed into the trash and the flush of that failed. Then it was recorded as not there, and a cut took both of its
/// names.
#[test]
fn what_a_step_that_broke_off_had_in_bs_trash_is_not_lost() {
    for kind in [Kind::Ext4, Kind::Exfat] {
        for (seed, call) in (1..30).flat_map(|seed| (1..5).map(move |call| (seed, call))) {
            let mut world = world(kind);
            world.put("anna/mac/a.jpg", b"the old version");
            world.mirror_all();
            world.put("anna/mac/a.jpg", b"another");
            world.b.fail_nth(Op::SyncDir, call, Fault::once(Failure::Full));
            let broke_off = world.mirror.step(&|| true).is_err();
            // Proofs of other copies are recorded meanwhile, under the numbers that the step had given.
            if seed % 2 == 0 {
                world.verify().unwrap();
            }
            world.mirror_all();
            world.rng = Rng::new(seed);
            world.cut(Which::B);
            let held = world.b.files().values().any(|bytes| bytes.as_slice() == b"the old version");
            assert!(held, "{kind:?}, seed {seed}, call {call}, broke off: {broke_off}");
        }
    }
}

/// A file manager sends a photo under a temporary name, and renames it when it is complete: what was answered in between is there.
#[test]
fn an_upload_under_a_temporary_name_can_be_ended_after_a_cut() {
    for seed in 0..16 {
        let mut world = World::new(1, (Kind::Exfat, Kind::Ext4));
        world.bring_back(Which::A).unwrap();
        world.put("anna/mac/b.jpg", b"another");
        world.put("anna/mac/a.jpg.part", b"a photo");
        world.let_go(Which::A).unwrap();
        world.rng = Rng::new(seed);
        world.cut(Which::A);
        world.bring_back(Which::A).unwrap();
        world.moved("anna/mac/a.jpg.part", "anna/mac/a.jpg");
        assert!(world.has(&Place::photo(&path("anna/mac/a.jpg")), b"a photo"));
    }
}

#[test]
fn parts_that_were_acknowledged_are_there_after_a_cut() {
    parts::what_was_acknowledged_is_there();
}

#[test]
fn a_part_that_was_dropped_stays_so() {
    parts::what_was_dropped_stays_so();
}

#[test]
fn an_upload_that_was_given_up_has_not_lost_its_end() {
    parts::what_was_given_up_is_gone_or_whole();
}

#[test]
fn an_upload_in_parts_goes_on_wherever_power_went() {
    parts::power_may_go_at_any_call();
}

#[test]
fn what_a_flush_failed_of_is_not_flushed_again() {
    parts::a_flush_that_failed_is_not_repeated();
}

#[test]
fn a_part_that_is_sent_again_is_on_record() {
    parts::a_record_that_was_not_flushed_is_made_again();
}
