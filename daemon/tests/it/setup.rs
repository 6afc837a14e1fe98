//! The set-up page, as a browser uses it: from two new drives to a phone that sends photos, and what nobody else may do there.
use std::net::SocketAddr;

use crate::support::daemon::{Account, Daemon};
use crate::support::wire::{self, Reply};

const SECRET: &str = "correct-horse-battery";

/// A browser: what it was told to send with each request.
struct Browser {
    to: SocketAddr,
    cookie: String,
}

impl Browser {
    fn at(daemon: &Daemon) -> Self {
        Self { to: daemon.address, cookie: String::new() }
    }

    fn get(&self, path: &str) -> Reply {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: text/html\r\nCookie: {}\r\n\r\n",
            self.to, self.cookie
        );
        Reply::parse(&wire::exchange(self.to, request.as_bytes()).unwrap()).unwrap()
    }

    fn post_from(&self, origin: &str, body: &str) -> Reply {
        let request = format!(
            "POST /setup HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nOrigin: {origin}\r\nCookie: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.to,
            self.cookie,
            body.len()
        );
        Reply::parse(&wire::exchange(self.to, request.as_bytes()).unwrap()).unwrap()
    }

    /// Sends a form, and keeps the cookie that comes back.
    fn post(&mut self, body: &str) -> Reply {
        let reply = self.post_from(&format!("http://{}", self.to), body);
        let set = reply.text.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some(cookie) = set {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        reply
    }

    fn onwards(&mut self, body: &str) {
        let reply = self.post(body);
        assert_eq!(reply.status, 303, "{body}: {}", reply.text);
    }

    fn page(&self) -> String {
        let reply = self.get("/setup");
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.text
    }
}

/// A box with two drives that are nobody's.
fn fresh(dir: &std::path::Path) -> Daemon {
    for drive in ["a", "b"] {
        std::fs::create_dir_all(dir.join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.spawn();
    daemon.until_it_answers();
    daemon
}

fn drive(dir: &std::path::Path, name: &str, role: &str) -> String {
    let mount = dir.join(name).display().to_string().replace('/', "%2F");
    let fresh = if role == "primary" { "&fresh=yes" } else { "" };
    format!("do=drive&mount={mount}&role={role}{fresh}")
}

fn claim(name: &str) -> String {
    format!("do=claim&name={name}&password={SECRET}&again={SECRET}")
}

/// What the card has in the row of this name.
fn typed<'t>(page: &'t str, row: &str) -> &'t str {
    let (_, rest) =
        page.split_once(&format!("<th>{row}</th><td><code>")).unwrap_or_else(|| panic!("{row}: {page}"));
    rest.split('<').next().unwrap()
}

#[test]
fn from_two_new_drives_to_a_phone_that_sends() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = fresh(dir.path());
    let mut anna = Browser::at(&daemon);
    daemon.until("the drives are seen", |_| anna.page().matches("is new here.").count() == 2);
    // Whoever opens the box's address is led there.
    let front = anna.get("/");
    assert!(front.status == 303 && front.text.contains("location: /setup"), "{}", front.text);
    assert!(!anna.page().contains("name=\"password\""), "nobody before there is a drive for them");
    // Only a person knows whether there are other drives of this box.
    let unsaid = drive(dir.path(), "a", "primary").replace("&fresh=yes", "");
    assert_eq!(anna.post(&unsaid).status, 400);
    anna.onwards(&drive(dir.path(), "a", "primary"));
    daemon.until("it is in use", |_| anna.page().contains("is in use."));
    // A second main drive is offered to nobody.
    assert_eq!(anna.post(&drive(dir.path(), "b", "primary")).status, 409);
    anna.onwards(&drive(dir.path(), "b", "mirror"));
    // What is typed badly is said, and nothing is done.
    for (bad, words) in [
        (format!("do=claim&name=Anna&password={SECRET}&again=other-other"), "two different passwords"),
        ("do=claim&name=Anna&password=short&again=short".to_owned(), "at least 8 characters"),
        (format!("do=claim&name=%21&password={SECRET}&again={SECRET}"), "letters from a to z"),
    ] {
        let reply = anna.post(&bad);
        assert!(reply.status == 400 && reply.text.contains(words), "{}", reply.text);
    }
    anna.onwards(&claim("Anna"));
    let page = anna.page();
    assert!(
        page.contains("Drives, people, phones") && page.contains("<strong>anna</strong>: 0 devices"),
        "{page}"
    );
    anna.onwards("do=person&name=ben");
    assert_eq!(anna.post("do=person&name=Ben").status, 409);

    let card = anna.post("do=phone&name=ben&phone=Ben%27s+iPhone&app=nextcloud");
    assert_eq!(card.status, 200, "{}", card.text);
    assert!(card.text.contains("bens-iphone of ben") && card.text.contains("<svg"), "{}", card.text);
    assert_eq!(typed(&card.text, "server address"), format!("http://{}", daemon.address));
    let phone = Account {
        user: typed(&card.text, "user").to_owned(),
        password: typed(&card.text, "password").to_owned(),
    };
    assert!(card.text.contains(&format!("nc://login/user:ben&amp;password:{}", phone.password)));
    assert_eq!(daemon.request(&phone, "PUT", "/dav/one.jpg", "", b"a photo").status, 201);
    daemon.until("both drives have it", |d| d.is_mirrored("ben/bens-iphone/one.jpg"));
    // It is shown once, and the same name is taken.
    assert!(!anna.page().contains(&phone.password));
    assert_eq!(anna.post("do=phone&name=ben&phone=bens-iphone&app=nextcloud").status, 409);
    assert_eq!(anna.get("/").status, 200, "the front page leads to all of it from now on");
    assert!(!daemon.log().contains(&phone.password) && !daemon.log().contains(SECRET));
}

