//! What a drive's record says after renames and deletions, what a wish means, and which drive is asked first.
use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(hour * 3600).unwrap()
}

fn stored(name: &str, bytes: &str, hour: i64) -> (i64, What) {
    let what = What::Stored {
        path: path(name),
        hash: ContentHash::of(bytes.as_bytes()),
        size: bytes.len() as u64,
        mtime: at(0),
        ctime: None,
        by: "anna/mac".to_owned(),
        received: at(hour),
        was: None,
        sha1: None,
        sha256: None,
    };
    (hour, what)
}

fn trashed(name: &str, to: &str, why: &str, hour: i64) -> (i64, What) {
    let to = if to.is_empty() { String::new() } else { format!(".shoebox/trash/1970-01-01/{to}") };
    (hour, What::Trashed { path: path(name), to, by: "anna/mac".to_owned(), why: why.to_owned() })
}

fn moved(from: &str, to: &str, hour: i64) -> (i64, What) {
    (hour, What::Moved { path: path(from), to: path(to), by: String::new() })
}

fn book(events: &[(i64, What)]) -> Book {
    let mut book = Book::default();
    for (seq, (hour, what)) in (1..).zip(events) {
        book.take(&Event { seq, at: at(*hour), what: what.clone() });
    }
    book
}

/// Items as lines: name, the first letters of the content, and the places in their order.
fn told(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| {
            let from: Vec<String> = item.sources.iter().map(|s| format!("{}:{}", s.drive, s.place)).collect();
            let proved = if item.hash.is_some() { "" } else { " unproved" };
            format!("{}{proved} < {}", item.path, from.join(" "))
        })
        .collect()
}

#[test]
fn a_book_follows_renames_and_deletions() {
    let book = book(&[
        stored("anna/a/1.jpg", "one", 1),
        stored("anna/a/2.jpg", "two", 2),
        stored("anna/ab.jpg", "three", 2),
        moved("anna/a", "anna/B", 3),
        trashed("anna/b/1.jpg", "7/anna/B/1.jpg", "deleted", 4),
        trashed("anna/ab.jpg", "8/anna/ab.jpg", "replaced", 5),
        stored("anna/ab.jpg", "new", 5),
        trashed("anna/B", "9/anna/B", "deleted", 6),
    ]);
    let books = [book];
    assert_eq!(told(&choose(&books, &Wish::default())), ["anna/ab.jpg < 0:photos/anna/ab.jpg"]);
    let wish = Wish { deleted: true, ..Wish::default() };
    assert_eq!(
        told(&choose(&books, &wish)),
        [
            "anna/ab.jpg < 0:.shoebox/trash/1970-01-01/8/anna/ab.jpg",
            "anna/B/1.jpg < 0:.shoebox/trash/1970-01-01/7/anna/B/1.jpg",
            "anna/B/2.jpg < 0:.shoebox/trash/1970-01-01/9/anna/B/2.jpg",
        ]
    );
    let since = Wish { deleted: true, since: Some(at(5)), until: Some(at(6)), ..Wish::default() };
    assert_eq!(told(&choose(&books, &since)).len(), 1, "dates are those of the deletion");
}

#[test]
fn the_first_drive_with_an_opinion_decides_and_the_others_have_the_bytes() {
    let a = book(&[
        stored("anna/1.jpg", "one", 1),
        stored("anna/2.jpg", "two", 1),
        stored("anna/3.jpg", "three", 1),
        moved("anna/1.jpg", "anna/new.jpg", 2),
        trashed("anna/3.jpg", "", "deleted", 2),
    ]);
    let b = book(&[
        stored("anna/1.jpg", "one", 1),
        stored("anna/2.jpg", "older", 1),
        stored("anna/3.jpg", "three", 1),
        stored("anna/only-b.jpg", "b", 1),
    ]);
    assert_eq!(
        told(&choose(&[a, b], &Wish::default())),
        [
            "anna/2.jpg < 0:photos/anna/2.jpg",
            "anna/new.jpg < 0:photos/anna/new.jpg 1:photos/anna/1.jpg",
            "anna/only-b.jpg < 1:photos/anna/only-b.jpg",
        ]
    );
}

