//! Ids and entity tags of files and folders, in the form the apps take apart.
use crate::model::drive::PoolId;
use crate::work::tree::{Node, NodeKind};

/// What makes this box's ids its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face::http) struct Instance {
    name: String,
    /// Changes when another drive took the main drive's place: desktop clients then keep what that one lacks, and send it again.
    generation: u64,
}

/// The id of a root that nothing was put into yet: no row has one, and 0 is disliked.
const NO_ROW: i64 = 1 << 52;

impl Instance {
    /// Of a pool. Hex has no `o`: the apps split an id at `oc`, which must be in it once.
    pub(in crate::face::http) fn new(pool: PoolId, generation: u64) -> Self {
        Self { name: pool.to_string().chars().take(12).collect(), generation }
    }

    /// The number of a file or folder, kept when it is renamed.
    pub(in crate::face::http) fn number(node: &Node) -> i64 {
        if node.id > 0 { node.id } else { NO_ROW }
    }

    /// `oc:id`, which is also the header `OC-FileId`.
    pub(in crate::face::http) fn file_id(&self, node: &Node) -> String {
        format!("{:08}oc{}", Self::number(node), self.name)
    }

    /// The entity tag: a file's is its content's, a folder's differs after every change below it.
    pub(in crate::face::http) fn etag(&self, node: &Node) -> String {
        match node.kind {
            NodeKind::File { hash, .. } => hash.etag(),
            NodeKind::Folder => format!("\"{:x}-{:016x}\"", Self::number(node), node.changed),
        }
    }

    /// `oc:data-fingerprint`.
    pub(in crate::face::http) fn fingerprint(&self) -> String {
        format!("{}-{}", self.name, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::RelPath;
    use crate::model::place::Shelf;
    use jiff::Timestamp;

    fn folder(id: i64, changed: i64) -> Node {
        Node {
            id,
            path: RelPath::parse("anna").unwrap(),
            kind: NodeKind::Folder,
            mtime: Timestamp::UNIX_EPOCH,
            ctime: None,
            created: Timestamp::UNIX_EPOCH,
            changed,
            shelf: Shelf::Photos,
        }
    }

    #[test]
    fn an_id_has_oc_once_and_a_number_before_it() {
        for byte in 0..=255 {
            let instance = Instance::new(PoolId::from_random([byte; 16]), 1);
            let id = instance.file_id(&folder(42, 0));
            let (number, rest) = id.split_once("oc").unwrap();
            assert_eq!(number, "00000042");
            assert!(!rest.contains("oc") && !rest.is_empty(), "{id}");
        }
        assert_ne!(Instance::number(&folder(0, 0)), 0);
    }

    #[test]
    fn a_folder_that_changed_has_another_tag() {
        let instance = Instance::new(PoolId::from_random([1; 16]), 1);
        assert_ne!(instance.etag(&folder(1, 1)), instance.etag(&folder(1, 2)));
        assert_ne!(instance.etag(&folder(1, 1)), instance.etag(&folder(2, 1)));
        assert_ne!(instance.fingerprint(), Instance { generation: 2, ..instance.clone() }.fingerprint());
    }
}
