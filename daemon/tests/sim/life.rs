//! A life of the box: a history of steps, cuts and recoveries from one seed, and the properties every life has.
use std::collections::BTreeSet;

use crate::faults::{Area, Pending, Site};
use crate::look::Picture;
use crate::medium::Kind;
use crate::rng::for_seeds;
use crate::world::{Memory, Which, World};

/// Seeds of one run of the tests.
const SEEDS: u64 = 500;

/// Drives of a life: ext4 for both most of the time.
fn kinds(seed: u64) -> (Kind, Kind) {
    match seed % 5 {
        0 => (Kind::Exfat, Kind::Ext4),
        1 => (Kind::Ext4, Kind::Exfat),
        _ => (Kind::Ext4, Kind::Ext4),
    }
}

/// Lives through the history of `seed`. `without`: with this flush left out.
pub(crate) fn live(seed: u64, without: Option<(Which, Site)>) -> Result<World, String> {
    let mut world = World::new(seed, kinds(seed));
    if let Some((which, site)) = without {
        world.volume(which).swallow(site);
    }
    let lived = world.live();
    if lived.is_err() {
        world.show();
    }
    lived.map_err(|why| format!("{:?}: {why}", world.kinds)).map(|()| world)
}

impl World {
    fn live(&mut self) -> Result<(), String> {
        self.bring_back(Which::A)?;
        self.bring_back(Which::B)?;
        let faults = self.rng.one_in(3);
        let steps = 8 + self.rng.below(24);
        for _ in 0..steps {
            self.step(faults)?;
        }
        self.settle()?;
        // What the mirror does last is what the last cut tries.
        for _ in 0..self.rng.below(3) {
            self.change_tree()?;
        }
        if self.rng.one_in(2) {
            self.days_go_by();
        }
        self.mirror_to_rest()?;
        self.power_fails(&[Which::A, Which::B])?;
        self.settle()?;
        if self.rng.one_in(2) {
            self.days_go_by();
            self.settle()?;
        }
        self.check_rest()
    }

    fn step(&mut self, faults: bool) -> Result<(), String> {
        match self.rng.below(32) {
            0..=8 => self.upload(),
            9 => self.upload_wrong(),
            10..=14 => self.change_tree(),
            15..=16 => self.other_hand(),
            17..=20 => self.mirror_some(),
            21..=22 => self.rescan_some(),
            23 => self.verify(),
            24 => self.sweep(),
            25..=26 => {
                self.time();
                Ok(())
            }
            27 => self.remember(),
            28 => {
                if faults {
                    self.lay_fault();
                }
                Ok(())
            }
            29 => self.restart_or_replug(),
            30 => self.settle(),
            _ => self.sudden_cut(),
        }
    }

    fn remember(&mut self) -> Result<(), String> {
        self.older = Some(Picture::of(&self.catalogue)?);
        Ok(())
    }

    /// Power fails now, or in the middle of one of the next steps.
    fn sudden_cut(&mut self) -> Result<(), String> {
        if self.rng.one_in(2) {
            self.lay_cut();
            for _ in 0..self.rng.below(3) {
                self.step(false)?;
            }
        }
        let drives = self.rng.pick(&[
            [Which::A, Which::B].as_slice(),
            [Which::A, Which::B].as_slice(),
            [Which::A].as_slice(),
            [Which::B].as_slice(),
        ]);
        self.power_fails(drives)
    }

    /// Power fails for these drives: for both, the box goes down as well.
    fn power_fails(&mut self, drives: &[Which]) -> Result<(), String> {
        let before = self.names()?;
        let memory = self.rng.pick(&[Memory::Kept, Memory::Lost, Memory::Older]);
        self.note(format!("power fails: {drives:?}, catalogue {memory:?}"));
        for &which in drives {
            if drives.len() == 1 && self.is_attached(which) {
                self.let_go(which)?;
            }
            self.volume(which).heal();
            self.cut(which);
        }
        self.check_contents()?;
        if !self.model.b_in_flight && !self.model.b_unread {
            self.check_proofs(Which::B)?;
        }
        if drives.len() == 2 {
            self.disturbed = false;
            self.restart();
        }
        if drives.contains(&Which::A) {
            self.forget(memory)?;
        }
        for &which in drives {
            self.bring_back(which)?;
        }
        self.check_rebuilt(&before)
    }

    fn forget(&mut self, memory: Memory) -> Result<(), String> {
        let restored = match (memory, &self.older) {
            (Memory::Kept, _) | (Memory::Older, None) => return Ok(()),
            (Memory::Older, Some(older)) => older.restore()?,
            (Memory::Lost, _) => {
                shoebox::store::catalogue::Catalogue::in_memory().map_err(|e| e.to_string())?
            }
        };
        self.catalogue = std::sync::Arc::new(restored);
        self.older = None;
        self.model.remember_less();
        Ok(())
    }

