//! When the disk fails a flush, nothing more is acknowledged and the daemon ends with a code of its own; what was
//! acknowledged before is there after the restart.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::{Answer, Submitter};
use crate::support::tools;

/// `EX_IOERR` of sysexits.h.
const EXIT_IO_ERROR: i32 = 74;

/// Makes every flush of the process fail from now on.
struct Sabotage {
    strace: Child,
}

impl Sabotage {
    fn begin(pid: u32, log: &std::path::Path) -> Option<Sabotage> {
        let strace = tools::find("strace")?;
        let errors = std::fs::File::create(log).unwrap();
        let mut strace = Command::new(strace)
            .args(["-f", "-p", &pid.to_string(), "-e", "trace=fdatasync,fsync"])
            .args(["-e", "inject=fdatasync,fsync:error=EIO"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        let started = Instant::now();
        loop {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            // It is said once, when every thread is held.
            if said.contains("attached") {
                return Some(Sabotage { strace });
            }
            if strace.try_wait().unwrap().is_some() || started.elapsed() > Duration::from_secs(10) {
                let _ = strace.kill();
                let _ = strace.wait();
                tools::skip(&format!("strace can not attach: {said}"));
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Sabotage {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn submit(port: u16, recipient: &str) -> std::io::Result<Answer> {
    let text = format!("Subject: flush\r\nMessage-ID: <{recipient}>\r\n\r\nbody\r\n");
    Submitter::connect(port)?.submit("a@example.com", &[recipient], text.as_bytes())
}

#[test]
fn nothing_is_acknowledged_after_a_failed_flush() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let mut ids = Vec::new();
    for number in 0..10 {
        let answer = submit(daemon.smtp(), &format!("before.{number}@example.org")).unwrap();
        ids.push(answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned());
    }
    let api = daemon.api("auditor");
    api.wait_until_nothing_is_pending();
    let log = daemon.folder().join("strace");
    let Some(sabotage) = Sabotage::begin(daemon.pid(), &log) else { return };
    let first = submit(daemon.smtp(), "first@example.org");
    for number in 0..5 {
        // The daemon may have ended already: no answer is as good as a refusal.
        if let Ok(answer) = submit(daemon.smtp(), &format!("after.{number}@example.org")) {
            assert!(answer.code / 100 == 4, "{answer:?}");
        }
    }
    if let Ok(answer) = &first {
        assert!(answer.code / 100 == 4, "{answer:?}");
    }
    assert_eq!(daemon.wait_for_end().code(), Some(EXIT_IO_ERROR), "{}", daemon.log());
    drop(sabotage);
    daemon.start_again();
    let api = daemon.api("auditor");
    for id in &ids {
        assert_eq!(api.message(id)["status"], "sent", "{id}");
    }
    let answer = submit(daemon.smtp(), "again@example.org").unwrap();
    assert!(answer.is_ok(), "{answer:?}");
    receiver.wait_for("again@example.org");
}
