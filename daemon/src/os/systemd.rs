//! Telling the service manager how we are: sd_notify(3). Without a service manager every call does nothing.
use std::time::Duration;

use sd_notify::NotifyState;

/// Start-up is over: catalogue opened where its drive is there, listeners bound.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// We were asked to end and are doing so.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The line that `systemctl status` shows. Only the first line of `text` is sent: a newline would start a new
/// assignment in the protocol.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text.lines().next().unwrap_or_default())]);
}

/// We are alive. To be called only while that is true: see `work/supervisor.rs`.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is to be called: half of `WatchdogSec=`, as sd_watchdog_enabled(3) advises; `None` if
/// nobody watches.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|period| !period.is_zero())
}

fn tell(states: &[NotifyState<'_>]) {
    // Nothing we promise depends on it, and the manager's own timeouts notice a message that did not arrive.
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("could not tell the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// The child's part of the test below: environment variables cannot be set safely in a running test.
    #[test]
    #[ignore = "started by the_service_manager_hears_us with a socket to talk to"]
    fn child_says_everything() {
        assert_eq!(watchdog_period(), Some(Duration::from_secs(30)));
        ready();
        status("fine\nSTOPPING=1");
        alive();
        stopping();
    }

    #[test]
    fn the_service_manager_hears_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "os::systemd::tests::child_says_everything"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "60000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        socket.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned());
        }
        assert_eq!(heard, ["READY=1", "STATUS=fine", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            ready();
            assert_eq!(watchdog_period(), None);
        }
    }
}
