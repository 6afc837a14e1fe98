//! Confining this process for good, before it looks at bytes of strangers: bounds of memory and time, no privileges to gain, nothing to
//! open, and no call of the kernel but those that reading, counting and answering take (seccomp(2)).
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What this process may use from now on.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of address space.
    pub memory: u64,
    /// Seconds of processor.
    pub processor: Duration,
}

/// Whatever fails, this process must not go on. There must be one thread only.
pub fn confine(bounds: Bounds) -> io::Result<()> {
    // Whoever sent this process on its errand is gone: nobody waits for it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The kernel looks for memory here before it looks at the one that keeps the photos. Where it may not be said, it is not.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    close_what_was_left_open()?;
    let seconds = bounds.processor.as_secs().max(1);
    for (resource, soft, hard) in [
        (Resource::RLIMIT_AS, bounds.memory, bounds.memory),
        (Resource::RLIMIT_CPU, seconds, seconds + 1),
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_FSIZE, 0, 0),
        (Resource::RLIMIT_NPROC, 0, 0),
        (Resource::RLIMIT_NOFILE, 0, 0),
    ] {
        setrlimit(resource, soft, hard)?;
    }
    // Not before: from here on what /proc tells of this process is root's, and so it is not this process's to read.
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    let filter = filter().map_err(io::Error::other)?;
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

/// Standard input and output are what it works with. Everything else that was open when it began is none of its.
fn close_what_was_left_open() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // One of them listed the others, and is closed by now.
        nix::unistd::close(descriptor).unwrap_or(());
    }
    Ok(())
}

/// The calls of a program that reads, computes, writes and ends. Whoever makes another one is killed by it.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    const ALLOWED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_sched_yield,
        libc::SYS_close,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Memory, but none that can be run: the third argument of both.
    let executable = libc::PROT_EXEC as u64;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let not_executable =
            SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![not_executable])?]);
    }
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    #[test]
    fn there_is_a_filter_for_this_machine() {
        assert!(filter().unwrap().len() > 20);
    }

    /// What is tried by a process that is confined, which is this program once more.
    const TRY: &str = "SHOEBOX_TRY_CONFINED";
    const SURVIVED: i32 = 9;
    const NO_MEMORY: i32 = 8;
    const READ: i32 = 7;

    /// Does nothing unless it is told what to try.
    #[test]
    fn confined() {
        let Ok(what) = std::env::var(TRY) else { return };
        confine(Bounds { memory: 256 << 20, processor: Duration::from_secs(1) }).unwrap();
        match what.as_str() {
            "open" => drop(std::fs::File::open("/etc/passwd")),
            "make" => drop(std::fs::create_dir("/tmp/never")),
            "call" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            "send" => drop(Command::new("/bin/true").spawn()),
            "split" => drop(std::thread::Builder::new().spawn(|| ())),
            "kill" => nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None).unwrap_or(()),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "take" => {
                let took = Vec::<u8>::new().try_reserve_exact(300 << 20);
                std::process::exit(if took.is_err() { NO_MEMORY } else { SURVIVED });
            }
            _ => {
                let read = io::stdin().read(&mut [0; 4]).unwrap();
                std::process::exit(if read == 4 { READ } else { SURVIVED });
            }
        }
        std::process::exit(SURVIVED);
    }

    fn tried(what: &str) -> std::process::ExitStatus {
        let input = std::fs::File::open("/proc/self/exe").unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "os::confine::tests::confined", "--test-threads=1"])
            .env(TRY, what)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }

    #[test]
    fn whoever_does_more_than_it_may_is_killed() {
        assert_eq!(tried("read").code(), Some(READ), "what it may it can");
        assert_eq!(tried("take").code(), Some(NO_MEMORY));
        for what in ["open", "make", "call", "send", "split", "kill"] {
            assert_eq!(tried(what).signal(), Some(libc::SIGSYS), "{what}");
        }
        assert_eq!(tried("spin").signal(), Some(libc::SIGXCPU));
    }
}
