//! A crash between the file of a MOVE and its record: what the rescan makes of it is the state before or the state after.
use std::fs;

use super::furnished::{Furnished, computer, path};
use shoebox::model::hash::ContentHash;
use shoebox::work::tree::{Property, PropertyChange};

/// What a MOVE of `anna/a.jpg.part` to `anna/a.jpg` has done to the drive when it is cut before its record.
fn cut_move(home: &Furnished) {
    let scratch = home.mount("a").join(".shoebox/scratch").join(ContentHash::of(b"content").to_string());
    fs::hard_link(scratch, home.at("a", "anna/a.jpg")).unwrap();
}

fn names(home: &Furnished) -> Vec<String> {
    let nodes = home.tree().list(&path("anna"), None, 10).unwrap();
    nodes.into_iter().map(|node| node.path.name().to_owned()).filter(|name| name != "phone").collect()
}

#[test]
fn the_end_of_an_upload_under_a_temporary_name_is_recorded() {
    let home = Furnished::new();
    home.put("anna/a.jpg.part", b"content");
    cut_move(&home);
    let home = home.restarted();
    assert_eq!(home.rescanned().adopted, 1);
    assert_eq!(names(&home), ["a.jpg"]);
    let receipt = home.pool.receipt("anna/a.jpg").unwrap().unwrap();
    assert_eq!(receipt.names[0].by, "anna/mac");
}

#[test]
fn of_two_uploads_of_the_same_bytes_neither_loses_its_temporary_name() {
    let home = Furnished::new();
    home.put("anna/a.jpg.part", b"content");
    home.put("anna/b.jpg.part", b"content");
    cut_move(&home);
    let home = home.restarted();
    assert_eq!(home.rescanned().adopted, 1);
    assert_eq!(names(&home), ["a.jpg", "a.jpg.part", "b.jpg.part"]);
    home.rename("anna/b.jpg.part", "anna/b.jpg");
}

#[test]
fn a_copy_by_other_hands_takes_no_temporary_name_away() {
    let home = Furnished::new();
    home.put("anna/a.jpg.part", b"content");
    fs::write(home.at("a", "anna/mine.jpg"), b"content").unwrap();
    assert_eq!(home.rescanned().adopted, 1);
    assert_eq!(names(&home), ["a.jpg.part", "mine.jpg"]);
}

/// Runs `change` and gives the catalogue the state it had before: a kill between the manifest's line and the catalogue's rows.
fn cut_before_the_catalogue(home: Furnished, change: impl FnOnce(&Furnished)) -> Furnished {
    let home = home.away();
    let own = home.mount("a").join(".shoebox");
    let catalogue = || {
        let entries = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|file| file.to_string_lossy().contains("catalogue.db")).collect::<Vec<_>>()
    };
    let before: Vec<_> =
        catalogue().into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    home.watch("a");
    change(&home);
    let home = home.away();
    catalogue().into_iter().for_each(|file| fs::remove_file(file).unwrap());
    before.into_iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
    home.watch("a");
    home.watch("b");
    home
}

#[test]
fn a_temporary_name_whose_end_only_the_manifest_tells_is_gone_and_its_properties_are_not() {
    let home = Furnished::new();
    home.put("anna/a.jpg.part", b"content");
    let title = Property { namespace: "urn:x".to_owned(), name: "title".to_owned(), xml: "<t/>".to_owned() };
    let set = [PropertyChange::Set(title.clone())];
    home.tree().change_properties(&computer(), &path("anna/a.jpg.part"), &set).unwrap();
    let home = cut_before_the_catalogue(home, |home| home.rename("anna/a.jpg.part", "anna/a.jpg"));
    assert_eq!(names(&home), ["a.jpg"]);
    assert_eq!(home.tree().properties(&path("anna/a.jpg")).unwrap(), [title]);
    assert_eq!(home.rescanned().adopted, 0);
}
