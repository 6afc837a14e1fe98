//! What holds for every seed: nothing acknowledged is lost, and each flush the recipe makes is needed for that.
use std::collections::BTreeMap;

use crate::faults::{Area, Failure, Fault, Pending, Site};
use crate::history::{audit, uploads};
use crate::medium::Kind;
use crate::rng::{Rng, for_seeds};
use crate::volume::SimVolume;

const CAPACITY: u64 = 64 << 20;
const SEEDS: u64 = 300;

/// Uploads until the power fails at some call, or until the end; then the cut.
fn cut_history(kind: Kind, seed: u64, swallowed: Option<Site>) -> Result<BTreeMap<Site, u64>, String> {
    let mut rng = Rng::new(seed);
    let volume = SimVolume::with_our_folders(kind, CAPACITY);
    swallowed.into_iter().for_each(|site| volume.swallow(site));
    if rng.one_in(2) {
        let mut fault = Fault::lasting(Failure::Gone);
        if rng.one_in(2) {
            fault = fault.after_the_deed();
        }
        volume.fail_any(1 + rng.next() % 150, fault);
    }
    let steps = 1 + rng.below(12);
    let told = uploads(&volume, &mut rng, steps);
    let after = volume.cut(&mut rng);
    // Without hard links and journal there is a moment in which a rename can lose both names.
    audit(&after, &told, kind == Kind::Ext4)?;
    let orphans: Vec<String> = after.files().into_keys().filter(|path| path.contains("incoming")).collect();
    match (kind, orphans.len()) {
        (Kind::Ext4, 0 | 1) | (Kind::Exfat, _) => Ok(volume.sites()),
        (Kind::Ext4, _) => Err(format!("orphans: {orphans:?}")),
    }
}

#[test]
fn the_recipe_loses_nothing() {
    for kind in [Kind::Ext4, Kind::Exfat] {
        for_seeds("the_recipe_loses_nothing", SEEDS, |seed| {
            cut_history(kind, seed, None).map(drop).map_err(|why| format!("{kind:?}: {why}"))
        });
    }
}

/// The mutation test of the simulation: with any one of the flushes left out, something is lost for some seed.
#[test]
fn every_flush_of_the_recipe_matters() {
    for kind in [Kind::Ext4, Kind::Exfat] {
        let mut sites: BTreeMap<Site, u64> = BTreeMap::new();
        for seed in 1..=30 {
            for (site, calls) in cut_history(kind, seed, None).expect("checked above") {
                *sites.entry(site).or_default() += calls;
            }
        }
        let lost = |site: Site| (1..=SEEDS).any(|seed| cut_history(kind, seed, Some(site)).is_err());
        let needless: Vec<Site> = sites.into_keys().filter(|&site| !lost(site)).collect();
        assert_eq!(needless, [], "{kind:?}");
    }
}

#[test]
fn the_recipe_reaches_the_sites_it_should() {
    let volume = SimVolume::with_our_folders(Kind::Ext4, CAPACITY);
    let told = uploads(&volume, &mut Rng::new(1), 12);
    let sites: Vec<Site> = volume.sites().into_keys().collect();
    let expected = [
        Site::Data,
        Site::Dir(Area::Photos, Pending::Files),
        Site::Dir(Area::Photos, Pending::Folders),
        Site::Dir(Area::Trash, Pending::Files),
        Site::Dir(Area::Trash, Pending::Folders),
        Site::Dir(Area::Manifests, Pending::Files),
        Site::Append,
    ];
    assert_eq!(sites, expected);
    assert!(told.in_doubt.is_empty() && !told.retired.is_empty());
}

/// SQLite's rule: fail the first call, the second, the third … until the history passes untouched; once and for good.
#[test]
fn every_call_may_fail() {
    for (kind, failure) in [Kind::Ext4, Kind::Exfat].into_iter().flat_map(|kind| {
        [Failure::Full, Failure::Io, Failure::Gone, Failure::ReadOnly].map(|failure| (kind, failure))
    }) {
        for fault in [Fault::once(failure), Fault::lasting(failure), Fault::once(failure).after_the_deed()] {
            let mut nth = 1;
            loop {
                let mut rng = Rng::new(5);
                let volume = SimVolume::with_our_folders(kind, CAPACITY);
                volume.fail_any(nth, fault);
                let told = uploads(&volume, &mut rng, 6);
                let calls = volume.calls();
                let after = volume.cut(&mut rng);
                if let Err(why) = audit(&after, &told, kind == Kind::Ext4) {
                    panic!("{kind:?}, call {nth} fails with {fault:?}: {why}");
                }
                if calls < nth {
                    break;
                }
                nth += 1;
            }
            assert!(nth > 50, "the history is too short to say anything: {nth} calls");
        }
    }
}
