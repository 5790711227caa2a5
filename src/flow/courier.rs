//! Takes from the outbox what is due, as fairly as hosts allow, and writes back how it went.
//!
//! Calls are bounded in all and for each host, so a host that hangs holds few of them. A host
//! that gave no response several times rests, and what is due for it moves on its ladder without a
//! call. Receipts of one message are told in their order, as far as this process remembers: one
//! that is due waits for an earlier one that is still to come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Flows;
use super::attempt::{Ended, attempt};
use super::hosts::{Hosts, Turn};
use super::ladder::wait_after;
use crate::archive::{ArchiveError, Delivery, DeliveryKind, Settled};
use crate::model::{MessageId, Timestamp};
use crate::telemetry;

/// Calls at one time in all.
const MAX_CALLS: usize = 48;
/// Calls and deliveries that are only being written back.
const MAX_TASKS: usize = 256;
/// Deliveries looked at in one go, and the most when all of these wait for busy hosts.
const WINDOW: usize = 1_000;
const WIDEST_WINDOW: usize = 64_000;
/// The outbox is looked at so often although nothing was told: a person may have sent something
/// on its way again.
const LOOK: Duration = Duration::from_secs(1);
/// Messages whose later receipts wait for an earlier one.
const MAX_ORDERED: usize = 10_000;

pub(super) struct Courier {
    with: Flows,
    planned: Arc<Notify>,
    hosts: Hosts,
    tasks: JoinSet<Result<Finished, ArchiveError>>,
    calls: usize,
    under_way: HashSet<u64>,
    /// Messages one of whose receipts is under way.
    telling: HashSet<MessageId>,
    /// Receipts that are to come again: the first one of each message, and when.
    to_come: HashMap<MessageId, (u64, Timestamp)>,
    window: usize,
}

/// One delivery that was settled.
struct Finished {
    delivery: Delivery,
    /// The host that was called, and whether it answered; `None` when nobody was called.
    called: Option<(String, bool)>,
    settled: Settled,
}

/// What became of one look at the outbox.
struct Look {
    found: usize,
    begun: usize,
}

impl Courier {
    pub(super) fn new(with: Flows, planned: Arc<Notify>) -> Courier {
        Courier {
            with,
            planned,
            hosts: Hosts::default(),
            tasks: JoinSet::new(),
            calls: 0,
            under_way: HashSet::new(),
            telling: HashSet::new(),
            to_come: HashMap::new(),
            window: WINDOW,
        }
    }

    /// Delivers until `stop`, then ends when what is under way has ended.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), ArchiveError> {
        while !stop.is_cancelled() {
            let look = self.look()?;
            // What is due hides behind what waits for busy hosts: look further.
            let is_hidden = look.begun == 0 && look.found >= self.window;
            self.window = if is_hidden { (self.window * 4).min(WIDEST_WINDOW) } else { WINDOW };
            if is_hidden && look.found < WIDEST_WINDOW && self.tasks.len() < MAX_TASKS {
                continue;
            }
            let next = self.with.archive.next_delivery()?;
            let now = (self.with.clock)();
            let wait = next.filter(|at| *at > now).map_or(LOOK, |at| at.since(now).min(LOOK));
            tokio::select! {
                finished = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.finish(finished)?;
                    while let Some(finished) = self.tasks.try_join_next() {
                        self.finish(Some(finished))?;
                    }
                }
                () = self.planned.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        while let Some(finished) = self.tasks.join_next().await {
            self.finish(Some(finished))?;
        }
        Ok(())
    }

    /// Begins whatever can be begun.
    fn look(&mut self) -> Result<Look, ArchiveError> {
        let now = (self.with.clock)();
        let due = self.with.archive.due_deliveries(now, self.window)?;
        let mut look = Look { found: due.len(), begun: 0 };
        for delivery in due {
            if self.tasks.len() >= MAX_TASKS {
                break;
            }
            if !self.under_way.contains(&delivery.id) && self.begin(delivery, now) {
                look.begun += 1;
            }
        }
        Ok(look)
    }

    fn begin(&mut self, delivery: Delivery, now: Timestamp) -> bool {
        let message = delivery.what.message;
        let is_receipt = delivery.what.kind == DeliveryKind::Receipt;
        if is_receipt && self.telling.contains(&message) {
            return false;
        }
        let earlier = self.to_come.get(&message).filter(|(id, at)| *id < delivery.id && *at > now);
        if let Some((_, at)) = earlier.filter(|_| is_receipt).copied() {
            let error = "it waits for an earlier receipt of its message".to_owned();
            self.put_off(delivery, Settled::Again { at, error });
            return true;
        }
        if self.calls >= MAX_CALLS {
            return false;
        }
        let host = host_of(&delivery.what.url);
        match self.hosts.begin(&host, now) {
            Turn::Busy => false,
            Turn::Rests(until) => {
                let wait = wait_after(delivery.attempts).unwrap_or_default();
                let error = "its host gave no response a moment ago".to_owned();
                self.put_off(delivery, Settled::Again { at: until.max(now.plus(wait)), error });
                true
            }
            Turn::Call => {
                self.call(delivery, host);
                true
            }
        }
    }

    fn enter(&mut self, delivery: &Delivery) {
        self.under_way.insert(delivery.id);
        if delivery.what.kind == DeliveryKind::Receipt {
            self.telling.insert(delivery.what.message);
        }
    }

    fn put_off(&mut self, delivery: Delivery, settled: Settled) {
        self.enter(&delivery);
        let archive = self.with.archive.clone();
        self.tasks.spawn(async move {
            archive.settle(delivery.id, settled.clone()).await?;
            Ok(Finished { delivery, called: None, settled })
        });
    }