#[test]
fn what_no_record_knows_is_found_and_another_drive_may_know_it() {
    let look = || Some((3, at(9)));
    let mut a = book(&[stored("anna/1.jpg", "one", 1)]);
    assert!(!a.found(path("anna/1.jpg"), Place::photo(&path("anna/1.jpg")), look));
    assert!(a.found(path("anna/2.jpg"), Place::photo(&path("anna/2.jpg")), look));
    assert!(a.found(path("anna/3.jpg"), Place::photo(&path("anna/3.jpg")), look));
    let b = book(&[stored("anna/2.jpg", "two", 1)]);
    assert_eq!(
        told(&choose(&[a, b], &Wish::default())),
        [
            "anna/1.jpg < 0:photos/anna/1.jpg",
            "anna/2.jpg < 0:photos/anna/2.jpg 1:photos/anna/2.jpg",
            "anna/3.jpg unproved < 0:photos/anna/3.jpg",
        ]
    );
    // A move on B that a power cut left out of its record.
    let a = book(&[stored("anna/new.jpg", "one", 1)]);
    let mut b = book(&[stored("anna/old.jpg", "one", 1), moved("anna/x.jpg", "anna/y.jpg", 1)]);
    b.found(path("anna/new.jpg"), Place::photo(&path("anna/new.jpg")), look);
    assert_eq!(
        told(&choose(&[a, b], &Wish { paths: vec![path("anna/new.jpg")], ..Wish::default() })),
        ["anna/new.jpg < 0:photos/anna/new.jpg 1:photos/anna/old.jpg 1:photos/anna/new.jpg"]
    );
}

#[test]
fn trash_that_no_record_names_is_found() {
    let lies = |text: &str| place(&format!(".shoebox/trash/1970-01-01/{text}")).unwrap();
    let mut book = book(&[
        stored("anna/1.jpg", "one", 1),
        trashed("anna/1.jpg", "3/anna/1.jpg", "deleted", 2),
        trashed("anna/strange", "4/anna/strange", "foreign", 2),
    ]);
    let look = || Some((1, at(0)));
    book.found_deleted(path("anna/1.jpg"), lies("3/anna/1.jpg"), at(0), look);
    book.found_deleted(path("anna/strange/x"), lies("4/anna/strange/x"), at(0), look);
    book.found_deleted(path("anna/torn"), lies("5/anna/torn"), at(0), look);
    let items = choose(&[book], &Wish { deleted: true, ..Wish::default() });
    let told: Vec<_> =
        items.iter().map(|i| (i.path.as_str(), i.hash.is_some(), i.deleted.clone().unwrap().why)).collect();
    assert_eq!(
        told,
        [
            ("anna/1.jpg", true, "deleted".to_owned()),
            ("anna/strange/x", false, "foreign".to_owned()),
            ("anna/torn", false, String::new()),
        ]
    );
}

#[test]
fn a_wish_is_what_it_says() {
    let books = [book(&[
        stored("anna/mac/1.jpg", "1", 1),
        stored("anna/macbook/2.jpg", "2", 2),
        stored("bob/3.jpg", "3", 3),
    ])];
    let count = |wish: Wish| choose(&books, &wish).len();
    let wish = Wish::default;
    assert_eq!(count(wish()), 3);
    assert_eq!(count(Wish { paths: vec![path("Anna/MAC")], ..wish() }), 1);
    assert_eq!(count(Wish { paths: vec![path("anna/mac/1.JPG"), path("bob")], ..wish() }), 2);
    assert_eq!(count(Wish { person: "anna".parse().ok(), ..wish() }), 2);
    assert_eq!(count(Wish { person: "ann".parse().ok(), ..wish() }), 0);
    assert_eq!(count(Wish { device: "mac".parse().ok(), ..wish() }), 3);
    assert_eq!(count(Wish { device: "phone".parse().ok(), ..wish() }), 0);
    assert_eq!(count(Wish { since: Some(at(2)), until: Some(at(3)), ..wish() }), 1);
}

#[test]
fn places_outside_the_trash_are_not_believed() {
    for text in ["", "photos/a", ".shoebox/trash/../../etc", ".shoebox/drive.toml", "/etc", ".shoebox/trash"]
    {
        assert_eq!(place(text), None, "{text}");
    }
}

#[test]
fn names_beside_others() {
    for (name, nth, made) in [
        ("a/IMG_1.JPG", 1, "a/IMG_1 (restored).JPG"),
        ("a/IMG_1.JPG", 3, "a/IMG_1 (restored 3).JPG"),
        ("noend", 1, "noend (restored)"),
        (".hidden", 1, ".hidden (restored)"),
    ] {
        assert_eq!(beside(&path(name), nth).unwrap().as_str(), made);
    }
    let long = path(&format!("{}.jpg", "ä".repeat(125)));
    let made = beside(&long, 12).unwrap();
    assert!(made.as_str().len() <= 255 && made.as_str().ends_with(" (restored 12).jpg"), "{made}");
    assert_eq!(marked(&path("a/b.mov"), ".salvaged").unwrap().as_str(), "a/b.salvaged.mov");
}
