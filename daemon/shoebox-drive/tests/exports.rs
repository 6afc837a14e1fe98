//! What is exported over NFS, with real drives and the real exportfs(8): drive B's photos while it is there, and nothing else.
#![expect(clippy::unwrap_used, clippy::panic, reason = "panicking is how a test reports")]
mod plugged;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use plugged::{Home, Plugged, bytes, leave_out, run};
use serde_json::{Value, json};
use shoebox_drive::{asking, attaching, exporting};

/// A home whose list exports(5) has a link to.
struct Exporting {
    home: Home,
    link: PathBuf,
}

impl Exporting {
    fn new() -> Option<Self> {
        let home = Home::new("exports")?;
        if !Path::new("/usr/sbin/exportfs").exists() {
            leave_out("exports", "there is no exportfs (nfs-kernel-server)");
            return None;
        }
        fs::create_dir_all("/etc/exports.d").unwrap();
        let name = home.at("").components().next_back().unwrap().as_os_str().to_owned();
        let link = Path::new("/etc/exports.d").join(format!("shoebox{}.exports", name.to_string_lossy()));
        std::os::unix::fs::symlink(&home.settings.nfs.list, &link).unwrap();
        Some(Self { home, link })
    }

    fn drive(&self, file: &str, role: &str) -> PathBuf {
        let image = self.home.ext4(file);
        self.home.adopt(&image, role);
        self.home.within(&image, |root| {
            fs::create_dir_all(root.join("photos/anna")).unwrap();
            fs::write(root.join("photos/anna/1.jpg"), role).unwrap();
        });
        image
    }

    fn settle(&self) -> Value {
        serde_json::to_value(exporting::settle(&self.home.settings).unwrap()).unwrap()
    }

    fn shown(&self) -> PathBuf {
        self.home.settings.places.photos()
    }

    /// What the server's table has of it.
    fn told(&self) -> String {
        let table = fs::read_to_string("/var/lib/nfs/etab").unwrap_or_default();
        let here = self.home.at("");
        table.lines().filter(|line| line.starts_with(here.to_str().unwrap())).collect()
    }

    fn nothing(&self) {
        assert!(!self.shown().join("anna").exists());
        assert_eq!(self.told(), "");
        assert!(
            !self.home.mounts().iter().any(|line| line.contains("nfs/photos")),
            "{:?}",
            self.home.mounts()
        );
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.link);
        let _told = Command::new("exportfs").arg("-ra").output();
    }
}

fn why(settled: &Value) -> &str {
    settled["why"].as_str().unwrap_or_else(|| panic!("{settled}"))
}

