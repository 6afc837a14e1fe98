//! Conditional requests (RFC 9110 §13): `If-Match`, `If-None-Match`, `If-(Un)modified-Since`, `If-Range`.
use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use jiff::Timestamp;

use super::date;

/// What is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Current {
    /// Strong entity tag, quotes included; folders have none.
    pub(super) etag: Option<String>,
    /// Modification time.
    pub(super) mtime: Timestamp,
}

/// What follows from the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Proceed,
    /// The client has it already (304).
    NotModified,
    /// A condition does not hold (412).
    Failed,
}

/// Judges in the order of RFC 9110 §13.2.2. `reads`: the method is GET or HEAD.
pub(super) fn judge(headers: &HeaderMap, reads: bool, current: Option<&Current>) -> Verdict {
    let etag = current.and_then(|current| current.etag.as_deref());
    let mtime = current.map(|current| date::whole_seconds(current.mtime));
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, current.is_some(), etag, true) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(mtime)) = (given_date(headers, IF_UNMODIFIED_SINCE), mtime)
        && mtime > since
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if lists(headers, IF_NONE_MATCH, current.is_some(), etag, false) {
            return if reads { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if let (true, Some(since), Some(mtime)) = (reads, given_date(headers, IF_MODIFIED_SINCE), mtime)
        && mtime <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` is still meant (RFC 9110 §13.1.5): the part is of what the client has. A date never says that:
/// clients set the dates of files, so two contents may have the same one, and it is no strong validator (§8.8.2.2).
pub(super) fn range_applies(headers: &HeaderMap, current: &Current) -> bool {
    let Some(given) = headers.get(IF_RANGE) else { return true };
    given.to_str().is_ok_and(|given| Some(given.trim()) == current.etag.as_deref())
}

fn given_date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    headers.get(name).and_then(|value| value.to_str().ok()).and_then(date::parse_http)
}

/// Whether `*` or a tag of the list stands for what is there.
fn lists(headers: &HeaderMap, name: HeaderName, exists: bool, etag: Option<&str>, strong: bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        if value.trim() == "*" {
            return exists;
        }
        tags(value).any(|(weak, tag)| etag == Some(tag) && !(weak && strong))
            // Not a list of tags, but a tag without its quotes, as some clients write them.
            || etag.is_some_and(|etag| etag.trim_matches('"') == value.trim())
    })
}

/// The entity tags of a list, quotes included, and whether each is weak. Ends at what is no tag.
fn tags(value: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let tag = if weak { &rest[2..] } else { rest };
        let end = tag.strip_prefix('"')?.find('"')? + 2;
        rest = &tag[end..];
        Some((weak, &tag[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn current() -> Current {
        // Half a second past DAY: what clients see has no fractions, so it counts as DAY.
        Current { etag: Some("\"e\"".into()), mtime: Timestamp::from_millisecond(784_111_777_500).unwrap() }
    }

    #[test]
    fn order_and_meaning() {
        use Verdict::{Failed, NotModified, Proceed};
        for (pairs, reading, writing, missing) in [
            (&[][..], Proceed, Proceed, Proceed),
            (&[("if-match", "\"e\"")], Proceed, Proceed, Failed),
            (&[("if-match", "\"f\", \"e\"")], Proceed, Proceed, Failed),
            (&[("if-match", "\"f\"")], Failed, Failed, Failed),
            (&[("if-match", "W/\"e\"")], Failed, Failed, Failed),
            (&[("if-match", "*")], Proceed, Proceed, Failed),
            (&[("if-match", "e")], Proceed, Proceed, Failed),
            (&[("if-match", "")], Failed, Failed, Failed),
            (&[("if-none-match", "*")], NotModified, Failed, Proceed),
            (&[("if-none-match", "\"e\"")], NotModified, Failed, Proceed),
            (&[("if-none-match", "W/\"e\"")], NotModified, Failed, Proceed),
            (&[("if-none-match", "\"a,b\", \"f\"")], Proceed, Proceed, Proceed),
            (&[("if-modified-since", DAY)], NotModified, Proceed, Proceed),
            (&[("if-modified-since", EARLIER)], Proceed, Proceed, Proceed),
            (&[("if-modified-since", "garbage")], Proceed, Proceed, Proceed),
            (&[("if-none-match", "\"f\""), ("if-modified-since", DAY)], Proceed, Proceed, Proceed),
            (&[("if-unmodified-since", DAY)], Proceed, Proceed, Proceed),
            (&[("if-unmodified-since", EARLIER)], Failed, Failed, Proceed),
            (&[("if-match", "\"e\""), ("if-unmodified-since", EARLIER)], Proceed, Proceed, Failed),
        ] {
            let map = headers(pairs);
            assert_eq!(judge(&map, true, Some(&current())), reading, "read {pairs:?}");
            assert_eq!(judge(&map, false, Some(&current())), writing, "write {pairs:?}");
            assert_eq!(judge(&map, false, None), missing, "missing {pairs:?}");
        }
    }

    #[test]
    fn ranges_of_what_the_client_has() {
        for (value, expected) in [
            ("\"e\"", true),
            ("\"f\"", false),
            ("W/\"e\"", false),
            (DAY, false),
            (EARLIER, false),
            ("", false),
        ] {
            assert_eq!(range_applies(&headers(&[("if-range", value)]), &current()), expected, "{value}");
        }
        assert!(range_applies(&headers(&[]), &current()));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|(W/|\"|,| |a|\\*){0,20}") {
            let _read = tags(&text).count();
        }
    }
}
