//! The worker that keeps certificates: finds the authority, or makes it; makes the box's certificate anew when it ends or lacks a name;
//! puts both on every drive that lacks them.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::keeping::{Found, look, put_authority, put_certificate};
use super::looking::{Authority, Shown, Unfit};
use super::{Reached, Served, making};
use crate::model::certificate::Names;
use crate::model::drive::{DriveId, DriveRole};
use crate::os::clock;
use crate::plan::certifying::{
    Choice, DAYS_BEFORE, DriveState, Held, Keep, always_permitted, choose, keep, meet, names, permitted,
};
use crate::work::drive::Attached;
use crate::work::pool::Pool;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

const HOURS_A_DAY: i64 = 24;

/// Keeps certificates.
pub struct Keeper {
    pool: Arc<Pool>,
    reached: Reached,
    /// Addresses that were met, newest first.
    met: Vec<IpAddr>,
    /// What all was well with.
    well: Option<Situation>,
}

/// What a look depends on. While it stays, the drives are left alone.
#[derive(PartialEq, Eq)]
struct Situation {
    drives: Vec<(DriveId, usize, bool)>,
    names: Names,
    day: i64,
    trusted: bool,
}

/// A drive, and what it has.
struct Drive {
    attached: Arc<Attached>,
    found: Found,
}

impl Keeper {
    /// For a pool. From now on there is to be a certificate.
    pub fn new(pool: Arc<Pool>, reached: Reached) -> Self {
        pool.certificates().want();
        Self { pool, reached, met: Vec::new(), well: None }
    }

    fn keep(&mut self, cx: &Cx) -> Result<(), WorkError> {
        meet(&mut self.met, &(self.reached.addresses)());
        let met: BTreeSet<IpAddr> = self.met.iter().copied().collect();
        let names = names(&self.reached.machine, &self.reached.configured, &met);
        let attached = self.drives();
        let situation = situation(&attached, &names, self.pool.now());
        if self.well.as_ref() == Some(&situation) {
            return Ok(());
        }
        let mut drives = Vec::new();
        for attached in attached {
            let _drive = cx.blocked_on(&attached.id().short());
            // Another drive may do; one that cannot be read is looked at again.
            match look(&attached) {
                Ok(found) => drives.push(Drive { attached, found }),
                Err(e) => {
                    log::warn!("the certificates on drive {} cannot be read: {e}", attached.id().short())
                }
            }
        }
        let whole = drives.len() == situation.drives.len();
        let well = self.serve(cx, drives, &names)?;
        self.well = (well && whole).then_some(situation);
        Ok(())
    }

    /// Drives of one pool that are there. While no main drive was seen, those that are there say which pool it is.
    fn drives(&self) -> Vec<Arc<Attached>> {
        let slots = self.pool.slot_views();
        let there = slots.into_iter().filter_map(|slot| slot.attached).filter(|a| a.doubt().gone.is_none());
        let there: Vec<Arc<Attached>> = there.collect();
        let pool = *self.pool.identity();
        let pool = pool.or_else(|| there.first().map(|a| a.marker.pool));
        there.into_iter().filter(|a| Some(a.marker.pool) == pool).collect()
    }

