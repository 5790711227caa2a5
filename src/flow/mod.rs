//! Applications are told of what happens: receipts and inbound SMS in their dialect, webhooks and
//! automatic replies by rule; and senders of mail by mail.
//!
//! A planner follows the journal and writes into the archive's outbox what is to be told, together
//! with how far it came, so that no event is told twice or never because of a crash. A courier
//! takes from the outbox what is due, makes each request anew from the archived message, and
//! keeps at it on a ladder of waits until it is taken or given up for a person to see. Each host has
//! few places of its own, so that one that hangs delays nobody else's news. A notifier of its own
//! follows the journal for what senders are told by mail, which needs no outbox: a report is a message in
//! the queue.
//! Nothing here is ever in the way of accepting or sending: both only read the archive and write
//! the outbox.

mod attempt;
mod courier;
mod delivery_report;
mod hosts;
mod ladder;
mod notice;
mod notifier;
mod plan;
mod planner;
mod reply;
pub mod rule;
mod webhook;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::archive::{Archive, ArchiveError};
use crate::intake::Intake;
use crate::model::Clock;
use crate::net::client::HttpClient;
use crate::policy::Apps;
pub use crate::policy::FailureReports;
use courier::Courier;
pub use notifier::Notifier;
use planner::Planner;
pub use rule::{Flow, FlowAction, FlowMatcher};

/// What telling applications needs; clones share it.
#[derive(Clone)]
pub struct Flows {
    pub archive: Archive,
    /// For replies, which pass the door like every other SMS.
    pub intake: Intake,
    pub apps: Arc<ArcSwap<Apps>>,
    pub flows: Arc<ArcSwap<Vec<Flow>>>,
    pub client: HttpClient,
    pub clock: Clock,
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flows").finish_non_exhaustive()
    }
}

impl Flows {
    /// Plans and delivers until `stop`; then ends when what is under way has ended, which is bounded
    /// by the time that one request may take.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ArchiveError> {
        let planned = Arc::new(Notify::new());
        let planner = Planner::new(self.clone(), planned.clone());
        let courier = Courier::new(self, planned);
        let work = async {
            let delivered = courier.run(stop.clone()).await;
            // Should the courier end by itself, the planner ends with it.
            stop.cancel();
            delivered
        };
        let plan = async {
            let planned = planner.run(stop.clone()).await;
            stop.cancel();
            planned
        };
        let (planned, delivered) = tokio::join!(plan, work);
        planned.and(delivered)
    }
}