    /// The box is killed and starts again, or a drive is pulled and comes back: with nothing written back by that.
    fn restart_or_replug(&mut self) -> Result<(), String> {
        if self.rng.one_in(2) {
            self.note("restart".to_owned());
            for which in [Which::A, Which::B] {
                self.heal(which)?;
            }
            self.disturbed = false;
            self.restart();
            if self.rng.one_in(2) {
                self.leave_orphan();
            }
            self.bring_back(Which::A)?;
            return self.bring_back(Which::B);
        }
        let which = self.rng.pick(&[Which::A, Which::B]);
        self.note(format!("{which:?} is pulled"));
        self.volume(which).unplug();
        self.disturbed = true;
        Ok(())
    }
}

#[test]
fn nothing_acknowledged_is_ever_lost() {
    for_seeds("nothing_acknowledged_is_ever_lost", SEEDS, |seed| live(seed, None).map(drop));
}

#[test]
fn a_seed_is_one_history() {
    for seed in 1..=10 {
        let log = |world: Result<World, String>| world.map(|world| world.log);
        assert_eq!(log(live(seed, None)), log(live(seed, None)));
    }
}

/// Every seed that fails, with its reason, instead of the first: `SHOEBOX_SEEDS=20000 cargo test --test sim survey -- --ignored --nocapture`.
#[test]
#[ignore = "long: for the night"]
fn survey() {
    let seeds = std::env::var("SHOEBOX_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number"));
    let failed: Vec<String> =
        (1..=seeds).filter_map(|seed| Some(format!("{seed}: {}", live(seed, None).err()?))).collect();
    println!("{seeds} seeds, {} failed", failed.len());
    assert_eq!(failed, Vec::<String>::new());
}

/// Flushes that are needed for nothing, and why.
fn is_needless(which: Which, site: Site) -> bool {
    match (which, site) {
        // Nothing was pending: the call had nothing to make durable.
        (_, Site::Dir(_, Pending::Nothing)) => true,
        // Scratch is promised to nobody, and what is renamed out of it is made durable where it goes.
        (Which::A, Site::Dir(Area::Scratch, _)) => true,
        // The probe is written to be read back, not to be kept.
        (_, Site::WriteSmall) => true,
        (Which::A | Which::B, Site::Data | Site::Dir(..) | Site::Append | Site::SyncFile) => false,
    }
}

/// Flushes reached in the lives of these seeds.
fn reached(seeds: std::ops::RangeInclusive<u64>) -> BTreeSet<(Which, Site)> {
    let mut sites = BTreeSet::new();
    for world in seeds.filter_map(|seed| live(seed, None).ok()) {
        for which in [Which::A, Which::B] {
            sites.extend(world.volume(which).sites().into_keys().map(|site| (which, site)));
        }
    }
    sites
}

fn caught(which: Which, site: Site, seeds: u64) -> Option<(u64, String)> {
    let without = |seed| Some((seed, live(seed, Some((which, site))).err()?));
    (1..=seeds).filter_map(without).find(|(seed, _)| live(*seed, None).is_ok())
}

/// Any one kind of flush left out on one drive is found out; those that are needless are exactly those listed. One call in the
/// code makes flushes of several kinds, and several calls make the same: `mutations.rs` leaves out each call by itself.
#[test]
fn every_flush_is_needed() {
    let sites = reached(1..=60);
    let needed: Vec<(Which, Site)> = sites.iter().copied().filter(|(w, s)| !is_needless(*w, *s)).collect();
    assert!(needed.len() >= 17, "the lives reach too few flushes: {needed:?}");
    for (which, site) in needed {
        let found = caught(which, site, 600);
        let (seed, why) = found.unwrap_or_else(|| panic!("nobody misses {site:?} on {which:?}"));
        println!("{which:?} {site:?}: seed {seed}: {}", why.lines().next().unwrap_or_default());
    }
    let pending = |site: &Site| !matches!(site, Site::Dir(_, Pending::Nothing));
    for (which, site) in sites.into_iter().filter(|(w, s)| is_needless(*w, *s) && pending(s)) {
        assert_eq!(caught(which, site, 40), None, "{site:?} on {which:?} is needed after all");
    }
}

/// More files than a hand could delete: B keeps them, however long ago it was, until a person answers (P5).
#[test]
fn a_mass_deletion_stops_at_the_mirror() {
    for_seeds("a_mass_deletion_stops_at_the_mirror", 40, |seed| {
        let mut world = World::new(seed, kinds(seed));
        world.answers = false;
        world.bring_back(Which::A)?;
        world.bring_back(Which::B)?;
        let (single, many) = (1, 6 + world.rng.below(80));
        world.delete_in_two_hours(single, many)?;
        world.days_go_by();
        world.settle()?;
        let left = world.b.files().keys().filter(|path| path.starts_with("photos/anna/phone/many/")).count();
        if left == many { Ok(()) } else { Err(format!("{left} of {many} are left on B")) }
    });
}
