//! msmtp, the sendmail of many scripts, delivers unchanged.

use std::process::Command;

use crate::support::clients::{House, PASSWORD, SENDER, Security, USER, WAYS};
use crate::support::tools;

#[test]
fn msmtp_delivers_by_every_way() {
    let Some(msmtp) = tools::find("msmtp") else { return };
    House::open().deliver_by(&WAYS, |delivery| {
        let mut command = Command::new(&msmtp);
        command.args(["--file=/dev/null", "--host=localhost"]);
        command.arg(format!("--port={}", delivery.port)).arg(format!("--from={SENDER}"));
        match delivery.way.security {
            Security::Plain => command.arg("--tls=off"),
            Security::StartTls => command.args(["--tls=on", "--tls-starttls=on"]),
            Security::Implicit => command.args(["--tls=on", "--tls-starttls=off"]),
        };
        if delivery.way.security != Security::Plain {
            command.arg(format!("--tls-trust-file={}", delivery.authority.display()));
        }
        if delivery.way.auth {
            command.args(["--auth=plain", &format!("--user={USER}")]);
            command.arg(format!("--passwordeval=echo {PASSWORD}"));
        }
        command.arg("--").arg(&delivery.recipient);
        // msmtp reads the lines of a Unix file, and sends CRLF.
        let text = std::fs::read_to_string(&delivery.message).unwrap();
        (command, text.replace("\r\n", "\n").into_bytes())
    });
}
