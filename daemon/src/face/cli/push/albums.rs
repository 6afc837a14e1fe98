//! Albums, which are folders here: which are chosen, and which are left out.
use std::str::FromStr;

/// One or more folders: by name (`Screenshots`), by path below the folder that is sent (`WhatsApp/Media`), with `*` for any text. All
/// that lies below such a folder belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Album(Vec<String>);

impl FromStr for Album {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<String> =
            text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_lowercase).collect();
        if parts.is_empty() || parts.iter().any(|part| part == "..") {
            return Err(format!("{text:?} is no album like Screenshots or WhatsApp/Media"));
        }
        Ok(Self(parts))
    }
}

impl Album {
    /// Whether it is this folder, or has it in it. `folder`: the folder that is sent by its own name, and the names down from there.
    fn has(&self, folder: &[String]) -> bool {
        // A stretch of the way down that ends anywhere: all below belongs to it, too.
        folder.windows(self.0.len()).any(|stretch| {
            self.0.iter().zip(stretch).all(|(pattern, name)| fits(pattern, &name.to_lowercase()))
        })
    }
}

/// Whether a name is what a pattern with `*` says.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

/// Which albums are sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    /// These; none: all.
    pub(super) chosen: Vec<Album>,
    /// These are not, whatever was chosen.
    pub(super) excluded: Vec<Album>,
}

impl Choice {
    /// Whether nothing at all below a folder is sent.
    pub(super) fn leaves_out(&self, folder: &[String]) -> bool {
        self.excluded.iter().any(|album| album.has(folder))
    }

    /// Whether the files directly in a folder are sent.
    pub(super) fn takes(&self, folder: &[String]) -> bool {
        !self.leaves_out(folder)
            && (self.chosen.is_empty() || self.chosen.iter().any(|album| album.has(folder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choice(chosen: &[&str], excluded: &[&str]) -> Choice {
        let all = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Choice { chosen: all(chosen), excluded: all(excluded) }
    }

    fn folder(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn chosen_minus_excluded() {
        for (chosen, excluded, path, expected) in [
            (&[][..], &[][..], "Pictures", true),
            (&["Rome"], &[], "Pictures/Rome", true),
            (&["rome"], &[], "Pictures/Rome/Day 1", true),
            (&["Rome"], &[], "Pictures", false),
            (&["Rome"], &[], "Pictures/Romeo", false),
            (&[], &["Screenshots"], "DCIM/Screenshots", false),
            (&[], &["Screenshots"], "DCIM/Screenshots/old", false),
            (&["DCIM"], &["Screenshots"], "DCIM/Screenshots", false),
            (&["DCIM"], &["Screenshots"], "DCIM/Camera", true),
            (&[], &["WhatsApp/*"], "WhatsApp/Media", false),
            (&[], &["WhatsApp/*"], "WhatsApp", true),
            (&[], &["*Images*"], "Media/WhatsApp Images", false),
            (&["Media/WhatsApp*"], &[], "Media/WhatsApp Images/Sent", true),
            (&["/Media/"], &[], "Media", true),
        ] {
            assert_eq!(
                choice(chosen, excluded).takes(&folder(path)),
                expected,
                "{chosen:?} {excluded:?} {path}"
            );
        }
        for bad in ["", "/", "..", "a/../b"] {
            assert!(bad.parse::<Album>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_is_a_prefix_parts_and_a_suffix(a in "[ab]{0,4}", b in "[ab]{0,4}", c in "[ab]{0,4}", x in "[ab]{0,4}", y in "[ab]{0,4}") {
            let (pattern, name) = (format!("{a}*{b}*{c}"), format!("{a}{x}{b}{y}{c}"));
            prop_assert!(fits(&pattern, &name));
            let (before, longer) = (format!("z{name}"), format!("{name}c"));
            prop_assert!(!fits(&pattern, &before) || a.is_empty());
            prop_assert!(!fits(&longer, &name));
        }

        #[test]
        fn what_is_excluded_is_never_sent(chosen in proptest::option::of("[a-c*]{1,3}"), excluded in "[a-c*]{1,3}", path in "[a-c]{1,2}(/[a-c]{1,2}){0,3}") {
            let choice = Choice { chosen: chosen.iter().filter_map(|c| c.parse().ok()).collect(), excluded: vec![excluded.parse().unwrap()] };
            if choice.leaves_out(&folder(&path)) {
                prop_assert!(!choice.takes(&folder(&path)));
                let below = folder(&format!("{path}/below"));
                prop_assert!(choice.leaves_out(&below));
            }
        }
    }
}
