//! Every metric in one table, and their text for Prometheus.
//!
//! A row says name, kind, unit, labels, help and, for a histogram, its buckets; `record` holds one
//! small function for each row, and no other file spells a name. Labels are few and bounded: words
//! of closed lists, names from the configuration, patterns of routes; never an address, an id or
//! anything else that a stranger chooses.
//!
//! There is no HTTP here: the metrics port asks for `Metrics::render`.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// How often `Metrics::upkeep` must be called: what histograms were told waits in memory until then.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// What Prometheus does with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations, counted below each of these bounds.
    Histogram(&'static [f64]),
}

/// A commit, an attempt or a request: from half a millisecond to a minute.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// From when a recipient could first leave to the upstream's reply: retries make days of it.
const LONG_SECONDS: &[f64] = &[
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
    432_000.0,
];
/// Messages of one group commit.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

pub(super) const SUBMISSIONS: &str = "waybill_submissions_total";
pub(super) const RECIPIENTS: &str = "waybill_recipients";
pub(super) const ATTEMPTS: &str = "waybill_attempts_total";
pub(super) const ATTEMPT_DURATION: &str = "waybill_attempt_duration_seconds";
pub(super) const TIME_TO_SEND: &str = "waybill_time_to_send_seconds";
pub(super) const QUEUE_OLDEST: &str = "waybill_queue_oldest_seconds";
pub(super) const COMMIT_DURATION: &str = "waybill_commit_duration_seconds";
pub(super) const COMMIT_BATCH: &str = "waybill_commit_batch_size";
pub(super) const ARCHIVE_BYTES: &str = "waybill_archive_bytes";
pub(super) const ARCHIVE_MESSAGES: &str = "waybill_archive_messages";
pub(super) const SMTP_CONNECTIONS: &str = "waybill_smtp_connections";
pub(super) const HTTP_DURATION: &str = "waybill_http_request_duration_seconds";
pub(super) const FEEDBACK: &str = "waybill_feedback_total";
pub(super) const OPENS: &str = "waybill_opens_total";
pub(super) const CLICKS: &str = "waybill_clicks_total";
pub(super) const FLOW_DELIVERIES: &str = "waybill_flow_deliveries_total";
pub(super) const LOGIN: &str = "waybill_login_total";
pub(super) const BUILD_INFO: &str = "waybill_build_info";

/// Every metric that Waybill has.
pub static METRICS: [Metric; 18] = [
    Metric {
        name: SUBMISSIONS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["channel", "app", "outcome"],
        help: "Submissions by what became of them: accepted, deferred (come back later) or refused.",
    },
    Metric {
        name: RECIPIENTS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["status"],
        help: "Recipients in the archive by status.",
    },
    Metric {
        name: ATTEMPTS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["upstream", "outcome"],
        help: "Attempts to relay one recipient, by outcome: sent, temporary, permanent or unknown.",
    },
    Metric {
        name: ATTEMPT_DURATION,
        kind: Kind::Histogram(SECONDS),
        unit: Unit::Seconds,
        labels: &["upstream"],
        help: "Duration of a relay transaction, waiting for a connection included.",
    },
    Metric {
        name: TIME_TO_SEND,
        kind: Kind::Histogram(LONG_SECONDS),
        unit: Unit::Seconds,
        labels: &["channel"],
        help: "Time from when a recipient could first leave (its hold over) to an upstream's acceptance.",
    },
    Metric {
        name: QUEUE_OLDEST,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: &[],
        help: "Age of the oldest message with a pending recipient that is not held.",
    },
    Metric {
        name: COMMIT_DURATION,
        kind: Kind::Histogram(SECONDS),
        unit: Unit::Seconds,
        labels: &[],
        help: "Duration of a durable commit of the archive.",
    },
    Metric {
        name: COMMIT_BATCH,
        kind: Kind::Histogram(BATCH),
        unit: Unit::Count,
        labels: &[],
        help: "Changes that shared one durable commit.",
    },
    Metric {
        name: ARCHIVE_BYTES,
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: &["kind"],
        help: "Size of the archive: submitted (the messages as they came), and its files on disk by kind.",
    },
    Metric {
        name: ARCHIVE_MESSAGES,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Messages in the archive.",
    },
    Metric {
        name: SMTP_CONNECTIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Open SMTP connections of applications.",
    },
    Metric {
        name: HTTP_DURATION,
        kind: Kind::Histogram(SECONDS),
        unit: Unit::Seconds,
        labels: &["listener", "route", "status"],
        help: "Duration of HTTP requests, until the response's head.",
    },
    Metric {
        name: FEEDBACK,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["kind"],
        help: "What providers and mail systems told us: underway, deferred, delivered, failed, bounced, complained, read, unsubscribed, inbound, mail, unmatched_mail, unknown, early, forged or malformed; and hits on links that were lost: hit_dropped.",
    },
    Metric {
        name: OPENS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["automated"],
        help: "Opens of tracked mail, by whether a machine was taken to make them when they came.",
    },
    Metric {
        name: CLICKS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["automated"],
        help: "Clicks on links of tracked mail, by whether a machine was taken to make them when they came.",
    },
    Metric {
        name: FLOW_DELIVERIES,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["outcome"],
        help: "Attempts to tell an application of an event: done, again or given_up.",
    },
    Metric {
        name: LOGIN,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["outcome"],
        help: "Logins to the admin API: success, wrong, locked (too many were wrong) or busy.",
    },
    Metric {
        name: BUILD_INFO,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["version"],
        help: "Always 1; the label says which version runs.",
    },
];

