//! Photos for the computers of the house: what a look at the NFS server means, and what is to be done about it.
use crate::plan::facts::SharingFacts;

/// What was seen of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It does not answer.
    Silent(String),
    /// It answers, and the photos are not there.
    NotThere,
    /// They are there, and those that were asked for could not be read, or were others.
    Unreadable(String),
    /// They are there, and were read; or there is none yet.
    Fine,
}

/// What root is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Nothing.
    Nothing,
    /// To make what is exported equal to what should be.
    Settle,
    /// To start the server anew.
    StartAnew,
}

/// What to ask for. Level, not edge: the same state is asked about again at the next look.
pub fn next(look: &Look, before: &SharingFacts, is_b_there: bool) -> Ask {
    match look {
        // Whoever serves what is not there was not told.
        Look::Fine | Look::Unreadable(_) if !is_b_there => Ask::Settle,
        Look::NotThere | Look::Silent(_) if !is_b_there => Ask::Nothing,
        // While the machine starts, the server may be on its way.
        Look::Silent(_) if *before == SharingFacts::Off => Ask::Nothing,
        Look::Silent(_) => Ask::StartAnew,
        // What settling did not mend is the server's.
        Look::Unreadable(_) if matches!(before, SharingFacts::Unreadable { .. }) => Ask::StartAnew,
        Look::NotThere | Look::Unreadable(_) => Ask::Settle,
        Look::Fine => Ask::Nothing,
    }
}

/// What is known by now. `why`: what root said when it was asked.
pub fn facts(look: Look, is_b_there: bool, why: Option<String>) -> SharingFacts {
    match look {
        _ if !is_b_there => SharingFacts::Away,
        Look::Fine => SharingFacts::Well,
        Look::Silent(seen) => SharingFacts::Silent { why: why.unwrap_or(seen) },
        Look::NotThere => SharingFacts::NotExported {
            why: why.unwrap_or_else(|| "the server was not told of them".to_owned()),
        },
        Look::Unreadable(seen) => SharingFacts::Unreadable { why: seen },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let (silent, bad) = (Look::Silent("x".to_owned()), Look::Unreadable("y".to_owned()));
        let unreadable = SharingFacts::Unreadable { why: "y".to_owned() };
        let was_silent = SharingFacts::Silent { why: "x".to_owned() };
        let table = [
            (&Look::Fine, &SharingFacts::Well, true, Ask::Nothing),
            (&Look::Fine, &SharingFacts::Well, false, Ask::Settle),
            (&bad, &SharingFacts::Well, false, Ask::Settle),
            (&Look::NotThere, &SharingFacts::Away, false, Ask::Nothing),
            (&silent, &SharingFacts::Away, false, Ask::Nothing),
            (&Look::NotThere, &SharingFacts::Off, true, Ask::Settle),
            (&Look::NotThere, &SharingFacts::Well, true, Ask::Settle),
            (&silent, &SharingFacts::Off, true, Ask::Nothing),
            (&silent, &SharingFacts::Well, true, Ask::StartAnew),
            (&silent, &SharingFacts::Away, true, Ask::StartAnew),
            (&silent, &was_silent, true, Ask::StartAnew),
            (&bad, &SharingFacts::Well, true, Ask::Settle),
            (&bad, &unreadable, true, Ask::StartAnew),
        ];
        for (look, before, is_b_there, expected) in table {
            assert_eq!(next(look, before, is_b_there), expected, "{look:?} {before:?} {is_b_there}");
        }
    }

    #[test]
    fn without_drive_b_nothing_is_amiss() {
        for look in
            [Look::Fine, Look::NotThere, Look::Silent("x".to_owned()), Look::Unreadable("y".to_owned())]
        {
            assert_eq!(facts(look, false, Some("z".to_owned())), SharingFacts::Away);
        }
        let why = "drive B is on a filesystem that cannot be exported";
        assert_eq!(
            facts(Look::NotThere, true, Some(why.to_owned())),
            SharingFacts::NotExported { why: why.to_owned() }
        );
    }
}
