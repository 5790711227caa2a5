//! A search finds what a look at every message finds, after each `kill -9` and on a full disk: while the
//! index is fed, while it is built anew, and when it could not be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::disk::Disk;
use crate::support::postfix::is_root;
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;
use crate::support::tools;

const KILLS: u64 = 10;
/// Messages that each round adds.
const ADDED: u64 = 60;
/// For what a test waits for, on a busy machine.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
const DISK_MIB: usize = 128;
/// Enough for mail, too little for the index beside it.
const TIGHT_MIB: usize = 46;
const FULL_MIB: usize = 4;

const WORDS: [&str; 12] = [
    "quarterly",
    "invoice",
    "zebra",
    "Müller",
    "overdue",
    "keyboard",
    "blåbær",
    "harbour",
    "lighthouse",
    "ocean",
    "violin",
    "walnut",
];

/// xorshift64, from a seed that is not 0.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Mail of a few of the words, each acknowledged.
fn submit(daemon: &Daemon, count: u64, random: &mut u64) {
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    for _ in 0..count {
        let mut word = || WORDS[usize::try_from(next(random) % 12).unwrap()];
        let text = format!(
            "From: a@example.com\r\nSubject: {} of today\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             {} and {}\r\n",
            // A subject is ASCII here.
            folded(word()),
            word(),
            word()
        );
        let to = format!("kim{}@example.org", next(random) % 1_000);
        let answer = submitter.submit("a@example.com", &[&to], text.as_bytes()).unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
}

fn id(message: &serde_json::Value) -> String {
    message["id"].as_str().unwrap().to_owned()
}

/// Without case and accents.
fn folded(text: &str) -> String {
    text.to_lowercase().replace('ü', "u").replace('å', "a").replace('æ', "ae")
}

/// Folded texts of messages by their ids, as far as they were read.
type Texts = BTreeMap<String, String>;

/// Asks for each word, and holds the answer against a look at every message.
fn same_as_a_look_at_each(api: &Api, texts: &mut Texts, when: &str) {
    let ids: BTreeSet<String> = api.all_messages("").iter().map(id).collect();
    for id in &ids {
        texts.entry(id.clone()).or_insert_with(|| folded(&String::from_utf8(api.raw(id)).unwrap()));
    }
    for word in WORDS {
        let folded = folded(word);
        let expected: Vec<&String> = texts
            .iter()
            .filter(|(_, text)| text.split_whitespace().any(|w| w == folded))
            .map(|(id, _)| id)
            .collect();
        let q: String = word.bytes().map(|byte| format!("%{byte:02X}")).collect();
        // In quotes: a whole word, as it stands there.
        let mut found: Vec<String> =
            api.all_messages(&format!("q=%22{q}%22")).iter().map(id).collect();
        found.sort();
        let found: Vec<&String> = found.iter().collect();
        assert_eq!(found, expected, "{word} {when}");
    }
}

fn reindex(daemon: &Daemon) -> Child {
    Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["reindex", "--config"])
        .arg(daemon.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Orders the index to be built anew until one is seen that is not finished.
fn begin_to_build(daemon: &Daemon, unfinished: &Path) -> Child {
    let begin = Instant::now();
    let mut command = reindex(daemon);
    while !unfinished.exists() {
        if command.try_wait().unwrap().is_some() {
            command = reindex(daemon);
        }
        assert!(begin.elapsed() < WAIT_LIMIT, "it does not begin: {}", daemon.log());
        std::thread::yield_now();
    }
    command
}

#[test]
fn kills_while_the_index_is_made_change_no_answer() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let data = daemon.folder().join("data");
    let unfinished = data.join("search.new");
    let mut texts = Texts::new();
    let mut random = u64::from(std::process::id()) * 2_654_435_761 + 1;
    println!("seed {random}");
    let mut api = daemon.api("auditor");
    let mut in_the_middle = 0;
    for kill in 0..KILLS {
        submit(&daemon, ADDED, &mut random);
        // Moments at random are what is tested here.
        if kill % 2 == 0 {
            std::thread::sleep(Duration::from_millis(next(&mut random) % 1_500));
            daemon.kill();
        } else {
            let mut command = begin_to_build(&daemon, &unfinished);
            std::thread::sleep(Duration::from_millis(next(&mut random) % 40));
            daemon.kill();
            in_the_middle += u64::from(unfinished.exists());
            command.wait().unwrap();
        }
        daemon.start_again();
        same_as_a_look_at_each(&api, &mut texts, &format!("after kill {kill}"));
    }
    assert!(in_the_middle > 0, "no kill met an index that was being built");
    assert_eq!(texts.len() as u64, KILLS * ADDED);
    let log = daemon.log();
    assert!(!log.contains("the search index was given up"), "{log}");
    assert!(reindex(&daemon).wait().unwrap().success(), "{}", daemon.log());
    assert!(!unfinished.exists());
    api = daemon.api("auditor");
    same_as_a_look_at_each(&api, &mut texts, "built anew");
}

fn wait_for_line(daemon: &Daemon, line: &str, times: usize) {
    let begin = Instant::now();
    while daemon.log().matches(line).count() < times {
        assert!(begin.elapsed() < WAIT_LIMIT, "no {line:?}: {}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_keeps_the_index_waiting_and_no_search_from_its_answer() {
    const WAITS: &str = "the search index waits for room on the disk";
    if !is_root() {
        return tools::skip("only root can mount a small disk");
    }
    let place = tempfile::TempDir::new().unwrap();
    let Some(disk) = Disk::mount(&place.path().join("disk"), DISK_MIB) else { return };
    let receiver = Receiver::start();
    let data = disk.folder.join("data");
    let unfinished = data.join("search.new");
    let setup = Setup { data: Some(data), ..Setup::relaying_to(receiver.port()) };
    let mut daemon = Daemon::start(&setup);
    let (mut texts, mut random) = (Texts::new(), 7);
    submit(&daemon, ADDED, &mut random);
    assert!(reindex(&daemon).wait().unwrap().success(), "{}", daemon.log());
    let api = daemon.api("auditor");
    same_as_a_look_at_each(&api, &mut texts, "with room");

    let tight = disk.fill("ballast", TIGHT_MIB);
    submit(&daemon, ADDED, &mut random);
    wait_for_line(&daemon, WAITS, 1);
    same_as_a_look_at_each(&api, &mut texts, "without room for the index");
    assert!(!reindex(&daemon).wait().unwrap().success(), "there is no room for it");
    same_as_a_look_at_each(&api, &mut texts, "after an order that could not be done");

    // The disk gets full while the index is built.
    std::fs::remove_file(tight).unwrap();
    let mut command = begin_to_build(&daemon, &unfinished);
    let full = disk.fill("more", FULL_MIB);
    command.wait().unwrap();
    same_as_a_look_at_each(&api, &mut texts, "on a full disk");
    let pid = daemon.pid();
    std::fs::remove_file(full).unwrap();
    assert!(reindex(&daemon).wait().unwrap().success(), "{}", daemon.log());
    submit(&daemon, ADDED, &mut random);
    same_as_a_look_at_each(&api, &mut texts, "with room again");
    assert_eq!(daemon.pid(), pid);
    assert_eq!(daemon.stop().code(), Some(0));
}
