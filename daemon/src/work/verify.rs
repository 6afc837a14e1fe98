//! Verifying on demand: reads copies back from the medium and records what was found, drive by drive.
use std::sync::Arc;

use crate::model::copy::CopyEvent;
use crate::model::drive::DriveRole;
use crate::model::event::What;
use crate::model::hash::Also;
use crate::model::place::Place;
use crate::store::catalogue::copies::{self, CopyRow};
use crate::store::volume::VolumeError;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::rescan::Rescan;
use crate::work::views::{Progress, RescanReport, VerifyReport, VerifyScope};
use crate::work::{reading, record};

/// Proofs recorded together: they share the flush of the manifest.
const BATCH: usize = 64;

impl Pool {
    /// Reads back every copy in `scope` and records it. Takes as long as it takes; `progress` is called between files.
    pub fn verify_now(
        &self,
        scope: &VerifyScope,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<VerifyReport, Refusal> {
        let primary = self.primary()?;
        let mut report = VerifyReport::default();
        let mut drives: Vec<Arc<Attached>> = vec![Arc::clone(&primary.attached)];
        drives.extend(self.others());
        if let Some(id) = scope.drive {
            drives.retain(|d| d.id() == id);
            if drives.is_empty() {
                report.unreadable_drives.push(id.short());
            }
        }
        let mut so_far = Progress::default();
        for drive in &drives {
            let tally = primary.catalogue.read(|r| r.tally(drive.id()))?;
            so_far.files_total += tally.settled + tally.verified + tally.missing + tally.damaged;
        }
        for drive in drives {
            if let Err(refusal) =
                self.verify_drive(&primary, &drive, scope, &mut report, &mut so_far, progress)
            {
                report.unreadable_drives.push(format!("{} ({refusal})", drive.id().short()));
            }
        }
        Ok(report)
    }

    fn verify_drive(
        &self,
        primary: &Primary,
        drive: &Attached,
        scope: &VerifyScope,
        report: &mut VerifyReport,
        so_far: &mut Progress,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), Refusal> {
        let mut after = 0;
        loop {
            let rows = primary.catalogue.read(|r| r.copies_on(drive.id(), after, BATCH))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.name;
            let mut proofs = Vec::new();
            for row in rows {
                so_far.files += 1;
                if scope.below.as_ref().is_some_and(|below| !row.at.is_within(below)) {
                    continue;
                }
                if let Some(proof) = self.verify_copy(primary, drive, &row, report)? {
                    proofs.push(proof);
                }
                so_far.bytes = report.bytes;
                progress(so_far);
            }
            record::proofs(primary, drive, proofs, self.now())?;
        }
    }

    fn verify_copy(
        &self,
        primary: &Primary,
        drive: &Attached,
        row: &CopyRow,
        report: &mut VerifyReport,
    ) -> Result<Option<What>, Refusal> {
        let (path, hash) = (row.at.clone(), row.hash);
        let read = || {
            reading::hash_medium(&*drive.volume, &Place::photo(&row.at), Also::default(), &mut || {
                drop(drive.turns.background());
                Ok(())
            })
        };
        // Once more after an error: a bus that hiccups is no damage.
        let found = read().or_else(|e| if e.doubts_the_drive() { read() } else { Err(e) });
        let found = match found {
            Ok(digests) if digests.content == hash => {
                report.bytes += digests.size;
                report.equal += 1;
                return Ok(Some(What::Proved { path, hash }));
            }
            Ok(digests) => {
                report.bytes += digests.size;
                Some(format!("{} bytes with hash {}", digests.size, digests.content))
            }
            Err(VolumeError::NotFound { .. }) => None,
            // One bad block is the copy's problem; a drive that is gone is the drive's.
            Err(e) => Some(drive.file_only(e).map_err(Refusal::Drive)?),
        };
        if !still(primary, row)? {
            return Ok(None);
        }
        let Some(found) = found else {
            report.missing.push(path);
            return self.miss(primary, drive, row).map(|()| None);
        };
        report.damaged.push(path.clone());
        let what = NewsKind::Damaged { drive_role: drive.role() };
        self.news().tell(&PhotoNews { path: path.clone(), what, at: self.now() });
        Ok(Some(What::Damaged { path, hash, found }))
    }

    /// A copy that is not there is no longer called one. On the primary that is for people to look at; another drive gets it
    /// again.
    fn miss(&self, primary: &Primary, drive: &Attached, row: &CopyRow) -> Result<(), Refusal> {
        let (now, id) = (self.now(), drive.id());
        primary.catalogue.write(|tx| {
            copies::observe(tx, row.name, id, CopyEvent::NotThere, now)?;
            if drive.role() == DriveRole::Primary {
                return Ok(());
            }
            copies::observe(tx, row.name, id, CopyEvent::Requeued, now)
        })?;
        self.wake_mirror();
        Ok(())
    }

    /// Compares the primary's tree with the catalogue now. Files still being written are left for the worker.
    pub fn rescan_now(
        self: &Arc<Self>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<RescanReport, Refusal> {
        let mut rescan = Rescan::new(Arc::clone(self));
        let mut walk = |rescan: &mut Rescan| {
            rescan.start();
            while rescan.step(&|| true)? {
                let report = rescan.report();
                progress(&Progress { files: report.files + report.adopted, ..Progress::default() });
            }
            Ok::<_, Refusal>(rescan.report())
        };
        let first = walk(&mut rescan)?;
        if first.waiting == 0 {
            return Ok(first);
        }
        // New files count once they have been quiet: wait that long, once, and look again.
        let quiet = self.options.quiet.unsigned_abs().min(std::time::Duration::from_secs(60));
        std::thread::sleep(quiet);
        let second = walk(&mut rescan)?;
        Ok(RescanReport { adopted: first.adopted + second.adopted, ..second })
    }
}

/// Whether a copy is still what it was when it was read: no rename, replacement or deletion came in between, or is on its way.
fn still(primary: &Primary, row: &CopyRow) -> Result<bool, Refusal> {
    primary.quiesce();
    let now = primary.catalogue.read(|r| Ok((r.name_by_id(row.name)?, r.copies_of_name(row.name)?)));
    let (name, copies) = now?;
    let copy = copies.iter().find(|c| c.drive == row.drive);
    Ok(name.is_some_and(|n| n.path == row.at) && copy.is_some_and(|c| c.at == row.at && c.hash == row.hash))
}
