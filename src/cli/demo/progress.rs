//! What the demo prints: where everything is, what to try, and the messages while they move.
//!
//! Beside where it stands, each recipient of mail has a line with what is known of it afterwards: who opened and clicked, a
//! person or a machine, what bounced, who confirmed reading.
//!
//! In a terminal the list is drawn again in place; elsewhere each change is one line.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::SmtpSink;
use super::sms_provider::SmsProvider;
use super::sms_samples::OUR_NUMBER;
use crate::archive::{Archive, Filter, Message, Order, Recipient};
use crate::cli::listing::printable;
use crate::daemon::Addresses;
use crate::model::{Cause, Direction, Medium, MessageId, RecipientState, Secret};

/// Messages in the list, and recipients of each.
const SHOWN: usize = 20;
const MAX_RECIPIENTS: usize = 3;
/// The list is drawn again no more often than this, so that the terminal stays readable.
const REDRAW: Duration = Duration::from_millis(200);

/// Says where the doors are, what was submitted, and what to try. `held` is the message that waits
/// for somebody to release it.
pub(super) fn tell_where(
    addresses: &Addresses,
    token: &Secret,
    submitted: &[(&'static str, String)],
    held: Option<MessageId>,
) {
    let shown = |address: Option<&std::net::SocketAddr>| {
        address.map_or(String::from("off"), ToString::to_string)
    };
    let smtp = shown(addresses.smtp.first());
    let admin = shown(addresses.admin.as_ref());
    let metrics = shown(addresses.metrics.as_ref());
    println!("Waybill is running.\n");
    let sms = shown(addresses.sms.as_ref());
    println!("  SMTP for your applications   {smtp}");
    println!(
        "  SMS for your applications    http://{sms} (Twilio, Vonage, Kannel, GatewayAPI, Waybill)"
    );
    println!("  admin API                    http://{admin}/api/v1/messages");
    println!("  metrics, health              http://{metrics}/metrics\n");
    println!("Submitted just now, over real SMTP and HTTP:");
    for (shows, recipients) in submitted {
        println!("  to {recipients}:\n    {shows}");
    }
    // The token is printed once, on purpose: it is the demo's login and dies with it.
    println!("\nTry, in another terminal:");
    println!("  export WAYBILL=http://{admin}/api/v1 TOKEN={}", token.expose());
    let curl = "curl -H \"Authorization: Bearer $TOKEN\"";
    println!("  {curl} \"$WAYBILL/messages?q=inv-12+to:kim\"");
    println!("  {curl} \"$WAYBILL/messages?q=is:clicked\"");
    println!("  {curl} $WAYBILL/threads/ORD-777");
    println!("  curl -N -H \"Authorization: Bearer $TOKEN\" $WAYBILL/stream");
    if let Some(id) = held {
        println!("  {curl} $WAYBILL/messages/{id}/events");
        println!("  {curl} -X POST $WAYBILL/messages/{id}/release");
    }
    let (host, port) = smtp.rsplit_once(':').unwrap_or((&smtp, ""));
    println!("  swaks --server {host} --port {port} --to you@customer.example");
    println!("  {curl} \"$WAYBILL/messages?channel=sms\"");
    println!("  curl -H 'Authorization: Bearer demo' http://{sms}/v1/sms \\");
    let message =
        format!("\"to\": \"+4520000006\", \"from\": \"{OUR_NUMBER}\", \"text\": \"Reply YES\"");
    println!("    --json '{{{message}}}'\n");
    println!("Ctrl-C ends the demo.\n");
}

/// Shows the messages until it is dropped.
pub(super) async fn watch(archive: &Archive, sink: &SmtpSink, provider: &SmsProvider) {
    let in_place = io::stdout().is_terminal();
    let mut journal = archive.journal();
    let mut known: HashSet<String> = HashSet::new();
    let mut drawn = 0;
    loop {
        journal.borrow_and_update();
        let page = archive.list(&Filter::default(), Order::Newest, None, SHOWN);
        let messages = page.map(|page| page.items).unwrap_or_default();
        let arrived = (*sink.received().borrow(), provider.received());
        match in_place {
            true => drawn = redraw(&messages, arrived, drawn),
            false => print_changes(&messages, &mut known),
        }
        if journal.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(REDRAW).await;
    }
}

/// Draws the list over the one before; gives its height in lines. No line is wider than the terminal
/// and no list higher, or the next one would not lie over it.
fn redraw(messages: &[Message], (mails, sms): (u64, u64), drawn: usize) -> usize {
    let (columns, rows) = window();
    let mut screen = String::new();
    if drawn > 0 {
        screen.push_str(&format!("\x1b[{drawn}A\x1b[J"));
    }
    let head = format!(
        "Newest messages ({mails} mails arrived at the smarthost, {sms} SMS at the provider)"
    );
    let seen: Vec<String> = messages.iter().flat_map(seen_lines).collect();
    let seen_head = (!seen.is_empty()).then(|| String::from("Was it read?"));
    let shown = seen_head.into_iter().chain(seen);
    let shown = shown.chain([head]).chain(messages.iter().flat_map(lines));
    let mut height = 0;
    for line in shown.take(rows.saturating_sub(2).max(2)) {
        screen.push_str(&cut(&line, columns));
        screen.push('\n');
        height += 1;
    }
    let mut out = io::stdout().lock();
    // A terminal that is gone is noticed by the signal that follows.
    let _ = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
    height
}

/// Columns and rows of the terminal.
fn window() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        Ok(_) | Err(_) => (80, 24),
    }
}

