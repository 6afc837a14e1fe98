//! What the app compares with what it has: months with a tag that changes with them, and a month's photos by day.
use std::collections::BTreeMap;

use serde::Serialize;

use super::Cx;
use crate::face::http::reply::{Deny, Reply};
use crate::work::timeline::{Dated, MonthSum};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct All {
    hash: String,
    years: Vec<Year>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Year {
    year: u32,
    hash: String,
    months: Vec<Month>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Month {
    month: u32,
    hash: String,
    days: Vec<Day>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Day {
    day: u32,
    hash: String,
    assets: Vec<Asset>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Asset {
    name: String,
    hash: String,
    date: String,
}

/// Any text does: the app compares it with the one it got before (`SyncService.js`).
fn tag(of: &[String]) -> String {
    blake3::hash(of.join(" ").as_bytes()).to_hex()[..40].to_owned()
}

/// `GET /assets/merkletree`: years and months; which photos those have is asked for by month.
pub(super) fn all(cx: &Cx) -> Result<Reply, Deny> {
    let months = cx.shared.face.pool.months(&cx.device.person)?;
    super::json(&years(&months))
}

fn years(months: &[MonthSum]) -> All {
    let mut years: BTreeMap<u32, Vec<Month>> = BTreeMap::new();
    for sum in months {
        let Some((year, month)) = parts(&sum.month) else { continue };
        let tags = [sum.photos.to_string(), sum.newest.to_string(), sum.sum.to_string()];
        years.entry(year).or_default().push(Month { month, hash: tag(&tags), days: Vec::new() });
    }
    let year = |(year, months): (u32, Vec<Month>)| {
        let tags: Vec<String> =
            months.iter().map(|month| format!("{} {}", month.month, month.hash)).collect();
        Year { year, hash: tag(&tags), months }
    };
    let years: Vec<Year> = years.into_iter().map(year).collect();
    All {
        hash: tag(&years.iter().map(|year| format!("{} {}", year.year, year.hash)).collect::<Vec<_>>()),
        years,
    }
}

fn parts(month: &str) -> Option<(u32, u32)> {
    let (year, month) = month.split_once('-')?;
    Some((year.parse().ok()?, month.parse().ok().filter(|m| (1..=12).contains(m))?))
}

/// `GET /assets/merkletree/YEAR/MONTH`: that month with its photos.
pub(super) fn month(cx: &Cx, which: &str) -> Result<Reply, Deny> {
    let asked = which.split_once('/').and_then(|(year, month)| {
        let short = year.len() <= 4 && month.len() <= 2;
        short.then(|| Some((year.parse::<u32>().ok()?, month.parse::<u32>().ok()?)))?
    });
    let (year, month) =
        asked.filter(|(_, month)| (1..=12).contains(month)).ok_or(Deny::Bad("which month?"))?;
    let photos = cx.shared.face.pool.photos_of_month(&cx.device.person, &format!("{year:04}-{month:02}"))?;
    super::json(&days(month, photos))
}

fn days(month: u32, photos: Vec<Dated>) -> Month {
    let mut days: BTreeMap<u32, Vec<Asset>> = BTreeMap::new();
    for photo in photos {
        let Some(day) = photo.at.get(8..10).and_then(|day| day.parse().ok()) else { continue };
        days.entry(day).or_default().push(Asset { name: photo.name, hash: photo.sha1, date: photo.at });
    }
    let day = |(day, assets): (u32, Vec<Asset>)| {
        let tags: Vec<String> = assets.iter().map(|asset| asset.hash.clone()).collect();
        Day { day, hash: tag(&tags), assets }
    };
    let days: Vec<Day> = days.into_iter().map(day).collect();
    Month {
        month,
        hash: tag(&days.iter().map(|day| format!("{} {}", day.day, day.hash)).collect::<Vec<_>>()),
        days,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_changes_the_tags_above_it_and_no_other() {
        let sum = |month: &str, photos| MonthSum { month: month.to_owned(), photos, newest: 7, sum: 9 };
        let before = years(&[sum("2023-12", 1), sum("2024-01", 2), sum("2024-03", 3)]);
        let after = years(&[sum("2023-12", 1), sum("2024-01", 2), sum("2024-03", 4)]);
        assert_ne!(before.hash, after.hash);
        assert_eq!(before.years[0].hash, after.years[0].hash);
        assert_ne!(before.years[1].hash, after.years[1].hash);
        let months = |all: &All| all.years[1].months.iter().map(|m| m.hash.clone()).collect::<Vec<_>>();
        assert_eq!(months(&before)[0], months(&after)[0]);
        assert_ne!(months(&before)[1], months(&after)[1]);
        let shown = serde_json::to_value(&before).unwrap();
        assert_eq!(shown["Years"][0]["Months"][0]["Month"], 12);
    }

    #[test]
    fn a_month_by_day() {
        let photo = |at: &str, sha1: &str| Dated {
            at: at.to_owned(),
            name: "x.jpg".to_owned(),
            sha1: sha1.to_owned(),
        };
        let month = days(
            3,
            vec![
                photo("2024-03-05T12:33:44", "aa"),
                photo("2024-03-05T12:40:00", "bb"),
                photo("2024-03-09T00:00:00", "cc"),
            ],
        );
        assert_eq!(month.days.iter().map(|d| (d.day, d.assets.len())).collect::<Vec<_>>(), [(5, 2), (9, 1)]);
        let shown = serde_json::to_value(&month).unwrap();
        assert_eq!(
            shown["Days"][0]["Assets"][1],
            serde_json::json!({"Name": "x.jpg", "Hash": "bb", "Date": "2024-03-05T12:40:00"})
        );
    }
}
