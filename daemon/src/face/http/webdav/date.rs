//! Dates as HTTP, WebDAV and upload programs write them.
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// An IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`. `None` for years it cannot hold.
pub(in crate::face::http) fn http(at: Timestamp) -> Option<String> {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&whole_seconds(at)).ok()
}

/// The date-time of RFC 3339 that `creationdate` wants.
pub(in crate::face::http) fn iso(at: Timestamp) -> String {
    whole_seconds(at).to_string()
}

/// `at` without its fraction: what a client can compare with.
pub(in crate::face::http) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7).
pub(in crate::face::http) fn parse_http(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    let imf = || strptime("%a, %d %b %Y %H:%M:%S GMT", text);
    // Two digits: the century is ours until 2069, as strptime(3) has it.
    let rfc850 = || strptime("%A, %d-%b-%y %H:%M:%S GMT", text);
    let asctime = || strptime("%a %b %e %H:%M:%S %Y", text);
    imf().or_else(rfc850).or_else(asctime)
}

fn strptime(format: &str, text: &str) -> Option<Timestamp> {
    let parsed = jiff::civil::DateTime::strptime(format, text).ok()?;
    parsed.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Reads seconds since 1970, a fraction allowed: `X-OC-Mtime`, `{DAV:}lastmodified`.
pub(in crate::face::http) fn parse_unix(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || fraction.len() > 18 || !plain(whole) || !plain(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: i32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    if negative { Timestamp::new(-seconds, -nanos).ok() } else { Timestamp::new(seconds, nanos).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn http_dates() {
        let expected = Timestamp::from_second(784_111_777).unwrap();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http(text), Some(expected), "{text}");
        }
        assert_eq!(http(expected).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(iso(expected), "1994-11-06T08:49:37Z");
        for text in ["", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT", "784111777"] {
            assert_eq!(parse_http(text), None, "{text}");
        }
    }

    #[test]
    fn unix_dates() {
        for (text, expected) in [
            ("784111777", Some(784_111_777_000)),
            ("784111777.5", Some(784_111_777_500)),
            ("-1", Some(-1000)),
            ("-0.5", Some(-500)),
            ("0", Some(0)),
            ("", None),
            ("-", None),
            ("+5", None),
            ("0x10", None),
            ("1e9", None),
            (".5", None),
            ("999999999999", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_unix(text).map(Timestamp::as_millisecond), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(seconds in -62_000_000_000i64..250_000_000_000) {
            let at = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(http(at).and_then(|text| parse_http(&text)), Some(at));
            prop_assert_eq!(parse_unix(&seconds.to_string()), Some(at));
        }

        #[test]
        fn never_panics(text in "\\PC{0,70}|[-0-9.]{0,40}") {
            let _read = parse_http(&text);
            let _read = parse_unix(&text);
        }
    }
}