    /// `true`: all is as it should be, until something changes.
    fn serve(&self, cx: &Cx, mut drives: Vec<Drive>, names: &Names) -> Result<bool, WorkError> {
        let state = |drive: &Drive| DriveState {
            primary: drive.attached.role() == DriveRole::Primary,
            writable: drive.attached.takes_writes().is_ok(),
            held: drive.found.held,
        };
        let states: Vec<DriveState> = drives.iter().map(state).collect();
        let authority = match choose(&states, self.all_here(&drives)) {
            Choice::Wait(why) => {
                self.pool.certificates().set(None, Some(why.to_owned()));
                return Ok(false);
            }
            Choice::Use(one) => drives[one].found.authority.take(),
            Choice::Make => Some(self.make_authority(cx, &mut drives, names)?),
        };
        let Some(authority) = authority else { return Ok(false) };
        let (shown, names) = self.certificate(&authority, &drives, names)?;
        let mut problem = None;
        let mut kept_on = BTreeSet::new();
        for drive in &drives {
            match self.bring(cx, drive, &authority, &shown) {
                Ok(()) => drop(kept_on.insert(drive.attached.id())),
                Err(why) => problem = Some(format!("drive {}: {why}", drive.attached.id().short())),
            }
        }
        // A key that is on no drive yet would be another one after a power cut.
        if kept_on.is_empty() {
            let why = problem.unwrap_or_else(|| "no drive is there".to_owned());
            self.pool.certificates().set(None, Some(why.clone()));
            return Err(WorkError::new("keep the certificate", why));
        }
        let name = making::name(&pool_of(&drives));
        self.publish((&authority, name), &shown, names, kept_on, problem.clone())?;
        match problem {
            Some(why) => Err(WorkError::new("keep the certificate on every drive", why)),
            None => Ok(true),
        }
    }

    /// Whether no drive is away that may have the authority: the main drive and its copies, but not those that are kept elsewhere.
    fn all_here(&self, drives: &[Drive]) -> bool {
        let Ok(primary) = self.pool.primary() else { return false };
        let read = primary.catalogue.read(|r| Ok((r.drives()?, r.retired()?)));
        let Ok((known, retired)) = read else { return false };
        let here = |id: DriveId| drives.iter().any(|drive| drive.attached.id() == id);
        let counts = |id: DriveId| !retired.iter().any(|(gone, _)| *gone == id);
        known.iter().all(|row| row.role == DriveRole::Offline || here(row.id) || !counts(row.id))
    }

    fn make_authority(&self, cx: &Cx, drives: &mut [Drive], names: &Names) -> Result<Authority, WorkError> {
        let failed = |why: String| WorkError::new("make an authority", why);
        let primary = drives.iter_mut().find(|drive| drive.attached.role() == DriveRole::Primary);
        let Some(drive) = primary else { return Err(failed("the main drive is not there".to_owned())) };
        let pool = drive.attached.marker.pool.short();
        let file = making::authority(&pool, &permitted(names)).map_err(|e| failed(e.to_string()))?;
        let made = Authority::read(file.as_bytes()).ok_or_else(|| failed("it is none".to_owned()))?;
        let how = keep(drive.found.held, made.fingerprint());
        let _drive = cx.blocked_on(&drive.attached.id().short());
        put_authority(&drive.attached, how, made.file(), self.pool.now().as_second())
            .map_err(|e| failed(e.to_string()))?;
        drive.found.held = Held::Whole(made.fingerprint());
        log::info!("made an authority for the box's certificates, SHA-256 {}", made.fingerprint());
        Ok(made)
    }

    /// The certificate to be shown: one that a drive has and that fits, or a new one. And what it names: a name that the authority may
    /// not sign for is left out.
    fn certificate(
        &self,
        authority: &Authority,
        drives: &[Drive],
        wanted: &Names,
    ) -> Result<(Shown, Names), WorkError> {
        let failed = |why: String| WorkError::new("make a certificate", why);
        let there = |names: &Names| {
            let shown = drives.iter().filter_map(|drive| drive.found.shown.as_ref());
            shown.filter(|shown| shown.fits(authority, names, &self.moments(shown)) == Ok(())).find_map(
                // Read anew: the drives keep what they have, to be compared with it.
                |shown| Shown::read(shown.file()),
            )
        };
        let pool = pool_of(drives);
        let mut why = None;
        for names in [wanted.clone(), always_permitted(wanted)] {
            if let Some(shown) = there(&names) {
                return Ok((shown, names));
            }
            let file = making::certificate(&pool, authority, &names, self.now())
                .map_err(|e| failed(e.to_string()))?;
            let made = Shown::read(file.as_bytes()).ok_or_else(|| failed("it is none".to_owned()))?;
            match made.fits(authority, &names, &[self.now()]) {
                Ok(()) => {
                    log::info!(
                        "made a certificate for {} names and addresses",
                        names.hosts.len() + names.addresses.len()
                    );
                    return Ok((made, names));
                }
                Err(unfit @ Unfit::Constraint) => why = Some(unfit),
                Err(unfit) => return Err(failed(unfit.to_string())),
            }
        }
        Err(failed(why.map_or_else(String::new, |why| why.to_string())))
    }

