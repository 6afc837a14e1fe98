//! Values in a request's query, for dialects whose clients put them there.
use percent_encoding::percent_decode_str;

/// A value of a query, decoded. A plus is a plus: the apps encode blanks as %20, and dates have a plus before their zone.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, text) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query() {
        let query = "ext=heic&createtime=2024-03-05T12%3A33%3A44+01%3A00&x";
        assert_eq!(value(query, "ext").as_deref(), Some("heic"));
        assert_eq!(value(query, "createtime").as_deref(), Some("2024-03-05T12:33:44+01:00"));
        assert_eq!((value(query, "x"), value(query, "token"), value("a=%ff", "a")), (None, None, None));
    }
}
