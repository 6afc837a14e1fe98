//! The only reader of the system's clocks, and what is known about whether the wall clock is right.
//!
//! Most Pis have no clock of their own: they boot with the time of their last shutdown, or with 1970, and jump
//! when the network answers. So wall time is information (dates on receipts), never order and never a timer:
//! order comes from sequence numbers, waiting from [`monotonic`].
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Wall time: for dates shown to people, never for measuring or ordering.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that only goes forward, at one speed: for waiting and for measuring.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The next turn of a beat. All who beat with one period have the same turns, and the box is woken once for all of them.
pub fn next_turn(period: Duration) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    turn_after(*FIRST.get_or_init(monotonic), monotonic(), period)
}

fn turn_after(first: Instant, now: Instant, period: Duration) -> Instant {
    let turns = now.saturating_duration_since(first).as_nanos() / period.as_nanos().max(1) + 1;
    let turn = u32::try_from(turns).ok().and_then(|turns| period.checked_mul(turns));
    turn.and_then(|after| first.checked_add(after)).unwrap_or(now + period)
}

/// This program did not exist before then, so no correct clock shows less. Raised with each release; a build that
/// sets `SOURCE_DATE_EPOCH` (reproducible-builds.org) raises it by itself.
pub const RELEASED: Timestamp = Timestamp::constant(1_793_491_200, 0); // 2026-11-01

/// Whether the wall clock deserves to be written into receipts without a remark.
///
/// Read from files instead of asking `adjtimex(2)`: the service runs under a filter without that call, and the
/// kernel's own "synchronised" bit is set by any root program that once set the time.
pub fn trusted() -> bool {
    trusted_by(Path::new("/"), now())
}

fn trusted_by(root: &Path, now: Timestamp) -> bool {
    let built = option_env!("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse::<i64>().ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(RELEASED);
    if now < built.max(RELEASED) {
        return false;
    }
    // systemd-timesyncd.service(8), "Files": made once the clock was set from a server since boot.
    let timesync = root.join("run/systemd/timesync");
    if timesync.join("synchronized").exists() {
        return true;
    }
    // A clock chip from which the kernel set the time at boot: Documentation/ABI/testing/sysfs-class-rtc.
    let from_chip = std::fs::read_to_string(root.join("sys/class/rtc/rtc0/hctosys"));
    if from_chip.is_ok_and(|text| text.trim() == "1") {
        return true;
    }
    // timesyncd runs and has not reached a server: the time is the last shutdown's. Where it does not run at all,
    // somebody else keeps the clock (chrony, the host of a container), and plausible has to be enough.
    !timesync.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_needs_a_source_and_a_plausible_time() {
        let later: Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        assert!(trusted_by(path, later), "no timesyncd here: plausible is enough");
        assert!(!trusted_by(path, Timestamp::UNIX_EPOCH));

        std::fs::create_dir_all(path.join("run/systemd/timesync")).unwrap();
        assert!(!trusted_by(path, later), "timesyncd has not reached a server yet");

        std::fs::create_dir_all(path.join("sys/class/rtc/rtc0")).unwrap();
        std::fs::write(path.join("sys/class/rtc/rtc0/hctosys"), "0\n").unwrap();
        assert!(!trusted_by(path, later), "a chip the kernel did not read proves nothing");
        std::fs::write(path.join("sys/class/rtc/rtc0/hctosys"), "1\n").unwrap();
        assert!(trusted_by(path, later));
        std::fs::write(path.join("sys/class/rtc/rtc0/hctosys"), "0\n").unwrap();

        std::fs::write(path.join("run/systemd/timesync/synchronized"), "").unwrap();
        assert!(trusted_by(path, later));
        assert!(
            !trusted_by(path, Timestamp::UNIX_EPOCH),
            "synchronised to a time before this program existed"
        );
    }

    #[test]
    fn who_beats_with_one_period_has_the_same_turns() {
        let (first, beat) = (monotonic(), Duration::from_secs(30));
        let after = |passed: u64| turn_after(first, first + Duration::from_millis(passed), beat) - first;
        assert_eq!([0, 1, 29_999].map(after), [beat; 3]);
        assert_eq!([30_000, 59_999, 60_000].map(after), [2 * beat, 2 * beat, 3 * beat]);
        assert_eq!(turn_after(first + beat, first, beat), first + 2 * beat, "it never went back");
        assert!(turn_after(first, first + beat, Duration::ZERO) >= first + beat, "without a period, at once");
    }

    #[test]
    fn monotonic_never_goes_back() {
        let first = monotonic();
        assert!(monotonic() >= first);
    }
}
