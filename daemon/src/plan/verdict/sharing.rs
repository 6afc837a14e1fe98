//! Findings about the photos as the computers of the house see them. Amber, all of them: no photo is in danger.
use super::{About, Verdict, discreet};
use crate::model::health::Light;
use crate::plan::facts::SharingFacts;

impl Verdict<'_> {
    pub(super) fn sharing(&mut self) {
        let about = About::box_itself(Light::Amber);
        match &self.facts.sharing {
            SharingFacts::Off | SharingFacts::Away | SharingFacts::Well => {}
            SharingFacts::Silent { why } => self.find(
                "nfs-dead",
                &about,
                &format!(
                    "the computers of the house cannot open the photos: the file server of the box does not answer ({}); \
                     the photos themselves are not affected",
                    discreet(why)
                ),
                "The box starts it again by itself. If the message stays for a quarter of an hour, restart the box.",
            ),
            SharingFacts::NotExported { why } => self.find(
                "nfs-not-exported",
                &about,
                &format!(
                    "the computers of the house do not see the photos ({}); the photos themselves are not affected",
                    discreet(why)
                ),
                "If the message stays for some minutes, unplug drive B and plug it in again. If that does not help, send us the \
                 output of shoebox doctor.",
            ),
            SharingFacts::Unreadable { why } => self.find(
                "nfs-unreadable",
                &about,
                &format!("the computers of the house see the photos, but cannot read them ({})", discreet(why)),
                "If the message stays for some minutes, restart the box. Whether the photos on the drive are sound is told apart from this.",
            ),
        }
    }
}
