//! What is not about one channel: `data_dir`, `hostname`, `log`, `[archive]`, `[queue]`, and the
//! ports of administrators, Prometheus, SMS and the public.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::Environment;
use super::address::{FilePath, HOSTNAME, LISTEN};
use super::kind::{Choice, Kind, List, Spot};
use super::later::Retention;
use super::listener::Ports;
use super::measure::{LONGEST, Period, Size, duration_advice};
use super::section::Section;
use crate::account::Role;
use crate::admin::AdminSettings;
use crate::archive::settings::{DEFAULT_CACHE_BYTES, DEFAULT_RESERVE_BYTES, DEFAULT_VOLUME_BYTES};
use crate::archive::{ArchiveSettings, StagingLimits};
use crate::flow::FailureReports;
use crate::lifecycle::RetrySchedule;
use crate::model::{Domain, parse_duration, write_duration};
use crate::telemetry::settings::{LogFormat, LogLevel, LogSettings};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const LOG_LEVEL: Choice<LogLevel> = Choice(&[
    ("info", LogLevel::Info),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
]);

const LOG_FORMAT: Choice<LogFormat> =
    Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

const FAILURE_REPORTS: Choice<FailureReports> =
    Choice(&[("asked", FailureReports::Asked), ("always", FailureReports::Always)]);

const ROLE: Choice<Role> = Choice(&[
    ("admin", Role::Admin),
    ("viewer", Role::Viewer),
    ("operator", Role::Operator),
    ("auditor", Role::Auditor),
]);

/// Every server must take 64 KiB (RFC 5321 §4.5.3.1.7); a message is in memory while it is read.
const MESSAGE_SIZE: Size = Size { least: 64 * KIB, most: GIB, example: "50MiB" };
const CACHE: Size = Size { least: MIB, most: 64 * GIB, example: "64MiB" };
const RESERVE: Size = Size { least: MIB, most: 1 << 40, example: "256MiB" };
const VOLUME: Size = Size { least: 16 * MIB, most: 64 * GIB, example: "1GiB" };

/// One wait of the ladder.
const WAIT: Period = Period::new(Duration::from_secs(1), LONGEST, "1m");
const EXPIRE: Period = Period::new(Duration::from_secs(60), LONGEST, "5d");
const SESSION: Period =
    Period::new(Duration::from_secs(60), Duration::from_secs(30 * 86_400), "12h");

pub(super) fn read_data_dir(top: &Section<'_, '_>) -> PathBuf {
    let folder = top.get("data_dir", &FilePath, PathBuf::from("./waybill-data"));
    if folder.exists() && !folder.is_dir() {
        let what = format!("data_dir is {}, which is not a folder", folder.display());
        let advice = "give a folder (it is made if it is not there)";
        top.context.report.error(top.place("data_dir"), what, advice);
    }
    folder
}

/// The machine's own name where none is written, if it can be said in EHLO.
pub(super) fn read_hostname(top: &Section<'_, '_>, environment: &Environment) -> String {
    let machine = environment.machine_name.as_str();
    let usable = machine.is_ascii() && Domain::parse(machine).is_ok();
    let default = if usable { machine.to_lowercase() } else { String::from("localhost") };
    top.get("hostname", &HOSTNAME, default)
}

pub(super) fn read_log(top: &Section<'_, '_>) -> LogSettings {
    top.table("log", |log| LogSettings {
        level: log.get("level", &LOG_LEVEL, LogLevel::Info),
        format: log.get("format", &LOG_FORMAT, LogFormat::Text),
    })
}

/// `[archive]`: its settings, the largest message, and how long messages are kept.
pub(super) fn read_archive(
    top: &Section<'_, '_>,
    data_dir: PathBuf,
) -> (ArchiveSettings, u64, Retention) {
    top.table("archive", |archive| {
        let retention = archive.get("retention", &RetentionKind, Retention::Forever);
        archive.no_effect_yet("retention");
        let max_message_bytes = archive.get("max_message_size", &MESSAGE_SIZE, 50 * MIB);
        let cache_bytes = archive.get("cache", &CACHE, DEFAULT_CACHE_BYTES as u64);
        let volume_bytes = archive.get("volume_size", &VOLUME, DEFAULT_VOLUME_BYTES);
        let reserve_bytes = archive.get("reserve", &RESERVE, DEFAULT_RESERVE_BYTES);
        if volume_bytes < max_message_bytes {
            archive.context.report.error(
                archive.place("volume_size"),
                "a message of max_message_size does not fit into a volume of volume_size",
                "raise volume_size or lower max_message_size",
            );
        }
        let cache_bytes = usize::try_from(cache_bytes).unwrap_or(usize::MAX);
        let settings = ArchiveSettings {
            data_dir,
            cache_bytes,
            volume_bytes,
            reserve_bytes,
            staging: StagingLimits::default(),
        };
        (settings, max_message_bytes, retention)
    })
}

