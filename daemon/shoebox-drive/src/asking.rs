//! What the daemon may ask for: one line of JSON on a socket of systemd's, one line back. There is no word in it that is a path.
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ejecting::{self, Ejected};
use crate::exporting::{self, Exported};
use crate::failure::Failure;
use crate::formatting::{self, Kind, Named};
use crate::name::Name;
use crate::settings::Settings;
use crate::{preparing, report};

/// A request. Longer ones are nobody's.
const MOST_BYTES: u64 = 64 * 1024;

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
enum Ask {
    /// Everything that was looked at.
    List {},
    /// Unmount and switch off.
    Eject { device: Text },
    /// Unmount, check, and mount again.
    Again { device: Text },
    /// Mount a drive that was offered, to be adopted.
    Prepare { device: Text },
    /// What a whole disk is, and what would be lost by formatting it.
    Name { device: Text },
    /// Make what is exported over NFS equal to what should be. Nobody says what.
    Export {},
    /// Start the NFS server anew, which does not answer.
    MendExport {},
    /// Make a filesystem on a whole disk.
    Format { device: Text, filesystem: Kind, confirmed: Named },
}

/// A device's name, checked where it comes in.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Text(Name);

impl TryFrom<String> for Text {
    type Error = crate::name::BadName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Drives(Vec<serde_json::Value>),
    Ejected(Ejected),
    Prepared { at: PathBuf },
    Disk(Named),
    Exported(Exported),
    Formatted { device: String },
    Failed(String),
}

fn answer(ask: &Ask, settings: &Settings) -> Result<Answer, Failure> {
    Ok(match ask {
        Ask::List {} => Answer::Drives(report::all(&settings.reports)),
        Ask::Eject { device } => Answer::Ejected(ejecting::eject(&device.0, settings)?),
        Ask::Again { device } => Answer::Prepared { at: ejecting::mount_again(&device.0, settings)? },
        Ask::Prepare { device } => Answer::Prepared { at: preparing::prepare(&device.0, settings)?.at },
        Ask::Name { device } => Answer::Disk(formatting::named(&device.0)?),
        Ask::Export {} => Answer::Exported(exporting::settle(settings)?),
        Ask::MendExport {} => Answer::Exported(exporting::mend(settings)?),
        Ask::Format { device, filesystem, confirmed } => Answer::Formatted {
            device: formatting::format(&device.0, *filesystem, confirmed, settings)?.to_string(),
        },
    })
}

/// Reads one request and answers it. What is not understood is answered, too.
///
/// # Errors
/// Whoever asked is gone.
pub fn serve(from: impl Read, mut to: impl Write, settings: &Settings) -> Result<(), Failure> {
    let mut line = String::new();
    let read = BufReader::new(from.take(MOST_BYTES)).read_line(&mut line);
    read.map_err(|e| Failure::io("read", "the request", e))?;
    let done = match serde_json::from_str::<Ask>(&line) {
        Ok(ask) => answer(&ask, settings),
        Err(e) => Err(Failure::new(format!("not understood: {e}"))),
    };
    let answer = done.unwrap_or_else(|failure| Answer::Failed(failure.to_string()));
    let text = serde_json::to_string(&answer).map_err(|e| Failure::new(format!("could not answer: {e}")))?;
    writeln!(to, "{text}").and_then(|()| to.flush()).map_err(|e| Failure::io("answer", "the request", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_these_is_understood() {
        let ask = |text: &str| serde_json::from_str::<Ask>(text);
        assert_eq!(ask(r#"{"ask":"list"}"#).unwrap(), Ask::List {});
        assert_eq!(ask(r#"{"ask":"export"}"#).unwrap(), Ask::Export {});
        assert_eq!(ask(r#"{"ask":"mend-export"}"#).unwrap(), Ask::MendExport {});
        assert_eq!(
            ask(r#"{"ask":"eject","device":"sda1"}"#).unwrap(),
            Ask::Eject { device: Text("sda1".parse().unwrap()) }
        );
        for bad in [
            "",
            "{}",
            "null",
            r#"{"ask":"list","device":"sda"}"#,
            r#"{"ask":"eject"}"#,
            r#"{"ask":"eject","device":"/dev/sda1"}"#,
            r#"{"ask":"eject","device":"../sda1"}"#,
            r#"{"ask":"eject","device":"sda1","force":true}"#,
            r#"{"ask":"mount","device":"sda1"}"#,
            r#"{"ask":"export","device":"sda1"}"#,
            r#"{"ask":"export","path":"/etc"}"#,
            r#"{"ask":"format","device":"sda","filesystem":"ext4"}"#,
            r#"{"ask":"format","device":"sda","filesystem":"xfs","confirmed":{"model":"","serial":"","size":1,"lost":[]}}"#,
            r#"{"ask":"format","device":"sda","filesystem":"ext4","confirmed":{"model":"","serial":"","size":1}}"#,
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }
}
