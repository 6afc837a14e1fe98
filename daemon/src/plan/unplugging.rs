//! Whether an offline drive may be unplugged: when it lacks nothing, all that it was given was read back from it, and its own
//! record says so. What cannot be known is not said.
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is known of an offline drive that is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// It is used, and nothing is doubted of it.
    pub ready: bool,
    /// What is known of the copies on it; `None`: the primary is not there to tell.
    pub copies: Option<Copies>,
}

/// The copies on it, as the catalogue has them now. A row follows from a line of the drive's record that is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// It lacks no photo, name, person or folder that the primary had last: the mirror has nothing to do on it.
    pub level: bool,
    /// Its record is open and was compared with what is known of it.
    pub enrolled: bool,
    /// Copies it should have and has not, and that some drive has good.
    pub wanted: u64,
    /// There is no room on it for those.
    pub full: bool,
    /// Copies that differ from what was received, or are gone from it, and that some drive has good.
    pub bad: u64,
    /// Copies it lacks, or has bad, and that no drive has good.
    pub hopeless: u64,
    /// Copies nobody has read back from it.
    pub unread: u64,
    /// It was pulled without notice once, and of what it was given before that not all was read back since.
    pub tail: bool,
    /// Lists for `sha256sum` that do not say yet what is on it.
    pub stale_lists: u64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplugging {
    /// Whether it may be unplugged.
    pub may: bool,
    /// The same for people, and if not, why.
    pub sentence: String,
}

/// Whether the drive may be unplugged.
pub fn judge(known: &Known) -> Unplugging {
    let sentence = match objection(known) {
        None => "may be unplugged: it has everything, and every copy was read back from it".to_owned(),
        Some(Objection::Wait(why)) => format!("leave it plugged in: {why}"),
        Some(Objection::InVain(why)) => {
            format!("it does not have everything, and waiting does not help: {why}")
        }
    };
    Unplugging { may: objection(known).is_none(), sentence }
}

/// How far the re-reading of what a drive had before is, in this visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rereading {
    /// Copies on it.
    pub copies: u64,
    /// Of these, re-read in this visit.
    pub reread: u64,
    /// How long the visit has lasted.
    pub taken: Duration,
}

/// How many of the copies that a drive had before are still to be re-read before it goes: a twentieth of them each time, so that all of
/// it is proved again within twenty visits, and a few at least; but nobody is kept waiting for longer than ten minutes for that.
pub fn still_to_reread(done: &Rereading) -> u64 {
    const AT_LEAST: u64 = 64;
    const PATIENCE: Duration = Duration::from_secs(600);
    if done.taken >= PATIENCE {
        return 0;
    }
    done.copies.div_ceil(20).max(AT_LEAST).saturating_sub(done.reread)
}

