//! What to do with bytes offered under a name: store, recognise, replace, or refuse.
use crate::model::hash::ContentHash;
use crate::model::offer::Expect;
use crate::model::place::Shelf;

/// What is under the name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Its content.
        hash: ContentHash,
        /// Its tree.
        shelf: Shelf,
    },
}

/// What is above the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// A folder, or the device's own root.
    Folder,
    /// Nothing.
    Nothing,
    /// A file.
    File,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The name is free: give it to the new bytes.
    Store,
    /// The name has these bytes already.
    AlreadyHave,
    /// Other bytes: to the trash with them, then store.
    Replace,
    /// A placeholder or other scratch file: it makes room without a trace.
    Supersede,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// A folder has the name.
    IsFolder,
    /// No folder above, and none is to be made.
    NoParent,
    /// A file where the folder above should be.
    ParentIsFile,
    /// The client's expectation no longer holds.
    Changed,
}

/// The situation an offer meets.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Under the name.
    pub existing: Existing,
    /// Above it.
    pub above: Above,
    /// Whether missing folders are to be made.
    pub make_parents: bool,
    /// What the client expects.
    pub expect: &'a Expect,
}

impl Situation<'_> {
    /// What can be said before a byte has come.
    pub fn admit(&self) -> Result<(), Misfit> {
        match self.above {
            Above::File => return Err(Misfit::ParentIsFile),
            Above::Nothing if !self.make_parents => return Err(Misfit::NoParent),
            Above::Nothing | Above::Folder => {}
        }
        match (self.existing, self.expect) {
            // Another name will be looked for once the bytes are here.
            (Existing::Folder, Expect::FreeOrSame) => Ok(()),
            (Existing::Folder, _) => Err(Misfit::IsFolder),
            (Existing::Nothing | Existing::File { .. }, Expect::Anything | Expect::FreeOrSame)
            | (Existing::Nothing, Expect::Absent) => Ok(()),
            (Existing::Nothing, Expect::Content(_)) | (Existing::File { .. }, Expect::Absent) => {
                Err(Misfit::Changed)
            }
            (Existing::File { hash, .. }, Expect::Content(want)) => {
                if hash == *want {
                    Ok(())
                } else {
                    Err(Misfit::Changed)
                }
            }
        }
    }

    /// What to do with these bytes, now that they are all here and go to `shelf`.
    pub fn place(&self, hash: &ContentHash, shelf: Shelf) -> Result<Placement, Misfit> {
        self.admit()?;
        Ok(match self.existing {
            Existing::Folder => return Err(Misfit::IsFolder),
            Existing::Nothing => Placement::Store,
            Existing::File { hash: old, shelf: old_shelf } if old == *hash && old_shelf == shelf => {
                Placement::AlreadyHave
            }
            Existing::File { shelf: Shelf::Scratch, .. } => Placement::Supersede,
            Existing::File { shelf: Shelf::Photos, .. } if *self.expect == Expect::FreeOrSame => {
                return Err(Misfit::Changed);
            }
            Existing::File { shelf: Shelf::Photos, .. } => Placement::Replace,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation() {
        let (old, new) = (ContentHash::of(b"old"), ContentHash::of(b"new"));
        let kept = Existing::File { hash: old, shelf: Shelf::Photos };
        let scratch = Existing::File { hash: old, shelf: Shelf::Scratch };
        let mut table = String::new();
        for (word, existing) in [
            ("nothing", Existing::Nothing),
            ("folder", Existing::Folder),
            ("photo", kept),
            ("scratch", scratch),
        ] {
            for (wish, expect) in [
                ("anything", Expect::Anything),
                ("absent", Expect::Absent),
                ("this", Expect::Content(old)),
                ("that", Expect::Content(new)),
                ("free or same", Expect::FreeOrSame),
            ] {
                let situation =
                    Situation { existing, above: Above::Folder, make_parents: false, expect: &expect };
                let same = situation.place(&old, Shelf::Photos);
                let other = situation.place(&new, Shelf::Photos);
                table.push_str(&format!(
                    "{word}, expecting {wish}: same bytes {same:?}, other bytes {other:?}\n"
                ));
            }
        }
        expect_test::expect![[r#"
            nothing, expecting anything: same bytes Ok(Store), other bytes Ok(Store)
            nothing, expecting absent: same bytes Ok(Store), other bytes Ok(Store)
            nothing, expecting this: same bytes Err(Changed), other bytes Err(Changed)
            nothing, expecting that: same bytes Err(Changed), other bytes Err(Changed)
            nothing, expecting free or same: same bytes Ok(Store), other bytes Ok(Store)
            folder, expecting anything: same bytes Err(IsFolder), other bytes Err(IsFolder)
            folder, expecting absent: same bytes Err(IsFolder), other bytes Err(IsFolder)
            folder, expecting this: same bytes Err(IsFolder), other bytes Err(IsFolder)
            folder, expecting that: same bytes Err(IsFolder), other bytes Err(IsFolder)
            folder, expecting free or same: same bytes Err(IsFolder), other bytes Err(IsFolder)
            photo, expecting anything: same bytes Ok(AlreadyHave), other bytes Ok(Replace)
            photo, expecting absent: same bytes Err(Changed), other bytes Err(Changed)
            photo, expecting this: same bytes Ok(AlreadyHave), other bytes Ok(Replace)
            photo, expecting that: same bytes Err(Changed), other bytes Err(Changed)
            photo, expecting free or same: same bytes Ok(AlreadyHave), other bytes Err(Changed)
            scratch, expecting anything: same bytes Ok(Supersede), other bytes Ok(Supersede)
            scratch, expecting absent: same bytes Err(Changed), other bytes Err(Changed)
            scratch, expecting this: same bytes Ok(Supersede), other bytes Ok(Supersede)
            scratch, expecting that: same bytes Err(Changed), other bytes Err(Changed)
            scratch, expecting free or same: same bytes Ok(Supersede), other bytes Ok(Supersede)
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn parents() {
        let at = |above, make_parents| {
            Situation { existing: Existing::Nothing, above, make_parents, expect: &Expect::Anything }.admit()
        };
        assert_eq!(at(Above::Nothing, false), Err(Misfit::NoParent));
        assert_eq!(at(Above::Nothing, true), Ok(()));
        assert_eq!(at(Above::File, true), Err(Misfit::ParentIsFile));
        assert_eq!(at(Above::Folder, false), Ok(()));
    }
}
