//! Flavours of the one WebDAV tree: plain, below `/dav`, and Nextcloud's, below `/remote.php`, with what its apps look for.
use hyper::HeaderMap;

use crate::face::http::nextcloud::ids::Instance;
use crate::model::account::{Device, DeviceKind};
use crate::work::tree::Node;

/// What stands before a plain name.
pub(super) const PLAIN: &str = "/dav";

/// Under which path a request came, and what its answer shows beyond plain WebDAV.
#[derive(Debug, Clone)]
pub(in crate::face::http) struct Flavour {
    /// What stands before the names that are shown, without a slash at the end.
    pub(super) base: String,
    /// What may stand before a destination.
    bases: Vec<String>,
    /// Nextcloud's.
    pub(super) cloud: Option<Instance>,
}

impl Flavour {
    /// WebDAV as it is.
    pub(in crate::face::http) fn plain() -> Self {
        Self { base: PLAIN.to_owned(), bases: vec![PLAIN.to_owned()], cloud: None }
    }

    /// Nextcloud's, asked for below `base`.
    pub(in crate::face::http) fn cloud(base: &str, device: &Device, instance: Instance) -> Self {
        let own = format!("/remote.php/dav/files/{}", device.person);
        let bases = vec![own, "/remote.php/webdav".to_owned()];
        Self { base: base.trim_end_matches('/').to_owned(), bases, cloud: Some(instance) }
    }

    /// What follows the base in a destination's path, still percent-encoded.
    pub(super) fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below = |base: &String| {
            let rest = path.strip_prefix(base.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some(rest)
        };
        self.bases.iter().find_map(below)
    }

    /// Whether missing folders above a new name are made: where the app asks for it, which the server promised by its version, and for
    /// phones, several of whose uploads make the same folders at once.
    pub(super) fn makes_parents(&self, headers: &HeaderMap, device: &Device) -> bool {
        let asked = ["x-nc-webdav-auto-mkcol", "x-nc-webdav-automkcol"]
            .iter()
            .any(|name| headers.get(*name).is_some_and(|value| value.as_bytes() != b"0"));
        self.cloud.is_some() && (asked || device.kind == DeviceKind::Phone)
    }

    /// The id and the entity tag that Nextcloud's apps look for with a file or folder.
    pub(super) fn marks(&self, node: &Node) -> Option<(String, String)> {
        self.cloud.as_ref().map(|instance| (instance.file_id(node), instance.etag(node)))
    }
}