pub(super) fn read_queue(top: &Section<'_, '_>) -> (RetrySchedule, FailureReports) {
    let default = RetrySchedule::default();
    top.table("queue", |queue| {
        let waits = queue.get("retry", &List(WAIT), default.waits.clone());
        let expire = queue.get("expire", &EXPIRE, default.expire);
        let failure_reports = queue.get("failure_reports", &FAILURE_REPORTS, FailureReports::Asked);
        let report = &queue.context.report;
        let Some(first) = waits.first().copied() else {
            let what = "the list \"retry\" has no duration";
            let advice =
                "write at least one, such as retry = [\"5m\"], of which the last one repeats";
            report.error(queue.place("retry"), what, advice);
            return (RetrySchedule { expire, ..default.clone() }, failure_reports);
        };
        if expire <= first {
            let what = format!(
                "expire = {:?} is over before the first retry, which comes after {}",
                write_duration(expire),
                write_duration(first)
            );
            let advice = "write a longer expire or a shorter first retry";
            report.warning(queue.place("expire"), what, advice);
        }
        (RetrySchedule { waits, expire }, failure_reports)
    })
}

pub(super) fn read_admin(top: &Section<'_, '_>, ports: &mut Ports) -> Option<AdminSettings> {
    top.table("admin", |admin| {
        let listen = read_listen(admin, 8025, ports);
        let session = admin.get("session", &SESSION, Duration::from_secs(12 * 3600));
        let require_2fa = admin.get("require_2fa", &List(ROLE), Vec::new());
        if listen.is_some_and(|address| !address.ip().to_canonical().is_loopback()) {
            let what = "the admin port speaks plain HTTP, so passwords and tokens cross the network in clear";
            let advice = "listen on 127.0.0.1 and put a TLS proxy before it";
            admin.context.report.warning(admin.place("listen"), what, advice);
        }
        listen.map(|listen| AdminSettings { listen, session, require_2fa })
    })
}

/// `[metrics]`: a port and nothing more.
pub(super) fn read_port(
    top: &Section<'_, '_>,
    key: &'static str,
    port: u16,
    ports: &mut Ports,
) -> Option<SocketAddr> {
    top.table(key, |section| read_listen(section, port, ports))
}

pub(super) fn read_listen(
    section: &Section<'_, '_>,
    port: u16,
    ports: &mut Ports,
) -> Option<SocketAddr> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listen = section.get("listen", &LISTEN, Some(default))?;
    ports.take(listen, section);
    Some(listen)
}

/// `"forever"` or a duration.
pub(super) struct RetentionKind;

impl Kind for RetentionKind {
    type Value = Retention;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Retention> {
        let text = value.as_str().unwrap_or_default();
        if text == "forever" {
            return Some(Retention::Forever);
        }
        match parse_duration(text) {
            Some(kept) if kept < Duration::from_secs(86_400) => {
                spot.is_not(value, "at least a day", "write \"1d\" or more, or \"forever\"")
            }
            Some(kept) if kept > LONGEST => {
                spot.is_not(value, "at most 36500d", "write \"forever\"")
            }
            Some(kept) => Some(Retention::For(kept)),
            None => {
                let advice = format!("{}, or \"forever\"", duration_advice(value, "3650d"));
                spot.is_not(value, "a duration or \"forever\"", advice)
            }
        }
    }

    fn show(&self, value: &Retention) -> toml::Value {
        match value {
            Retention::Forever => "forever".into(),
            Retention::For(kept) => write_duration(*kept).into(),
        }
    }

    fn example(&self) -> String {
        String::from("\"forever\"")
    }
}
