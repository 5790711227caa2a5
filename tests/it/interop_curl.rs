//! curl delivers unchanged.

use std::process::Command;

use crate::support::clients::{House, PASSWORD, SENDER, Security, USER, WAYS};
use crate::support::tools;

#[test]
fn curl_delivers_by_every_way() {
    let Some(curl) = tools::find("curl") else { return };
    House::open().deliver_by(&WAYS, |delivery| {
        let mut command = Command::new(&curl);
        let scheme = if delivery.way.security == Security::Implicit { "smtps" } else { "smtp" };
        command.args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*"]);
        command.arg(format!("{scheme}://localhost:{}/client.example.com", delivery.port));
        command.args(["--mail-from", SENDER, "--mail-rcpt", &delivery.recipient]);
        command.arg("--upload-file").arg(&delivery.message).arg("--cacert").arg(delivery.authority);
        if delivery.way.security == Security::StartTls {
            command.arg("--ssl-reqd");
        }
        if delivery.way.auth {
            command.args(["--user", &format!("{USER}:{PASSWORD}")]);
        }
        (command, Vec::new())
    });
}
