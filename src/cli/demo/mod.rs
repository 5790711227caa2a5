//! `waybill demo`: a complete system on loopback.
//!
//! The gateway with a real configuration, an SMTP sink as its smarthost, an SMS provider, and sample
//! messages that go through real sockets from end to end: an invoice with an attachment, a message
//! that is held, a recipient that does not exist, one that answers only the second time; people and
//! machines that open and click, a bounce, a read receipt; SMS in each dialect, with receipts, an answer
//! and an opt-out. It shows the queue while that happens, says what
//! to try, and runs until it is interrupted.

mod progress;
mod readers;
mod samples;
mod sms_provider;
mod sms_samples;
pub mod smtp_sink;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

pub use smtp_sink::{SinkMessage, SmtpSink};

use super::Failure;
use super::run::runtime;
use crate::account::{AppScope, NewToken, Role};
use crate::archive::{Filter, Order, Recipient};
use crate::config::{Config, Environment};
use crate::daemon::{Daemon, now};
use crate::model::RecipientState;
use crate::telemetry::Metrics;
use sms_provider::SmsProvider;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill demo
  waybill demo --data-dir /tmp/waybill-demo    keep what it archives")]
pub(super) struct DemoArgs {
    /// Keep the data here; default: a temporary folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// `config` is a file that was asked for by name; the demo can not take one.
pub(super) fn demo(args: &DemoArgs, config: Option<&Path>) -> Result<(), Failure> {
    if config.is_some() {
        let text = "the demo brings its own configuration; leave --config out";
        return Err(Failure::Usage(text.to_owned()));
    }
    let failed = |what: &'static str| move |error| Failure::Failed(format!("{what}: {error}"));
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(failed("no temporary folder can be made"))?),
    };
    let data_dir = match (&args.data_dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::Failed("there is no data folder".into())),
    };
    let runtime = runtime()?;
    let shown = runtime.block_on(show(&data_dir));
    runtime.shutdown_background();
    shown
}

async fn show(data_dir: &Path) -> Result<(), Failure> {
    let text = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let sink = SmtpSink::start().await.map_err(|error| text(&error))?;
    let provider = SmsProvider::start().await.map_err(|error| text(&error))?;
    let source = configuration(data_dir, sink.address().port(), &provider);
    let config = Config::parse(Some(Path::new("demo.toml")), &source, &Environment::of_process())
        .map_err(Failure::Config)?
        .config;
    let metrics = Metrics::install().map_err(|error| text(&error))?;
    let daemon = Daemon::start(config, metrics).await.map_err(|error| text(&error))?;
    let new = NewToken {
        role: Role::Admin,
        scope: AppScope::of(Vec::new()),
        expires_at: None,
        note: Some("demo".into()),
        created_by: "waybill demo".into(),
    };
    let token = daemon.accounts.create_token(new, now()).await.map_err(|error| text(&error))?.1;
    let Some(smtp) = daemon.addresses.smtp.first().copied() else {
        return Err(Failure::Failed("the demo has no SMTP port".into()));
    };
    let (Some(sms), Some(public)) = (daemon.addresses.sms, daemon.addresses.public) else {
        return Err(Failure::Failed("the demo has no SMS ports".into()));
    };
    let Some(feedback) = daemon.addresses.feedback.first().copied() else {
        return Err(Failure::Failed("the demo has no return path".into()));
    };
    let answers = readers::Answers { public_url: format!("http://{public}"), feedback };
    provider.deliver_inbound_to(format!("http://{public}/hooks/provider/inbound"));
    let mut submitted = samples::submit(smtp).await.map_err(|error| text(&error))?;
    submitted.extend(sms_samples::submit(sms).await.map_err(|error| text(&error))?);
    provider.person_writes("+4520000005", sms_samples::OUR_NUMBER, "STOP");
    let newest = daemon.archive.list(&Filter::default(), Order::Newest, None, submitted.len());
    let newest = newest.map_err(|error| text(&error))?.items;
    let held = newest.iter().find(|message| message.recipients.iter().any(is_held));
    progress::tell_where(&daemon.addresses, &token, &submitted, held.map(|message| message.id));
    tokio::select! {
        () = progress::watch(&daemon.archive, &sink, &provider) => {}
        () = readers::react(&sink, &answers) => {}
        _ = tokio::signal::ctrl_c() => {}
        () = terminated() => {}
    }
    println!("\nStopping; everything that was acknowledged is in the archive.");
    daemon.stop().await;
    Ok(())
}

fn is_held(recipient: &Recipient) -> bool {
    matches!(recipient.state, RecipientState::Held { .. })
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// A configuration as a user would write it; short waits, so that the second try can be watched.
fn configuration(data_dir: &Path, sink_port: u16, provider: &SmsProvider) -> String {
    let port = |wanted: u16| {
        // Whoever has the usual port already gets another one, and is told which. Links name theirs, so it is chosen here.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        free.and_then(|free| free.local_addr()).map_or(0, |address| address.port()).to_string()
    };
    let values = [
        ("data_dir", toml::Value::String(data_dir.display().to_string()).to_string()),
        ("our_number", sms_samples::OUR_NUMBER.to_owned()),
        ("twilio_sid", sms_samples::TWILIO_SID.to_owned()),
        ("token", sms_samples::TOKEN.to_owned()),
        ("sink_port", sink_port.to_string()),
        ("provider_address", provider.address().to_string()),
        ("provider_sid", sms_provider::ACCOUNT_SID.to_owned()),
        ("provider_token", provider.auth_token().expose().to_owned()),
        ("smtp", port(2525)),
        ("sms", port(8026)),
        ("public", port(8027)),
        ("feedback", port(2526)),
        ("admin", port(8025)),
        ("metrics", port(9025)),
    ];
    let template = include_str!("demo.toml").to_owned();
    values.iter().fold(template, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_configuration_has_no_mistakes() {
        let provider = SmsProvider::start().await.unwrap();
        let source = configuration(Path::new("/tmp/a \"quoted\" folder"), 2500, &provider);
        let loaded = Config::parse(Some(Path::new("demo.toml")), &source, &Environment::default());
        let loaded = loaded.unwrap();
        assert_eq!(loaded.config.upstreams.len(), 1);
        // On loopback nobody has a certificate.
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.iter().all(|w| w.contains("public_url is not https")), "{warnings:?}");
    }
}
