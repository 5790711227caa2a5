//! A full disk is answered with 452, loses nothing, and is left behind without a restart.

use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Setup, free_port};
use crate::support::disk::Disk;
use crate::support::postfix::is_root;
use crate::support::receiver::Receiver;
use crate::support::submitter::{Answer, Submitter};
use crate::support::tools;

const DISK_MIB: usize = 128;
/// The archive keeps more than this in reserve, on however small a disk.
const LEFT_MIB: usize = 4;
const RETURN_PATH: &str = "bounce@bounces.example.com";
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

fn submit(port: u16, recipient: &str) -> Answer {
    let text = format!("Subject: disk\r\nMessage-ID: <{recipient}>\r\n\r\nbody\r\n");
    let mut submitter = Submitter::connect(port).unwrap();
    submitter.submit("a@example.com", &[recipient], text.as_bytes()).unwrap()
}

/// Submits until the answer is of this class: the daemon looks at the disk from time to time.
fn submit_until(port: u16, what: &str, wanted: impl Fn(&Answer) -> bool) -> Vec<(String, Answer)> {
    let started = Instant::now();
    let mut tried = Vec::new();
    loop {
        let recipient = format!("{what}.{}@example.org", tried.len());
        let answer = submit(port, &recipient);
        let done = wanted(&answer);
        tried.push((recipient, answer));
        if done {
            return tried;
        }
        assert!(started.elapsed() < RECOVERY_LIMIT, "{what}: {:?}", tried.last());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_strangers_send_leaves_submission_its_room() {
    if !is_root() {
        return tools::skip("only root can mount a small disk");
    }
    let place = tempfile::TempDir::new().unwrap();
    let Some(disk) = Disk::mount(&place.path().join("disk"), DISK_MIB) else { return };
    let receiver = Receiver::start();
    let (data, port) = (Some(disk.folder.join("data")), free_port());
    let tables = format!(
        "\n[feedback]\nreturn_path = \"{RETURN_PATH}\"\n[[feedback.listener]]\n\
         listen = \"127.0.0.1:{port}\"\ntls = \"off\"\n"
    );
    let setup = Setup { data, tables, ..Setup::relaying_to(receiver.port()) };
    let mut daemon = Daemon::start(&setup);
    let bring = |number: usize| {
        let text = format!("Subject: {number}\r\n\r\nstrange\r\n");
        let mut submitter = Submitter::connect(port).unwrap();
        submitter.submit("eve@example.org", &[RETURN_PATH], text.as_bytes()).unwrap()
    };
    assert!(bring(0).is_ok());
    // The reserve of so small a disk is a quarter of it, and another one is left to submission.
    let ballast = disk.fill("ballast", DISK_MIB / 4 + DISK_MIB / 8);
    for number in 1..4 {
        let refusal = bring(number);
        assert_eq!((refusal.code, refusal.text.starts_with("4.3.1")), (452, true), "{refusal:?}");
        assert!(submit(daemon.smtp(), &format!("beside.{number}@example.org")).is_ok());
    }
    std::fs::remove_file(ballast).unwrap();
    assert!(bring(4).is_ok());
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_full_disk_is_452_and_recovers_without_a_restart() {
    if !is_root() {
        return tools::skip("only root can mount a small disk");
    }
    let place = tempfile::TempDir::new().unwrap();
    let Some(disk) = Disk::mount(&place.path().join("disk"), DISK_MIB) else { return };
    let receiver = Receiver::start();
    let data = Some(disk.folder.join("data"));
    let mut daemon = Daemon::start(&Setup { data, ..Setup::relaying_to(receiver.port()) });
    let (port, pid) = (daemon.smtp(), daemon.pid());
    let mut answers = submit_until(port, "before", Answer::is_ok);
    let ballast = disk.fill("ballast", LEFT_MIB);
    answers.extend(submit_until(port, "full", |answer| !answer.is_ok()));
    let refusal = &answers.last().unwrap().1;
    assert_eq!(refusal.code, 452, "{refusal:?}");
    assert!(refusal.text.starts_with("4.3.1"), "{refusal:?}");
    std::fs::remove_file(ballast).unwrap();
    answers.extend(submit_until(port, "after", Answer::is_ok));
    assert_eq!(daemon.pid(), pid);
    let api = daemon.api("auditor");
    for (recipient, answer) in answers.iter().filter(|(_, answer)| answer.is_ok()) {
        receiver.wait_for(recipient);
        api.wait_for_status(answer.id().unwrap(), "sent");
    }
    assert_eq!(daemon.stop().code(), Some(0));
}
