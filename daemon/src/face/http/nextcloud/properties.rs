//! Properties of files and folders as Nextcloud's apps read them: by the prefixes `d`, `oc` and `nc` as they are written, and only in the
//! first `propstat`.
use hyper::HeaderMap;

use super::ids::Instance;
use crate::face::http::webdav::propfind::Wanted;
use crate::face::http::webdav::xml::{self, DAV, Name, escape_into};
use crate::face::http::webdav::{content_type, date};
use crate::model::account::{Device, DeviceKind};
use crate::model::media::Pixels;
use crate::work::tree::{About, Details, Node, NodeKind, Property};

/// ownCloud's namespace.
pub(in crate::face::http) const OC: &str = "http://owncloud.org/ns";
/// Nextcloud's.
pub(in crate::face::http) const NC: &str = "http://nextcloud.org/ns";

/// How a multistatus begins.
pub(in crate::face::http) const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:multistatus xmlns:d=\"DAV:\" \
    xmlns:s=\"http://sabredav.org/ns\" xmlns:oc=\"http://owncloud.org/ns\" xmlns:nc=\"http://nextcloud.org/ns\">\n";
/// How it ends.
pub(in crate::face::http) const TAIL: &str = "</d:multistatus>\n";

/// What is shown to who does not say what.
const BASE: [(&str, &str); 9] = [
    (DAV, "getlastmodified"),
    (DAV, "getcontentlength"),
    (DAV, "resourcetype"),
    (DAV, "getetag"),
    (DAV, "getcontenttype"),
    (OC, "id"),
    (OC, "fileid"),
    (OC, "size"),
    (OC, "permissions"),
];

/// Who asks, and of what.
pub(in crate::face::http) struct Showing<'a> {
    pub(in crate::face::http) instance: &'a Instance,
    pub(in crate::face::http) device: &'a Device,
    pub(in crate::face::http) node: &'a Node,
    pub(in crate::face::http) is_root: bool,
    pub(in crate::face::http) details: &'a Details,
    /// Whether there is a preview, as far as can be told.
    pub(in crate::face::http) has_preview: bool,
    /// What may still be stored, and what is used.
    pub(in crate::face::http) room: Option<(u64, u64)>,
}

/// Whether a property is looked for among those that were stored by a client.
fn is_stored(name: &Name) -> bool {
    const NEVER: [&str; 14] = [
        SIZE_OF_PHOTO,
        "id",
        "fileid",
        "size",
        "permissions",
        "owner-id",
        "owner-display-name",
        "creation_time",
        "upload_time",
        HAS_PREVIEW,
        "checksums",
        "data-fingerprint",
        "share-types",
        "downloadURL",
    ];
    name.namespace != DAV && !NEVER.contains(&name.local.as_str())
}

/// What has to be looked up for these.
pub(in crate::face::http) fn about(names: &[Name]) -> About {
    let asks = |namespace: &str, local: &str| {
        names.iter().any(|name| name.namespace == namespace && name.local == local)
    };
    About {
        properties: names.iter().any(is_stored),
        sha1: asks(OC, "checksums"),
        sizes: asks(OC, "size"),
        media: asks(NC, SIZE_OF_PHOTO) || asks(NC, HAS_PREVIEW),
    }
}

/// How large a picture is, as displayed.
const SIZE_OF_PHOTO: &str = "metadata-photos-size";
/// Whether a preview can be had.
const HAS_PREVIEW: &str = "has-preview";

/// One `response`.
pub(in crate::face::http) fn write(showing: &Showing<'_>, wanted: &Wanted, href: &str, out: &mut String) {
    let (mut found, mut missing) = (String::new(), String::new());
    let base = || BASE.map(|(namespace, local)| Name { namespace: namespace.into(), local: local.into() });
    let names = match wanted {
        Wanted::These(names) => names.clone(),
        Wanted::All(more) => base().into_iter().chain(more.iter().cloned()).collect(),
        Wanted::Names => base().to_vec(),
    };
    for name in &names {
        match showing.value(name) {
            Some(value) => {
                open(name, &mut found);
                found.push('>');
                found.push_str(&value);
                close(name, &mut found);
            }
            None => {
                open(name, &mut missing);
                missing.push_str("/>");
            }
        }
    }
    out.extend(["<d:response><d:href>", href, "</d:href>"]);
    // The first block is the only one that some of them read.
    if !found.is_empty() || missing.is_empty() {
        let status = "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>";
        out.extend(["<d:propstat><d:prop>", &found, status]);
    }
    if !missing.is_empty() {
        let status = "</d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>";
        out.extend(["<d:propstat><d:prop>", &missing, status]);
    }
    out.push_str("</d:response>\n");
}

fn prefix(namespace: &str) -> Option<&'static str> {
    match namespace {
        DAV => Some("d"),
        OC => Some("oc"),
        NC => Some("nc"),
        _ => None,
    }
}

