//! One house for every mail client: three listeners, an app by network and an app by password, and a message that must
//! come out as it went in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{Daemon, Setup};
use super::receiver::Receiver;
use super::tools;

/// How the connection is encrypted, in the order of the house's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plain,
    StartTls,
    Implicit,
}

/// One way to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub security: Security,
    pub auth: bool,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = if self.auth { "auth" } else { "open" };
        write!(f, "{:?}-{auth}", self.security)
    }
}

/// All six.
pub const WAYS: [Way; 6] = [
    Way { security: Security::Plain, auth: false },
    Way { security: Security::Plain, auth: true },
    Way { security: Security::StartTls, auth: false },
    Way { security: Security::StartTls, auth: true },
    Way { security: Security::Implicit, auth: false },
    Way { security: Security::Implicit, auth: true },
];

pub const USER: &str = "erp";
pub const PASSWORD: &str = "correct horse";
pub const SENDER: &str = "billing@example.com";

/// The tables that every house of a client has.
pub const APPS: &str = "
[[app]]
name = \"lan\"
networks = [\"127.0.0.0/8\"]
[[app]]
name = \"erp\"
[app.smtp]
username = \"erp\"
password = \"correct horse\"
";

/// A daemon with its receiver.
pub struct House {
    pub daemon: Daemon,
    pub receiver: Receiver,
}

/// One delivery: what to send, to whom, and how.
pub struct Delivery<'a> {
    pub way: Way,
    pub port: u16,
    pub recipient: String,
    /// A file with the message; its lines end in CRLF.
    pub message: PathBuf,
    /// The authority that the client is to trust.
    pub authority: &'a Path,
}

impl House {
    pub fn open() -> House {
        let receiver = Receiver::start();
        let listeners =
            vec![("off", "optional"), ("starttls", "optional"), ("implicit", "optional")];
        let setup =
            Setup { listeners, tables: APPS.to_owned(), ..Setup::relaying_to(receiver.port()) };
        House { daemon: Daemon::start(&setup), receiver }
    }

    /// Delivers one message by every way with the command that `client` makes, and follows each to the end.
    pub fn deliver_by(&self, ways: &[Way], client: impl Fn(&Delivery) -> (Command, Vec<u8>)) {
        let api = self.daemon.api("auditor");
        for way in ways {
            let recipient = format!("{way}@example.org").to_lowercase();
            let text = message(&recipient);
            let file = self.daemon.folder().join(format!("{way}.eml"));
            std::fs::write(&file, &text).unwrap();
            let delivery = Delivery {
                way: *way,
                port: self.daemon.smtp_of(way.security as usize),
                recipient: recipient.clone(),
                message: file,
                authority: &self.daemon.certificates.authority,
            };
            let (mut command, input) = client(&delivery);
            tools::run(&mut command, &input);
            let arrival = self.receiver.wait_for(&recipient);
            assert_eq!(arrival.reverse_path, SENDER, "{way}");
            assert_same(&arrival.without_received(), text.as_bytes(), &way.to_string());
            let archived = api.message_to(&recipient);
            assert_eq!(archived["app"], if way.auth { "erp" } else { "lan" }, "{way}: {archived}");
            let id = archived["id"].as_str().unwrap();
            assert_same(&api.raw(id), text.as_bytes(), &way.to_string());
            api.wait_for_status(id, "sent");
        }
    }
}

/// A message with what relays like to break: folded fields, dots, long lines, trailing spaces, no fields to complete.
pub fn message(recipient: &str) -> String {
    let long = "x".repeat(900);
    format!(
        "From: \"Billing\" <{SENDER}>\r\nTo: Kim\r\n\t<{recipient}>\r\nSubject: =?utf-8?q?R=C3=A9f?= INV-12345  \r\n\
         Date: Mon, 5 Jan 2026 10:00:00 +0100\r\nMessage-ID: <{recipient}.1@example.com>\r\nX-Empty:\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n.\r\n..two dots\r\n.a\r\n\r\n\
         spaces at the end   \r\n\ttab\r\nFrom the beginning of a line\r\n{long}\r\n\r\n\r\nend\r\n"
    )
}

/// Compares bytes and shows where they part.
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found == expected {
        return;
    }
    let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let show = |bytes: &[u8]| {
        let from = at.saturating_sub(40).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..bytes.len().min(at + 80)]).into_owned()
    };
    panic!(
        "{what}: bytes differ at {at} ({} found, {} expected)\nfound:    {:?}\nexpected: {:?}",
        found.len(),
        expected.len(),
        show(found),
        show(expected)
    );
}
