//! `waybill demo` shows, over real traffic, what it promises: also who read it, who only had it scanned, what bounced.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long an unoptimised build on a busy machine may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The demo; it ends with this.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_shows_who_read_it_and_what_bounced() {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .arg("demo")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut demo = Demo(child);
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(demo.0.stdout.take().unwrap());
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut missing: Vec<(&str, &str)> = vec![
        ("kim@customer.example", "opened 1x, clicked 1x by a person (Thunderbird"),
        ("scanned@customer.example", "opened 1x, clicked 1x by a machine: Invoice"),
        ("kim@customer.example", "its reader confirmed reading: Reminder"),
        ("moved@customer.example", "bounced (550 5.1.1"),
        ("bounce@customer.example", "Order ORD-778 was shipped"),
        ("came in", "Undelivered Mail Returned to Sender"),
        ("came in", "Read: your message"),
        ("+4520000001", "Yes, I will be there."),
    ];
    let (started, mut seen) = (Instant::now(), String::new());
    while !missing.is_empty() {
        let left = LIMIT.saturating_sub(started.elapsed());
        let line = lines.recv_timeout(left);
        let line = line.unwrap_or_else(|_| panic!("{missing:?} is not shown:\n{seen}"));
        missing.retain(|(who, what)| !(line.contains(who) && line.contains(what)));
        seen.push_str(&line);
        seen.push('\n');
    }
    Command::new("kill").arg(demo.0.id().to_string()).status().unwrap();
    let status = demo.0.wait().unwrap();
    assert!(status.success(), "{status}\n{seen}");
}
