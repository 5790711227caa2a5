//! Messages as the door would hand them to the archive, and an archive full of them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::task::JoinSet;
use waybill::archive::{
    Acceptance, Archive, ArchiveError, Client, MessagePolicy, NewRecipient, Summary,
};
use waybill::model::envelope::BodyType;
use waybill::model::{
    AppName, Digest, Direction, Envelope, EnvelopeRecipient, ForwardPath, Hold, Medium, Named,
    RecipientKind, RecipientState, Reference, ReversePath, Tag, Timestamp,
};

use super::message::Maker;

/// The largest archive that is filled.
pub const MOST: usize = 20_000_000;
/// Accepts under way while an archive is filled.
const TOGETHER: usize = 400;
/// Messages of a pool; many enough that no batch holds one twice.
const POOL: usize = 512;

/// Messages that are ready to be accepted again and again.
#[derive(Clone)]
pub struct Pool(Arc<Vec<Acceptance>>);

impl Pool {
    pub fn new(seed: u64, size_bytes: usize) -> Pool {
        let mut maker = Maker::new(seed.wrapping_mul(7) | 1);
        let messages = (0..POOL as u64).map(|serial| {
            let mut raw = maker.message(serial, size_bytes);
            // The final dot is not of the message.
            raw.truncate(raw.len() - 3);
            acceptance(serial, raw.into())
        });
        Pool(Arc::new(messages.collect()))
    }

    /// The `serial`-th message, with an id of its own.
    pub fn take(&self, serial: u64) -> Acceptance {
        let mut message = self.0[serial as usize % POOL].clone();
        message.accepted_at = now();
        message.summary.message_id = Some(format!("{serial}@bench.example.com"));
        message
    }
}

/// Fills an archive with small messages of many senders, recipients and references, always the same.
pub struct Fill(Pool);

impl Fill {
    pub fn new(seed: u64) -> Fill {
        Fill(Pool::new(seed, 1 << 10))
    }

    pub async fn run(&self, archive: &Archive, messages: usize) -> Result<(), ArchiveError> {
        let mut running = JoinSet::new();
        for serial in 0..messages.min(MOST) as u64 {
            let (archive, message) = (archive.clone(), self.message(serial));
            running.spawn(async move { archive.accept(message).await.map(|_| ()) });
            if running.len() >= TOGETHER
                && let Some(Ok(done)) = running.join_next().await
            {
                done?;
            }
        }
        while let Some(done) = running.join_next().await {
            done.unwrap_or_else(|error| Err(ArchiveError::Closed(error.to_string())))?;
        }
        Ok(())
    }

    fn message(&self, serial: u64) -> Acceptance {
        let mut message = self.0.take(serial);
        message.summary.message_id = Some(format!("{serial}@fill.example.com"));
        let to = format!("customer{}@example.org", serial % 50_000);
        if let Medium::Mail(envelope) = &mut message.medium {
            envelope.recipients[0].path = path(&to);
        }
        message.references = Reference::parse(&format!("INV-{}", serial / 3)).into_iter().collect();
        message.tag = Tag::parse(["invoice", "reminder", "newsletter"][serial as usize % 3]);
        message.recipients[0].state = match serial % 100 {
            0 => RecipientState::Held { hold: Hold::Manual },
            _ => RecipientState::NotSent { why: "no upstream serves this recipient".into() },
        };
        message
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn path(address: &str) -> ForwardPath {
    ForwardPath::parse(address).expect("the address is well formed")
}

fn acceptance(serial: u64, raw: Bytes) -> Acceptance {
    let author = Named { name: Some("Billing".into()), address: "billing@example.com".into() };
    let recipient =
        EnvelopeRecipient { path: path("kim@example.org"), notify: None, original: None };
    let at = now();
    Acceptance {
        accepted_at: at,
        direction: Direction::Outbound,
        app: AppName::parse("erp").expect("the name is well formed"),
        medium: Medium::Mail(Envelope {
            reverse_path: ReversePath::parse("billing@example.com").expect("it is well formed"),
            recipients: vec![recipient],
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
            subject: Some(format!("Invoice INV-{serial} for this month")),
            author: Some(author),
            message_id: None,
            preview: "thank you for your business please find attached the statement ".repeat(3),
            attachments: Vec::new(),
            defects: Vec::new(),
        },
        recipients: vec![NewRecipient {
            name: Some("Kim".into()),
            kind: RecipientKind::To,
            state: RecipientState::Due { at, rank: 0 },
        }],
        references: Reference::parse(&format!("INV-{serial}")).into_iter().collect(),
        tag: None,
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
