//! One small function for each metric: the only way in which other rooms record anything.
//!
//! Each takes the labels in the order of the table and a number in the table's unit, or a
//! `Duration`. Recording never fails and never blocks; before `Metrics::install` it does nothing.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::metrics as table;

/// A submission ended: `accepted`, `deferred` (4yz, 503) or `refused` (5yz, 4xx). `app` is empty
/// when it was refused before its app was known.
pub fn submission(channel: &'static str, app: &str, outcome: &'static str) {
    let app = app.to_owned();
    counter!(table::SUBMISSIONS, "channel" => channel, "app" => app, "outcome" => outcome)
        .increment(1);
}

/// How many recipients stand in a status now.
pub fn recipients(status: &'static str, count: u64) {
    gauge!(table::RECIPIENTS, "status" => status).set(count as f64);
}

/// So many recipients of one transaction had this outcome.
pub fn attempts(upstream: &str, outcome: &'static str, count: u64) {
    counter!(table::ATTEMPTS, "upstream" => upstream.to_owned(), "outcome" => outcome)
        .increment(count);
}

/// One relay transaction took so long.
pub fn attempt_duration(upstream: &str, duration: Duration) {
    histogram!(table::ATTEMPT_DURATION, "upstream" => upstream.to_owned()).record(duration);
}

/// A recipient was sent so long after it could first leave: the hold does not count.
pub fn time_to_send(channel: &'static str, duration: Duration) {
    histogram!(table::TIME_TO_SEND, "channel" => channel).record(duration);
}

/// Age of the oldest message that waits without being held; `None` when none does.
pub fn queue_oldest(age: Option<Duration>) {
    gauge!(table::QUEUE_OLDEST).set(age.unwrap_or_default().as_secs_f64());
}

/// One durable commit: how long it took and how many changes shared it.
pub fn commit(duration: Duration, batch_size: usize) {
    histogram!(table::COMMIT_DURATION).record(duration);
    histogram!(table::COMMIT_BATCH).record(batch_size as f64);
}

/// Size on disk of one kind of file: `records`, `volumes`, …
pub fn archive_bytes(kind: &'static str, bytes: u64) {
    gauge!(table::ARCHIVE_BYTES, "kind" => kind).set(bytes as f64);
}

/// How many messages the archive holds.
pub fn archive_messages(count: u64) {
    gauge!(table::ARCHIVE_MESSAGES).set(count as f64);
}

/// One HTTP request was answered. `route` is the pattern that matched, never the path.
pub fn http_request(listener: &'static str, route: &str, status: u16, duration: Duration) {
    let (route, status) = (route.to_owned(), status.to_string());
    histogram!(table::HTTP_DURATION, "listener" => listener, "route" => route, "status" => status)
        .record(duration);
}

/// A provider told something, or somebody claimed to be one.
pub fn feedback(kind: &'static str) {
    counter!(table::FEEDBACK, "kind" => kind).increment(1);
}

/// Opens and clicks: those of persons, and those of machines. What there was none of is there with 0, so that
/// the first one of a kind is a growth.
pub fn hits(opens: (u64, u64), clicks: (u64, u64)) {
    for (name, (persons, machines)) in [(table::OPENS, opens), (table::CLICKS, clicks)] {
        for (automated, count) in [("false", persons), ("true", machines)] {
            counter!(name, "automated" => automated).increment(count);
        }
    }
}

/// One attempt to tell an application of an event ended.
pub fn flow_delivery(outcome: &'static str) {
    counter!(table::FLOW_DELIVERIES, "outcome" => outcome).increment(1);
}

/// Somebody tried to log in to the admin API: `success`, `wrong`, `locked` or `busy`.
pub fn login(outcome: &'static str) {
    counter!(table::LOGIN, "outcome" => outcome).increment(1);
}

/// Which version runs.
pub(super) fn build_info(version: &'static str) {
    gauge!(table::BUILD_INFO, "version" => version).set(1.0);
}

/// Counts one open SMTP connection for as long as it lives.
#[derive(Debug)]
pub struct SmtpConnection(());

impl SmtpConnection {
    /// The connection is open.
    pub fn open() -> SmtpConnection {
        gauge!(table::SMTP_CONNECTIONS).increment(1.0);
        SmtpConnection(())
    }
}

impl Drop for SmtpConnection {
    fn drop(&mut self) {
        gauge!(table::SMTP_CONNECTIONS).decrement(1.0);
    }
}
