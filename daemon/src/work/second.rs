//! The second copy before the answer, where the box is set up so: what is acknowledged was read back from drive B by then, and one drive
//! that lies or dies that moment loses nothing (goal 15). Of a folder that is copied within the box only the top is waited for: its
//! photos have their two copies.
use std::time::{Duration, Instant};

use crate::model::copy::CopyState;
use crate::model::drive::DriveRole;
use crate::model::place::Shelf;
use crate::os::clock;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::tree::{Node, NodeKind};

/// So long the second copy is waited for, and longer for what takes longer to copy, as slow as USB 2 at worst; but not for ever: clients
/// give up after a minute without a byte, some after half of it.
const PATIENCE: Duration = Duration::from_secs(15);
const BYTES_A_SECOND: u64 = 20 << 20;
const LONGEST: Duration = Duration::from_secs(50);
/// Pauses between two looks: the first and the longest. A copy usually takes a hundredth of a second.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(64)];

impl Pool {
    /// Asked before a body is taken or a name changed: whether there is a drive that a second copy can be made on.
    pub(super) fn expects_second(&self) -> Result<(), Refusal> {
        let takes = self.others().iter().any(|d| d.role() == DriveRole::Mirror && d.takes_writes().is_ok());
        if takes || !self.options().acknowledge_after_copy {
            return Ok(());
        }
        Err(Refusal::Unavailable { why: "drive B is not there, and uploads are to wait for it".to_owned() })
    }

    /// Returns when a photo was read back from drive B. It stays on the main drive if that does not happen in time: sent once more, it
    /// is there already, and its copy is waited for again. Blocking.
    pub(super) fn await_second(&self, primary: &Primary, node: &Node) -> Result<(), Refusal> {
        let NodeKind::File { hash, size } = node.kind else { return Ok(()) };
        if node.shelf != Shelf::Photos || !self.options().acknowledge_after_copy {
            return Ok(());
        }
        self.wake_mirror();
        let patience = (PATIENCE + Duration::from_secs(size / BYTES_A_SECOND)).min(LONGEST);
        let until: Instant = clock::monotonic() + patience;
        let [mut pause, longest] = PAUSES;
        loop {
            let copies = primary.catalogue.read(|r| r.copies_of_name(node.id))?;
            let mirrors = copies.iter().filter(|copy| copy.role == DriveRole::Mirror && copy.hash == hash);
            if mirrors.into_iter().any(|copy| copy.state == CopyState::Verified && !copy.tail) {
                return Ok(());
            }
            self.expects_second()?;
            if clock::monotonic() >= until {
                return Err(Refusal::Unavailable { why: "drive B has no copy yet".to_owned() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}
