//! In how many days a drive is full: from what really came, on a filesystem of a size that is known.
use std::path::Path;

use super::furnished::Furnished;
use crate::support::mounted::{Mounted, leave_out};

#[test]
fn what_came_every_day_tells_when_a_drive_is_full() {
    let small = |at: &Path| Mounted::tmpfs(at, "size=64m,mode=0755");
    let (home, _mounted) = match Furnished::mounted("a", small) {
        Ok(both) => both,
        Err(why) => return leave_out("forecast", &why),
    };
    for day in 0..20 {
        home.put(&format!("anna/mac/{day}.jpg"), &vec![day; 1_000_000]);
        home.pass(24);
    }
    let told = || {
        home.watch("a");
        home.watch("b");
        home.pool.take_census().unwrap();
        let drives = home.pool.drives();
        let full_in = |drive| drives.iter().find(|d| d.mount == home.mount(drive)).unwrap().full_in_days;
        (full_in("a"), full_in("b"))
    };
    let (a, b) = told();
    // 64 MiB, less a tenth that is kept free, the ballast, and 20 photos; B is a folder of a large disk.
    assert!(a.is_some_and(|days| (33..42).contains(&days)), "{a:?}");
    assert_eq!(b, None);
    // Nothing came for months, or the clock is wrong: nothing is said.
    home.pass(24 * 100);
    assert_eq!(told(), (None, None));
    home.pass(-24 * 20_000);
    assert_eq!(told(), (None, None));
}
