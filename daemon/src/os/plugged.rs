//! Reading what the command that root runs says of the devices that are plugged in: one small file of JSON each, in `/run`.
//!
//! They are that command's, and still only files: one that is too large, or no JSON, is named and not believed.
use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::model::plugged::{DeviceName, Plugged};

/// A longer one is none of that command's.
const MOST_BYTES: u64 = 64 * 1024;
/// More devices are not looked at.
const MOST_FILES: usize = 64;

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Every device that is there, in the order of their names.
    pub devices: Vec<Plugged>,
    /// Devices whose file cannot be understood.
    pub unreadable: Vec<String>,
}

impl Seen {
    /// What is said of one device.
    pub fn named(&self, name: &DeviceName) -> Option<&Plugged> {
        self.devices.iter().find(|plugged| plugged.device.name == *name)
    }
}

/// Reads them all. Where there is no such folder nothing is known, as on a machine that was set up by hand.
pub fn read(folder: &Path) -> Seen {
    read_below(folder, Path::new("/sys/class/block"))
}

/// `classes`: where the kernel lists devices; what is not there was pulled, and its file is only not gone yet.
fn read_below(folder: &Path, classes: &Path) -> Seen {
    let mut names: Vec<(String, DeviceName)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_suffix(".json")?.parse::<DeviceName>().ok()?;
            Some((name.to_string(), name))
        })
        .filter(|(text, _)| classes.join(text).exists())
        .collect();
    names.sort();
    names.truncate(MOST_FILES);
    let mut seen = Seen::default();
    for (text, name) in names {
        match read_one(&folder.join(format!("{text}.json"))) {
            Read::Gone => {}
            Read::Understood(plugged) if plugged.device.name == name => seen.devices.push(*plugged),
            Read::Understood(_) | Read::Bad => seen.unreadable.push(text),
        }
    }
    seen
}

enum Read {
    Understood(Box<Plugged>),
    Bad,
    /// Between the listing and now.
    Gone,
}

fn read_one(file: &Path) -> Read {
    let Ok(opened) = fs::File::open(file) else { return Read::Gone };
    let mut bytes = Vec::new();
    // One byte more than may be tells that there is more.
    match opened.take(MOST_BYTES + 1).read_to_end(&mut bytes) {
        Ok(read) if read as u64 <= MOST_BYTES => {
            serde_json::from_slice(&bytes).map_or(Read::Bad, |plugged| Read::Understood(Box::new(plugged)))
        }
        Ok(_) | Err(_) => Read::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_report_is_named_and_what_was_pulled_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, classes) = (dir.path().join("run"), dir.path().join("class"));
        assert_eq!(read_below(&folder, &classes), Seen::default());
        fs::create_dir_all(&folder).unwrap();
        let report = |name: &str| {
            format!(r#"{{"device":{{"name":"{name}","disk":"sda"}},"decision":"mounted","at":"/x"}}"#)
        };
        let put = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
        for name in ["sda", "sda1", "sda2", "sdb", "sdc"] {
            fs::create_dir_all(classes.join(name)).unwrap();
        }
        put("sda1.json", &report("sda1"));
        put("sda2.json", &report("sda1"));
        put("sda.json", &format!("{}{}", report("sda"), " ".repeat(70_000)));
        put("sdb.json", "{");
        put("sdd1.json", &report("sdd1"));
        put(".sda1.new", "{");
        put(".lock", "");
        put("..json", "{");
        // A folder where a file should be.
        fs::create_dir(folder.join("sdc.json")).unwrap();
        let seen = read_below(&folder, &classes);
        assert_eq!(seen.devices.len(), 1);
        let name = "sda1".parse().unwrap();
        assert_eq!(seen.named(&name).unwrap().at(), Some(Path::new("/x")));
        assert_eq!(seen.unreadable, ["sda", "sda2", "sdb", "sdc"]);
    }
}
