//! The `If` header (RFC 4918 §10.4): lists of conditions on lock tokens and entity tags.
use super::super::reply::Deny;

/// A whole header: true if one of its lists is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IfHeader {
    lists: Vec<List>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    /// The resource the conditions are about; the one of the request where none is named.
    tag: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    not: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Token(String),
    Etag(String),
}

/// What conditions are compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The entity tag, quotes included.
    pub(super) etag: Option<String>,
    /// Tokens of the locks that cover the resource.
    pub(super) tokens: Vec<String>,
}

const BAD: Deny = Deny::Bad("unreadable If header");

impl IfHeader {
    /// Reads the header's value.
    pub(super) fn parse(text: &str) -> Result<Self, Deny> {
        let mut rest = text.trim_start();
        let mut lists: Vec<List> = Vec::new();
        let mut tag = None;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('<') {
                // Either every list has a tag in front of it, or none has.
                if tag.is_none() && !lists.is_empty() {
                    return Err(BAD);
                }
                let (uri, after) = after.split_once('>').ok_or(BAD)?;
                tag = Some(uri.to_owned());
                rest = after.trim_start();
                if !rest.starts_with('(') {
                    return Err(BAD);
                }
            }
            let inner = rest.strip_prefix('(').ok_or(BAD)?;
            let (conditions, after) = conditions(inner)?;
            lists.push(List { tag: tag.clone(), conditions });
            rest = after.trim_start();
        }
        if lists.is_empty() { Err(BAD) } else { Ok(Self { lists }) }
    }

    /// As a header.
    #[cfg(any(test, fuzzing))]
    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        for list in &self.lists {
            if let Some(tag) = &list.tag {
                text.push_str(&format!("<{tag}>"));
            }
            text.push('(');
            for condition in &list.conditions {
                text.push_str(if condition.not { "Not" } else { "" });
                match &condition.what {
                    What::Token(token) => text.push_str(&format!("<{token}>")),
                    What::Etag(etag) => text.push_str(&format!("[{etag}]")),
                }
            }
            text.push(')');
        }
        text
    }

    /// Whether it holds. `state` tells about a tagged resource, or about the request's own for `None`.
    pub(super) fn holds(
        &self,
        mut state: impl FnMut(Option<&str>) -> Result<State, Deny>,
    ) -> Result<bool, Deny> {
        for list in &self.lists {
            let state = state(list.tag.as_deref())?;
            let all = list.conditions.iter().all(|condition| {
                let found = match &condition.what {
                    What::Token(token) => state.tokens.contains(token),
                    What::Etag(etag) => state.etag.as_ref() == Some(etag),
                };
                found != condition.not
            });
            if all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The tokens the client shows that it has.
    pub(super) fn tokens(&self) -> Vec<String> {
        let conditions = self.lists.iter().flat_map(|list| &list.conditions);
        conditions
            .filter_map(|condition| match (&condition.what, condition.not) {
                (What::Token(token), false) => Some(token.clone()),
                (What::Token(_), true) | (What::Etag(_), _) => None,
            })
            .collect()
    }
}

/// Reads up to and including the closing parenthesis; what is left behind it.
fn conditions(text: &str) -> Result<(Vec<Condition>, &str), Deny> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return if found.is_empty() { Err(BAD) } else { Ok((found, after)) };
        }
        let mut not = false;
        if let (Some(word), Some(after)) = (rest.get(..3), rest.get(3..))
            && word.eq_ignore_ascii_case("not")
        {
            not = true;
            rest = after.trim_start();
        }
        let what = if let Some(after) = rest.strip_prefix('<') {
            let (token, after) = after.split_once('>').ok_or(BAD)?;
            rest = after;
            What::Token(token.to_owned())
        } else {
            let (etag, after) = etag(rest.strip_prefix('[').ok_or(BAD)?)?;
            rest = after;
            What::Etag(etag)
        };
        found.push(Condition { not, what });
        rest = rest.trim_start();
    }
}

/// Reads `"…"]` or `W/"…"]`. The tag may hold a `]` of its own.
fn etag(text: &str) -> Result<(String, &str), Deny> {
    let text = text.trim_start();
    let weak = if text.starts_with("W/") { 2 } else { 0 };
    let quoted = text[weak..].strip_prefix('"').ok_or(BAD)?;
    let end = weak + 1 + quoted.find('"').ok_or(BAD)? + 1;
    let (etag, rest) = text.split_at(end);
    Ok((etag.to_owned(), rest.trim_start().strip_prefix(']').ok_or(BAD)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(header: &str) -> Option<bool> {
        let header = IfHeader::parse(header).ok()?;
        header
            .holds(|tag| {
                Ok(match tag {
                    None => State { etag: Some("\"e\"".into()), tokens: vec!["urn:t".into()] },
                    Some("/other") => State { etag: None, tokens: vec!["urn:u".into()] },
                    Some(_) => State::default(),
                })
            })
            .ok()
    }

    #[test]
    fn meaning() {
        for (header, expected) in [
            ("(<urn:t>)", Some(true)),
            ("(<urn:x>)", Some(false)),
            ("(<urn:x>) (<urn:t>)", Some(true)),
            ("(<urn:t> [\"e\"])", Some(true)),
            ("(<urn:t>[\"f\"])", Some(false)),
            ("(Not <urn:x>)", Some(true)),
            ("(not <urn:t>)", Some(false)),
            ("(<urn:x>) (Not <DAV:no-lock>)", Some(true)),
            ("(Not [\"f\"] <urn:t>)", Some(true)),
            ("([W/\"e\"])", Some(false)),
            ("</other> (<urn:u>)", Some(true)),
            ("</other>(<urn:t>)(<urn:u>)", Some(true)),
            ("</x> (<urn:t>) </other> (<urn:u>)", Some(true)),
            ("([\"a]b\"]) (<urn:t>)", Some(true)),
            ("", None),
            ("()", None),
            ("(<urn:t>", None),
            ("<urn:t>", None),
            ("(<urn:t>) </other> (<urn:u>)", None),
            ("(Not)", None),
            ("(e)", None),
            ("([e])", None),
            ("(<urn:t>) x", None),
            ("(Nöt <urn:t>)", None),
        ] {
            assert_eq!(holds(header), expected, "{header}");
        }
    }

    #[test]
    fn tokens_shown() {
        let header = IfHeader::parse("</a> (<urn:t> Not <urn:u> [\"e\"]) (<urn:v>)").unwrap();
        assert_eq!(header.tokens(), ["urn:t", "urn:v"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|(\\(|\\)|<|>|\\[|\\]|\"|Not|W/| |a|ö){0,20}") {
            let _read = IfHeader::parse(&text);
        }
    }
}
