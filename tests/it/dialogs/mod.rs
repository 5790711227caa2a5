//! Every dialog of `tests/dialogs` gets the promised replies: from the pure session, whole and octet
//! by octet, and from the SMTP port over a real socket.
//!
//! A dialog is a script: `C:` is a line from the client,
//! `C-` octets without a line end, `S:` a reply
//! line in which `*` stands for anything, `S*` a whole reply by its
//! code, `TLS` the handshake, `CLOSED` the end of the connection,
//! `ENVELOPE`, `MESSAGE` and `PROTOCOL` what the door got, `@…` the setting. See `script`.

mod pure;
mod script;
mod socket;

use std::path::Path;

use script::Script;
use waybill::model::Envelope;
use waybill::model::envelope::{BodyType, DsnReturn, FutureRelease, Notify};
use waybill::policy::{AddressPattern, App};

use crate::support::port;

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 40, "there are only {} dialogs", paths.len());
    paths.iter().map(|path| Script::read(path)).collect()
}

#[test]
fn the_pure_session_keeps_to_every_dialog() {
    for script in scripts() {
        pure::play(&script, pure::Split::Whole);
        if !script.setup.whole_only {
            pure::play(&script, pure::Split::Octets);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smtp_port_keeps_to_every_dialog() {
    for script in scripts() {
        socket::play(&script).await;
    }
}

/// The one app of every dialog: `erp` with the password `right`.
fn app(script: &Script) -> App {
    let senders = script.setup.senders.iter().map(|s| AddressPattern::new(s)).collect();
    App { senders, ..port::app(script.setup.known) }
}

/// An envelope as one line: `from=<a@b> to=<c@d>(notify=never) body=8bit`.
fn describe(envelope: &Envelope) -> String {
    let mut words = vec![format!("from=<{}>", envelope.reverse_path)];
    let recipients = envelope.recipients.iter().map(|recipient| {
        let notify = match recipient.notify {
            None => String::new(),
            Some(Notify::Never) => "(notify=never)".into(),
            Some(Notify::On { success, failure, delay }) => {
                let flags = [(success, "success"), (failure, "failure"), (delay, "delay")];
                let on: Vec<_> =
                    flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
                format!("(notify={})", on.join(","))
            }
        };
        let original = recipient.original.as_ref();
        let original = original.map(|o| format!("(orcpt={};{})", o.address_type, o.address));
        format!("<{}>{notify}{}", recipient.path, original.unwrap_or_default())
    });
    words.push(format!("to={}", recipients.collect::<Vec<_>>().join(",")));
    if envelope.body == BodyType::EightBitMime {
        words.push("body=8bit".into());
    }
    if envelope.smtputf8 {
        words.push("smtputf8".into());
    }
    words.extend(envelope.ret.map(|ret| match ret {
        DsnReturn::Full => "ret=full".into(),
        DsnReturn::Headers => "ret=hdrs".into(),
    }));
    words.extend(envelope.envid.as_ref().map(|id| format!("envid={id}")));
    words.extend(envelope.release.map(|release| match release {
        FutureRelease::HoldFor(wait) => format!("holdfor={}", wait.as_secs()),
        FutureRelease::HoldUntil(at) => format!("holduntil={at}"),
    }));
    words.join(" ")
}