    fn call(&mut self, delivery: Delivery, host: String) {
        self.enter(&delivery);
        self.calls += 1;
        let with = self.with.clone();
        self.tasks.spawn(async move {
            let ended = attempt(&with, &delivery).await?;
            let answered = !matches!(ended, Ended::Again { answered: false, .. });
            let settled = settled(ended, &delivery, (with.clock)());
            tell(&delivery, &host, &settled);
            with.archive.settle(delivery.id, settled.clone()).await?;
            Ok(Finished { delivery, called: Some((host, answered)), settled })
        });
    }

    fn finish(
        &mut self,
        finished: Option<Result<Result<Finished, ArchiveError>, tokio::task::JoinError>>,
    ) -> Result<(), ArchiveError> {
        let finished = match finished {
            None => return Ok(()),
            Some(Ok(finished)) => finished?,
            // A bug in one attempt: the delivery stays due, and the daemon lives. Its places are
            // not given back, so that it is not tried again before a restart.
            Some(Err(error)) => {
                tracing::error!(%error, "an attempt to tell an application broke off");
                self.calls = self.calls.saturating_sub(1);
                return Ok(());
            }
        };
        let Finished { delivery, called, settled } = finished;
        if let Some((host, answered)) = called {
            self.calls = self.calls.saturating_sub(1);
            self.hosts.ended(&host, answered, (self.with.clock)());
        }
        self.under_way.remove(&delivery.id);
        if delivery.what.kind == DeliveryKind::Receipt {
            self.order(&delivery, &settled);
        }
        Ok(())
    }

    /// Remembers the earliest receipt of a message that is still to come.
    fn order(&mut self, delivery: &Delivery, settled: &Settled) {
        let message = delivery.what.message;
        self.telling.remove(&message);
        let first = self.to_come.get(&message).map(|(id, _)| *id);
        match settled {
            Settled::Again { at, .. } => {
                let has_room = first.is_some() || self.to_come.len() < MAX_ORDERED;
                if has_room && first.is_none_or(|first| delivery.id <= first) {
                    self.to_come.insert(message, (delivery.id, *at));
                }
            }
            Settled::Done | Settled::GivenUp { .. } => {
                if first == Some(delivery.id) {
                    self.to_come.remove(&message);
                }
            }
        }
    }
}

fn settled(ended: Ended, delivery: &Delivery, now: Timestamp) -> Settled {
    match ended {
        Ended::Done => Settled::Done,
        Ended::GivenUp { error } => Settled::GivenUp { error },
        Ended::Again { error, .. } => match wait_after(delivery.attempts) {
            Some(wait) => Settled::Again { at: now.plus(wait), error },
            None => Settled::GivenUp { error },
        },
    }
}

/// One line for each attempt: the host, but never the rest of the URL, which may hold a secret.
fn tell(delivery: &Delivery, host: &str, settled: &Settled) {
    let (id, event, attempt) =
        (delivery.what.message, delivery.what.event.0, delivery.attempts + 1);
    match settled {
        Settled::Done => {
            telemetry::record::flow_delivery("done");
            tracing::debug!(%id, event, host, "an application was told");
        }
        Settled::Again { at, error } => {
            telemetry::record::flow_delivery("again");
            tracing::info!(%id, event, host, attempt, next = %at, error, "an application was not told yet");
        }
        Settled::GivenUp { error } => {
            telemetry::record::flow_delivery("given_up");
            tracing::warn!(%id, event, host, attempt, error, "an application was not told; given up");
        }
    }
}

/// Host and port, by which places are counted; a URL that can not be read has a place of its own.
fn host_of(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| {
        let port = url.port_or_known_default().unwrap_or_default();
        Some(format!("{}:{port}", url.host_str()?))
    });
    host.unwrap_or_else(|| "(unreadable)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::NewDelivery;
    use crate::model::Sequence;

    #[test]
    fn a_place_is_told_by_host_and_port_alone() {
        assert_eq!(host_of("https://user:hush@A.example/x?token=hush#hush"), "a.example:443");
        assert_eq!(host_of("http://a.example:8080/%d"), "a.example:8080");
        assert_eq!(host_of("http://[::1]/"), "[::1]:80");
        assert_eq!(host_of("no url"), "(unreadable)");
    }

    #[test]
    fn the_last_attempt_ends_on_the_dead_letter_list() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let delivery = |attempts| Delivery {
            id: 1,
            what: NewDelivery {
                message: MessageId::MIN,
                event: Sequence(1),
                kind: DeliveryKind::Receipt,
                url: "https://a.example/".into(),
            },
            created_at: now,
            attempts,
            due_at: Some(now),
            last_error: None,
        };
        let error = || "x".to_owned();
        let again = || Ended::Again { error: error(), answered: true };
        let at = |seconds| now.plus(Duration::from_secs(seconds));
        assert_eq!(settled(Ended::Done, &delivery(9), now), Settled::Done);
        assert_eq!(
            settled(again(), &delivery(0), now),
            Settled::Again { at: at(60), error: error() }
        );
        assert_eq!(
            settled(again(), &delivery(5), now),
            Settled::Again { at: at(43_200), error: error() }
        );
        assert_eq!(settled(again(), &delivery(6), now), Settled::GivenUp { error: error() });
        let given_up = Ended::GivenUp { error: error() };
        assert_eq!(settled(given_up, &delivery(0), now), Settled::GivenUp { error: error() });
    }
}
