//! What single values of the settings have to be like, and what is said of one that is not.
use std::fmt;
use std::path::Path;

use log::LevelFilter;

/// At least one, and none twice.
pub(super) fn distinct<T: PartialEq + fmt::Debug>(all: &[T], what: &str) -> Result<(), String> {
    if all.is_empty() {
        return Err(format!("needs at least {what}"));
    }
    match all.iter().enumerate().find(|(index, one)| all[..*index].contains(one)) {
        Some((_, twice)) => Err(format!("{twice:?} is there twice")),
        None => Ok(()),
    }
}

/// A place that does not depend on where the daemon was started.
pub(super) fn absolute(path: &Path) -> Result<(), String> {
    if path.is_absolute() && path.parent().is_some() {
        Ok(())
    } else {
        Err(format!("{path:?} is not an absolute path below /"))
    }
}

/// As it stands in a `Host` header.
pub(super) fn host_name(host: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !host.is_empty() && host.len() <= 253 && host.chars().all(plain) {
        Ok(())
    } else {
        Err(format!("{host:?} is not a host name in lower case without a port"))
    }
}

/// An address for people, or none.
pub(super) fn web_address(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    // No user part: an address is printed and logged, so it must not be able to hold a password.
    let fits = |rest: &str| {
        let host = rest.trim_end_matches('/');
        !host.is_empty() && !host.contains(['/', '@', '?', '#', ' '])
    };
    if url.is_empty() || rest.is_some_and(fits) {
        Ok(())
    } else {
        Err(format!("{url:?} is not like \"https://photos.example.org\" (and nothing after the host)"))
    }
}

/// A version as Immich's clients compare it.
pub(super) fn three_numbers(version: &str) -> Result<(), String> {
    let number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
    let fits = version.split('.').count() == 3 && version.split('.').all(number);
    if fits { Ok(()) } else { Err(format!("{version:?} is not a version such as 3.0.0")) }
}

pub(super) const OFF: &str = "off";
pub(super) const EXPERIMENTAL: &str = "experimental";

/// A switch of what is not promised yet.
pub(super) fn off_or_experimental(word: &str) -> Result<(), String> {
    let fits = [OFF, EXPERIMENTAL].contains(&word);
    if fits { Ok(()) } else { Err(format!("{word:?} is not one of off, experimental")) }
}

/// How much is told.
pub(super) fn log_level(word: &str) -> Result<LevelFilter, String> {
    word.parse().map_err(|_| format!("{word:?} is not one of off, error, warn, info, debug, trace"))
}
