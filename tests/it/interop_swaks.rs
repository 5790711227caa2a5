//! swaks delivers unchanged, in the clear and encrypted, with and without AUTH.

use std::process::Command;

use crate::support::clients::{House, PASSWORD, SENDER, Security, USER, WAYS};
use crate::support::tools;

#[test]
fn swaks_delivers_by_every_way() {
    let Some(swaks) = tools::find("swaks") else { return };
    House::open().deliver_by(&WAYS, |delivery| {
        let mut command = Command::new(&swaks);
        command.args(["--server", "127.0.0.1", "--port", &delivery.port.to_string()]);
        command.args(["--from", SENDER, "--to", &delivery.recipient]);
        command.args(["--no-data-fixup", "--data", "-"]);
        match delivery.way.security {
            Security::Plain => &mut command,
            Security::StartTls => command.arg("--tls"),
            Security::Implicit => command.arg("--tls-on-connect"),
        };
        if delivery.way.security != Security::Plain {
            command.arg("--tls-verify").arg("--tls-ca-path").arg(delivery.authority);
        }
        if delivery.way.auth {
            let mechanism =
                if delivery.way.security == Security::StartTls { "LOGIN" } else { "PLAIN" };
            command.args(["--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD]);
        }
        // Left to itself swaks ends the message with a line more than it was given.
        (command, dotted(&std::fs::read(&delivery.message).unwrap()))
    });
}

/// With `--no-data-fixup` the input goes over the wire as it is: dots doubled, and the final one at the end.
fn dotted(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(message.to_vec()).unwrap();
    let lines = text.split_inclusive("\r\n");
    let doubled =
        lines.map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() });
    (doubled.collect::<String>() + ".").into_bytes()
}
