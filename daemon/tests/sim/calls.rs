//! Which call in the code asks for a flush, found by unwinding from the simulated drive; and one of them left out.
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// One call in the code that makes something durable: the innermost line of `daemon/src` above the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    /// Below `daemon/src`.
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "daemon/src/{}:{}", self.file, self.line)
    }
}

/// What the drives of this thread do about calls. A history is lived on one thread.
enum Watch {
    /// They do not look who calls.
    Nobody,
    /// They note it.
    All(BTreeSet<Call>),
    /// They answer this one with `Ok` and make nothing durable, as if the line were not in the code.
    Without(Call),
}

thread_local! {
    static WATCH: RefCell<Watch> = const { RefCell::new(Watch::Nobody) };
    /// By the address a frame returns to: to look one up in the debug information takes milliseconds.
    static KNOWN: RefCell<HashMap<usize, Option<Call>>> = RefCell::new(HashMap::new());
}

/// Whether the flush that is being asked for is one that counts. Called by the drives.
pub(crate) fn counts() -> bool {
    WATCH.with_borrow_mut(|watch| match watch {
        Watch::Nobody => true,
        Watch::All(seen) => {
            seen.extend(caller());
            true
        }
        Watch::Without(call) => caller() != Some(*call),
    })
}

/// Runs a history and gives back the calls it made.
pub(crate) fn seen<T>(history: impl FnOnce() -> T) -> (T, BTreeSet<Call>) {
    match during(Watch::All(BTreeSet::new()), history) {
        (result, Watch::All(seen)) => (result, seen),
        _ => unreachable!("one history at a time"),
    }
}

/// Runs a history on drives that swallow this one call.
pub(crate) fn without<T>(call: Call, history: impl FnOnce() -> T) -> T {
    during(Watch::Without(call), history).0
}

/// `history` does not panic: those that may are run by `mutations::outcome`.
fn during<T>(watch: Watch, history: impl FnOnce() -> T) -> (T, Watch) {
    WATCH.set(watch);
    let result = history();
    (result, WATCH.replace(Watch::Nobody))
}

fn caller() -> Option<Call> {
    let mut found = None;
    backtrace::trace(|frame| {
        found =
            KNOWN.with_borrow_mut(|known| *known.entry(frame.ip().addr()).or_insert_with(|| look_up(frame)));
        found.is_none()
    });
    found
}

/// The line of a frame, if it is one of the code. Of functions that were inlined, the innermost.
fn look_up(frame: &backtrace::Frame) -> Option<Call> {
    let mut found = None;
    backtrace::resolve_frame(frame, |symbol| {
        let file = symbol.filename().and_then(|path| path.to_str()?.rsplit_once("daemon/src/"));
        if let (None, Some((_, file)), Some(line)) = (found, file, symbol.lineno()) {
            found = Some(Call { file: file.to_owned().leak(), line });
        }
    });
    found
}
