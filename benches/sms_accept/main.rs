//! Durable accepts of SMS over HTTP, and their latency, beside Kannel.
//!
//! The load generator calls Kannel's sendsms as applications do, over connections that are kept, one
//! answer awaited for each call, every call to another number. A provider takes what is relayed.
//! Waybill and Kannel (when Debian's package is installed) take turns in every round; the table shows
//! medians over the rounds. Kannel writes its store without a sync, so its answer promises less.

mod load;
mod peer;
#[path = "../relay_throughput/process.rs"]
#[allow(dead_code)]
mod process;
mod provider;

use std::process::ExitCode;
use std::time::Duration;

use load::Measured;
use peer::{Peer, PeerKind};
use provider::Provider;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub connections: usize,
    /// Mails a second that go through Waybill at the same time.
    pub mails_per_second: u32,
}

const CASES: [Case; 4] = [
    Case { name: "1", connections: 1, mails_per_second: 0 },
    Case { name: "50", connections: 50, mails_per_second: 0 },
    Case { name: "200", connections: 200, mails_per_second: 0 },
    Case { name: "50-mail", connections: 50, mails_per_second: 200 },
];

const USAGE: &str = "\
cargo bench --bench sms_accept -- [OPTIONS]
  --quick        two cases, one round of 2 seconds
  --rounds N     rounds that medians are taken of (default 3)
  --seconds N    how long each measurement submits (default 5)";

fn main() -> ExitCode {
    process::end_children_on_signal();
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    cases: Vec<Case>,
    rounds: usize,
    submit_for: Duration,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options =
        Options { cases: CASES.to_vec(), rounds: 3, submit_for: Duration::from_secs(5) };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse::<usize>().ok());
            value.filter(|n| *n > 0).ok_or(format!("{argument} needs a number\n{USAGE}"))
        };
        match argument.as_str() {
            // Cargo says this to every benchmark.
            "--bench" => {}
            "--quick" => {
                options.rounds = 1;
                options.submit_for = Duration::from_secs(2);
                options.cases.retain(|case| ["50", "50-mail"].contains(&case.name));
            }
            "--rounds" => options.rounds = number()?,
            "--seconds" => options.submit_for = Duration::from_secs(number()? as u64),
            other => return Err(format!("unknown argument `{other}`\n{USAGE}")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .map_err(|error| format!("no place for the files: {error}"))?;
    let provider = Provider::start().map_err(|e| format!("the provider does not start: {e}"))?;
    let mut peers = Vec::new();
    for kind in [PeerKind::Waybill, PeerKind::Kannel] {
        match Peer::start(kind, folder.path(), provider.port()) {
            Ok(peer) => peers.push(peer),
            Err(reason) if kind == PeerKind::Kannel => println!("without Kannel: {reason}"),
            Err(reason) => return Err(reason),
        }
    }
    println!("load {}", process::load_average());
    let mut results: Vec<(Case, PeerKind, Measured)> = Vec::new();
    for round in 1..=options.rounds {
        for case in &options.cases {
            for peer in &mut peers {
                if case.mails_per_second > 0 && peer.smtp().is_none() {
                    continue;
                }
                let measured = match load::run(case, peer, options.submit_for) {
                    Ok(measured) => measured,
                    // It drops connections when there are many.
                    Err(reason) if peer.kind() == PeerKind::Kannel => {
                        println!("round {round}  {:<8} kannel   {reason}", case.name);
                        continue;
                    }
                    Err(reason) => return Err(reason),
                };
                peer.drain(&provider);
                println!("round {round}  {:<8} {:<8} {measured}", case.name, peer.kind().name());
                results.push((*case, peer.kind(), measured));
            }
        }
    }
    print_table(&options.cases, &results);
    Ok(())
}

fn print_table(cases: &[Case], results: &[(Case, PeerKind, Measured)]) {
    println!("\n| connections | peer | accepted/s | p50 ms | p99 ms | Waybill to Kannel |");
    println!("|---|---|---|---|---|---|");
    let of = |case: &Case, kind| {
        let rows: Vec<&Measured> = results
            .iter()
            .filter(|(of, by, _)| of.name == case.name && *by == kind)
            .map(|(_, _, measured)| measured)
            .collect();
        let middle = |value: fn(&Measured) -> f64| {
            let mut values: Vec<f64> = rows.iter().map(|row| value(row)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some((
            middle(Measured::per_second)?,
            middle(|m| m.quantile_ms(0.5))?,
            middle(|m| m.quantile_ms(0.99))?,
        ))
    };
    for case in cases {
        let (waybill, kannel) = (of(case, PeerKind::Waybill), of(case, PeerKind::Kannel));
        let ratio = waybill.zip(kannel).map(|(w, k)| format!("{:.2}x", w.0 / k.0));
        for (kind, row) in [(PeerKind::Waybill, waybill), (PeerKind::Kannel, kannel)] {
            let Some((rate, p50, p99)) = row else { continue };
            let ratio = ratio.as_deref().filter(|_| kind == PeerKind::Waybill).unwrap_or("");
            let name = kind.name();
            println!("| {} | {name} | {rate:.0} | {p50:.1} | {p99:.1} | {ratio} |", case.name);
        }
    }
}