/// Why it should stay.
enum Objection {
    /// Something is to be done, and is done by itself.
    Wait(&'static str),
    /// Something would have to be done that the box cannot do.
    InVain(&'static str),
}

/// The first thing that has to be done. What the box cannot do comes last: with all else done, people need not wait.
const fn objection(known: &Known) -> Option<Objection> {
    use Objection::{InVain, Wait};
    if !known.ready {
        return Some(Wait("it cannot be used at the moment"));
    }
    let Some(copies) = known.copies else {
        return Some(Wait("without the main drive nobody knows whether it has everything"));
    };
    // It is level only with everything.
    let in_vain = copies.wanted > 0 || copies.hopeless > 0;
    Some(match copies {
        Copies { wanted: 1.., full: false, .. } => Wait("it does not have everything yet"),
        Copies { bad: 1.., .. } => Wait("some of its copies are bad or gone, and are to be made anew"),
        Copies { level, enrolled, .. } if !enrolled || !(level || in_vain) => {
            Wait("it is still being compared with the main drive")
        }
        Copies { unread: 1.., .. } | Copies { tail: true, .. } => {
            Wait("not all that it was given was read back yet")
        }
        Copies { stale_lists: 1.., .. } => Wait("its lists for sha256sum are being written"),
        Copies { wanted: 1.., .. } => InVain("it has no room for all that it lacks"),
        Copies { hopeless: 1.., .. } => {
            InVain("of some photos no drive has a good copy (shoebox find --state damaged lists them)")
        }
        Copies { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_is_reread_each_time_and_nobody_waits_long_for_it() {
        let left = |copies, reread, seconds| {
            still_to_reread(&Rereading { copies, reread, taken: Duration::from_secs(seconds) })
        };
        assert_eq!(left(10, 0, 0), 64, "more than there are");
        assert_eq!(left(2_001, 0, 599), 101);
        assert_eq!(left(200_000, 9_990, 599), 10);
        assert_eq!(left(200_000, 10_000, 1), 0);
        assert_eq!(left(200_000, 0, 600), 0);
    }

    #[test]
    fn it_may_be_unplugged_when_nothing_at_all_is_left_to_do() {
        let done = Copies { level: true, enrolled: true, ..Copies::default() };
        let say = |ready, copies| {
            let answer = judge(&Known { ready, copies });
            format!("{} {}\n", answer.may, answer.sentence)
        };
        let all: String = [
            say(true, Some(done)),
            say(false, Some(done)),
            say(true, None),
            say(true, Some(Copies { wanted: 1, level: false, ..done })),
            say(true, Some(Copies { wanted: 1, ..done })),
            say(true, Some(Copies { bad: 1, ..done })),
            say(true, Some(Copies { level: false, ..done })),
            say(true, Some(Copies { enrolled: false, level: false, hopeless: 1, ..done })),
            say(true, Some(Copies { unread: 1, ..done })),
            say(true, Some(Copies { tail: true, ..done })),
            say(true, Some(Copies { stale_lists: 1, ..done })),
            say(true, Some(Copies { wanted: 1, full: true, level: false, ..done })),
            say(true, Some(Copies { wanted: 1, full: true, level: false, bad: 1, ..done })),
            say(true, Some(Copies { wanted: 1, full: true, level: false, unread: 1, ..done })),
            say(true, Some(Copies { full: true, ..done })),
            say(true, Some(Copies { hopeless: 1, level: false, ..done })),
            say(true, Some(Copies { hopeless: 1, level: false, bad: 1, ..done })),
            say(true, Some(Copies { hopeless: 1, level: false, wanted: 1, ..done })),
            say(true, Some(Copies { hopeless: 1, level: false, tail: true, ..done })),
        ]
        .concat();
        expect_test::expect![[r#"
            true may be unplugged: it has everything, and every copy was read back from it
            false leave it plugged in: it cannot be used at the moment
            false leave it plugged in: without the main drive nobody knows whether it has everything
            false leave it plugged in: it does not have everything yet
            false leave it plugged in: it does not have everything yet
            false leave it plugged in: some of its copies are bad or gone, and are to be made anew
            false leave it plugged in: it is still being compared with the main drive
            false leave it plugged in: it is still being compared with the main drive
            false leave it plugged in: not all that it was given was read back yet
            false leave it plugged in: not all that it was given was read back yet
            false leave it plugged in: its lists for sha256sum are being written
            false it does not have everything, and waiting does not help: it has no room for all that it lacks
            false leave it plugged in: some of its copies are bad or gone, and are to be made anew
            false leave it plugged in: not all that it was given was read back yet
            true may be unplugged: it has everything, and every copy was read back from it
            false it does not have everything, and waiting does not help: of some photos no drive has a good copy (shoebox find --state damaged lists them)
            false leave it plugged in: some of its copies are bad or gone, and are to be made anew
            false leave it plugged in: it does not have everything yet
            false leave it plugged in: not all that it was given was read back yet
        "#]]
        .assert_eq(&all);
    }
}
