//! Runs one of a handful of programs, each by its full path, with nothing of the caller's environment and never through a shell.
use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::Failure;

/// What a program is looked for as: Debian has all of them in one of these two, and which one changed over the years.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/bin"];
/// What is kept of what one says.
const MOST_SAID: u64 = 256 * 1024;

/// What became of it.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; a signal is 128 and its number, as shells say it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub said: String,
}

/// Runs it to its end.
///
/// # Errors
/// It is not installed, could not be started, or did not end in time (it is killed then; one that waits for a drive which answers
/// nothing stays until that does).
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: &[A], within: Duration) -> Result<Ended, Failure> {
    let path = find(name)?;
    let mut command = Command::new(&path);
    command.args(arguments).env_clear().env("LC_ALL", "C.UTF-8").env("PATH", "/usr/sbin:/usr/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
    let mut child = command.spawn().map_err(|e| Failure::io("start", &path, e))?;
    let (out, said) = (reading(child.stdout.take()), reading(child.stderr.take()));
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| Failure::io("wait for", &path, e))? {
            Some(status) => break status,
            None if began.elapsed() > within => {
                end(&mut child);
                return Err(Failure::new(format!("{name} took longer than {} s", within.as_secs())));
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    Ok(Ended { code: code(status), out: read(out), said: read(said) })
}

/// Where it is.
///
/// # Errors
/// It is not installed.
pub fn find(name: &str) -> Result<String, Failure> {
    let mut paths = FOLDERS.iter().map(|folder| format!("{folder}/{name}"));
    let found = paths.find(|path| std::path::Path::new(path).exists());
    found.ok_or_else(|| Failure::new(format!("{name} is not installed")))
}

/// Asks it to end, and ends it if it does not: what repairs a filesystem stops between two writes.
fn end(child: &mut Child) {
    let asked = i32::try_from(child.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
    for _ in 0..250 {
        if asked.is_err() || matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // One in an uninterruptible call dies when that returns: what it holds is not ours to wait for.
    let _ended = child.kill();
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

type Reading = Option<thread::JoinHandle<String>>;

/// On a thread of its own: whoever fills one pipe while the other is read waits for ever.
fn reading(pipe: Option<impl std::io::Read + Send + 'static>) -> Reading {
    pipe.map(|pipe| {
        thread::spawn(move || {
            let mut text = Vec::new();
            // What could be read until then is what there is to show.
            let mut limited = pipe.take(MOST_SAID);
            let _read = limited.read_to_end(&mut text);
            // The rest is taken and dropped, or the program would be ended by a pipe that nobody reads.
            let _rest = std::io::copy(&mut limited.into_inner(), &mut std::io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    })
}

fn read(reading: Reading) -> String {
    reading.and_then(|thread| thread.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_and_how_it_ends_is_told_and_nothing_of_our_environment_reaches_it() {
        let within = Duration::from_secs(20);
        let ended = run("env", &[] as &[&str], within).unwrap();
        assert_eq!((ended.code, ended.out.as_str()), (0, "LC_ALL=C.UTF-8\nPATH=/usr/sbin:/usr/bin\n"));
        assert_eq!(run("false", &[] as &[&str], within).unwrap().code, 1);
        let long = run("head", &["-c", "3000000", "/dev/zero"], within).unwrap();
        assert_eq!((long.code, long.out.len() as u64), (0, MOST_SAID));
        let late = run("sleep", &["60"], Duration::from_millis(200)).unwrap_err();
        assert_eq!(late.to_string(), "sleep took longer than 0 s");
        let none = run("no-such-program", &[] as &[&str], within).unwrap_err();
        assert_eq!(none.to_string(), "no-such-program is not installed");
    }
}