fn open(name: &Name, out: &mut String) {
    match prefix(&name.namespace) {
        Some(prefix) => out.extend(["<", prefix, ":", &name.local]),
        None => {
            out.extend(["<x:", &name.local, " xmlns:x=\""]);
            escape_into(out, &name.namespace);
            out.push('"');
        }
    }
}

fn close(name: &Name, out: &mut String) {
    out.extend(["</", prefix(&name.namespace).unwrap_or("x"), ":", &name.local, ">"]);
}

impl Showing<'_> {
    /// What is inside the element. `None`: it has none of that name, and nothing empty either, at which some of the apps stumble.
    fn value(&self, name: &Name) -> Option<String> {
        match (name.namespace.as_str(), name.local.as_str()) {
            (DAV, local) => self.dav(local),
            (OC, "id") => Some(self.instance.file_id(self.node)),
            (OC, "fileid") => Some(Instance::number(self.node).to_string()),
            (OC, "size") => self.size().or(self.details.below).map(|size| size.to_string()),
            (OC, "permissions") => Some(self.permissions().to_owned()),
            (OC, "favorite") => Some(if self.is_favourite() { "1" } else { "0" }.to_owned()),
            (OC, "owner-id" | "owner-display-name") => Some(self.device.person.to_string()),
            (OC, "data-fingerprint") => self.is_root.then(|| self.instance.fingerprint()),
            (OC, "checksums") => {
                let sha1 = self.details.sha1.as_ref()?;
                Some(format!("<oc:checksum>SHA1:{sha1}</oc:checksum>"))
            }
            (NC, SIZE_OF_PHOTO) => {
                let Pixels { width, height } = self.details.media.as_ref()?.size?;
                Some(format!("<width>{width}</width><height>{height}</height>"))
            }
            (NC, "creation_time") => {
                let made = self.node.ctime.unwrap_or(self.node.created);
                Some(made.as_second().to_string())
            }
            (NC, "upload_time") => Some(self.node.created.as_second().to_string()),
            // Its absence would mean that there is one.
            (NC, HAS_PREVIEW) => Some(self.has_preview.to_string()),
            (NC, "is-encrypted") => Some("0".to_owned()),
            _ if is_stored(name) => self.stored(name).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    fn size(&self) -> Option<u64> {
        match self.node.kind {
            NodeKind::File { size, .. } => Some(size),
            NodeKind::Folder => None,
        }
    }

    fn dav(&self, local: &str) -> Option<String> {
        let folder = self.node.kind == NodeKind::Folder;
        match local {
            "resourcetype" => Some(if folder { "<d:collection/>" } else { "" }.to_owned()),
            "getlastmodified" => date::http(self.node.mtime),
            "creationdate" => Some(date::iso(self.node.ctime.unwrap_or(self.node.created))),
            "getetag" => Some(xml::escape(&self.instance.etag(self.node))),
            "getcontentlength" => self.size().map(|size| size.to_string()),
            "getcontenttype" if !folder => Some(content_type(self.node.path.name()).to_owned()),
            "quota-available-bytes" if folder => self.room.map(|(left, _)| left.to_string()),
            "quota-used-bytes" if folder => self.room.map(|(_, used)| used.to_string()),
            // With a display name the Android app forgets how the file is called.
            _ => None,
        }
    }

    /// `CK` side by side: the Android app makes no folder and no file where it does not find them so.
    fn permissions(&self) -> &'static str {
        let computer = self.device.kind == DeviceKind::Computer;
        match (self.node.kind, self.is_root) {
            (NodeKind::Folder, false) if computer => "RGDNVCK",
            (NodeKind::Folder, _) => "RGCK",
            (NodeKind::File { .. }, _) if computer => "RGDNVW",
            (NodeKind::File { .. }, _) => "RGW",
        }
    }

    fn is_favourite(&self) -> bool {
        let name = Name { namespace: OC.to_owned(), local: "favorite".to_owned() };
        self.stored(&name).is_some_and(|text| is_yes(&text))
    }

    /// The text of a stored property, to be written as ours.
    fn stored(&self, name: &Name) -> Option<String> {
        let is = |property: &&Property| property.namespace == name.namespace && property.name == name.local;
        let element = xml::parse(self.details.properties.iter().find(is)?.xml.as_bytes()).ok()?;
        Some(xml::escape(element.text().trim()))
    }
}

/// Whether a client's text means yes.
pub(in crate::face::http) fn is_yes(text: &str) -> bool {
    matches!(text.trim(), "1" | "true")
}

