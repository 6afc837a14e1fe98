//! A crash between the file of a MOVE and its record: what the rescan makes of it is the state before or the state after.
use std::fs;

use super::furnished::{Furnished, path};
use shoebox::model::hash::ContentHash;

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
