//! Previews from the real binary: as displayed, for every kind of file, from the cache; hostile files, many at once, and who may see what.
use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use image::{DynamicImage, ExtendedColorType, ImageEncoder as _, ImageFormat, RgbImage};
use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Reply};

const RED: [u8; 3] = [220, 20, 20];
const GREEN: [u8; 3] = [20, 200, 20];
const BLUE: [u8; 3] = [20, 20, 220];
const WHITE: [u8; 3] = [250, 250, 250];
/// As displayed: red, green, and below blue, white.
const UPRIGHT: [[u8; 3]; 4] = [RED, GREEN, BLUE, WHITE];

fn quarters(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb(UPRIGHT[usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2)])
    })
    .into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn jpeg(picture: &DynamicImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Jpeg)
}

/// A JPEG with an EXIF segment: how it is to be turned, and a small picture.
fn with_exif(jpeg: &[u8], orientation: u16, small: &[u8]) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let tiff = [
        &b"II\x2a\0\x08\0\0\0\x01\0"[..],
        &entry(0x112, 3, u32::from(orientation)),
        &26u32.to_le_bytes(),
        &2u16.to_le_bytes(),
        &entry(0x201, 4, 56),
        &entry(0x202, 4, small.len() as u32),
        &0u32.to_le_bytes(),
        small,
    ]
    .concat();
    let length = u16::try_from(tiff.len() + 8).unwrap().to_be_bytes();
    [b"\xff\xd8\xff\xe1", &length[..], b"Exif\0\0", &tiff, &jpeg[2..]].concat()
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/previews").join(name)).unwrap()
}

struct Home {
    dir: tempfile::TempDir,
    daemon: Daemon,
    anna: Account,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 20);
    let anna = daemon.add_person("anna", "laptop", "computer");
    Home { dir, daemon, anna }
}

const FILES: &str = "/remote.php/dav/files/anna";

fn propfind(daemon: &Daemon, who: &Account, name: &str, property: &str) -> String {
    let body = format!(
        "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\" xmlns:nc=\"http://nextcloud.org/ns\"><d:prop><{property}/></d:prop></d:propfind>"
    );
    let reply = daemon.request(who, "PROPFIND", &format!("{FILES}/{name}"), "Depth: 0\r\n", body.as_bytes());
    assert_eq!(reply.status, 207, "{}", reply.text);
    reply.text
}

impl Home {
    fn put(&self, name: &str, bytes: &[u8]) {
        let reply = self.daemon.request(&self.anna, "PUT", &format!("{FILES}/{name}"), "", bytes);
        assert_eq!(reply.status, 201, "{name}: {}", reply.text);
    }

    fn property(&self, name: &str, property: &str) -> String {
        let text = propfind(&self.daemon, &self.anna, name, property);
        let after = text.split(&format!("<{property}>")).nth(1).unwrap_or_default();
        after.split('<').next().unwrap().to_owned()
    }

    fn ask(&self, target: &str) -> Reply {
        self.daemon.request(&self.anna, "GET", target, "", b"")
    }

    /// As the app for Android asks, by the number it got from a listing.
    fn preview(&self, name: &str, edge: u32) -> Reply {
        let id = self.property(name, "oc:id");
        assert!(id.contains("oc"), "{id}");
        self.ask(&format!("/index.php/core/preview?fileId={id}&x={edge}&y={edge}&a=1&mode=cover&forceIcon=0"))
    }

