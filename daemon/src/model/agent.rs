//! Which program a device uses, read from what it says of itself (`User-Agent`, RFC 9110 §10.1.5).
use std::fmt;

/// A program and its version, as people know it. Both texts are bounded and plain: they came from outside and are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    app: String,
    version: Option<String>,
}

const LONGEST_NAME: usize = 40;
const LONGEST_VERSION: usize = 24;
/// Nothing that names itself needs more; the rest is not looked at.
const LONGEST: usize = 400;

/// What stands before the version, and how people call the program. The first that fits anywhere in the text counts, so that those that
/// dress up as another (all browsers do) come before what they dress up as.
const KNOWN: &[(&str, &str)] = &[
    // nextcloud/android-library, OwnCloudClientManagerFactory; nextcloud/NextcloudKit, NKCommon; desktop, Utility::userAgentString.
    ("Nextcloud-android/", "Nextcloud for Android"),
    ("Nextcloud-iOS/", "Nextcloud for iOS"),
    ("mirall/", "Nextcloud desktop"),
    ("ownCloud-android/", "ownCloud for Android"),
    ("ownCloudApp/", "ownCloud for iOS"),
    ("immich-cli/", "Immich CLI"),
    ("immich-go/", "immich-go"),
    ("Immich_Android_", "Immich for Android"),
    ("Immich_iOS_", "Immich for iOS"),
    ("immich-ios/", "Immich for iOS"),
    ("immich-android/", "Immich for Android"),
    ("immich/", "Immich"),
    ("PhotoSync/", "PhotoSync"),
    ("FolderSync/", "FolderSync"),
    ("Lomorage/", "Lomorage"),
    ("sumubackup/", "Sumu Backup"),
    ("BackgroundShortcutRunner/", "iOS Shortcuts"),
    ("Shortcuts/", "iOS Shortcuts"),
    ("rclone/v", "rclone"),
    ("rclone/", "rclone"),
    ("shoebox/", "shoebox push"),
    ("Microsoft-WebDAV-MiniRedir/", "Windows Explorer"),
    ("WebDAVFS/", "macOS Finder"),
    ("WebDAVLib/", "macOS Finder"),
    ("davfs2/", "davfs2"),
    ("gvfs/", "GNOME Files"),
    ("kioworker/", "KDE Dolphin"),
    ("Cyberduck/", "Cyberduck"),
    ("WinSCP/", "WinSCP"),
    ("cadaver/", "cadaver"),
    ("litmus/", "litmus"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("Edg/", "Edge"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

impl Agent {
    /// Reads a `User-Agent`. `None`: it names nothing.
    pub fn read(text: &str) -> Option<Self> {
        let text = cut(text, LONGEST);
        for (mark, app) in KNOWN {
            if let Some(at) = find(text, mark) {
                return Some(Self { app: (*app).to_owned(), version: version(&text[at + mark.len()..]) });
            }
        }
        // What it says first: `name/version (…)`.
        let first = text.split_whitespace().next()?;
        let (name, rest) = first.split_once('/').unwrap_or((first, ""));
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        if name.is_empty() || name.eq_ignore_ascii_case("mozilla") {
            return None;
        }
        Some(Self { app: name, version: version(rest) })
    }

    /// The program.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Its version, where it says.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.app),
            None => f.write_str(&self.app),
        }
    }
}

/// Where a mark stands at the beginning of a word, without regard to case.
fn find(text: &str, mark: &str) -> Option<usize> {
    let (all, wanted) = (text.as_bytes(), mark.as_bytes());
    (0..all.len().saturating_sub(wanted.len() - 1)).find(|&at| {
        all[at..at + wanted.len()].eq_ignore_ascii_case(wanted)
            && (at == 0 || !all[at - 1].is_ascii_alphanumeric() && all[at - 1] != b'-')
    })
}

fn version(rest: &str) -> Option<String> {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let text: String = rest.chars().take_while(plain).take(LONGEST_VERSION).collect();
    Some(text).filter(|text| text.bytes().any(|b| b.is_ascii_digit()))
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a device is likely to be, from its browser: a name to propose for it, and whether it is a phone.
///
/// Android's browsers name the model (`; Pixel 8)`), or the letter K where they do not want to.
pub fn likely_device(browser: &str) -> (&str, bool) {
    let text = cut(browser, LONGEST);
    let has = |word: &str| find(text, word).is_some();
    if has("iPhone") {
        return ("iphone", true);
    }
    if has("iPad") {
        return ("ipad", true);
    }
    if let Some(at) = find(text, "Android") {
        let inside = text[at..].split(')').next().unwrap_or_default();
        let model = inside.split(';').nth(1).unwrap_or_default().trim();
        let model = model.split(" Build").next().unwrap_or_default().trim();
        let says_nothing = model.len() < 3 || has("Firefox/") || find(model, "wv").is_some();
        return (if says_nothing { "android-phone" } else { model }, true);
    }
    for (mark, name) in
        [("Macintosh", "mac"), ("Windows", "windows-pc"), ("CrOS", "chromebook"), ("Linux", "linux-pc")]
    {
        if has(mark) {
            return (name, false);
        }
    }
    ("phone", true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn programs() {
        for (text, expected) in [
            ("Mozilla/5.0 (Android) Nextcloud-android/3.30.0", "Nextcloud for Android 3.30.0"),
            ("Mozilla/5.0 (iOS) Nextcloud-iOS/6.2.1", "Nextcloud for iOS 6.2.1"),
            (
                "Mozilla/5.0 (Linux) mirall/3.7.3-1+deb12u1 (Nextcloud, debian-6.1 ClientArchitecture: x86_64)",
                "Nextcloud desktop 3.7.3-1+deb12u1",
            ),
            (
                "Mozilla/5.0 (Windows) mirall/3.16.7stable-Win64 (build 20250816) (Nextcloud, windows-10.0)",
                "Nextcloud desktop 3.16.7stable-Win64",
            ),
            ("rclone/v1.60.1-DEV", "rclone 1.60.1-DEV"),
            ("curl/7.88.1", "curl 7.88.1"),
            ("davfs2/1.6.1 neon/0.32.4", "davfs2 1.6.1"),
            ("gvfs/1.50.3", "GNOME Files 1.50.3"),
            ("cadaver/0.24 neon/0.32.4", "cadaver 0.24"),
            ("Microsoft-WebDAV-MiniRedir/10.0.19045", "Windows Explorer 10.0.19045"),
            ("WebDAVFS/3.0.0 (03008000) Darwin/21.6.0 (x86_64)", "macOS Finder 3.0.0"),
            ("WebDAVLib/1.3", "macOS Finder 1.3"),
            ("PhotoSync/4.9 CFNetwork/1490 Darwin/23.2.0", "PhotoSync 4.9"),
            ("SomeApp/12 CFNetwork/1490.0.4 Darwin/23.2.0", "SomeApp 12"),
            ("FolderSync/3.5.1", "FolderSync 3.5.1"),
            ("BackgroundShortcutRunner/2605.0.5 CFNetwork/1490 Darwin/23.2.0", "iOS Shortcuts 2605.0.5"),
            ("Immich_Android_1.119.0", "Immich for Android 1.119.0"),
            ("immich-ios/3.0.0", "Immich for iOS 3.0.0"),
            ("okhttp/4.12.0", "okhttp 4.12.0"),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
                "Chrome 120.0.0.0",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/121.0",
                "Edge 121.0",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
                "Safari 17.2",
            ),
            ("Mozilla/5.0 (Android 14; Mobile; rv:120.0) Gecko/120.0 Firefox/120.0", "Firefox 120.0"),
            ("my-script", "my-script"),
            ("curl/", "curl"),
            ("notcurl/1.0", "notcurl 1.0"),
            ("x\u{1b}[2J/1\u{1b}", "x[2J 1"),
        ] {
            assert_eq!(Agent::read(text).map(|a| a.to_string()).as_deref(), Some(expected), "{text}");
        }
        for nothing in ["", "  ", "Mozilla/5.0", "/1.0"] {
            assert_eq!(Agent::read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn devices() {
        for (browser, expected) in [
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15", ("iphone", true)),
            ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X)", ("ipad", true)),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/120 Mobile",
                ("Pixel 8", true),
            ),
            (
                "Mozilla/5.0 (Linux; Android 12; SM-G991B Build/SP1A.210812.016; wv) AppleWebKit/537.36",
                ("SM-G991B", true),
            ),
            ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36", ("android-phone", true)),
            ("Mozilla/5.0 (Android 14; Mobile; rv:120.0) Gecko/120.0 Firefox/120.0", ("android-phone", true)),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", ("mac", false)),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", ("windows-pc", false)),
            ("Mozilla/5.0 (X11; Linux x86_64)", ("linux-pc", false)),
            ("", ("phone", true)),
        ] {
            assert_eq!(likely_device(browser), expected, "{browser}");
        }
    }

    proptest! {
        #[test]
        fn bounded_and_plain(text in "(curl/|Android; |rclone/v)?\\PC{0,500}") {
            if let Some(agent) = Agent::read(&text) {
                prop_assert!(agent.app().chars().count() <= LONGEST_NAME && !agent.app().chars().any(char::is_control));
                prop_assert!(agent.version().is_none_or(|version| version.len() <= LONGEST_VERSION));
            }
            prop_assert!(likely_device(&text).0.len() <= LONGEST);
        }
    }
}
