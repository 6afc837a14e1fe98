//! Whose tree is whose: every method of every other device, aimed at one person's files in every way there is to write
//! it, sees and changes nothing (I28, promise P2).
use std::collections::BTreeMap;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::listing;

/// First those that take or look, while nothing of the asker's own has the name; then those that make.
const METHODS: [&str; 11] =
    ["GET", "HEAD", "DELETE", "MOVE", "COPY", "PROPFIND", "PROPPATCH", "UNLOCK", "PUT", "LOCK", "MKCOL"];

fn photos(daemon: &Daemon, below: &str) -> BTreeMap<String, String> {
    listing(&daemon.photos().join(below))
}

fn ask(daemon: &Daemon, who: &Account, method: &str, target: &str, more: &str) -> (u16, String) {
    let body: &[u8] = match method {
        "PUT" => b"evil",
        "LOCK" => b"<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>",
        "PROPPATCH" => b"<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><x xmlns=\"u\">1</x></D:prop></D:set></D:propertyupdate>",
        _ => b"",
    };
    let reply = daemon.request(who, method, target, &format!("Depth: 0\r\n{more}"), body);
    (reply.status, reply.text)
}

#[test]
fn no_device_reaches_another_persons_tree() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "laptop", "computer");
    let bob_computer = daemon.add_person("bob", "laptop", "computer");
    let bob_phone = daemon.add_device("bob", "phone", "phone");
    assert_eq!(daemon.request(&anna, "MKCOL", "/dav/album", "", b"").status, 201);
    for name in ["album/annas-wedding.jpg", "annas-cat.jpg"] {
        assert_eq!(daemon.request(&anna, "PUT", &format!("/dav/{name}"), "", name.as_bytes()).status, 201);
    }
    let before = photos(&daemon, "anna");
    let mut tried = 0;
    for bob in [&bob_computer, &bob_phone] {
        assert_eq!(daemon.request(bob, "PUT", "/dav/own.jpg", "", b"bobs own").status, 201);
        for aim in [
            "/dav/annas-cat.jpg",
            "/dav/album/annas-wedding.jpg",
            "/dav/anna/annas-cat.jpg",
            "/dav/../anna/annas-cat.jpg",
            "/dav/%2e%2e/anna/annas-cat.jpg",
            "/dav/..%2fanna%2fannas-cat.jpg",
            "/dav//anna/annas-cat.jpg",
            "/dav/photos/anna/annas-cat.jpg",
            "/anna/annas-cat.jpg",
            "/dav/anna@/annas-cat.jpg",
        ] {
            for method in METHODS {
                let (status, text) = ask(&daemon, bob, method, aim, "Destination: /dav/loot.jpg\r\n");
                // Under his own root such a name is free: he may make a file or a lock of his own there.
                let own = matches!((method, status), ("PUT", 201) | ("LOCK", 200 | 201));
                assert!(own || (400..500).contains(&status), "{method} {aim}: {text}");
                assert!(
                    !text.contains("annas-wedding") || aim.contains("annas-wedding"),
                    "{method} {aim}: {text}"
                );
                tried += 1;
            }
            for (method, source) in [("MOVE", "/dav/own.jpg"), ("COPY", "/dav/own.jpg")] {
                let to = format!("Destination: {aim}\r\nOverwrite: F\r\n");
                let (status, text) = ask(&daemon, bob, method, source, &to);
                assert!((400..500).contains(&status) || status == 201, "{method} to {aim}: {text}");
                daemon.request(bob, "PUT", "/dav/own.jpg", "", b"bobs own");
                tried += 1;
            }
        }
        let (status, text) = ask(&daemon, bob, "PROPFIND", "/dav/", "");
        assert_eq!((status, text.contains("anna")), (207, false), "{text}");
        assert_eq!(photos(&daemon, "anna"), before);
        let found = daemon.request(&anna, "GET", "/dav/annas-cat.jpg", "", b"");
        assert_eq!(found.body, b"annas-cat.jpg");
        // What he took or made is his own and nothing of hers.
        assert!(
            photos(&daemon, "bob")
                .values()
                .all(|content| content.is_empty() || !before.values().any(|c| c == content))
        );
    }
    println!("people: {tried} requests at another person's files, none reached them");
}

