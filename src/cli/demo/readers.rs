//! Who is at the other end of the demo's mail: a person, a scanner, a server that finds out too late.
//!
//! They look at what the sink took and answer over real sockets, each by the local part that was written to: `kim` shows
//! images, follows the first link, and confirms reading where that is asked for; before `scanned` stands a scanner that
//! fetches everything at once; the mailbox of `moved` is gone, and its server says so by mail. Everybody else says
//! nothing.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::USER_AGENT;
use mail_send::smtp::message::Message;
use tokio::task::JoinSet;

use super::samples::{SampleError, connect};
use super::{SinkMessage, SmtpSink};
use crate::mime;
use crate::model::ForwardPath;
use crate::net::client::{FetchLimits, HttpClient, Reach};

/// A person takes longer than two seconds, or is taken for a machine.
const UNTIL_OPENED: Duration = Duration::from_secs(4);
const UNTIL_CLICKED: Duration = Duration::from_secs(2);
const UNTIL_BOUNCED: Duration = Duration::from_secs(1);
const THUNDERBIRD: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0";
/// A scanner calls itself a browser.
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
    (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// Where they answer.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// What links and pixels of the demo begin with.
    pub public_url: String,
    pub feedback: SocketAddr,
}

/// Reacts to what arrives until it is dropped.
pub(super) async fn react(sink: &SmtpSink, answers: &Answers) {
    let mut received = sink.received();
    let mut reactions = JoinSet::new();
    let mut seen = 0;
    loop {
        received.borrow_and_update();
        for message in sink.messages().into_iter().filter(move |message| message.number > seen) {
            // More are kept than arrive between two looks.
            seen = seen.max(message.number);
            for recipient in message.recipients.clone() {
                let (message, answers) = (message.clone(), answers.clone());
                reactions.spawn(async move {
                    if let Err(error) = reaction(&message, &recipient, &answers).await {
                        tracing::warn!(%error, "a reader of the demo could not answer");
                    }
                });
            }
        }
        while reactions.try_join_next().is_some() {}
        if received.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn reaction(
    message: &SinkMessage,
    recipient: &ForwardPath,
    answers: &Answers,
) -> Result<(), SampleError> {
    let ForwardPath::Mailbox(mailbox) = recipient else { return Ok(()) };
    let html = mime::html(&message.bytes).unwrap_or_default();
    let places = |kind: &str| places(&html, &format!("{}/{kind}/", answers.public_url));
    let (pixels, links) = (places("o"), places("c"));
    match mailbox.local() {
        "kim" => {
            tokio::time::sleep(UNTIL_OPENED).await;
            fetch(pixels.first(), THUNDERBIRD).await?;
            tokio::time::sleep(UNTIL_CLICKED).await;
            fetch(links.first(), THUNDERBIRD).await?;
            match field(message, "Disposition-Notification-To") {
                Some(to) => bring(answers, &to, &receipt(message, &mailbox.to_string(), &to)).await,
                None => Ok(()),
            }
        }
        "scanned" => {
            for place in pixels.iter().chain(&links) {
                fetch(Some(place), CHROME).await?;
            }
            Ok(())
        }
        "moved" => {
            tokio::time::sleep(UNTIL_BOUNCED).await;
            let to = message.reverse_path.to_string();
            bring(answers, &to, &bounce(message, &mailbox.to_string(), &to)).await
        }
        _ => Ok(()),
    }
}

/// The URLs in a mail that begin so.
fn places(html: &str, beginning: &str) -> Vec<String> {
    let after = html.split(beginning).skip(1);
    after.map(|rest| format!("{beginning}{}", rest.split('"').next().unwrap_or_default())).collect()
}

/// Fetches as a mail program or browser does; where a link leads to, nobody goes.
async fn fetch(url: Option<&String>, agent: &str) -> Result<(), SampleError> {
    let Some(url) = url else { return Ok(()) };
    let failed = |error: &dyn std::fmt::Display| SampleError::new(error);
    let request = Request::builder().uri(url).header(USER_AGENT, agent).body(Bytes::new());
    let request = request.map_err(|error| failed(&error))?;
    let client = HttpClient::new(None).map_err(|error| failed(&error))?;
    let answer = client.fetch(request, Reach::Configured, FetchLimits::default()).await;
    answer.map(drop).map_err(|error| failed(&error))
}

fn field(message: &SinkMessage, name: &str) -> Option<String> {
    let field = mime::fields(&message.bytes).find(|field| field.is(name))?;
    let text = String::from_utf8_lossy(&field.unfolded()).trim().to_owned();
    let address = text.rsplit_once('<').map_or(&*text, |(_, rest)| rest.trim_end_matches('>'));
    Some(address.to_owned())
}

/// Brings a report to the return path, from nobody (RFC 5321 §4.5.5).
async fn bring(answers: &Answers, to: &str, report: &str) -> Result<(), SampleError> {
    let mut client = connect(answers.feedback, "mx.customer.example").await?;
    let message = Message::new("", [to], report.as_bytes());
    client.send(message).await.map_err(|error| SampleError::new(&error))?;
    // The report is in the archive; how the connection ends changes nothing.
    let _ = client.quit().await;
    Ok(())
}

/// The mailbox does not exist (RFC 3464).
fn bounce(message: &SinkMessage, recipient: &str, to: &str) -> String {
    let fields = format!(
        "Reporting-MTA: dns; mx.customer.example\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\n\
         Action: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: no such mailbox any more\r\n"
    );
    let head = ("Mail Delivery System <MAILER-DAEMON@customer.example>", to);
    report(head, "Undelivered Mail Returned to Sender", "delivery-status", &fields, message)
}

/// It was shown (RFC 8098).
fn receipt(message: &SinkMessage, recipient: &str, to: &str) -> String {
    let id = field(message, "Message-ID").unwrap_or_default();
    let fields = format!(
        "Reporting-UA: customer.example; Thunderbird\r\nFinal-Recipient: rfc822; {recipient}\r\n\
         Original-Message-ID: <{id}>\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n"
    );
    let head = (recipient, to);
    report(head, "Read: your message", "disposition-notification", &fields, message)
}

fn report(
    (from, to): (&str, &str),
    subject: &str,
    kind: &str,
    fields: &str,
    about: &SinkMessage,
) -> String {
    let id = field(about, "Message-ID").unwrap_or_default();
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type={kind}; boundary=report\r\n\r\n\
         --report\r\nContent-Type: text/plain\r\n\r\n{subject}.\r\n\r\n\
         --report\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n\
         --report\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{id}>\r\n\r\n--report--\r\n"
    )
}
