//! From the configuration file to the checked settings of every room.
//!
//! It takes a path, or none for the built-in defaults, and gives [`Loaded`]: the typed settings,
//! warnings, notices about keys that have no effect yet, and the effective configuration as TOML
//! with secrets hidden. All mistakes are reported in one go, each with its place in the file and
//! with what to write instead. What is checked here is not checked again by the rooms.
//!
//! It reads the file, the files that it names (secrets, certificates) and the environment; it
//! writes nothing. Nobody below this floor imports it: each room declares its own settings.
//!
//! Modules in reading order: `problem` (what is wrong and where), `section` (one table, key by
//! key), `kind`, `measure`, `address`, `pattern`, `secret`, `pem` (kinds of values), then the
//! tables: `general`, `listener`, `sms`, `app`, `app_sms`, `upstream`, `upstream_events`,
//! `upstream_sms`, `route`,
//! `feedback`; `later` holds the settings of rooms that do not exist yet.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

mod address;
mod app;
mod app_sms;
mod effective;
mod environment;
mod feedback;
mod general;
mod kind;
pub mod later;
mod listener;
mod measure;
mod pattern;
mod pem;
mod problem;
mod route;
mod secret;
mod section;
pub mod sms;
mod upstream;
mod upstream_events;
mod upstream_sms;

#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use feedback::TrackingSettings;
pub use later::Later;
pub use pattern::Glob;
pub use problem::{Problem, Severity};

use crate::admin::AdminSettings;
use crate::archive::ArchiveSettings;
use crate::events::EventSource;
use crate::feedback::settings::ReturnPathSettings;
use crate::flow::{FailureReports, Flow};
use crate::intake::KeywordSettings;
use crate::lifecycle::RetrySchedule;
use crate::model::UpstreamName;
use crate::net::TlsSettings;
use crate::policy::{Apps, Routes};
use crate::relay::SmtpUpstream;
use crate::rewrite::DkimSigner;
use crate::sms::SmsUpstream;
use crate::submission::{SmsPortSettings, SmtpSettings};
use crate::telemetry::LogSettings;
use listener::{Ports, Surroundings};
use problem::{Report, Scope};
use section::{Context, Section};
use sms::PublicSettings;
use upstream::UpstreamSettings;

/// A configuration of thousands of apps has some hundred kilobytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The settings of every room.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    /// In EHLO, the greeting and `Received`.
    pub hostname: String,
    pub log: LogSettings,
    pub archive: ArchiveSettings,
    pub smtp: SmtpSettings,
    pub tls: Option<TlsSettings>,
    pub apps: Apps,
    pub routes: Routes,
    /// Those of kind `smtp`, in the order of the file.
    pub upstreams: Vec<SmtpUpstream>,
    /// Who tells what became of the mail of which of them.
    pub mail_events: Vec<(UpstreamName, EventSource)>,
    /// Those of the SMS providers with an HTTP API.
    pub sms_upstreams: Vec<SmsUpstream>,
    pub flows: Vec<Flow>,
    /// `None` is off.
    pub sms: Option<SmsPortSettings>,
    pub keywords: KeywordSettings,
    pub public: PublicSettings,
    /// `None` is off.
    pub tracking: Option<TrackingSettings>,
    /// The keys that sign.
    pub dkim: Arc<Vec<DkimSigner>>,
    /// `None` is off: bounces go where the application said.
    pub feedback: Option<ReturnPathSettings>,
    pub queue: RetrySchedule,
    /// Which senders hear by mail of what fails.
    pub failure_reports: FailureReports,
    /// `None` is off.
    pub admin: Option<AdminSettings>,
    /// `None` is off.
    pub metrics: Option<SocketAddr>,
    /// What no room takes yet.
    pub later: Later,
}

/// A configuration that can be used, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
    /// Keys without effect in this version.
    pub notices: Vec<Problem>,
    /// The effective configuration as TOML, defaults included, secrets hidden.
    pub effective: String,
}

impl Config {
    /// Reads and checks a file; without one, the built-in defaults. Where there are errors they are
    /// given in the order of the file, the warnings among them; notices can wait.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Loaded, Vec<Problem>> {
        let Some(path) = path else {
            return Config::parse(None, "", environment);
        };
        let (source, is_open) = read_source(path).map_err(|problem| vec![problem])?;
        let open_path = is_open.then_some(path);
        Config::check(Some(path), &source, environment, open_path)
    }

    /// Checks the text of a file; `path` is its name in messages and where relative paths start.
    pub fn parse(
        path: Option<&Path>,
        source: &str,
        environment: &Environment,
    ) -> Result<Loaded, Vec<Problem>> {
        Config::check(path, source, environment, None)
    }

    fn check(
        path: Option<&Path>,
        source: &str,
        environment: &Environment,
        open_path: Option<&Path>,
    ) -> Result<Loaded, Vec<Problem>> {
        let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let report = Report::new(path.map(|path| path.display().to_string()), source);
        let context = Context::new(report, environment, base);
        let (document, syntax) = DeTable::parse_recoverable(source);
        for error in &syntax {
            explain_syntax(&context.report, error);
        }
        let entries = path.map(|_| document.get_ref());
        let (config, effective) =
            Section::document(&context, entries, |top| read(top, environment));
        context.report_unknown_keys();
        if let Some(path) = open_path {
            context.check_inline_secrets(path);
        }
        let problems = context.report.into_sorted();
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        let is_invalid = problems.iter().any(is_error);
        let (notices, rest): (Vec<Problem>, Vec<Problem>) =
            problems.into_iter().partition(|problem| problem.severity == Severity::Notice);
        if is_invalid {
            return Err(rest);
        }
        let warnings = rest;
        Ok(Loaded { config, warnings, notices, effective: effective.to_toml() })
    }
}