/// The text, or as much of it as fits, an ellipsis at its end.
fn cut(text: &str, columns: usize) -> String {
    match text.chars().count() <= columns {
        true => text.to_owned(),
        false => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn print_changes(messages: &[Message], known: &mut HashSet<String>) {
    let seen = messages.iter().rev().flat_map(seen_lines);
    for line in messages.iter().rev().flat_map(lines).chain(seen) {
        if !known.contains(&line) {
            println!("{line}");
            known.insert(line);
        }
    }
}

/// One line for each recipient: id, where it stands, address, subject.
fn lines(message: &Message) -> Vec<String> {
    let shown = match &message.medium {
        Medium::Mail(_) => message.summary.subject.as_deref().unwrap_or("(no subject)"),
        Medium::Sms(sms) => sms.text(),
    };
    let subject = printable(shown);
    let recipients = message.recipients.iter().zip(message.medium.recipients());
    let line = |(recipient, to): (&Recipient, String)| {
        let (id, standing) = (message.id, standing(message, recipient));
        let other = match message.direction {
            Direction::Outbound => to,
            Direction::Inbound => {
                let author = message.summary.author.as_ref().map(|author| author.address.clone());
                message.medium.sender().or(author).unwrap_or_default()
            }
        };
        format!("{id}  {standing:<10}  {:<24}  {subject}", printable(&other))
    };
    recipients.take(MAX_RECIPIENTS).map(line).collect()
}

/// One line for each recipient of whom something came back.
fn seen_lines(message: &Message) -> Vec<String> {
    let subject = printable(message.summary.subject.as_deref().unwrap_or_default());
    let recipients = message.recipients.iter().zip(message.medium.recipients());
    let line = |(recipient, to): (&Recipient, String)| {
        Some(format!("  {:<24}  {}: {subject}", printable(&to), seen(recipient)?))
    };
    recipients.take(MAX_RECIPIENTS).filter_map(line).collect()
}

/// `opened 1x, clicked 1x by a person (Thunderbird on Linux)`.
fn seen(recipient: &Recipient) -> Option<String> {
    let engagement = &recipient.engagement;
    let counts = |opens: u64, clicks: u64, by: &str| {
        let counted = [("opened", opens), ("clicked", clicks)].into_iter();
        let words: Vec<String> =
            counted.filter(|(_, n)| *n > 0).map(|(word, n)| format!("{word} {n}x")).collect();
        (!words.is_empty()).then(|| format!("{} by {by}", words.join(", ")))
    };
    let device = engagement.device.as_ref().map(|device| format!(" ({})", printable(device)));
    let person = counts(engagement.opens, engagement.clicks, "a person");
    let person = person.map(|words| words + &device.unwrap_or_default());
    let machine = counts(engagement.automated_opens, engagement.automated_clicks, "a machine");
    let confirmed = engagement.read_at.map(|_| String::from("its reader confirmed reading"));
    let bounced = match &recipient.state {
        RecipientState::Failed { cause: Cause::Bounced { reply, .. }, .. } => {
            Some(format!("bounced ({})", printable(&reply.to_string())))
        }
        RecipientState::Failed { .. }
        | RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::NotSent { .. } => None,
    };
    let all: Vec<String> = [person, machine, confirmed, bounced].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn standing(message: &Message, recipient: &Recipient) -> &'static str {
    match &recipient.state {
        RecipientState::Sent { .. } if message.direction == Direction::Inbound => "came in",
        RecipientState::Sent { .. } if recipient.delivered_at.is_some() => "delivered",
        RecipientState::Held { .. } => "held",
        RecipientState::Due { .. } => "pending",
        RecipientState::Claimed { .. } => "being sent",
        RecipientState::Sent { .. } => "sent",
        RecipientState::Stopped { .. } => "stopped",
        RecipientState::Failed { cause: Cause::Bounced { .. }, .. } => "bounced",
        RecipientState::Failed { .. } => "failed",
        RecipientState::NotSent { .. } => "not sent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal() {
        assert_eq!(cut("Bestellung für Jörg", 14), "Bestellung fü…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "…");
    }
}
