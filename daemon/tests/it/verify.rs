//! `shoebox verify` for a folder, a file, a drive, an age: exactly those copies are re-read, and what rotted among them is found.
//! The real binary on real filesystems.
use serde_json::{Value, json};

use crate::scrubbing::{self, Box, DAY};
use crate::support::luck;
use crate::support::mounted::leave_out;

/// Copies that were equal, names of those that were not, and bytes read.
fn verify(all: &Box, args: &[&str]) -> (Value, Value, Value) {
    let report = all.daemon.ask(&[&["verify", "--json"], args].concat());
    assert_eq!((&report["missing"], &report["not_read"]), (&json!([]), &json!([])), "{report}");
    (report["equal"].clone(), report["damaged"].clone(), report["bytes"].clone())
}

/// States of a photo's copies on A and on B.
fn states(all: &Box, name: &str) -> [String; 2] {
    let receipt = all.daemon.ask(&["receipt", name, "--json"]);
    ["primary", "mirror"].map(|role| {
        let copies = receipt["copies"].as_array().unwrap();
        copies.iter().find(|copy| copy["role"] == role).unwrap()["state"].as_str().unwrap().to_owned()
    })
}

fn healed(all: &mut Box, name: &str) {
    for _ in 0..3000 {
        if states(all, name) == ["verified", "verified"] {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{name} is not healed: {:?}", states(all, name));
}

#[test]
fn exactly_what_is_asked_for_is_re_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match scrubbing::furnish(dir.path(), 64) {
        Ok(all) => all,
        Err(why) => return leave_out("verify-by-folder-and-age", &why),
    };
    let photo = |n: u64| luck::bytes(n, 100_000 + 1000 * n as usize);
    let names = ["old/1.jpg", "old/2.jpg", "older/3.jpg", "new/4.jpg"];
    all.later(-10 * DAY);
    for (name, n) in names.into_iter().zip(1..) {
        let (folder, _) = name.split_once('/').unwrap();
        all.daemon.request(&all.who, "MKCOL", &format!("/dav/{folder}"), "", b"");
        if folder == "new" {
            assert_eq!(verify(&all, &[]), (json!(6), json!([]), json!(2 * (101_000 + 102_000 + 103_000))));
            all.later(0);
        }
        all.put(name, &photo(n));
        all.daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{name}")));
    }
    let rot = |drive: &str, n: u64| scrubbing::flip(&dir.path().join(format!("{drive}.img")), &photo(n));
    rot("b", 3);
    rot("a", 2);
    rot("b", 4);

    // By folder: not its neighbour with a longer name, and none of the others.
    let below = verify(&all, &["--below", "anna/old"]);
    assert_eq!(below, (json!(3), json!(["anna/old/2.jpg"]), json!(2 * (101_000 + 102_000))));
    healed(&mut all, "anna/old/2.jpg");
    for outside in ["anna/older/3.jpg", "anna/new/4.jpg"] {
        assert_eq!(states(&all, outside)[1], "verified", "{outside}: nobody looked");
    }
    // By age, of those that were read ten days ago, or on A not at all; the folder above was read just now.
    let aged = verify(&all, &["--older", "7"]);
    assert_eq!(aged, (json!(2), json!(["anna/older/3.jpg"]), json!(2 * 103_000 + 104_000)));
    healed(&mut all, "anna/older/3.jpg");
    assert_eq!(states(&all, "anna/new/4.jpg"), ["verified", "verified"], "read just now: nobody looked");
    assert_eq!(verify(&all, &["--older", "7"]), (json!(0), json!([]), json!(0)));
    assert_eq!(verify(&all, &["--older", "0", "--below", "anna/older"]).0, json!(2));
    // By file and drive.
    let on_a = ["--drive", "primary", "--below", "photos/anna/new/4.jpg"];
    assert_eq!(verify(&all, &on_a), (json!(1), json!([]), json!(104_000)));
    let on_b = ["--drive", "mirror", "--below", "photos/anna/new/4.jpg"];
    assert_eq!(verify(&all, &on_b), (json!(0), json!(["anna/new/4.jpg"]), json!(104_000)));
    healed(&mut all, "anna/new/4.jpg");
    assert_eq!(verify(&all, &[]), (json!(8), json!([]), json!(2 * (101_000 + 102_000 + 103_000 + 104_000))));
    assert_eq!(all.daemon.run(&["verify", "--below", "anna/odl"]).0, 4, "a misspelt folder is no good one");
    // Copies that nobody could read are not equal.
    assert_eq!(all.daemon.run(&["verify"]).0, 0);
    assert_eq!(all.daemon.run(&["drive", "eject", "mirror"]).0, 0);
    let (code, said) = all.daemon.run(&["verify"]);
    assert_eq!((code, said.contains("NOT READ")), (1, true), "{said}");
    assert_eq!(all.daemon.run(&["verify", "--drive", "primary"]).0, 0, "nobody asked for B");
}