/// Reads every table. Ports come before upstreams, which must not lead back to them.
fn read(top: &Section<'_, '_>, environment: &Environment) -> Config {
    let ports = &mut Ports::default();
    let data_dir = general::read_data_dir(top);
    let hostname = general::read_hostname(top, environment);
    let log = general::read_log(top);
    let (archive, max_message_bytes, retention) = general::read_archive(top, data_dir.clone());
    let tls = top.optional_table("tls", pem::read_tls);
    let has_tls = top.is_set("tls");
    let (read_apps, has_credentials) = app::read_apps(top);
    let around = Surroundings { has_tls, has_credentials };
    let smtp = listener::read_smtp(top, &hostname, max_message_bytes, around, ports);
    app::check_reachable(top, &read_apps, listener::offers_auth(&smtp));
    let (queue, failure_reports) = general::read_queue(top);
    let admin = general::read_admin(top, ports);
    let metrics = general::read_port(top, "metrics", 9025, ports);
    let (sms, keywords) = sms::read_sms(top, has_tls, ports);
    let mut public = sms::read_public(top, has_tls, ports);
    let feedback = feedback::read_feedback(top, has_tls, ports);
    let read_upstreams = upstream::read_upstreams(top, &hostname, ports);
    let names: Vec<_> = read_apps.iter().map(|read| read.app.name.clone()).collect();
    let known = route::Known { apps: &names, upstreams: &read_upstreams };
    let routes = route::read_routes(top, known);
    let tracking = feedback::read_tracking(top, public.url.as_ref());
    public.url = public.url.or(tracking.as_ref().map(|tracking| tracking.public_url.clone()));
    upstream::check_receipts(top, &read_upstreams, &public);
    upstream::check_events(top, &read_upstreams, &public);
    let speaks_sms = read_apps.iter().any(app::ReadApp::speaks_sms);
    upstream::check_channels(top, &read_upstreams, speaks_sms);
    app::check_tracking(top, &read_apps, top.is_set("tracking"));
    let dkim = Arc::new(feedback::read_dkim(top));
    let flows = feedback::read_flows(top);
    let (apps, later_apps) = read_apps.into_iter().map(|read| (read.app, read.later)).unzip();
    let (mut upstreams, mut sms_upstreams, mut smpp) = (Vec::new(), Vec::new(), Vec::new());
    let events =
        read_upstreams.iter().filter_map(|read| read.name.clone().zip(read.events.clone()));
    let mail_events = events.collect();
    for settings in read_upstreams.into_iter().filter_map(|read| read.settings) {
        match settings {
            UpstreamSettings::Smtp(upstream) => upstreams.push(upstream),
            UpstreamSettings::Sms(upstream) => sms_upstreams.push(*upstream),
            UpstreamSettings::Smpp(upstream) => smpp.push(upstream),
        }
    }
    let later = Later { retention, apps: later_apps, upstreams: smpp };
    Config {
        data_dir,
        hostname,
        log,
        archive,
        smtp,
        tls,
        apps: Apps(apps),
        routes,
        upstreams,
        mail_events,
        sms_upstreams,
        flows,
        sms,
        keywords,
        public,
        tracking,
        dkim,
        feedback,
        queue,
        failure_reports,
        admin,
        metrics,
        later,
    }
}

/// The TOML reader's words as a whole message. They never quote the file, which may hold secrets.
fn explain_syntax(report: &Report<'_>, error: &toml::de::Error) {
    let (what, expected) =
        error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let is_empty = error.span().is_some_and(|span| span.is_empty());
    let (scope, what, advice) = match what {
        "string values must be quoted" if is_empty => {
            (Scope::SyntaxOfOneValue, "the value is missing", String::from("write one after \"=\""))
        }
        "string values must be quoted" => (
            Scope::SyntaxOfOneValue,
            what,
            String::from("write the text in quotes, such as \"text\""),
        ),
        "duplicate key" => {
            let advice = "keep one of them (a table that may repeat is written [[…]])";
            (Scope::SyntaxOfOneValue, what, String::from(advice))
        }
        _ if expected.is_empty() => {
            (Scope::Syntax, what, String::from("see https://toml.io for how TOML is written"))
        }
        _ => (Scope::Syntax, what, format!("write {expected} here")),
    };
    report.syntax(error.span(), scope, format!("not TOML: {what}"), advice);
}

/// The text of the file and whether everybody may read it, or the one problem why there is none.
fn read_source(path: &Path) -> Result<(String, bool), Problem> {
    let fail = |position, what: String, advice: &str| Problem {
        severity: Severity::Error,
        file: Some(path.display().to_string()),
        position,
        what,
        advice: advice.to_owned(),
        scope: Scope::Syntax,
    };
    let mut bytes = Vec::new();
    let mut mode = 0;
    let read = File::open(path).and_then(|file| {
        mode = file.metadata()?.permissions().mode();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        let what = format!("the configuration can not be read: {error}");
        return Err(fail(None, what, "give --config a file that is there and that you may read"));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let what = String::from("the configuration is longer than 4 MiB");
        return Err(fail(None, what, "give --config a file in TOML"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let position = Some(problem::position(&text, valid));
        fail(position, String::from("the configuration is not UTF-8"), "save it as UTF-8")
    })?;
    Ok((text, mode & 0o004 != 0))
}
