//! News of photos as they are received, mirrored and proved, for whoever watches (the demo, the page). Never waited for.
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::drive::DriveRole;
use crate::model::path::RelPath;

/// One thing that happened to a photo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoNews {
    /// Its name.
    pub path: RelPath,
    /// What happened.
    pub what: NewsKind,
    /// When.
    pub at: Timestamp,
}

/// The kinds of news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NewsKind {
    /// Durable on the primary and acknowledged.
    Received {
        /// Bytes.
        size: u64,
    },
    /// Read back equal from the medium of another drive, and named there.
    Proved {
        /// That drive's role.
        drive_role: DriveRole,
    },
    /// A damaged copy was made anew from a good one.
    Healed {
        /// On which drive.
        drive_role: DriveRole,
    },
    /// Moved to the trash.
    Trashed,
    /// Read back and different.
    Damaged {
        /// On which drive.
        drive_role: DriveRole,
    },
}

/// Where news goes out.
#[derive(Default)]
pub struct Feed {
    readers: Mutex<Vec<SyncSender<PhotoNews>>>,
}

impl Feed {
    /// A new reader. One that falls 1024 items behind misses news.
    pub fn listen(&self) -> Receiver<PhotoNews> {
        let (sender, receiver) = sync_channel(1024);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells everybody.
    pub fn tell(&self, news: &PhotoNews) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|r| !matches!(r.try_send(news.clone()), Err(TrySendError::Disconnected(_))));
    }
}
