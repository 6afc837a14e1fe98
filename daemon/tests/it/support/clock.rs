//! A wall clock that is what a file says, by libfaketime.
use std::fs;
use std::path::Path;

/// Debian's package `faketime`.
fn library() -> Option<String> {
    let by_machine = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let mut all = by_machine.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    all.find(|path| path.exists()).map(|path| path.to_string_lossy().into_owned())
}

/// What the command line of a program begins with whose clock is what `file` says: a jump from the true time, or a date, as
/// faketime(1) has it. `None`: there is no libfaketime.
pub(crate) fn under(file: &Path) -> Option<Vec<String>> {
    let (preload, file) = (format!("LD_PRELOAD={}", library()?), file.display());
    let mut all = vec!["env".to_owned(), preload, format!("FAKETIME_TIMESTAMP_FILE={file}")];
    let settings =
        ["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"];
    all.extend(settings.map(str::to_owned));
    Some(all)
}
