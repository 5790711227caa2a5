//! The outbox: what is to be told to applications, durably, until they took it or it is given up.
//!
//! Deliveries are planned from the journal: the events up to a watermark have their deliveries, and
//! both change in one transaction, so that no event is told twice or never.

use super::{Archive, ArchiveError, Event, Page};
use crate::model::{MessageId, Sequence, Timestamp};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// What became of a message, in the dialect in which it was submitted.
    Receipt,
    /// An inbound message, in the dialect of the app.
    Inbound,
    /// A signed notice of a flow.
    Webhook,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    pub message: MessageId,
    /// The event that it tells of.
    pub event: Sequence,
    pub kind: DeliveryKind,
    pub url: String,
}

/// A delivery in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Grows with time; no two share it.
    pub id: u64,
    pub what: NewDelivery,
    pub created_at: Timestamp,
    pub attempts: u32,
    /// `None`: it was given up and waits for a person (dead letter).
    pub due_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// How an attempt at a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    Again { at: Timestamp, error: String },
    GivenUp { error: String },
}

impl Archive {
    /// The last event whose deliveries are planned.
    pub fn planned_until(&self) -> Result<Sequence, ArchiveError> {
        todo!()
    }

    /// Events of the whole journal behind a number, oldest first.
    pub fn journal_after(
        &self,
        _after: Sequence,
        _limit: usize,
    ) -> Result<Vec<Event>, ArchiveError> {
        todo!()
    }

    /// Plans deliveries and moves the watermark, in one transaction.
    pub async fn plan(
        &self,
        _deliveries: Vec<NewDelivery>,
        _until: Sequence,
        _now: Timestamp,
    ) -> Result<(), ArchiveError> {
        todo!()
    }

    /// Deliveries that are due, oldest first.
    pub fn due_deliveries(
        &self,
        _now: Timestamp,
        _limit: usize,
    ) -> Result<Vec<Delivery>, ArchiveError> {
        todo!()
    }

    /// When the next delivery is due.
    pub fn next_delivery(&self) -> Result<Option<Timestamp>, ArchiveError> {
        todo!()
    }

    /// Records how an attempt ended. What is done leaves the outbox.
    pub async fn settle(&self, _id: u64, _settled: Settled) -> Result<(), ArchiveError> {
        todo!()
    }

    /// Deliveries by number; `given_up`: only these, or only the others.
    pub fn deliveries(
        &self,
        _given_up: Option<bool>,
        _after: Option<u64>,
        _limit: usize,
    ) -> Result<Page<Delivery, u64>, ArchiveError> {
        todo!()
    }

    /// Tries one that was given up again; false when there is no such delivery.
    pub async fn deliver_again(&self, _id: u64, _now: Timestamp) -> Result<bool, ArchiveError> {
        todo!()
    }

    /// Drops one for good; false when there is no such delivery.
    pub async fn drop_delivery(&self, _id: u64) -> Result<bool, ArchiveError> {
        todo!()
    }
}
