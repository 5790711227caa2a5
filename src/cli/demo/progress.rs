//! What the demo prints: where everything is, what to try, and the messages while they move.
//!
//! In a terminal the list is drawn again in place; elsewhere each change is one line.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::SmtpSink;
use crate::archive::{Archive, Filter, Message, Order};
use crate::daemon::Addresses;
use crate::model::{MessageId, RecipientState, Secret};

/// Messages in the list.
const SHOWN: usize = 12;
/// The list is drawn again no more often than this, so that the terminal stays readable.
const REDRAW: Duration = Duration::from_millis(200);

/// Says where the doors are, and what to try.
pub(super) fn tell_where(
    addresses: &Addresses,
    token: &Secret,
    submitted: &[(&'static str, String)],
) {
    let shown = |address: Option<&std::net::SocketAddr>| {
        address.map_or(String::from("off"), ToString::to_string)
    };
    let smtp = shown(addresses.smtp.first());
    let admin = shown(addresses.admin.as_ref());
    let metrics = shown(addresses.metrics.as_ref());
    println!("Waybill is running.\n");
    println!("  SMTP for your applications   {smtp}");
    println!("  admin API                    http://{admin}/api/v1/messages");
    println!("  metrics, health              http://{metrics}/metrics\n");
    println!("Submitted just now, over real SMTP:");
    for (shows, recipients) in submitted {
        println!("  {recipients:<52} {shows}");
    }
    // The token is printed once, on purpose: it is the demo's login and dies with it.
    println!("\nTry, in another terminal:");
    println!("  export WAYBILL=http://{admin}/api/v1 TOKEN={}", token.expose());
    println!(
        "  curl -H \"Authorization: Bearer $TOKEN\" \"$WAYBILL/messages?reference=INV-12345\""
    );
    println!("  curl -H \"Authorization: Bearer $TOKEN\" $WAYBILL/messages/ID/events");
    println!("  curl -H \"Authorization: Bearer $TOKEN\" -X POST $WAYBILL/messages/ID/release");
    let (host, port) = smtp.rsplit_once(':').unwrap_or((&smtp, ""));
    println!("  swaks --server {host} --port {port} --to you@customer.example\n");
    println!("Ctrl-C ends the demo.\n");
}

/// Shows the messages until it is dropped.
pub(super) async fn watch(archive: &Archive, sink: &SmtpSink) {
    let in_place = io::stdout().is_terminal();
    let mut journal = archive.journal();
    let mut known: HashMap<MessageId, String> = HashMap::new();
    let mut drawn = 0;
    loop {
        journal.borrow_and_update();
        let page = archive.list(&Filter::default(), Order::Newest, None, SHOWN);
        let messages = page.map(|page| page.items).unwrap_or_default();
        let arrived = *sink.received().borrow();
        drawn = match in_place {
            true => redraw(&messages, arrived, drawn),
            false => print_changes(&messages, &mut known),
        };
        if journal.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(REDRAW).await;
    }
}

/// Draws the list over the one before; gives its height in lines.
fn redraw(messages: &[Message], arrived: u64, drawn: usize) -> usize {
    let mut screen = String::new();
    if drawn > 0 {
        screen.push_str(&format!("\x1b[{drawn}A\x1b[J"));
    }
    screen.push_str(&format!("Newest messages ({arrived} arrived at the smarthost)\n"));
    for message in messages {
        screen.push_str(&line(message));
        screen.push('\n');
    }
    let mut out = io::stdout().lock();
    // A terminal that is gone is noticed by the signal that follows.
    let _ = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
    messages.len() + 1
}

fn print_changes(messages: &[Message], known: &mut HashMap<MessageId, String>) -> usize {
    for message in messages.iter().rev() {
        let line = line(message);
        if known.get(&message.id) != Some(&line) {
            println!("{line}");
            known.insert(message.id, line);
        }
    }
    0
}

fn line(message: &Message) -> String {
    let subject: String =
        message.summary.subject.as_deref().unwrap_or("(no subject)").chars().take(34).collect();
    let recipients = message.recipients.iter().zip(&message.envelope.recipients);
    let recipients: Vec<String> = recipients
        .take(3)
        .map(|(recipient, to)| format!("{} {}", to.path, standing(&recipient.state)))
        .collect();
    format!("{}  {subject:<34}  {}", message.id, recipients.join(", "))
}

fn standing(state: &RecipientState) -> &'static str {
    match state {
        RecipientState::Held { .. } => "held",
        RecipientState::Due { .. } => "pending",
        RecipientState::Claimed { .. } => "being sent",
        RecipientState::Sent { .. } => "sent",
        RecipientState::Stopped { .. } => "stopped",
        RecipientState::Failed { .. } => "failed",
        RecipientState::NotSent { .. } => "not sent",
    }
}