    /// When a certificate has to be good. While nothing vouches for the clock its dates say nothing: it is kept, whatever they are.
    fn moments(&self, shown: &Shown) -> Vec<Timestamp> {
        let now = self.pool.now();
        let days = |days: i64| SignedDuration::from_hours(days * HOURS_A_DAY);
        if clock::trusted() {
            let later = now.saturating_add(days(DAYS_BEFORE.cast_signed())).unwrap_or(now);
            return vec![now, later];
        }
        let end = shown.until().unwrap_or(now);
        vec![end.saturating_sub(days(1)).unwrap_or(end)]
    }

    /// The time by which a new one is dated: with a clock that is right the present, else not before this program was made.
    fn now(&self) -> Timestamp {
        if clock::trusted() { self.pool.now() } else { self.pool.now().max(clock::RELEASED) }
    }

    /// Brings one drive what it lacks.
    fn bring(&self, cx: &Cx, drive: &Drive, authority: &Authority, shown: &Shown) -> Result<(), String> {
        let how = keep(drive.found.held, authority.fingerprint());
        let same = drive.found.shown.as_ref().is_some_and(|there| there.file() == shown.file());
        if how == Keep::Nothing && same {
            return Ok(());
        }
        drive.attached.takes_writes()?;
        let _drive = cx.blocked_on(&drive.attached.id().short());
        let _lane = drive.attached.turns.background();
        if how == Keep::SetAside {
            log::warn!("drive {} has another authority, which is set aside", drive.attached.id().short());
        }
        let when = self.pool.now().as_second();
        put_authority(&drive.attached, how, authority.file(), when).map_err(|e| e.to_string())?;
        if !same {
            put_certificate(&drive.attached, shown.file()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn publish(
        &self,
        (authority, name): (&Authority, String),
        shown: &Shown,
        names: Names,
        kept_on: BTreeSet<DriveId>,
        problem: Option<String>,
    ) -> Result<(), WorkError> {
        let before = self.pool.certificates().served().filter(|served| served.file == shown.file());
        // The same one: those who were here before come back without a whole handshake.
        let config = before.map_or_else(|| shown.config(), |served| Ok(Arc::clone(served.config())));
        let served = Served {
            authority: authority.certificate().to_vec().into(),
            name,
            names,
            until: shown.until(),
            kept_on,
            file: shown.file().to_vec(),
            config: config.map_err(|e| WorkError::new("use the certificate", e))?,
        };
        self.pool.certificates().set(Some(Arc::new(served)), problem);
        Ok(())
    }
}

/// The beginning of the pool's id.
fn pool_of(drives: &[Drive]) -> String {
    drives.first().map(|drive| drive.attached.marker.pool.short()).unwrap_or_default()
}

fn situation(drives: &[Arc<Attached>], names: &Names, now: Timestamp) -> Situation {
    let drives = drives.iter().map(|a| (a.id(), Arc::as_ptr(a).addr(), a.takes_writes().is_ok())).collect();
    let day = now.as_second() / (HOURS_A_DAY * 3600);
    Situation { drives, names: names.clone(), day, trusted: clock::trusted() }
}

impl Worker for Keeper {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        self.keep(cx)?;
        Ok(Outcome::Rest)
    }
}
