//! Who has signed in on the set-up page: 160 random bits in a cookie that no script reads and no other site sends, for an hour.
use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::COOKIE;

use crate::model::account::Slug;

const NAME: &str = "shoebox_setup";
/// So many at once; whoever came longest ago makes room.
const MOST: usize = 16;
/// After so long without a request a visit ends.
const IDLE: Duration = Duration::from_secs(3600);

/// All of them, by the text in their cookies.
#[derive(Default)]
pub(super) struct Visits(HashMap<String, (Slug, Instant)>);

impl Visits {
    pub(super) fn begin(&mut self, id: String, person: Slug, now: Instant) {
        self.0.retain(|_, (_, used)| now.saturating_duration_since(*used) < IDLE);
        if self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        drop(self.0.insert(id, (person, now)));
    }

    /// Whose it is, if it is one.
    pub(super) fn find(&mut self, id: &str, now: Instant) -> Option<Slug> {
        let (person, used) = self.0.get_mut(id)?;
        if now.saturating_duration_since(*used) >= IDLE {
            drop(self.0.remove(id));
            return None;
        }
        *used = now;
        Some(person.clone())
    }

    pub(super) fn end(&mut self, id: &str) {
        drop(self.0.remove(id));
    }
}

/// The visit's text in a request's cookies. Two of a name: somebody else may have put one of them there.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME && value.len() == 40 && value.bytes().all(|b| b.is_ascii_hexdigit())).then_some(value)
    });
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    Some(value)
}

/// `Secure` where it is set through TLS: it then never travels without.
pub(super) fn set_cookie(id: &str, secured: bool) -> String {
    let secure = if secured { "; Secure" } else { "" };
    let seconds = if id.is_empty() { 0 } else { IDLE.as_secs() };
    format!("{NAME}={id}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", super::PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;

    #[test]
    fn visits_are_bounded_and_end() {
        let (mut visits, start) = (Visits::default(), clock::monotonic());
        let anna: Slug = "anna".parse().unwrap();
        for n in 0..(MOST as u64 + 3) {
            visits.begin(n.to_string(), anna.clone(), start + Duration::from_secs(n));
        }
        let now = start + Duration::from_secs(MOST as u64 + 3);
        assert_eq!(visits.find("0", now), None);
        assert_eq!(visits.find("9", now), Some(anna.clone()));
        assert_eq!(visits.find("9", now + IDLE), None);
        assert_eq!(visits.find("9", now), None, "it ended");
        visits.begin("x".to_owned(), anna, now);
        visits.end("x");
        assert_eq!(visits.find("x", now), None);
    }

    #[test]
    fn cookies() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let read = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, line.parse().unwrap());
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(read(&format!("a=b; {NAME}={id}")).as_deref(), Some(id));
        assert_eq!(read(&format!("{NAME}={id}; {NAME}={id}")), None);
        assert_eq!(read(&format!("{NAME}={}", &id[1..])), None);
        assert!(set_cookie(id, false).ends_with("Path=/setup; Max-Age=3600; HttpOnly; SameSite=Strict"));
        assert!(set_cookie("", true).contains("Max-Age=0") && set_cookie("", true).ends_with("; Secure"));
    }
}
