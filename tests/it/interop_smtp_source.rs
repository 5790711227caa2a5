//! Postfix's load generator: many sessions, many messages, none lost, none twice, none changed.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::clients::assert_same;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::tools;

#[test]
fn smtp_source_delivers_from_many_sessions() {
    const MESSAGES: usize = 200;
    let Some(source) = tools::find("smtp-source") else { return };
    let receiver = Receiver::start();
    let daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let mut command = Command::new(source);
    command.args(["-s", "20", "-l", "10240", "-m", &MESSAGES.to_string(), "-N"]);
    command.args(["-f", "load@example.com", "-t", "kim@example.org"]);
    command.arg(format!("127.0.0.1:{}", daemon.smtp()));
    tools::run(&mut command, b"");
    receiver.wait_for_count(MESSAGES);
    let api = daemon.api("auditor");
    api.wait_until_nothing_is_pending();
    let archived = api.all_messages("status=sent");
    assert_eq!(archived.len(), MESSAGES);
    let raws: BTreeSet<Vec<u8>> =
        archived.iter().map(|message| api.raw(message["id"].as_str().unwrap())).collect();
    let arrivals = receiver.arrivals();
    assert_eq!(arrivals.len(), MESSAGES);
    for arrival in &arrivals {
        let found = arrival.without_received();
        let known = raws.contains(&found);
        let some = raws.first().unwrap();
        if !known {
            assert_same(&found, some, "a message that nobody submitted");
        }
    }
}
