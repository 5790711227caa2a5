//! nodemailer, the usual client of Node programs, delivers unchanged.

use std::process::Command;

use crate::support::clients::{House, PASSWORD, SENDER, USER, WAYS};
use crate::support::tools;

#[test]
fn nodemailer_delivers_by_every_way() {
    let Some(node) = tools::find("node") else { return };
    let Some(modules) = tools::node_modules() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/nodemailer_send.js");
    House::open().deliver_by(&WAYS, |delivery| {
        let mut command = Command::new(&node);
        command.env("NODE_PATH", &modules);
        command.arg(script).arg(format!("{:?}", delivery.way.security));
        command.arg(delivery.port.to_string()).arg(delivery.authority);
        command.args([SENDER, &delivery.recipient]).arg(&delivery.message);
        if delivery.way.auth {
            command.args([USER, PASSWORD]);
        }
        (command, Vec::new())
    });
}
