//! TwiML, the app's answer to an inbound message: the `<Message>` verbs of one `<Response>`
//! (twilio.com/docs/messaging/twiml).
//!
//! A document that is not well formed says nothing at all, as at Twilio. No entity but XML's own five
//! exists, a document type declaration ends the reading, and size, depth and number are bounded.

use bytes::Bytes;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::draft::is_callable;
use crate::sms::call::SmsReply;

/// Twilio takes documents of up to 64 kB.
const MAX_BYTES: usize = 64 << 10;
/// Verbs do not nest deeper than `<Response><Message><Body>`.
const MAX_DEPTH: usize = 8;
/// One message of a stranger is not answered by more.
const MAX_REPLIES: usize = 30;

/// The messages that a response asks for; other verbs are passed over.
pub(super) fn replies(body: &Bytes) -> Vec<SmsReply> {
    if body.len() > MAX_BYTES {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    read(text).unwrap_or_default()
}

/// Where the reader stands.
#[derive(Default)]
struct Document {
    /// Names of the open elements.
    open: Vec<String>,
    is_done: bool,
    /// The message whose element is open.
    message: Option<SmsReply>,
    /// The text beside and inside of `<Body>`: the second counts where there is one.
    inner: Option<String>,
    replies: Vec<SmsReply>,
}

/// `None`: not well formed, or no TwiML.
fn read(text: &str) -> Option<Vec<SmsReply>> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    reader.config_mut().expand_empty_elements = true;
    let mut document = Document::default();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => document.start(&start)?,
            Event::End(_) => document.end(),
            Event::Text(text) => document.text(&text.xml10_content())?,
            Event::CData(text) => document.text(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let character = match name.resolve_char_ref().ok()? {
                    Some(character) => character,
                    None => predefined(&name)?,
                };
                document.text(character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            // With it come entities of the document's own.
            Event::DocType(_) => return None,
            Event::Eof => break,
            // Empty elements are read as a start and an end.
            Event::Empty(_) => return None,
        }
    }
    (document.is_done && document.open.is_empty()).then_some(document.replies)
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

impl Document {
    fn start(&mut self, start: &BytesStart<'_>) -> Option<()> {
        let name = start.name().into_inner().to_owned();
        match self.open.len() {
            0 if self.is_done || name != "Response" => return None,
            0 => self.is_done = true,
            1 if matches!(name.as_str(), "Message" | "Sms") => {
                self.message = Some(attributes(start)?)
            }
            2 if self.message.is_some() && name == "Body" => {
                self.inner.get_or_insert_default();
            }
            MAX_DEPTH.. => return None,
            _ => {}
        }
        self.open.push(name);
        Some(())
    }

    fn end(&mut self) {
        self.open.pop();
        if self.open.len() != 1 {
            return;
        }
        let (Some(mut message), inner) = (self.message.take(), self.inner.take()) else { return };
        message.text = inner.unwrap_or(message.text).trim().to_owned();
        // A message of media alone has no text, and we have no media.
        if !message.text.is_empty() && self.replies.len() < MAX_REPLIES {
            self.replies.push(message);
        }
    }

    fn text(&mut self, text: &str) -> Option<()> {
        let place = self.open.last().map(String::as_str);
        match (self.open.len(), place, &mut self.message, &mut self.inner) {
            // Outside of the root there may only be white space.
            (0, _, _, _) => return text.trim().is_empty().then_some(()),
            (2, _, Some(message), _) => message.text.push_str(text),
            (3, Some("Body"), Some(_), Some(inner)) => inner.push_str(text),
            _ => {}
        }
        Some(())
    }
}

fn attributes(start: &BytesStart<'_>) -> Option<SmsReply> {
    let mut reply = SmsReply { to: None, from: None, text: String::new(), status_url: None };
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).ok()?.trim().to_owned();
        if value.is_empty() {
            continue;
        }
        match attribute.key.into_inner() {
            "to" => reply.to = Some(value),
            "from" => reply.from = Some(value),
            "statusCallback" if is_callable(&value) => reply.status_url = Some(value),
            _ => {}
        }
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        let replies = replies(&Bytes::copy_from_slice(body.as_bytes()));
        replies.into_iter().map(|reply| reply.text).collect()
    }

    #[test]
    fn what_is_no_twiml_sends_nothing() {
        let deep = format!("<Response>{}", "<a>".repeat(30_000));
        let bomb = "<!DOCTYPE r [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]>\
                    <Response><Message>&b;</Message></Response>";
        for bad in [
            "",
            "OK",
            "{\"message\":\"x\"}",
            "<Message>x</Message>",
            "<Response><Message>x</Message>",
            "<Response><Message>x</Response></Message>",
            "<Response><Message>x</Message></Response><Response><Message>y</Message></Response>",
            "<Response><Message>x</Message></Response>x",
            "<Response><Message>&nbsp;</Message></Response>",
            "<Response><Message>&#0;</Message></Response>",
            "<Response><Message>a</Message><Message to=>b</Message></Response>",
            "<response><Message>x</Message></response>",
            &deep,
            bomb,
        ] {
            assert!(texts(bad).is_empty(), "{}", bad.chars().take(60).collect::<String>());
        }
        let big = format!("<Response><Message>{}</Message></Response>", "a".repeat(MAX_BYTES));
        assert!(texts(&big).is_empty());
    }

    #[test]
    fn nothing_is_an_answer_too() {
        for empty in [
            "<Response/>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response></Response>\n",
            "<Response><Message/></Response>",
            "<Response><Message>  </Message></Response>",
            "<Response><Message><Media>https://a/b.png</Media></Message></Response>",
            "<Response><Redirect>https://a.example/more</Redirect></Response>",
        ] {
            assert!(texts(empty).is_empty(), "{empty}");
        }
    }

    #[test]
    fn messages_are_read_in_order() {
        let check = |body: &str, expected: &[&str]| assert_eq!(texts(body), expected, "{body}");
        check("<Response><Message>Hej &amp; h&#230;j</Message></Response>", &["Hej & hæj"]);
        check("\u{feff} <Response><Sms>a</Sms><Message>b</Message></Response>", &["a", "b"]);
        check("<Response><Message>\n  a\n  b\n</Message></Response>", &["a\n  b"]);
        check("<Response><Message><![CDATA[<b>]]></Message></Response>", &["<b>"]);
        check("<Response><Message><Body>a</Body><Media>u</Media></Message></Response>", &["a"]);
        check("<Response><Message>x<Body>a</Body>y</Message></Response>", &["a"]);
        check("<Response><Say>x</Say><!-- c --><Message>a</Message></Response>", &["a"]);
        let many = format!("<Response>{}</Response>", "<Message>x</Message>".repeat(100));
        assert_eq!(texts(&many).len(), MAX_REPLIES);
    }

    #[test]
    fn a_message_names_who_and_where() {
        let body = "<Response><Message to=\"+4512345678\" from='Example &amp; co' action=\"/x\" \
                    statusCallback=\"https://a.example/s?a=1&amp;b=2\">x</Message>\
                    <Message statusCallback=\"/relative\">y</Message></Response>";
        let replies = replies(&Bytes::from_static(body.as_bytes()));
        assert_eq!(replies[0].to.as_deref(), Some("+4512345678"));
        assert_eq!(replies[0].from.as_deref(), Some("Example & co"));
        assert_eq!(replies[0].status_url.as_deref(), Some("https://a.example/s?a=1&b=2"));
        assert_eq!(replies[1].status_url, None);
    }
}
