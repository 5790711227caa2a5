//! Messages made up from their number, with words as often as in a language, and questions about them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use waybill::archive::{Acceptance, Attachment, Client, MessagePolicy, NewRecipient, Summary};
use waybill::model::envelope::BodyType;
use waybill::model::{
    AppName, Digest, Direction, Envelope, EnvelopeRecipient, ForwardPath, Hold, Medium, Named,
    RecipientKind, RecipientState, Reference, ReversePath, Tag, Timestamp,
};

/// Words of the made-up language.
const WORDS: u64 = 60_000;
const SYLLABLES: [&str; 32] = [
    "ba", "ter", "lo", "in", "vo", "mi", "ra", "sten", "ku", "pel", "an", "do", "fri", "gar", "he",
    "il", "jo", "kar", "len", "mor", "ne", "op", "pri", "qua", "rim", "sol", "tra", "ul", "ver",
    "wi", "yt", "zan",
];

pub struct Story {
    number: u64,
    seed: u64,
}

impl Story {
    pub fn new(number: u64) -> Story {
        Story { number, seed: (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn random(&mut self, most: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % most
    }

    /// Few words often and many seldom, as Zipf found.
    fn word(&mut self) -> String {
        let span = 1 << self.random(17);
        word(self.random(span).min(WORDS - 1))
    }

    pub fn message(mut self, text_bytes: usize) -> Acceptance {
        let number = self.number;
        let reference = format!("INV-{}", number / 3);
        let subject = format!("{} {} {reference}", self.word(), self.word());
        let mut text = String::with_capacity(text_bytes + 32);
        while text.len() < text_bytes {
            match self.random(40) {
                0 => text.push_str(&format!("ORD-{} ", self.random(1_000_000))),
                1 => text.push_str(".\r\n"),
                _ => {
                    text.push_str(&self.word());
                    text.push(' ');
                }
            }
        }
        let raw = format!(
            "From: Billing <billing@example.com>\r\nTo: kim@example.org\r\nSubject: {subject}\r\n\
             Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@example.com>\r\n\r\n{text}\r\n"
        );
        let state = match number % 100 {
            0 => RecipientState::Held { hold: Hold::Manual },
            _ => RecipientState::NotSent { why: "no upstream serves this recipient".into() },
        };
        let to = format!("customer{}@mail{}.example.org", self.random(50_000), number % 7);
        let preview = text.chars().take(200).collect();
        let mut made = acceptance(number, raw.into(), subject, preview, &to, &reference, state);
        if number.is_multiple_of(10) {
            made.summary.attachments.push(Attachment {
                filename: Some(format!("offer-{number}.pdf")),
                content_type: "application/pdf".into(),
                size_bytes: 1_000,
                sha256: Digest::of(b""),
                inline: false,
            });
        }
        made
    }

    /// Questions of every kind, about what is there often, seldom and never.
    pub fn questions(count: usize) -> Vec<String> {
        let mut story = Story::new(7);
        (0..count)
            .map(|index| match index % 28 {
                0 => format!("INV-{}", story.random(30_000)),
                1 => format!("inv{}", story.random(3_000)),
                2 => word(story.random(40)),
                3 => word(2_000 + story.random(40_000)),
                4 => word(story.random(2_000)).chars().take(3).collect(),
                5 => format!("{} {}", word(story.random(60)), word(story.random(600))),
                6 => format!("{} {}", word(story.random(60)), word(20_000 + story.random(20_000))),
                7 => format!("\"{} {}\"", word(story.random(20)), word(story.random(20))),
                8 => format!("to:customer{}", story.random(50_000)),
                9 => format!("customer{}@mail{}", story.random(50_000), story.random(7)),
                10 => "@mail3.example.org".to_owned(),
                11 => format!("{} is:held", word(story.random(500))),
                12 => format!("subject:{}", word(story.random(3_000))),
                13 => format!("tag:invoice -{}", word(story.random(50))),
                14 => {
                    format!("{} OR {}", word(story.random(900)), word(9_000 + story.random(9_000)))
                }
                15 => format!("ref:inv-{} from:billing", story.random(3_000)),
                16 => format!("ORD-{}", story.random(1_000_000)),
                17 => format!(
                    "({} OR {}) status:not_sent",
                    word(story.random(99)),
                    word(story.random(999))
                ),
                18 => format!("zzyzx{} {}", story.random(99), word(story.random(99))),
                19 => format!("{} tag:reminder app:erp", word(story.random(5_000))),
                20 => format!("{:04}", 1_000 + story.random(9_000)),
                21 => format!("filename:offer-{}", story.random(10_000)),
                22 => "has:attachment is:unread".to_owned(),
                23 => format!("{} after:2026-01-01", word(story.random(3_000))),
                24 => format!("{} before:2020-01-01", word(story.random(300))),
                25 => SYLLABLES[story.random(32) as usize].chars().take(1).collect(),
                26 => format!("-{} -status:sent", word(story.random(9))),
                _ => format!("\"{} {}\" OR \"no such phrase\"", word(story.random(9)), word(9)),
            })
            .collect()
    }
}

fn word(rank: u64) -> String {
    // A word is as long as it is rare.
    let mut rest = rank.wrapping_mul(2_654_435_761) % (1 << 32);
    let syllables = 1 + u32::try_from(rank).unwrap_or(0).max(1).ilog2() / 4;
    let mut word = String::new();
    for _ in 0..=syllables {
        word.push_str(SYLLABLES[(rest % 32) as usize]);
        rest /= 32;
    }
    word
}

fn acceptance(
    number: u64,
    raw: Bytes,
    subject: String,
    preview: String,
    to: &str,
    reference: &str,
    state: RecipientState,
) -> Acceptance {
    let path = ForwardPath::parse(to).expect("the address is well formed");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Acceptance {
        accepted_at: Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        direction: Direction::Outbound,
        app: AppName::parse("erp").expect("the name is well formed"),
        medium: Medium::Mail(Envelope {
            reverse_path: ReversePath::parse("billing@example.com").expect("it is well formed"),
            recipients: vec![EnvelopeRecipient { path, notify: None, original: None }],
            body: BodyType::EightBitMime,
            smtputf8: false,
            ret: None,
            envid: None,
            release: None,
        }),
        client: Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "erp.example.com".into(),
            protocol: "ESMTP".into(),
            tls: None,
            authenticated: None,
            gateway: "gateway.example.com".into(),
        },
        digest: Digest::of(&raw),
        raw,
        shared: Vec::new(),
        summary: Summary {
            subject: Some(subject),
            author: Some(Named {
                name: Some("Billing".into()),
                address: "billing@example.com".into(),
            }),
            message_id: Some(format!("{number}@example.com")),
            preview,
            attachments: Vec::new(),
            defects: Vec::new(),
        },
        recipients: vec![NewRecipient { name: Some("Kim".into()), kind: RecipientKind::To, state }],
        references: Reference::parse(reference).into_iter().collect(),
        tag: Tag::parse(["invoice", "reminder", "newsletter"][number as usize % 3]),
        on_behalf_of: None,
        policy: MessagePolicy {
            hold_unknown: false,
            track_opens: false,
            track_clicks: false,
            is_foreign: false,
        },
        resend_of: None,
    }
}