/// Why the metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("the table of metrics is wrong")]
    Table(#[source] BuildError),
    #[error("another recorder of metrics is already installed in this process")]
    Taken,
}

/// The process's metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

impl Metrics {
    /// Installs the recorder and describes every metric; called again it gives the same one, so that
    /// several daemons in one process (tests, the demo) can share it.
    pub fn install() -> Result<Metrics, MetricsError> {
        if let Some(metrics) = INSTALLED.get() {
            return Ok(metrics.clone());
        }
        let recorder = builder()?.build_recorder();
        let metrics = Metrics(recorder.handle());
        if metrics::set_global_recorder(recorder).is_err() {
            return INSTALLED.get().cloned().ok_or(MetricsError::Taken);
        }
        describe();
        super::record::build_info(env!("CARGO_PKG_VERSION"));
        Ok(INSTALLED.get_or_init(|| metrics).clone())
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what was observed into the histograms; call it every `UPKEEP_INTERVAL`.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    METRICS.iter().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Counter | Kind::Gauge => Ok(builder),
        Kind::Histogram(buckets) => builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
            .map_err(MetricsError::Table),
    })
}

fn describe() {
    for metric in &METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::record;

    /// Records everything once into a recorder of its own.
    fn rendered() -> String {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let second = Duration::from_secs(1);
            record::build_info("1.2.3");
            record::submission("email", "erp", "accepted");
            record::recipients("pending", 3);
            record::attempts("provider", "sent", 2);
            record::attempt_duration("provider", second);
            record::time_to_send("email", second);
            record::queue_oldest(Some(second));
            record::commit(second, 7);
            record::archive_bytes("records", 4_096);
            record::archive_messages(5);
            drop(record::SmtpConnection::open());
            record::http_request("admin", "/api/v1/me", 200, second);
            record::feedback("delivered");
            record::hits((2, 1), (1, 0));
            record::flow_delivery("done");
            record::login("success");
        });
        handle.render()
    }

    #[test]
    fn every_row_of_the_table_is_recorded_with_its_labels() {
        let text = rendered();
        for metric in &METRICS {
            let (kind, sample) = match metric.kind {
                Kind::Counter => ("counter", metric.name.to_owned()),
                Kind::Gauge => ("gauge", metric.name.to_owned()),
                Kind::Histogram(_) => ("histogram", format!("{}_count", metric.name)),
            };
            let typed = format!("# TYPE {} {kind}\n", metric.name);
            assert!(text.contains(&typed), "{typed} is missing in\n{text}");
            assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)));
            let line = text.lines().find(|line| {
                line.strip_prefix(&sample).is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            let line = line.unwrap_or_else(|| panic!("{sample} has no sample in\n{text}"));
            for label in metric.labels {
                assert!(line.contains(&format!("{label}=\"")), "{line} lacks {label}");
            }
            assert_eq!(line.matches("=\"").count(), metric.labels.len(), "{line}");
        }
        assert_eq!(text.matches("# TYPE ").count(), METRICS.len(), "not in the table:\n{text}");
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for metric in &METRICS {
            let name = metric.name;
            assert!(name.starts_with("waybill_") && !metric.help.is_empty(), "{name}");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted_by(|a, b| a < b), "{name}");
            }
        }
    }

    #[test]
    fn histograms_have_buckets() {
        let text = rendered();
        assert!(text.contains("waybill_commit_batch_size_bucket{le=\"8\"} 1"), "{text}");
        assert!(text.contains("waybill_commit_batch_size_bucket{le=\"4\"} 0"), "{text}");
    }

    #[test]
    fn installing_twice_gives_the_same_metrics() {
        let first = Metrics::install().unwrap();
        let second = Metrics::install().unwrap();
        record::archive_messages(77);
        second.upkeep();
        assert!(first.render().contains("waybill_archive_messages 77"));
        assert!(second.render().contains("waybill_build_info{version="));
    }
}