    /// What has been kept.
    fn cache(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("previews")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn seen(reply: &Reply, what: &str) -> RgbImage {
    assert_eq!(reply.status, 200, "{what}: {}", reply.text);
    assert!(reply.text.contains("content-type: image/jpeg\r\n"), "{what}");
    image::load_from_memory_with_format(&reply.body, ImageFormat::Jpeg).unwrap().into_rgb8()
}

/// The colours of the four quarters, in their middles.
fn shows(picture: &RgbImage, expected: [[u8; 3]; 4], what: &str) {
    let (width, height) = picture.dimensions();
    for (n, expected) in expected.into_iter().enumerate() {
        let (x, y) = (width * (1 + 2 * (n as u32 % 2)) / 4, height * (1 + 2 * (n as u32 / 2)) / 4);
        let found = picture.get_pixel(x, y).0;
        let far = found.iter().zip(expected).any(|(found, expected)| found.abs_diff(expected) > 24);
        assert!(!far, "{what}: {found:?} where {expected:?} should be, at {x}, {y}");
    }
}

#[test]
fn every_kind_of_picture_is_shown_as_it_is_displayed() {
    let home = home();
    let picture = quarters(640, 480);
    let turned = quarters(480, 640).rotate270();
    let see_through = DynamicImage::from(picture.to_rgba8());
    for (name, bytes, size) in [
        ("plain.jpg", jpeg(&picture), (256, 192)),
        ("turned.jpg", with_exif(&jpeg(&turned), 6, b""), (192, 256)),
        ("mirrored.jpg", with_exif(&jpeg(&picture.fliph()), 2, b""), (256, 192)),
        ("gray-name.png", encoded(&see_through, ImageFormat::Png), (256, 192)),
        ("a.gif", encoded(&picture, ImageFormat::Gif), (256, 192)),
        ("a.webp", encoded(&picture, ImageFormat::WebP), (256, 192)),
        ("a.heic", fixture("quarters.heic"), (256, 192)),
        ("turned.heic", fixture("turned.heic"), (192, 256)),
    ] {
        home.put(name, &bytes);
        assert_eq!(home.property(name, "nc:has-preview"), "true", "{name}");
        let preview = seen(&home.preview(name, 200), name);
        assert_eq!(preview.dimensions(), size, "{name}");
        shows(&preview, UPRIGHT, name);
    }
    // By name, as the app for iOS and old ones do; a computer's dialect of its own; with no size at all.
    for target in [
        "/index.php/core/preview.png?file=%2Fplain.jpg&x=10&y=10",
        "/index.php/core/preview?file=plain.jpg",
        "/index.php/apps/files/api/v1/thumbnail/64/64/plain.jpg",
    ] {
        shows(&seen(&home.ask(target), target), UPRIGHT, target);
    }
    // Larger ones are larger, and none is larger than its photo.
    assert_eq!(seen(&home.preview("plain.jpg", 500), "500").dimensions(), (512, 384));
    assert_eq!(seen(&home.preview("plain.jpg", 4000), "4000").dimensions(), (640, 480));
    // More pixels than there is memory for: the small picture in it has to do, whatever is asked for.
    home.put("48-megapixels.heic", &fixture("large-with-thumbnail.heic"));
    let small = seen(&home.preview("48-megapixels.heic", 1024), "48-megapixels.heic");
    assert_eq!(small.dimensions(), (416, 312));
    shows(&small, UPRIGHT, "48-megapixels.heic");
    assert!(!home.daemon.log().contains("preview"), "{}", home.daemon.log());
}

#[test]
fn a_cameras_small_picture_is_sent_as_it_is_and_what_was_drawn_is_kept() {
    let mut home = home();
    let small = jpeg(&quarters(320, 240));
    let photo = with_exif(&jpeg(&quarters(1600, 1200)), 1, &small);
    home.put("camera.jpg", &photo);
    let anna = home.anna.clone();
    home.daemon.until("its metadata is read", |d| {
        propfind(d, &anna, "camera.jpg", "nc:metadata-photos-size").contains("<width>")
    });
    assert_eq!(home.preview("camera.jpg", 256).body, small, "nothing was decoded");
    let large = home.preview("camera.jpg", 1024);
    assert_eq!(seen(&large, "large").dimensions(), (1024, 768));
    assert_eq!(home.cache().len(), 2);

    // Kept: the same again, also when nobody could draw it any more. The drive is not asked for the photo.
    fs::remove_file(home.daemon.photos().join("anna/camera.jpg")).unwrap();
    home.daemon.kill();
    home.daemon.start();
    let again = home.ask("/index.php/core/preview?file=camera.jpg&x=1024&y=1024");
    assert_eq!(again.body, large.body);
    let tag = again.text.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    let target = "/index.php/core/preview?file=camera.jpg&x=1024&y=1024";
    let known = home.daemon.request(&home.anna, "GET", target, &format!("If-None-Match: {tag}\r\n"), b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[test]
fn what_is_kept_may_be_lost_damaged_or_nowhere() {
    let home = home();
    home.put("a.jpg", &jpeg(&quarters(640, 480)));
    let first = home.preview("a.jpg", 256);
    let [kept] = home.cache().try_into().unwrap();
    fs::write(&kept, b"rotten").unwrap();
    assert_eq!(home.preview("a.jpg", 256).body, first.body);
    fs::remove_dir_all(home.dir.path().join("previews")).unwrap();
    assert_eq!(home.preview("a.jpg", 256).body, first.body);
    fs::remove_dir_all(home.dir.path().join("previews")).unwrap();
    fs::write(home.dir.path().join("previews"), b"in the way").unwrap();
    for _ in 0..2 {
        assert_eq!(home.preview("a.jpg", 256).body, first.body);
    }
    assert_eq!(home.daemon.log().matches("previews are not kept").count(), 1, "{}", home.daemon.log());
}

/// A PNG that says it is as large as one can be; the pixels, if any, are zeros that take a thousandth of their room.
fn bomb(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(content);
        png.extend((content.len() as u32).to_be_bytes());
        png.extend(kind);
        png.extend(content);
        png.extend(crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat());
    chunk(b"IDAT", data);
    chunk(b"IEND", b"");
    png
}

fn zeros(bytes: u64) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), bytes), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Files that mean harm, or are broken, each under the name of a photo.
fn hostile() -> Vec<(String, Vec<u8>)> {
    let picture = quarters(640, 480);
    let (good_jpeg, good_png) = (jpeg(&picture), encoded(&picture, ImageFormat::Png));
    let (good_gif, good_webp) = (encoded(&picture, ImageFormat::Gif), encoded(&picture, ImageFormat::WebP));
    let heic = fixture("turned.heic");
    let mut large_jpeg = good_jpeg.clone();
    let frame = large_jpeg.windows(2).position(|two| two == b"\xff\xc0").unwrap();
    large_jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let mut large_gif = good_gif.clone();
    large_gif[6..10].copy_from_slice(&[0xff; 4]);
    let mut all = vec![
        ("bomb.png".to_owned(), bomb(65_535, 65_535, &zeros(40_000_000))),
        // Small enough to be tried, and large enough to be killed for it.
        ("tried.png".to_owned(), bomb(7_700, 7_700, &zeros(7_700 * (4 * 7_700 + 1)))),
        ("empty.png".to_owned(), bomb(600, 400, b"")),
        ("large.jpg".to_owned(), large_jpeg),
        ("large.gif".to_owned(), large_gif),
        ("noise.jpg".to_owned(), [b"\xff\xd8\xff\xe0", &luck::bytes(1, 50_000)[..]].concat()),
        ("noise.heic".to_owned(), [&heic[..200], &luck::bytes(2, 50_000)[..]].concat()),
        ("noise.webp".to_owned(), [b"RIFF\xff\xff\xff\xffWEBPVP8L", &luck::bytes(3, 9_000)[..]].concat()),
        ("text.jpg".to_owned(), b"<html><script>alert(1)</script>".to_vec()),
        ("exif.jpg".to_owned(), with_exif(&good_jpeg[..200], 1, b"\xff\xd8\xff\xff\xd9")),
    ];
    let mut luck = Luck::new(luck::seed("previews"));
    for (kind, good) in
        [("jpg", &good_jpeg), ("png", &good_png), ("gif", &good_gif), ("webp", &good_webp), ("heic", &heic)]
    {
        for n in 0..4 {
            let cut = luck.below(good.len() as u64) as usize;
            all.push((format!("cut-{n}.{kind}"), good[..cut.max(13)].to_vec()));
            let mut spoilt = good.clone();
            for _ in 0..=luck.below(12) {
                let at = luck.below(good.len() as u64) as usize;
                spoilt[at] = luck.next() as u8;
            }
            all.push((format!("spoilt-{n}.{kind}"), spoilt));
        }
    }
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/media");
    for entry in fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        all.push((format!("seed-{}.jpg", all.len()), fs::read(path).unwrap()));
    }
    all
}

#[test]
fn no_file_does_harm_to_anything_but_its_own_preview() {
    let home = home();
    home.put("good.jpg", &jpeg(&quarters(640, 480)));
    let (mut asked, mut shown) = (0, 0);
    for (name, bytes) in hostile().iter().filter(|(_, bytes)| !bytes.is_empty()) {
        home.put(name, bytes);
        let reply = home.preview(name, 256);
        assert!(matches!(reply.status, 200 | 404), "{name}: {}", reply.text);
        asked += 1;
        if reply.status == 200 {
            shown += 1;
            assert!(reply.body.starts_with(b"\xff\xd8\xff"), "{name}");
            assert!(seen(&reply, name).width() <= 256, "{name}");
        } else {
            // Nothing is promised that cannot be had, once that is known; nor is it tried again.
            assert_eq!(home.property(name, "nc:has-preview"), "false", "{name}");
        }
        // It is kept all the same.
        assert_eq!(home.ask(&format!("{FILES}/{name}")).body, *bytes, "{name}");
    }
    for name in ["bomb.png", "empty.png", "noise.jpg", "noise.heic", "text.jpg"] {
        assert_eq!(home.preview(name, 256).status, 404, "{name}");
    }
    shows(&seen(&home.preview("good.jpg", 256), "good"), UPRIGHT, "good");
    let (peak, log) = (home.daemon.peak_memory(), home.daemon.log());
    println!(
        "previews: {asked} files that mean harm, of {shown} there is something to show, {} MiB of its own at most",
        peak >> 20
    );
    assert!(peak < 120 << 20, "the daemon itself took {} MiB", peak >> 20);
    assert!(!log.contains("panicked") && !log.contains("could not be confined"), "{log}");
}

/// Processes that this one has started and that live at one and the same moment.
///
/// The threads are listed one after the other, and a child may end while the next thread starts its own. Only what is still
/// there after the last thread was looked at was there together with all the others.
fn children(pid: u32) -> BTreeSet<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let mut all: BTreeSet<u32> = tasks
        .flat_map(|task| of(task).split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    all.retain(|child| lives(*child));
    all
}

/// Neither gone nor ended and waited for (proc_pid_stat(5): the state follows the name in brackets).
fn lives(pid: u32) -> bool {
    let said = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    said.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn many_that_ask_at_once_wait_for_one_that_draws() {
    const MANY: usize = 24;
    let home = home();
    for n in 0..MANY {
        let mut picture = quarters(1200, 900);
        picture = picture.adjust_contrast(n as f32 / 4.0);
        home.put(&format!("{n}.jpg"), &jpeg(&picture));
    }
    let (most, ended, later) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let (daemon, pid) = (&home.daemon, home.daemon.pid());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(children(pid).len(), Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        let asking: Vec<_> = (0..MANY)
            .map(|n| {
                let (later, anna) = (&later, &home.anna);
                scope.spawn(move || {
                    let target = format!("/index.php/core/preview?file={n}.jpg&x=512&y=512");
                    let reply =
                        wire::request(daemon.address, &anna.basic(), "GET", &target, "", b"").unwrap();
                    match reply.status {
                        200 => {}
                        503 => drop(later.fetch_add(1, Ordering::Relaxed)),
                        other => panic!("{n}: {other}"),
                    }
                    // Uploads go on meanwhile.
                    let put = format!("{FILES}/beside-{n}.jpg");
                    let reply =
                        wire::request(daemon.address, &anna.basic(), "PUT", &put, "", &[n as u8; 5000])
                            .unwrap();
                    assert_eq!(reply.status, 201);
                })
            })
            .collect();
        for one in asking {
            one.join().unwrap();
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(most.load(Ordering::Relaxed), 1, "at one time");
    assert_eq!(later.load(Ordering::Relaxed), 0, "told to come back");
}

#[test]
fn a_preview_is_shown_to_whom_the_photo_is() {
    let home = home();
    home.put("a.jpg", &jpeg(&quarters(640, 480)));
    let (phone, other) =
        (home.daemon.add_device("anna", "phone", "phone"), home.daemon.add_person("ben", "phone", "phone"));
    assert_eq!(home.daemon.request(&phone, "PUT", "/dav/p.jpg", "", &jpeg(&quarters(300, 200))).status, 201);
    let id = |name: &str| home.property(name, "oc:fileid");
    let of = |who: &Account, target: &str| home.daemon.request(who, "GET", target, "", b"").status;
    let by_id = |id: &str| format!("/index.php/core/preview?fileId={id}&x=64&y=64");
    let (mine, phones) = (by_id(&id("a.jpg")), by_id(&id("phone/p.jpg")));
    assert_eq!((of(&home.anna, &mine), of(&home.anna, &phones)), (200, 200));
    assert_eq!((of(&phone, &mine), of(&phone, &phones)), (404, 200), "a phone sees its own folder");
    assert_eq!((of(&other, &mine), of(&other, &phones)), (404, 404));
    assert_eq!(of(&phone, "/index.php/core/preview.png?file=/p.jpg&x=1&y=1"), 200);
    for outside in ["/../a.jpg", "..%2Fa.jpg", "%2F..%2F..%2Fanna%2Fa.jpg", "a.jpg", "", "%00", "//"] {
        assert_eq!(of(&phone, &format!("/index.php/core/preview.png?file={outside}")), 404, "{outside}");
    }
    let nobody = Account { user: "anna".into(), password: "no".into() };
    assert_eq!(of(&nobody, &mine), 401);
    assert_eq!(home.daemon.run(&["device", "revoke", "anna", "phone"]).0, 0);
    assert_eq!(of(&phone, &phones), 401);
    // What has no preview: a folder, a video, a file that is none.
    home.put("a.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0\0\x08moov");
    for name in ["a.mov", "phone"] {
        assert_eq!(of(&home.anna, &by_id(&id(name))), 404, "{name}");
        assert_eq!(home.property(name, "nc:has-preview"), "false", "{name}");
    }
    assert_eq!(of(&home.anna, &by_id("999999")), 404);
}

#[test]
fn while_the_main_drive_is_away_apps_are_told_to_come_back() {
    let mut home = home();
    home.put("a.jpg", &jpeg(&quarters(640, 480)));
    assert_eq!(home.preview("a.jpg", 256).status, 200);
    let target = "/index.php/core/preview.png?file=/a.jpg&x=1024&y=1024";
    fs::rename(home.dir.path().join("a"), home.dir.path().join("pulled")).unwrap();
    fs::create_dir(home.dir.path().join("a")).unwrap();
    home.daemon.until("it is noticed", |d| d.request(&home.anna, "GET", target, "", b"").status == 503);
    fs::remove_dir(home.dir.path().join("a")).unwrap();
    fs::rename(home.dir.path().join("pulled"), home.dir.path().join("a")).unwrap();
    home.daemon.until("it is back", |d| d.request(&home.anna, "GET", target, "", b"").status == 200);
}

#[test]
fn immichs_clients_get_thumbnails_too() {
    let home = home();
    home.put("a.jpg", &jpeg(&quarters(2000, 1500)));
    let key = format!("x-api-key: {}\r\n", home.anna.password);
    let to = home.daemon.address;
    let id = immich_id(&home);
    let get = |more: &str, key: &str| {
        wire::request(to, "none", "GET", &format!("/api/assets/{id}/thumbnail{more}"), key, b"").unwrap()
    };
    for (more, size) in
        [("", (256, 192)), ("?size=thumbnail", (256, 192)), ("?size=preview&edited=true", (1600, 1200))]
    {
        let picture = seen(&get(more, &key), more);
        assert_eq!(picture.dimensions(), size, "{more}");
        shows(&picture, UPRIGHT, more);
    }
    assert_eq!(get("", "x-api-key: no\r\n").status, 401);
    let ben = home.daemon.add_person("ben", "phone", "phone");
    assert_eq!(get("", &format!("x-api-key: {}\r\n", ben.password)).status, 404);
}

/// As Immich's command line is told it when it sends the same photo once more.
fn immich_id(home: &Home) -> String {
    let photo = fs::read(home.daemon.photos().join("anna/a.jpg")).unwrap();
    let boundary = "----shoebox";
    let mut body = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"fileCreatedAt\"\r\n\r\n2026-11-30T10:00:00.000Z\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"fileModifiedAt\"\r\n\r\n2026-11-30T10:00:00.000Z\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"assetData\"; filename=\"a.jpg\"\r\n\r\n").into_bytes();
    body.extend_from_slice(&photo);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let more = format!(
        "x-api-key: {}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n",
        home.anna.password
    );
    let reply = wire::request(home.daemon.address, "none", "POST", "/api/assets", &more, &body).unwrap();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    answer["id"].as_str().unwrap_or_else(|| panic!("{}", reply.text)).to_owned()
}

/// What is written on a line of a process's `status` or `limits`.
fn told(pid: u32, file: &str, line: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_default();
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// A file of the parent's, open in the child by mistake, is closed before the photo is read.
#[test]
fn whoever_draws_has_nothing_but_the_photo() {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), b"of the family").unwrap();
    let script =
        format!("exec 5<{}; exec \"$0\" draw-preview --edge 256", dir.path().join("secret").display());
    let program = dir.path().join("shoebox");
    if fs::hard_link(env!("CARGO_BIN_EXE_shoebox"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_shoebox"), &program).unwrap();
    }
    let mut command = Command::new("/bin/sh");
    // As on a box: an ordinary user, who may read less of itself than root may.
    if nix::unistd::geteuid().is_root() {
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        command.uid(65_534).gid(65_534);
    }
    // A pipe that says nothing keeps it where it is: about to read.
    let mut child = command
        .args(["-c", &script, program.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let began = std::time::Instant::now();
    while told(pid, "status", "Seccomp:") != "2" {
        assert!(began.elapsed().as_secs() < 60, "it is never confined");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(told(pid, "status", "NoNewPrivs:"), "1");
    for (limit, most) in [
        ("Max address space", 320 << 20),
        ("Max cpu time", 10),
        ("Max open files", 0),
        ("Max processes", 0),
        ("Max file size", 0),
        ("Max core file size", 0),
    ] {
        assert_eq!(told(pid, "limits", limit), most.to_string(), "{limit}");
    }
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map(|fds| {
        let mut fds: Vec<_> = fds.map(|fd| fd.unwrap().file_name().into_string().unwrap()).collect();
        fds.sort();
        fds
    });
    // Who is not root may not look: it is not dumpable.
    if let Ok(open) = open {
        assert_eq!(open, ["0", "1", "2"]);
    }
    drop(child.stdin.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stdout), (Some(0), b"N".to_vec()));
}

/// A picture that is to be decoded with little memory: the largest that is tried.
#[test]
fn the_largest_photo_that_is_tried_fits_into_the_memory_that_is_allowed() {
    let home = home();
    let (width, height) = (8944_u32, 6708_u32);
    let mut bytes = Vec::new();
    let gray = vec![128_u8; (width * height) as usize];
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 50)
        .write_image(&gray, width, height, ExtendedColorType::L8)
        .unwrap();
    drop(gray);
    home.put("large.jpg", &bytes);
    assert_eq!(seen(&home.preview("large.jpg", 1024), "large").dimensions(), (1024, 768));
}
