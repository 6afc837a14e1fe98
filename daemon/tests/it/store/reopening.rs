//! Drives that come and go while somebody still holds on to them.
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shoebox::model::drive::{DriveRole, Standing};
use shoebox::work::watch::{AdoptError, DriveWatch};

use super::furnished::{Furnished, path, upload};

#[test]
fn a_primary_that_comes_back_while_somebody_holds_on_to_it_keeps_its_catalogue() {
    let home = Furnished::new();
    home.put("anna/a.jpg", b"before");
    let held = home.pool.primary().unwrap();
    let marker = home.mount("a").join(".shoebox/drive.toml");
    let text = fs::read(&marker).unwrap();
    fs::write(&marker, "another drive").unwrap();
    home.watch("a");
    assert!(home.pool.primary().is_err(), "it is gone");
    fs::write(&marker, text).unwrap();
    home.watch("a");
    let again = home.pool.primary().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&held, &again));
    assert!(held.catalogue.read(|r| r.totals()).is_err(), "the old one answers no more");
    home.put("anna/b.jpg", b"after");
    assert_eq!(home.tree().list(&path("anna"), None, 10).unwrap().len(), 3, "phone, a, b");
    let aside: Vec<String> = fs::read_dir(home.mount("a").join(".shoebox"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("aside"))
        .collect();
    assert_eq!(aside, Vec::<String>::new());
}

#[test]
fn a_drive_of_another_pool_is_let_go_as_soon_as_the_pool_is_known() {
    let (ours, theirs) = (Furnished::new(), Furnished::new());
    let home = ours.with_another_b(&theirs.mount("b"));
    home.watch("b");
    home.watch("a");
    upload(&home.pool, "anna/a.jpg", b"private").unwrap();
    let mut home = home;
    home.mirrored();
    assert!(!home.at("b", "anna/a.jpg").exists(), "nothing of ours goes to another family's drive");
    home.watch("b");
    assert_eq!(home.pool.drives()[1].standing.word(), "foreign");
}

/// The watch of a mount point may see the marker in the same instant as whoever wrote it, and be the one to open the drive.
#[test]
fn an_adopted_drive_is_open_when_adopting_returns() {
    for _ in 0..20 {
        let (pool, mounts, _dir) = Furnished::blank();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut watch = DriveWatch::new(Arc::clone(&pool), mounts[0].clone());
                    while !stop.load(Ordering::Relaxed) {
                        drop(watch.step());
                    }
                });
            }
            let adopted = pool.adopt(&mounts[0], DriveRole::Primary).map(|_| pool.primary().is_ok());
            stop.store(true, Ordering::Relaxed);
            assert!(adopted.unwrap(), "adopted, and not open");
        });
        pool.adopt(&mounts[1], DriveRole::Mirror).unwrap();
    }
}

/// Started without A, the box knows from B that there is an A. Another drive in its place would be the end of the family's.
#[test]
fn a_box_whose_main_drive_is_away_takes_no_other_for_it() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"kept");
    home.mirrored();
    let home = home.away();
    let (mount, away) = (home.mount("a"), home.mount("a.away"));
    std::fs::rename(&mount, &away).unwrap();
    std::fs::create_dir(&mount).unwrap();
    home.watch("b");
    home.watch("a");
    let refused = home.pool.adopt(&mount, DriveRole::Primary).unwrap_err();
    assert!(matches!(refused, AdoptError::PrimaryAway), "{refused}");
    assert_eq!(std::fs::read_dir(&mount).unwrap().count(), 0, "nothing was written");
    std::fs::remove_dir(&mount).unwrap();
    std::fs::rename(&away, &mount).unwrap();
    home.watch("a");
    assert_eq!(home.standing("b"), Standing::Ready);
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
    // Seen once and pulled: the same.
    std::fs::rename(&mount, &away).unwrap();
    std::fs::create_dir(&mount).unwrap();
    home.watch("a");
    home.watch("a");
    let refused = home.pool.adopt(&mount, DriveRole::Primary).unwrap_err();
    assert!(matches!(refused, AdoptError::PrimaryAway), "{refused}");
}
