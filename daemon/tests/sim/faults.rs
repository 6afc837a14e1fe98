//! What can be made to go wrong on a simulated drive, and the names of the places where durability is asked for.
use shoebox::model::place::Place;

/// One call of `Volume`, `Staged`, `Synced`, `ReadAt` or `MediumRead`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Prove,
    Stage,
    Grow,
    Write,
    SyncStaged,
    Publish,
    PublishOver,
    MakeDir,
    SyncDir,
    RenameNew,
    Link,
    RemoveDir,
    Discard,
    SetMtime,
    Stat,
    List,
    Open,
    OpenMedium,
    Read,
    MediumRead,
    SyncFile,
    Seal,
    Append,
    WriteSmall,
    Space,
}

impl Op {
    /// Whether a read-only drive refuses it.
    pub(crate) const fn changes(self) -> bool {
        match self {
            Self::Stage
            | Self::Grow
            | Self::Write
            | Self::SyncStaged
            | Self::Publish
            | Self::PublishOver
            | Self::MakeDir
            | Self::SyncDir
            | Self::RenameNew
            | Self::Link
            | Self::RemoveDir
            | Self::Discard
            | Self::SetMtime
            | Self::SyncFile
            | Self::Seal
            | Self::Append
            | Self::WriteSmall => true,
            Self::Prove
            | Self::Stat
            | Self::List
            | Self::Open
            | Self::OpenMedium
            | Self::Read
            | Self::MediumRead
            | Self::Space => false,
        }
    }
}

/// What the failing call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// `ENOSPC`.
    Full,
    /// `EIO`.
    Io,
    /// The drive is off the bus. Lasting: the same as `unplug()`.
    Gone,
    /// `EROFS`. Lasting: until the next mount.
    ReadOnly,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The answer.
    pub(crate) failure: Failure,
    /// Every later such call fails, too.
    pub(crate) lasting: bool,
    /// The call did its work and fails all the same: the answer got lost, not the deed.
    pub(crate) done: bool,
}

impl Fault {
    /// Fails once, nothing done.
    pub(crate) const fn once(failure: Failure) -> Self {
        Self { failure, lasting: false, done: false }
    }

    /// Fails from now on, nothing done.
    pub(crate) const fn lasting(failure: Failure) -> Self {
        Self { failure, lasting: true, done: false }
    }

    /// The same fault, after the deed.
    pub(crate) const fn after_the_deed(self) -> Self {
        Self { done: true, ..self }
    }
}

/// Faults lying in wait.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    /// `None`: any call.
    op: Option<Op>,
    /// Calls until it fires, counting the one that fails.
    left: u64,
    fault: Fault,
}

impl Faults {
    /// Lets the `nth` call of `op` (of any, if `None`) from now on fail; 1 is the next.
    pub(crate) fn arm(&mut self, op: Option<Op>, nth: u64, fault: Fault) {
        self.0.push(Armed { op, left: nth, fault });
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a call and says whether it fails.
    pub(crate) fn hit(&mut self, op: Op) -> Option<Fault> {
        let mut fired = None;
        self.0.retain_mut(|armed| {
            if armed.op.is_some_and(|only| only != op) {
                return true;
            }
            armed.left = armed.left.saturating_sub(1);
            if armed.left > 0 {
                return true;
            }
            fired = fired.or(Some(armed.fault));
            // Gone and ReadOnly last as a state of the drive, which the next mount ends.
            armed.fault.lasting && matches!(armed.fault.failure, Failure::Full | Failure::Io)
        });
        fired
    }
}

/// A call that makes something durable, by what it makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Site {
    /// `Staged::sync`.
    Data,
    /// `sync_dir`.
    Dir(Area, Pending),
    /// `append`.
    Append,
    /// `sync_file`.
    SyncFile,
    /// `write_small`.
    WriteSmall,
}

/// Part of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Area {
    Root,
    Own,
    Incoming,
    Photos,
    Scratch,
    Trash,
    Quarantine,
    Manifests,
}

impl Area {
    /// Where `place` belongs.
    pub(crate) fn of(place: &Place) -> Self {
        let own = |name: &str| Place::own().entry(name).unwrap_or_else(Place::own);
        let areas = [
            (Place::photos(), Self::Photos),
            (Place::incoming(), Self::Incoming),
            (Place::scratches(), Self::Scratch),
            (own("trash"), Self::Trash),
            (own("quarantine"), Self::Quarantine),
            (Place::manifests(), Self::Manifests),
            (Place::own(), Self::Own),
        ];
        let found = areas.into_iter().find(|(root, _)| place == root || place.is_below(root));
        found.map_or(Self::Root, |(_, area)| area)
    }
}

/// What a directory had, at the time of `sync_dir`, that was not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pending {
    /// New names of files (and perhaps more).
    Files,
    /// New names of directories only.
    Folders,
    /// Names taken away only.
    Removals,
    /// Nothing: the call was not needed.
    Nothing,
}
