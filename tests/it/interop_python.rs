//! Python's smtplib delivers unchanged.

use std::process::Command;

use crate::support::clients::{House, PASSWORD, SENDER, USER, WAYS};
use crate::support::tools;

#[test]
fn smtplib_delivers_by_every_way() {
    let Some(python) = tools::find("python3") else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/smtplib_send.py");
    House::open().deliver_by(&WAYS, |delivery| {
        let mut command = Command::new(&python);
        command.arg(script).arg(format!("{:?}", delivery.way.security));
        command.arg(delivery.port.to_string()).arg(delivery.authority);
        command.args([SENDER, &delivery.recipient]).arg(&delivery.message);
        if delivery.way.auth {
            command.args([USER, PASSWORD]);
        }
        (command, Vec::new())
    });
}