#[test]
fn the_photos_of_b_are_exported_while_it_is_there_and_never_written_to() {
    let Some(own) = Exporting::new() else { return };
    let (home, image) = (&own.home, own.drive("b.img", "mirror"));
    let plugged = Plugged::new(&image);
    home.attach(&plugged);
    let photos = json!({ "is": "photos", "drive": "1".repeat(32) });
    assert_eq!(own.settle(), photos);
    let shown = own.shown();
    assert_eq!(bytes(&shown.join("anna/1.jpg")), b"mirror");
    assert!(!shown.join("../.shoebox").exists(), "what is above it is not the drive");
    let refused = fs::write(shown.join("anna/2.jpg"), "new").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let told = own.told();
    for word in ["ro,", "all_squash", "subtree_check", "mountpoint", "fsid=1,", "127.0.0.0/8"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!told.contains("no_subtree_check") && !told.contains("no_root_squash"), "{told}");
    let mounts = home.mounts();
    assert_eq!(own.settle(), photos, "twice is once");
    assert_eq!(home.mounts(), mounts);
    assert_eq!(home.attach(&plugged)["decision"], "mounted", "being shown is no other place of it");

    // By the daemon's request, and away before it is unmounted.
    let ask = |request: &str| {
        let mut answer = Vec::new();
        asking::serve(request.as_bytes(), &mut answer, &home.settings).unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()
    };
    assert_eq!(ask(r#"{"ask":"export"}"#), json!({ "exported": photos }));
    let eject = json!({ "ask": "eject", "device": plugged.name.to_string() }).to_string();
    let held = fs::File::open(home.at("b/.shoebox/drive.toml")).unwrap();
    assert!(ask(&eject)["failed"].as_str().unwrap().contains("busy"));
    assert!(shown.join("anna/1.jpg").exists(), "it stays, and is exported as before");
    drop(held);
    assert_eq!(ask(&eject), json!({ "ejected": { "power": "nothing" } }));
    own.nothing();
    assert_eq!(why(&own.settle()), "drive B (copy) is not there");
}

#[test]
fn a_drive_that_was_pulled_is_exported_no_more_though_somebody_reads_from_it() {
    let Some(own) = Exporting::new() else { return };
    let plugged = Plugged::new(&own.drive("b.img", "mirror"));
    own.home.attach(&plugged);
    own.settle();
    let held = fs::File::open(own.shown().join("anna/1.jpg")).unwrap();
    attaching::detach(&plugged.name, &own.home.settings).unwrap();
    own.nothing();
    drop(held);
    // And back.
    own.home.attach(&plugged);
    assert_eq!(own.settle()["is"], "photos");
    exporting::stop(&own.home.settings).unwrap();
    own.nothing();
    attaching::detach(&plugged.name, &own.home.settings).unwrap();
}

#[test]
fn no_other_drive_is_exported_and_no_folder_that_a_link_leads_to() {
    let Some(own) = Exporting::new() else { return };
    let home = &own.home;
    for role in ["primary", "offline"] {
        let plugged = Plugged::new(&own.drive(&format!("{role}.img"), role));
        home.attach(&plugged);
        assert_eq!(why(&own.settle()), "drive B (copy) is not there");
        own.nothing();
        attaching::detach(&plugged.name, &home.settings).unwrap();
    }
    // Its marker was copied from another filesystem, and somebody mounted it by hand where B belongs.
    let copied = own.drive("copied.img", "mirror");
    run("e2fsck", &["-fy", copied.to_str().unwrap()]);
    run("tune2fs", &["-U", "random", copied.to_str().unwrap()]);
    let plugged = Plugged::new(&copied);
    fs::create_dir_all(home.at("b")).unwrap();
    run("mount", &[&plugged.node, home.at("b").to_str().unwrap()]);
    assert_eq!(why(&own.settle()), "drive B (copy) is not there");
    own.nothing();
    run("umount", &[home.at("b").to_str().unwrap()]);
    drop(plugged);

    let image = home.ext4("link.img");
    home.adopt(&image, "mirror");
    home.within(&image, |root| std::os::unix::fs::symlink("/etc", root.join("photos")).unwrap());
    let plugged = Plugged::new(&image);
    home.attach(&plugged);
    let failure = exporting::settle(&home.settings).unwrap_err().to_string();
    assert!(failure.contains("could not open"), "{failure}");
    own.nothing();
    attaching::detach(&plugged.name, &home.settings).unwrap();
}

#[test]
fn of_two_that_say_they_are_b_the_one_that_is_exported_stays() {
    let Some(own) = Exporting::new() else { return };
    let home = &own.home;
    let image = own.drive("b.img", "mirror");
    let clone = home.at("clone.img");
    fs::copy(&image, &clone).unwrap();
    let (first, second) = (Plugged::new(&image), Plugged::new(&clone));
    home.attach(&first);
    assert_eq!(own.settle()["is"], "photos");
    let number = |at: &Path| fs::metadata(at).map(|meta| std::os::unix::fs::MetadataExt::dev(&meta)).unwrap();
    let before = number(&own.shown());
    home.attach(&second);
    assert_eq!(own.settle()["is"], "photos");
    assert_eq!(number(&own.shown()), before);
    // Neither, where nobody knows which was the one.
    exporting::stop(&home.settings).unwrap();
    assert!(why(&own.settle()).starts_with("more than one drive"));
    own.nothing();
    attaching::detach(&first.name, &home.settings).unwrap();
    assert_eq!(own.settle()["is"], "photos");
    assert_eq!(number(&own.shown()), number(&home.at("offline")), "wherever it is mounted");
    attaching::detach(&second.name, &home.settings).unwrap();
    own.nothing();
}
