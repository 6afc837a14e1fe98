//! Favourites: what a person marks as one also lies in `photos/<person>/favorites/`, for programs that know folders and no marks.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::account::Device;
use crate::model::path::RelPath;
use crate::work::error::Refusal;
use crate::work::tree::{Node, NodeKind, Tree};

/// The property that marks a favourite: namespace and local name. It is there, or it is not.
pub const FAVOURITE: (&str, &str) = ("http://owncloud.org/ns", "favorite");

/// So many photos of one name are told apart in the folder of favourites.
const MOST_ALIKE: u32 = 100;

impl Tree {
    /// Brings the folder of favourites in step with the mark of one file: a second name there, or none. Doing it again changes nothing.
    pub fn follow_favourite(&self, by: &Device, path: &RelPath) -> Result<(), Refusal> {
        let node = self.find(path)?.ok_or(Refusal::NotFound)?;
        let folder = folder_of(by)?;
        let NodeKind::File { hash, .. } = node.kind else { return Ok(()) };
        if node.path.is_within(&folder) {
            return Ok(());
        }
        let mut free = None;
        let mut there = None;
        for number in 1..=MOST_ALIKE {
            let name = folder.child(&numbered(node.path.name(), number)).map_err(|_| Refusal::NoParent)?;
            match self.find(&name)? {
                None => {
                    free = Some(name);
                    break;
                }
                Some(Node { kind: NodeKind::File { hash: other, .. }, path, .. }) if other == hash => {
                    there = Some(path);
                    break;
                }
                Some(_) => {}
            }
        }
        match (self.is_marked(&node)?, there, free) {
            (true, None, Some(free)) => {
                match self.make_folder(by, &folder) {
                    Ok(()) | Err(Refusal::Exists) => {}
                    Err(other) => return Err(other),
                }
                self.copy(by, &node.path, &free, false, false).map(drop)
            }
            (false, Some(there), _) if !self.is_marked_elsewhere(&node, &folder)? => self.trash(by, &there),
            (true | false, _, _) => Ok(()),
        }
    }

    fn is_marked(&self, node: &Node) -> Result<bool, Refusal> {
        let stored = self.properties(&node.path)?;
        Ok(stored.iter().any(|property| (property.namespace.as_str(), property.name.as_str()) == FAVOURITE))
    }

    /// Whether another name of this person's with the same content is a favourite.
    fn is_marked_elsewhere(&self, node: &Node, favourites: &RelPath) -> Result<bool, Refusal> {
        let NodeKind::File { hash, .. } = node.kind else { return Ok(false) };
        let Some(person) = favourites.parent() else { return Ok(false) };
        let primary = self.pool().proved_primary()?;
        for row in primary.catalogue.read(|r| r.names_of_content(&hash))? {
            let other = Node::from(row);
            let counts = other.id != node.id && other.path.is_within(&person);
            if counts && !other.path.is_within(favourites) && self.is_marked(&other)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The favourites below a folder, at most `limit`.
    pub fn favourites(&self, below: &RelPath, by: &Device, limit: usize) -> Result<Vec<Node>, Refusal> {
        let primary = self.pool().proved_primary()?;
        let folder = folder_of(by)?;
        let rows = primary.catalogue.read(|r| r.names_with(FAVOURITE, &below.fold_key(), limit))?;
        Ok(rows.into_iter().map(Node::from).filter(|node| !node.path.is_within(&folder)).collect())
    }

    /// Of all files below a folder that `fits`, the newest (or the oldest) by their dates, at most `limit`, in that order.
    pub fn dated(
        &self,
        below: &RelPath,
        (limit, newest): (usize, bool),
        fits: &dyn Fn(&Node) -> bool,
    ) -> Result<Vec<Node>, Refusal> {
        const PAGE: usize = 1000;
        let primary = self.pool().proved_primary()?;
        let (fold, mut after) = (below.fold_key(), String::new());
        let key = |node: &Node| {
            let at = node.mtime.as_nanosecond();
            (if newest { at } else { -at }, node.id)
        };
        // The least wanted on top, to make room for a better one: no more than `limit` are held.
        let mut best: BinaryHeap<Reverse<(i128, i64)>> = BinaryHeap::new();
        let mut nodes = std::collections::HashMap::new();
        loop {
            let rows = primary.catalogue.read(|r| r.names_below(&fold, &after, PAGE))?;
            let Some(last) = rows.last() else { break };
            after = last.path.fold_key();
            for node in rows.into_iter().map(Node::from).filter(|node| fits(node)) {
                best.push(Reverse(key(&node)));
                nodes.insert(node.id, node);
                if best.len() > limit
                    && let Some(Reverse((_, id))) = best.pop()
                {
                    nodes.remove(&id);
                }
            }
        }
        let mut found: Vec<Node> = nodes.into_values().collect();
        found.sort_by_key(|node| Reverse(key(node)));
        Ok(found)
    }
}

/// `person/favorites`.
fn folder_of(by: &Device) -> Result<RelPath, Refusal> {
    RelPath::parse(&format!("{}/favorites", by.person)).map_err(|_| Refusal::NoParent)
}

/// `a.jpg`, `a (2).jpg`, …
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (1, _) => name.to_owned(),
        (_, Some((stem, ending))) if !stem.is_empty() => format!("{stem} ({number}).{ending}"),
        (_, Some(_) | None) => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_alike_are_numbered() {
        assert_eq!(numbered("a.b.jpg", 1), "a.b.jpg");
        assert_eq!(numbered("a.b.jpg", 2), "a.b (2).jpg");
        assert_eq!(numbered("a", 3), "a (3)");
        assert_eq!(numbered(".a", 3), ".a (3)");
    }
}
