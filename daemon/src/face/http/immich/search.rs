//! Searching: photos page by page. Only what the clients use is searched for; anything else is refused, because an answer that
//! ignored it would show too much.
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::{json, read};
use super::assets::{Described, ids, kind};
use super::check::sha1;
use crate::face::http::reply::{Deny, Reply};
use crate::model::account::Device;
use crate::model::hash::ContentHash;
use crate::work::library::{Filter, Library};

/// Photos on a page at most, as Immich has it.
const MOST: u64 = 1000;
const USUAL: u64 = 250;
/// Albums in one question.
const MOST_ALBUMS: usize = 100;

/// Pages whose beginning is remembered.
const MOST_PAGES: usize = 64;

/// Where pages begin that somebody will ask for by their numbers: clients count pages, and a page that is found by counting photos costs
/// all that come before it.
#[derive(Default)]
pub(in crate::face::http) struct Pages(Mutex<VecDeque<(ContentHash, i64)>>);

impl Pages {
    /// What a page is remembered by: who asks for what, but for the page.
    fn key(device: &Device, asked: &Map<String, Value>, page: u64) -> ContentHash {
        let asked: Map<String, Value> =
            asked.iter().filter(|(key, _)| *key != "page").map(|(k, v)| (k.clone(), v.clone())).collect();
        ContentHash::of(format!("{}\n{page}\n{}", device.label(), Value::Object(asked)).as_bytes())
    }

    /// After which place a page begins, if that is remembered.
    fn begin(&self, key: &ContentHash) -> Option<i64> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().rev().find(|(known, _)| known == key).map(|(_, place)| *place)
    }

    fn remember(&self, key: ContentHash, place: i64) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|(known, _)| *known != key);
        if pages.len() >= MOST_PAGES {
            pages.pop_front();
        }
        pages.push_back((key, place));
    }
}

/// A question that was understood.
#[derive(Debug, Default)]
struct Question {
    filter: Filter,
    /// Nothing fits: there are no such photos here at all.
    nothing: bool,
    kind: Option<String>,
    favourite: Option<bool>,
    page: u64,
    size: u64,
    /// After which place, where the client gives back what it was told.
    cursor: Option<i64>,
}

/// Reads a `MetadataSearchDto`.
fn question(asked: &Map<String, Value>) -> Result<Question, Deny> {
    let mut question = Question { page: 1, size: USUAL, ..Question::default() };
    for (key, value) in asked.iter().filter(|(_, value)| !value.is_null()) {
        let text = || value.as_str().ok_or(Deny::Bad("a text was expected"));
        let number = || value.as_u64().ok_or(Deny::Bad("a number was expected"));
        let truth = || value.as_bool().ok_or(Deny::Bad("true or false was expected"));
        match key.as_str() {
            "page" => question.page = number()?.clamp(1, 1_000_000_000),
            "cursor" => {
                question.cursor = Some(text()?.parse().map_err(|_| Deny::Bad("cursor is none of ours"))?)
            }
            "size" => question.size = number()?.clamp(1, MOST),
            "albumIds" => {
                let texts: Option<Vec<String>> = value
                    .as_array()
                    .map(|all| all.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect());
                question.filter.albums = ids(&texts.ok_or(Deny::Bad("a list was expected"))?)?;
                if question.filter.albums.len() > MOST_ALBUMS {
                    return Err(Deny::Bad("too many albums at once"));
                }
            }
            "checksum" => {
                question.filter.sha1 = Some(sha1(text()?).ok_or(Deny::Bad("checksum must be a SHA-1"))?)
            }
            "originalFileName" => question.filter.called = Some(text()?.to_owned()),
            "type" => question.kind = Some(text()?.to_owned()),
            "isFavorite" => question.favourite = Some(truth()?),
            // Nothing is archived, hidden, locked or offline, and what is in the trash is not shown.
            "visibility" => question.nothing |= text()? != "timeline",
            "isOffline" | "isEncoded" => question.nothing |= truth()?,
            "trashedAfter" | "trashedBefore" => question.nothing = true,
            "order" if text()? == "asc" => {}
            // How much is said of each, not which.
            "withExif" | "withDeleted" | "withPeople" | "withStacked" | "order" | "orderBy" => {}
            _ => return Err(Deny::Bad("this cannot be searched for here")),
        }
    }
    Ok(question)
}

/// `SearchResponseDto`.
#[derive(Serialize)]
struct Found {
    albums: Albums,
    assets: Assets,
}

#[derive(Serialize, Default)]
struct Albums {
    count: usize,
    facets: [(); 0],
    items: [(); 0],
    total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Assets {
    count: usize,
    facets: [(); 0],
    items: Vec<Described>,
    next_cursor: Option<String>,
    next_page: Option<String>,
    total: usize,
}

/// A page of photos whose SHA-1 is known: a client takes a photo without one for a broken answer. Those of the last moments, sent in
/// another way, come with the mirror's next pass.
pub(super) fn metadata(
    library: &Library,
    pages: &Pages,
    device: &Device,
    body: &[u8],
) -> Result<Reply, Deny> {
    let asked: Map<String, Value> = read(body)?;
    let question = question(&asked)?;
    let known = || pages.begin(&Pages::key(device, &asked, question.page));
    let from = match question.cursor.or_else(|| if question.page == 1 { Some(0) } else { known() }) {
        Some(place) => (place, 0),
        None => (0, (question.page - 1).saturating_mul(question.size)),
    };
    let mut page = if question.nothing {
        Vec::new()
    } else {
        // One more tells whether there is another page.
        library.assets(&device.person, &question.filter, from, question.size + 1)?
    };
    let is_last = (page.len() as u64) <= question.size;
    page.truncate(usize::try_from(question.size).unwrap_or(usize::MAX));
    let end = page.last().filter(|_| !is_last).map(|asset| asset.place);
    if let Some(end) = end {
        pages.remember(Pages::key(device, &asked, question.page + 1), end);
    }
    let fits = |asset: &&_| {
        let asset: &crate::work::library::Asset = asset;
        question.kind.as_deref().is_none_or(|wanted| wanted == kind(asset.medium()))
            && question.favourite.is_none_or(|wanted| wanted == asset.favourite)
    };
    let items: Vec<Described> = page.iter().filter(fits).map(|asset| Described::new(device, asset)).collect();
    let count = items.len();
    let next_page = end.map(|_| (question.page + 1).to_string());
    let next_cursor = end.map(|place| place.to_string());
    let assets = Assets { count, facets: [], items, next_cursor, next_page, total: count };
    Ok(json(StatusCode::OK, &Found { albums: Albums::default(), assets }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Question, Deny> {
        question(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn questions() {
        let plain = of("{}").unwrap();
        assert_eq!((plain.page, plain.size, plain.nothing), (1, USUAL, false));
        let paged =
            of(r#"{"page":3,"size":5000,"withExif":true,"visibility":"timeline","city":null}"#).unwrap();
        assert_eq!((paged.page, paged.size, paged.nothing), (3, MOST, false));
        for nothing in [
            r#"{"visibility":"archive"}"#,
            r#"{"trashedAfter":"1970-01-01T00:00:00Z"}"#,
            r#"{"isOffline":true}"#,
        ] {
            assert!(of(nothing).unwrap().nothing, "{nothing}");
        }
        for bad in [
            r#"{"city":"Rome"}"#,
            r#"{"albumIds":["x"]}"#,
            r#"{"albumIds":"x"}"#,
            r#"{"checksum":"x"}"#,
            r#"{"page":"2"}"#,
            r#"{"isFavorite":1}"#,
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
