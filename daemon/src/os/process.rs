//! What this process uses: memory, file descriptors, threads, and the limits set for it.
use std::io;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

/// What the process uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident: u64,
    /// The most it may use before the kernel kills it; `None` without a limit.
    pub memory_limit: Option<u64>,
    /// Open file descriptors.
    pub descriptors: u64,
    /// How many it may open.
    pub descriptor_limit: u64,
    /// Threads.
    pub threads: u64,
}

/// Asks the kernel. Reads `/proc` and the control group only.
pub fn usage() -> io::Result<Usage> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status without VmRSS or Threads");
    // The directory's own descriptor is among those it lists.
    let descriptors = std::fs::read_dir("/proc/self/fd")?.count() as u64;
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(Usage {
        resident: field(&status, "VmRSS:").ok_or_else(odd)? * 1024,
        memory_limit: memory_limit(),
        descriptors: descriptors.saturating_sub(1),
        descriptor_limit: soft,
        threads: field(&status, "Threads:").ok_or_else(odd)?,
    })
}

/// How many files and directories below `path`, given as the kernel spells it, this process has open.
pub fn open_below(path: &Path) -> io::Result<u64> {
    let mut open = 0;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // Closed since it was listed.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        open += u64::from(target.starts_with(path));
    }
    Ok(open)
}

/// The number in a line of proc_pid_status(5).
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// `MemoryMax=` of the unit, where control groups version 2 carry it. Pi firmware can leave the memory controller
/// off (`cgroup_enable=memory`): then the file is absent and there is no limit to report.
fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = unified_group(&groups)?;
    limit(&std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?)
}

/// `memory.max` of cgroups(7): bytes, or `max` for as much as there is.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The version 2 entry of cgroups(7), `0::/path`.
fn unified_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_found_by_name() {
        let status = "Name:\tshoebox\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t9\n";
        assert_eq!(field(status, "VmRSS:"), Some(1024));
        assert_eq!(field(status, "Threads:"), Some(9));
        assert_eq!(field(status, "VmSwap:"), None);
        assert_eq!(
            unified_group("4:memory:/x\n0::/system.slice/shoebox.service\n"),
            Some("/system.slice/shoebox.service")
        );
        assert_eq!(unified_group("4:memory:/x\n"), None);
    }

    #[test]
    fn an_opened_file_and_a_thread_are_counted() {
        let before = usage().unwrap();
        assert!(before.resident > 100_000 && before.threads >= 1 && before.descriptor_limit > 0);
        // Other tests open and close files at the same time: hold more than they do.
        let held: Vec<_> = (0..200).map(|_| std::fs::File::open("/proc/self/status").unwrap()).collect();
        assert!(usage().unwrap().descriptors >= before.descriptors + 100);
        drop(held);
    }

    #[test]
    fn what_is_open_in_a_folder_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        assert_eq!(open_below(&dir).unwrap(), 0);
        let file = std::fs::File::create(dir.join("a")).unwrap();
        let folder = std::fs::File::open(&dir).unwrap();
        std::fs::remove_file(dir.join("a")).unwrap();
        assert_eq!(open_below(&dir).unwrap(), 2);
        assert_eq!(open_below(&dir.join("other")).unwrap(), 0);
        drop((file, folder));
        assert_eq!(open_below(&dir).unwrap(), 0);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|(VmRSS:|Threads:|0::|\t| |\n|kB|[0-9]{1,25}|-1|/x){0,12}") {
            let _read = (field(&text, "VmRSS:"), field(&text, "Threads:"), limit(&text));
            if let Some(path) = unified_group(&text) {
                let line = format!("0::{path}");
                prop_assert!(text.lines().any(|one| one == line));
            }
        }

        #[test]
        fn a_line_is_found_among_others(before in "(Vm[A-Z]{1,2}:\t[0-9]{1,9} kB\n){0,5}", kib: u64, after in "\\PC{0,20}", pad in "[ \t]{0,9}") {
            let status = format!("{before}VmRSS:{pad}{kib} kB\n{after}");
            prop_assert_eq!(field(&status, "VmRSS:"), Some(kib));
        }

        #[test]
        fn the_unified_group_is_found_among_others(before in "([1-9]:[a-z]{1,6}:/[a-z/]{0,9}\n){0,5}", path in "(/[a-z0-9.:@-]{1,9}){1,4}") {
            let groups = format!("{before}0::{path}\n");
            prop_assert_eq!(unified_group(&groups), Some(path.as_str()));
        }

        #[test]
        fn a_limit_is_a_number_or_none(bytes: u64) {
            prop_assert_eq!(limit(&format!("{bytes}\n")), Some(bytes));
            prop_assert_eq!(limit("max\n"), None);
        }
    }
}
