//! An offer: what a client says it is about to send, in no dialect's words.
use jiff::Timestamp;

use crate::model::account::Device;
use crate::model::hash::{Also, ContentHash, DeclaredHash};
use crate::model::path::RelPath;

/// What the client requires of the name before its bytes may take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// Nothing is there (`If-None-Match: *`, `Overwrite: F`).
    Absent,
    /// This content is there (`If-Match`).
    Content(ContentHash),
    /// Nothing is there, or these very bytes. If others are, the upload gets a free name beside them (`IMG_1 (2).JPG`): for
    /// clients that cannot know what a name stands for.
    FreeOrSame,
}

/// One file offered for upload.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Who offers it.
    pub by: Device,
    /// The full name it should get, below `photos/` (the device's root is already in front).
    pub path: RelPath,
    /// The announced length, bytes.
    pub size: Option<u64>,
    /// Announced hashes; every one must fit.
    pub declared: Vec<DeclaredHash>,
    /// Modification time to record; the time of receipt if the client gave none.
    pub mtime: Option<Timestamp>,
    /// When the client says that it was made, if it does.
    pub ctime: Option<Timestamp>,
    /// What must hold of the name at the moment of commit.
    pub expect: Expect,
    /// Make missing folders above the name (inbox, web page, Immich); otherwise they are an error (WebDAV's 409).
    pub make_parents: bool,
}

/// One file offered before anybody knows its name: in a form whose fields may come after the file, or where the name depends on
/// what is here already.
#[derive(Debug, Clone)]
pub struct Unnamed {
    /// Who offers it.
    pub by: Device,
    /// Bytes that are known to be on their way. How many come in the end is not.
    pub expected: u64,
    /// Announced hashes; every one must fit.
    pub declared: Vec<DeclaredHash>,
    /// Hashes to compute besides, because this client asks by them later.
    pub also: Also,
}