#[test]
fn a_box_that_is_somebodys_does_nothing_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = fresh(dir.path());
    let mut anna = Browser::at(&daemon);
    daemon.until("the drives are seen", |_| anna.page().matches("is new here.").count() == 2);
    // From a page of another site, nothing.
    let evil = anna.post_from("http://evil.example", &drive(dir.path(), "a", "primary"));
    assert_eq!(evil.status, 403, "{}", evil.text);
    anna.onwards(&drive(dir.path(), "a", "primary"));
    // Two that come at once: one of them is the first.
    let both: Vec<u16> = std::thread::scope(|scope| {
        let send = |name: &'static str| {
            let mut browser = Browser::at(&daemon);
            scope.spawn(move || browser.post(&claim(name)).status)
        };
        [send("clara"), send("mallory")].map(|thread| thread.join().unwrap()).to_vec()
    });
    let mut sorted = both.clone();
    sorted.sort_unstable();
    assert!(sorted[0] == 303 && matches!(sorted[1], 403 | 409), "{both:?}");
    let people = daemon.ask(&["person", "list", "--json"]);
    assert_eq!(people.as_array().unwrap().len(), 1);
    let owner = people[0]["name"].as_str().unwrap().to_owned();

    let mut stranger = Browser::at(&daemon);
    for form in [
        drive(dir.path(), "b", "mirror"),
        claim("mallory"),
        "do=person&name=mallory".to_owned(),
        format!("do=phone&name={owner}&phone=x&app=webdav"),
    ] {
        let reply = stranger.post(&form);
        assert!(
            reply.status == 403 && reply.text.contains("Sign in first, as the one"),
            "{form}: {}",
            reply.text
        );
    }
    assert!(!stranger.page().contains(&owner), "nobody is told who lives here");
    let wrong = format!("do=sign-in&name={owner}&password=wrong-horse-battery");
    assert_eq!(stranger.post(&wrong).status, 403);
    let mut hers = Browser::at(&daemon);
    hers.onwards(&format!("do=sign-in&name={owner}&password={SECRET}"));
    hers.onwards("do=person&name=ben&password=bens-own-password&again=bens-own-password");
    hers.onwards("do=person&name=kim");
    // Somebody else of the family, with a password, adds phones of his own and nothing else; and nobody adds one for him.
    let mut ben = Browser::at(&daemon);
    ben.onwards("do=sign-in&name=Ben&password=bens-own-password");
    assert!(ben.page().contains("Your phones") && !ben.page().contains(&owner), "{}", ben.page());
    for form in ["do=person&name=eve", "do=phone&name=kim&phone=x&app=webdav"] {
        assert_eq!(ben.post(form).status, 403, "{form}");
    }
    assert_eq!(ben.post(&drive(dir.path(), "b", "mirror")).status, 403);
    assert_eq!(hers.post("do=phone&name=ben&phone=spy&app=webdav").status, 403);
    assert_eq!(ben.post("do=phone&name=ben&phone=own&app=webdav").status, 200);
    assert_eq!(hers.post("do=phone&name=kim&phone=first&app=webdav").status, 200);
    // Signed out, the cookie is worth nothing.
    let old = hers.cookie.clone();
    hers.onwards("do=out");
    hers.cookie = old;
    assert_eq!(hers.post("do=person&name=eve").status, 403);
    assert_eq!(daemon.ask(&["person", "list", "--json"]).as_array().unwrap().len(), 3);
    assert_eq!(daemon.ask(&["device", "list", "--json"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_box_whose_main_drive_is_away_is_nobodys_to_take() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = fresh(dir.path());
    let mut anna = Browser::at(&daemon);
    daemon.until("the drives are seen", |_| anna.page().matches("is new here.").count() == 2);
    // Both at once, as two taps: one of them is the main drive, and there is one pool.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send = |name: &'static str| {
            let mut browser = Browser::at(&daemon);
            let form = drive(dir.path(), name, "primary");
            scope.spawn(move || browser.post(&form).status)
        };
        [send("a"), send("b")].map(|thread| thread.join().unwrap()).to_vec()
    });
    let late = |status: &u16| matches!(*status, 409 | 503);
    assert!(statuses.contains(&303) && statuses.iter().any(late), "{statuses:?}");
    let marked = |name: &str| dir.path().join(name).join(".shoebox/drive.toml").exists();
    assert!(marked("a") != marked("b"), "two taps made two pools");
    let (main, other) = if marked("a") { ("a", "b") } else { ("b", "a") };
    anna.onwards(&claim("anna"));
    anna.onwards(&drive(dir.path(), other, "mirror"));
    daemon.kill();
    // The main drive is gone, a new one lies in its place; the card has forgotten all of it.
    std::fs::rename(dir.path().join(main), dir.path().join("elsewhere")).unwrap();
    std::fs::create_dir(dir.path().join(main)).unwrap();
    daemon.spawn();
    daemon.until_it_answers();
    let mut late = Browser::at(&daemon);
    daemon.until("the new one is seen", |_| late.page().contains("is new here."));
    assert_eq!(late.get("/").status, 200, "nobody is led to setting up what is set up");
    assert!(late.page().contains("The main drive is not here"), "{}", late.page());
    assert_eq!(late.post(&drive(dir.path(), main, "primary")).status, 503);
    assert_eq!(late.post(&claim("mallory")).status, 503);
    assert!(!dir.path().join(main).join(".shoebox/drive.toml").exists());
}

