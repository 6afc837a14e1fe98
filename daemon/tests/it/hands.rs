//! What other programs put on drive A while the daemon runs: seen by inotify, not by the walk of the hour.
use std::fs;

use crate::support::daemon::Daemon;

#[test]
fn a_file_that_others_put_on_a_is_mirrored_long_before_the_next_walk() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let photos = daemon.photos();
    let put = |daemon: &mut Daemon, name: &str| {
        let file = photos.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, name).unwrap();
        daemon.until(&format!("B has {name}"), |d| d.is_mirrored(name));
        let copy = fs::read_to_string(daemon.dir.join("b/photos").join(name)).unwrap();
        assert_eq!(copy, name);
    };
    // This one may be found by the walk that begins with the drive. Once it is on B that walk is over, and the next
    // begins in an hour: what follows can only be seen by inotify.
    put(&mut daemon, "anna/first/a.jpg");
    put(&mut daemon, "anna/second.jpg");
    put(&mut daemon, "anna/first/third.jpg");
    put(&mut daemon, "bob/made/just/now/fourth.jpg");
    fs::rename(photos.join("bob/made"), photos.join("anna/moved")).unwrap();
    daemon.until("B has followed", |d| d.is_mirrored("anna/moved/just/now/fourth.jpg"));
    put(&mut daemon, "anna/moved/just/fifth.jpg");
}