#[test]
fn a_lock_is_its_owners() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let (anna, bob) =
        (daemon.add_person("anna", "one", "computer"), daemon.add_person("bob", "one", "computer"));
    for who in [&anna, &bob] {
        assert_eq!(daemon.request(who, "PUT", "/dav/a.jpg", "", b"first").status, 201);
    }
    let (status, text) = ask(&daemon, &anna, "LOCK", "/dav/a.jpg", "");
    assert_eq!(status, 200, "{text}");
    let token = &text[text.find("urn:uuid:").unwrap()..][..45];
    // Bob's name of the same spelling is another file, and her token opens nothing of his.
    assert_eq!(daemon.request(&bob, "PUT", "/dav/a.jpg", "", b"second").status, 204);
    let (status, _) = ask(&daemon, &bob, "UNLOCK", "/dav/a.jpg", &format!("Lock-Token: <{token}>\r\n"));
    assert!((400..500).contains(&status), "{status}");
    let refused = daemon.request(&anna, "PUT", "/dav/a.jpg", "", b"without the token");
    assert_eq!(refused.status, 423, "{}", refused.text);
    assert!(!refused.text.contains(token), "{}", refused.text);
    let with = daemon.request(&anna, "PUT", "/dav/a.jpg", &format!("If: (<{token}>)\r\n"), b"with the token");
    assert_eq!(with.status, 204, "{}", with.text);
}

/// A phone adds and never takes away (product, table of requests); and it sees its own folder only.
#[test]
fn a_phone_only_adds() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let laptop = daemon.add_person("anna", "laptop", "computer");
    let (phone, tablet) =
        (daemon.add_device("anna", "phone", "phone"), daemon.add_device("anna", "tablet", "phone"));
    assert_eq!(daemon.request(&laptop, "PUT", "/dav/desk.jpg", "", b"desk").status, 201);
    assert_eq!(daemon.request(&tablet, "PUT", "/dav/sofa.jpg", "", b"sofa").status, 201);
    assert_eq!(daemon.request(&phone, "PUT", "/dav/a.jpg", "", b"photo").status, 201);
    let before = photos(&daemon, "");
    for (method, target) in [
        ("DELETE", "/dav/a.jpg"),
        ("MOVE", "/dav/a.jpg"),
        ("DELETE", "/dav/"),
        ("MOVE", "/dav/"),
        ("GET", "/dav/desk.jpg"),
        ("GET", "/dav/sofa.jpg"),
        ("GET", "/dav/tablet/sofa.jpg"),
        ("DELETE", "/dav/desk.jpg"),
        ("DELETE", "/dav/../desk.jpg"),
        ("MOVE", "/dav/../tablet/sofa.jpg"),
    ] {
        let (status, text) = ask(&daemon, &phone, method, target, "Destination: /dav/b.jpg\r\n");
        assert!((400..500).contains(&status), "{method} {target}: {text}");
    }
    assert_eq!(photos(&daemon, ""), before);
    // Other bytes under the name: the old ones are in the trash, not gone.
    assert_eq!(daemon.request(&phone, "PUT", "/dav/a.jpg", "", b"edited").status, 204);
    let trash = listing(&daemon.dir.join("a/.shoebox/trash"));
    assert!(trash.values().any(|content| *content == crate::support::listing::hash(b"photo")), "{trash:?}");
}

#[test]
fn no_device_is_called_like_a_folder_of_the_boxs() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    drop(daemon.add_person("anna", "phone", "phone"));
    let ways = [&["--kind", "phone"][..], &["--app", "nextcloud", "--one-time"]];
    for more in ways {
        let add = |name: &str| daemon.run(&[&["device", "add", "anna", name][..], more].concat()).0;
        for name in ["favorites", "favourites", "2026-11"] {
            assert_eq!(add(name), 2, "{name} {more:?}");
        }
        assert_eq!(add(&format!("favorite{}", more.len())), 0, "{more:?}");
    }
    assert!(!daemon.photos().join("anna/favorites").exists());
}
