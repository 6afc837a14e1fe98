//! One readable line for each thing that happens to a photo.
use jiff::tz::TimeZone;

use crate::face::cli::{drive, screen};
use crate::work::news::{NewsKind, PhotoNews};

/// The line, with its line break.
pub(super) fn line(news: &PhotoNews, zone: &TimeZone) -> String {
    let what = match &news.what {
        NewsKind::Received { size } => format!("received ({}), safe on drive A", screen::size(*size)),
        NewsKind::Proved { drive_role } => {
            format!("read back from {}: equal", drive::role_name(*drive_role))
        }
        NewsKind::Healed { drive_role } => {
            format!("made anew on {} from a good copy", drive::role_name(*drive_role))
        }
        NewsKind::Trashed => "moved to the trash".to_owned(),
        NewsKind::Damaged { drive_role } => format!("DAMAGED on {}", drive::role_name(*drive_role)),
    };
    format!("{}  {}  {what}\n", screen::clock(news.at, zone), screen::plain(news.path.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::DriveRole;
    use crate::model::path::RelPath;

    #[test]
    fn lines() {
        let news = |what| PhotoNews {
            path: RelPath::parse("anna/phone/IMG_4711.HEIC").unwrap(),
            what,
            at: "2026-11-14T18:02:11Z".parse().unwrap(),
        };
        let all = [
            NewsKind::Received { size: 3_210_000 },
            NewsKind::Proved { drive_role: DriveRole::Mirror },
            NewsKind::Trashed,
            NewsKind::Damaged { drive_role: DriveRole::Primary },
            NewsKind::Healed { drive_role: DriveRole::Primary },
        ];
        let text: String = all.into_iter().map(|what| line(&news(what), &TimeZone::UTC)).collect();
        expect_test::expect![[r#"
            18:02:11  anna/phone/IMG_4711.HEIC  received (3.2 MB), safe on drive A
            18:02:11  anna/phone/IMG_4711.HEIC  read back from drive B: equal
            18:02:11  anna/phone/IMG_4711.HEIC  moved to the trash
            18:02:11  anna/phone/IMG_4711.HEIC  DAMAGED on drive A
            18:02:11  anna/phone/IMG_4711.HEIC  made anew on drive A from a good copy
        "#]]
        .assert_eq(&text);
    }
}
