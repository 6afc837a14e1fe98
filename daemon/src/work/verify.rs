//! Verifying on demand: reads copies back from the medium and records what was found, drive by drive.
use std::sync::Arc;
use std::time::Duration;

use crate::model::drive::DriveRole;
use crate::os::clock;
use crate::store::catalogue::copies::CopyRow;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::reread::{Found, Reread};
use crate::work::rescan::Rescan;
use crate::work::views::{Progress, RescanReport, VerifyReport, VerifyScope};

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
        } else {
            report.unreadable_drives.extend(self.copies_away(&primary, &drives)?);
        }
        let mut so_far = Progress::default();
        for drive in &drives {
            let tally = primary.catalogue.read(|r| r.tally(drive.id(), self.now()))?;
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

    /// Mirrors of this pool that are not here: of their copies nobody can say that they are equal. An offline drive is away as a rule.
    fn copies_away(&self, primary: &Primary, here: &[Arc<Attached>]) -> Result<Vec<String>, Refusal> {
        let mut known = primary.catalogue.read(|r| r.drives())?;
        known.retain(|row| row.role == DriveRole::Mirror && here.iter().all(|drive| drive.id() != row.id));
        Ok(known.iter().map(|row| format!("{} (the {} is not there)", row.id.short(), row.role)).collect())
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
            let mut batch = Reread::default();
            for row in rows {
                so_far.files += 1;
                if !scope.covers(&row) {
                    continue;
                }
                let before = batch.bytes;
                match self.reread(primary, drive, &row, &mut batch, &mut || Ok(()))? {
                    Found::Equal(_) => report.equal += 1,
                    Found::Damaged(path) => {
                        report.damaged.push(path);
                        report.bytes += batch.bytes - before;
                        self.record_reread(primary, drive, std::mem::take(&mut batch))?;
                        progress(so_far);
                        continue;
                    }
                    Found::Missing(path) => report.missing.push(path),
                    Found::NotRead(path) => report.not_read.push(path),
                    Found::Moved => {}
                }
                report.bytes += batch.bytes - before;
                so_far.bytes = report.bytes;
                progress(so_far);
            }
            self.record_reread(primary, drive, batch)?;
        }
    }

    /// Compares the primary's tree with the catalogue now. Files still being written are left for the worker.
    pub fn rescan_now(
        self: &Arc<Self>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<RescanReport, Refusal> {
        let mut rescan = Rescan::new(Arc::clone(self));
        // Each telling wakes two threads and a process; a walk looks into thousands of folders a second.
        const TELL_EVERY: Duration = Duration::from_millis(200);
        let mut told = None;
        let mut walk = |rescan: &mut Rescan| {
            rescan.start();
            while rescan.step(&|| true)? {
                let now = clock::monotonic();
                if told.is_some_and(|last| now.saturating_duration_since(last) < TELL_EVERY) {
                    continue;
                }
                told = Some(now);
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
        let quiet = self.options.quiet.unsigned_abs().min(Duration::from_secs(60));
        std::thread::sleep(quiet);
        let second = walk(&mut rescan)?;
        Ok(RescanReport { adopted: first.adopted + second.adopted, ..second })
    }
}

impl VerifyScope {
    fn covers(&self, row: &CopyRow) -> bool {
        self.below.as_ref().is_none_or(|below| row.at.is_within(below))
            && self.read_before.is_none_or(|before| row.reread.is_none_or(|at| at < before))
    }
}
