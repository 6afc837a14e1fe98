//! The card dies and another is flashed: nothing was on it. With the old drives the same people sign in with the same passwords,
//! and no photo is sent again (P7, goal 10).
use crate::support::daemon::Daemon;
use crate::support::luck;

#[test]
fn a_new_box_with_the_old_drives_is_the_same_box() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut daemon = Daemon::furnish(old.path(), 5);
    let who = daemon.add_person("anna", "phone", "phone");
    let photos: Vec<Vec<u8>> = (0..5).map(|number| luck::bytes(number, 20_000)).collect();
    for (number, photo) in photos.iter().enumerate() {
        assert_eq!(daemon.request(&who, "PUT", &format!("/dav/{number}.jpg"), "", photo).status, 201);
    }
    daemon.until("B has them", |d| (0..5).all(|number| d.is_mirrored(&format!("anna/phone/{number}.jpg"))));
    daemon.kill();

    // Settings, socket and log of its own; of the old box only the drives.
    let mut again = daemon.rival(new.path());
    again.until_it_answers();
    again.until("it serves", |d| d.request(&who, "PROPFIND", "/dav/", "Depth: 0\r\n", b"").status == 207);
    for (number, photo) in photos.iter().enumerate() {
        let reply = again.request(&who, "GET", &format!("/dav/{number}.jpg"), "", b"");
        assert!(reply.status == 200 && reply.body == *photo);
        let receipt = again.ask(&["receipt", &format!("anna/phone/{number}.jpg"), "--json"]);
        assert_eq!(receipt["names"][0]["by"], "anna/phone");
        // Sent once more by an app that lost count: nothing changes.
        let before = std::fs::metadata(old.path().join(format!("a/photos/anna/phone/{number}.jpg"))).unwrap();
        let reply = again.request(&who, "PUT", &format!("/dav/{number}.jpg"), "", photo);
        assert!(reply.is_success(), "{}", reply.text);
        let after = std::fs::metadata(old.path().join(format!("a/photos/anna/phone/{number}.jpg"))).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&before), std::os::unix::fs::MetadataExt::ino(&after));
    }
    assert_eq!(again.run(&["verify"]).0, 0);
}