#[test]
fn its_owner_is_the_first_whatever_the_clock_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = fresh(dir.path());
    let mut zoe = Browser::at(&daemon);
    daemon.until("the drives are seen", |_| zoe.page().matches("is new here.").count() == 2);
    zoe.onwards(&drive(dir.path(), "a", "primary"));
    zoe.onwards(&claim("zoe"));
    zoe.onwards(&drive(dir.path(), "b", "mirror"));
    // One who was added later, and is said to be older: on the command line, where the alphabet would make him the first.
    zoe.onwards("do=person&name=adam&password=adams-own-password&again=adams-own-password");
    assert_eq!(zoe.post("do=phone&name=zoe&phone=phone&app=webdav").status, 200);
    daemon.until("B was told", |d| {
        let told = std::fs::read_dir(dir.path().join("b/.shoebox/manifest")).is_ok_and(|mut all| {
            all.any(|file| {
                std::fs::read_to_string(file.unwrap().path()).is_ok_and(|text| text.contains("adam"))
            })
        });
        told && d.run(&["status"]).0 != 3
    });
    // Rebuilt from the other drive's record, it is still hers.
    daemon.kill();
    std::fs::rename(dir.path().join("a"), dir.path().join("elsewhere")).unwrap();
    std::fs::create_dir(dir.path().join("a")).unwrap();
    daemon.spawn();
    daemon.until_it_answers();
    daemon.until("B takes its place", |d| d.run(&["drive", "promote", "mirror", "--yes"]).0 == 0);
    let mut again = Browser::at(&daemon);
    daemon.until("it serves", |_| again.page().contains("This box is set up"));
    again.onwards(&format!("do=sign-in&name=zoe&password={SECRET}"));
    assert!(again.page().contains("Drives, people, phones"), "{}", again.page());
}