/// Whether everything below is asked for: the apps mean what is directly in a folder.
pub(in crate::face::http) fn is_deep(headers: &HeaderMap) -> bool {
    headers.get("depth").is_none_or(|depth| depth.as_bytes() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::PoolId;
    use crate::model::hash::ContentHash;
    use crate::model::media::{Media, MediaKind};
    use crate::model::path::RelPath;
    use crate::model::place::Shelf;
    use jiff::Timestamp;

    fn shown(kind: DeviceKind, node: NodeKind, is_root: bool, wanted: &Wanted) -> String {
        let device = Device { person: "anna".parse().unwrap(), name: "phone".parse().unwrap(), kind };
        let node = Node {
            id: 7,
            path: RelPath::parse("anna/phone/a & b.heic").unwrap(),
            kind: node,
            mtime: Timestamp::from_second(784_111_777).unwrap(),
            ctime: Timestamp::from_second(784_111_700).ok(),
            created: Timestamp::from_second(1_700_000_000).unwrap(),
            changed: 9,
            shelf: Shelf::Photos,
        };
        let properties = vec![
            Property {
                namespace: OC.into(),
                name: "favorite".into(),
                xml: "<x xmlns=\"http://owncloud.org/ns\">1</x>".into(),
            },
            Property {
                namespace: NC.into(),
                name: "metadata-files-live-photo".into(),
                xml: "<a:b xmlns:a=\"u\">00000008ocff</a:b>".into(),
            },
        ];
        let instance = Instance::new(PoolId::from_random([0xab; 16]), 1);
        let media = Media { size: Pixels::new(4032, 3024), ..Media::of(MediaKind::Heif) };
        let showing = Showing {
            instance: &instance,
            device: &device,
            node: &node,
            is_root,
            details: &Details { properties, sha1: Some("a9".into()), media: Some(media), below: None },
            has_preview: true,
            room: Some((5, 6)),
        };
        let mut out = String::new();
        write(&showing, wanted, "/remote.php/dav/files/anna/a", &mut out);
        out
    }

    fn these(names: &[(&str, &str)]) -> Wanted {
        let name =
            |&(namespace, local): &(&str, &str)| Name { namespace: namespace.into(), local: local.into() };
        Wanted::These(names.iter().map(name).collect())
    }

    #[test]
    fn only_what_was_asked_for_in_the_clients_prefixes() {
        let file = NodeKind::File { hash: ContentHash::of(b"x"), size: 1 };
        let wanted = these(&[
            (DAV, "getlastmodified"),
            (DAV, "displayname"),
            (OC, "favorite"),
            (NC, "creation_time"),
            (NC, "metadata-files-live-photo"),
            (NC, "metadata-photos-size"),
            (OC, "checksums"),
            (NC, "note"),
            ("urn:x", "y"),
        ]);
        expect_test::expect![[r#"
            <d:response><d:href>/remote.php/dav/files/anna/a</d:href><d:propstat><d:prop><d:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</d:getlastmodified><oc:favorite>1</oc:favorite><nc:creation_time>784111700</nc:creation_time><nc:metadata-files-live-photo>00000008ocff</nc:metadata-files-live-photo><nc:metadata-photos-size><width>4032</width><height>3024</height></nc:metadata-photos-size><oc:checksums><oc:checksum>SHA1:a9</oc:checksum></oc:checksums></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:prop><d:displayname/><nc:note/><x:y xmlns:x="urn:x"/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
        "#]]
        .assert_eq(&shown(DeviceKind::Phone, file, false, &wanted));
    }

    #[test]
    fn nothing_empty_is_shown_but_the_type_of_a_file() {
        let file = NodeKind::File { hash: ContentHash::of(b"x"), size: 1 };
        for (kind, is_root) in [(file, false), (NodeKind::Folder, false), (NodeKind::Folder, true)] {
            let text = shown(DeviceKind::Computer, kind, is_root, &Wanted::All(Vec::new()));
            let tags: Vec<&str> = text.split('<').collect();
            let empty = tags.windows(2).find(|two| two[1].strip_prefix('/') == Some(two[0]));
            assert!(empty.is_none_or(|two| two[0] == "d:resourcetype>"), "{text}");
            assert!(text.contains("<oc:fileid>7</oc:fileid>"), "{text}");
        }
    }

    #[test]
    fn folders_let_the_apps_make_files_and_folders() {
        let wanted = these(&[(OC, "permissions"), (OC, "data-fingerprint")]);
        for kind in [DeviceKind::Phone, DeviceKind::Computer] {
            for is_root in [true, false] {
                let text = shown(kind, NodeKind::Folder, is_root, &wanted);
                assert!(text.contains("CK</oc:permissions>"), "{text}");
                assert_eq!(text.contains("</oc:data-fingerprint>"), is_root);
            }
        }
        let file = NodeKind::File { hash: ContentHash::of(b"x"), size: 1 };
        assert!(shown(DeviceKind::Phone, file, false, &wanted).contains("<oc:permissions>RGW<"));
    }
}
