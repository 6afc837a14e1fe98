//! Who has signed in on the set-up page: 160 random bits in a cookie that no script reads and no other site sends, for an hour. Through TLS
//! it has another name: browsers let no page without TLS write over a cookie that was set with it (RFC 6265bis §5.7).
use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::COOKIE;

use crate::model::account::Slug;

const NAMES: [&str; 2] = ["shoebox_setup", "shoebox_setup_tls"];
/// So many at once; whoever came longest ago makes room.
const MOST: usize = 16;
/// After so long a visit ends.
const LASTS: Duration = Duration::from_secs(3600);

/// All of them, by the text in their cookies.
#[derive(Default)]
pub(super) struct Visits(HashMap<String, (Slug, Instant)>);

impl Visits {
    pub(super) fn begin(&mut self, id: String, person: Slug, now: Instant) {
        self.0.retain(|_, (_, begun)| now.saturating_duration_since(*begun) < LASTS);
        if self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, (_, begun))| *begun).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        drop(self.0.insert(id, (person, now)));
    }

    /// Whose it is, if it is one.
    pub(super) fn find(&mut self, id: &str, now: Instant) -> Option<Slug> {
        let (person, begun) = self.0.get(id)?;
        if now.saturating_duration_since(*begun) < LASTS {
            return Some(person.clone());
        }
        drop(self.0.remove(id));
        None
    }

    pub(super) fn end(&mut self, id: &str) {
        drop(self.0.remove(id));
    }
}

/// The visit's text in a request's cookies. Two of a name: somebody else may have put one of them there.
pub(super) fn cookie(headers: &HeaderMap, secured: bool) -> Option<&str> {
    let expected = NAMES[usize::from(secured)];
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == expected && value.len() == 40 && value.bytes().all(|b| b.is_ascii_hexdigit()))
            .then_some(value)
    });
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    Some(value)
}

/// `Secure` where it is set through TLS: it then never travels without.
pub(super) fn set_cookie(id: &str, secured: bool) -> String {
    let secure = if secured { "; Secure" } else { "" };
    let seconds = if id.is_empty() { 0 } else { LASTS.as_secs() };
    let name = NAMES[usize::from(secured)];
    format!("{name}={id}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", super::PATH)
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
        assert_eq!(visits.find("9", now + LASTS), None);
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
            cookie(&headers, false).map(str::to_owned)
        };
        assert_eq!(read(&format!("a=b; shoebox_setup_tls={id}; shoebox_setup={id}")).as_deref(), Some(id));
        assert_eq!(read(&format!("shoebox_setup={id}; shoebox_setup={id}")), None);
        assert_eq!(read(&format!("shoebox_setup={}", &id[1..])), None);
        assert!(set_cookie(id, false).ends_with("Path=/setup; Max-Age=3600; HttpOnly; SameSite=Strict"));
        assert!(set_cookie("", true).contains("Max-Age=0") && set_cookie("", true).ends_with("; Secure"));
    }
}
