//! Submit-to-relayed throughput and latency of Waybill, beside a stock Postfix and the rig's own ceiling.
//!
//! The load generator submits over SMTP as applications do: without pipelining, one reply awaited for each command. A
//! sink takes what is relayed and notes when it came. The ceiling is the generator sending straight to the sink. All
//! three take turns in every round, so that whatever else the machine does falls on each of them; the table shows
//! medians over the rounds. Both peers keep their files on the same file system.

mod hits;
mod load;
mod message;
mod peer;
#[path = "../../tests/it/support/postfix.rs"]
mod postfix;
mod process;
mod sink;
mod table;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hits::Hits;
use load::{Load, Measured};
use peer::{Peer, PeerKind};
use sink::Sink;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub size_bytes: usize,
    pub sessions: usize,
    /// Whether a session sends all its messages over one connection.
    pub kept: bool,
}

const fn case(name: &'static str, size_bytes: usize, sessions: usize, kept: bool) -> Case {
    Case { name, size_bytes, sessions, kept }
}

const KIB: usize = 1024;
const CASES: [Case; 8] = [
    case("10k-1", 10 * KIB, 1, true),
    case("10k-10", 10 * KIB, 10, true),
    case("10k-50", 10 * KIB, 50, true),
    case("10k-200", 10 * KIB, 200, true),
    case("1k-50", KIB, 50, true),
    case("100k-50", 100 * KIB, 50, true),
    case("1m-10", KIB * KIB, 10, true),
    case("10k-50-new", 10 * KIB, 50, false),
];

struct Options {
    cases: Vec<Case>,
    peers: Vec<PeerKind>,
    rounds: usize,
    submit_for: Duration,
    prefill: usize,
    /// Opens and clicks in a second.
    hits: usize,
}

const USAGE: &str = "\
cargo bench --bench relay_throughput -- [OPTIONS]
  --quick        three cases, one round, under a minute
  --case NAME    only this case (may be repeated): 10k-1 10k-10 10k-50 10k-200 1k-50 100k-50 1m-10 10k-50-new
  --peer NAME    only this peer (may be repeated): rig postfix waybill
  --rounds N     rounds that medians are taken of (default 3)
  --seconds N    how long each measurement submits (default 5)
  --prefill N    archive N messages of 1 KiB in Waybill before measuring
  --hits N       only compare how fast Waybill accepts alone, while N opens and clicks a second come to it, and while
                 they go to somebody else on this machine, in turns (default cases: 10k-1 10k-10 10k-50)";

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    process::end_children_on_signal();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        cases: Vec::new(),
        peers: Vec::new(),
        rounds: 3,
        submit_for: Duration::from_secs(5),
        prefill: 0,
        hits: 0,
    };
    let mut arguments = arguments.peekable();
    let mut quick = false;
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse::<usize>().ok());
            value.ok_or(format!("{argument} needs a number"))
        };
        match argument.as_str() {
            // Cargo says this to every benchmark.
            "--bench" => {}
            "--quick" => quick = true,
            "--rounds" => options.rounds = number()?.max(1),
            "--seconds" => options.submit_for = Duration::from_secs(number()?.max(1) as u64),
            "--prefill" => options.prefill = number()?,
            "--hits" => options.hits = number()?.max(1),
            "--case" => {
                let name = arguments.next().unwrap_or_default();
                let case = CASES.into_iter().find(|case| case.name == name);
                options.cases.push(case.ok_or(format!("there is no case `{name}`"))?);
            }
            "--peer" => options.peers.push(match arguments.next().as_deref() {
                Some("rig") => PeerKind::Rig,
                Some("postfix") => PeerKind::Postfix,
                Some("waybill") => PeerKind::Waybill,
                other => return Err(format!("there is no peer `{}`", other.unwrap_or_default())),
            }),
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    if quick {
        options.rounds = 1;
        options.submit_for = Duration::from_secs(2);
    }
    if options.hits > 0 {
        options.peers = vec![PeerKind::Waybill];
    } else if options.peers.is_empty() {
        options.peers = vec![PeerKind::Rig, PeerKind::Postfix, PeerKind::Waybill];
    }
    if options.cases.is_empty() {
        let wanted = |case: &Case| match (options.hits > 0, quick) {
            (true, _) => ["10k-1", "10k-10", "10k-50"].contains(&case.name),
            (false, true) => ["10k-1", "10k-50", "1k-50"].contains(&case.name),
            (false, false) => true,
        };
        options.cases = CASES.into_iter().filter(wanted).collect();
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let workspace = peer::workspace().map_err(|e| format!("no place for the files: {e}"))?;
    let sink = Sink::start().map_err(|e| format!("the sink does not start: {e}"))?;
    let mut peers = Vec::new();
    for kind in &options.peers {
        match Peer::start(*kind, workspace.path(), sink.port()) {
            Ok(peer) => peers.push(peer),
            Err(reason) if *kind == PeerKind::Postfix => println!("without Postfix: {reason}"),
            Err(reason) => return Err(reason),
        }
    }
    println!("{}", table::preamble(&peers));
    if let Some(waybill) = peers.iter_mut().find(|peer| peer.kind == PeerKind::Waybill) {
        prefill(waybill, &sink, options.prefill)?;
        if options.hits > 0 {
            return beside_hits(waybill, &sink, options);
        }
    }
    let mut results = Vec::new();
    for case in &options.cases {
        for round in 1..=options.rounds {
            for peer in &mut peers {
                let measured = measure(peer, &sink, *case, options.submit_for)?;
                println!("{}", table::progress(case, round, peer.kind, &measured));
                results.push((*case, peer.kind, measured));
            }
        }
    }
    println!("\n{}", table::table(&options.cases, &results));
    println!("load average after: {}", process::load_average());
    Ok(())
}

/// One measurement of one peer, from the first connection until everything that was accepted has arrived.
fn measure(
    peer: &mut Peer,
    sink: &Sink,
    case: Case,
    submit_for: Duration,
) -> Result<Measured, String> {
    let before = peer.usage();
    sink.reset();
    let load = Load { port: peer.port(), case, submit_for, limit: usize::MAX };
    let mut measured = load.run().map_err(|e| format!("{:?}, {}: {e}", peer.kind, case.name))?;
    measured.wait_for_relayed(sink).map_err(|e| format!("{:?}, {}: {e}", peer.kind, case.name))?;
    peer.check_alive()?;
    measured.usage = peer.usage().since(&before);
    Ok(measured)
}

/// Where hits go in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HitsGo {
    Nowhere,
    ToAnother,
    ToWaybill,
}

/// How fast Waybill accepts with hits and without, in turns.
fn beside_hits(waybill: &mut Peer, sink: &Sink, options: &Options) -> Result<(), String> {
    let (public, metrics) = waybill.other_ports().ok_or("there is no port for hits")?;
    let another = hits::start_answerer().map_err(|e| format!("the answerer: {e}"))?;
    sink.keep_paths();
    let submitted = hits::submit_tracked(waybill.port())?;
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while sink.arrived().messages < submitted && std::time::Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    let paths = Arc::new(sink.take_paths());
    if paths.len() != 2 * submitted {
        return Err(format!("{submitted} tracked mails brought {} links and pixels", paths.len()));
    }
    for case in &options.cases {
        let mut results = Vec::new();
        for _ in 0..options.rounds {
            for go in [HitsGo::Nowhere, HitsGo::ToAnother, HitsGo::ToWaybill] {
                let port = match go {
                    HitsGo::Nowhere => None,
                    HitsGo::ToAnother => Some(another),
                    HitsGo::ToWaybill => Some(public),
                };
                let before = hits::recorded(metrics)?;
                let hits = port.map(|port| Hits::start(port, paths.clone(), options.hits));
                let measured = measure(waybill, sink, *case, options.submit_for)?;
                let answered = hits.map_or(Ok(0.0), Hits::end)?;
                // What still waits for the archive is recorded soon.
                std::thread::sleep(Duration::from_secs(1));
                results.push((go, measured, answered, hits::recorded(metrics)? - before));
            }
        }
        println!("{}", table::beside_hits(case, &results));
    }
    Ok(())
}

fn prefill(waybill: &mut Peer, sink: &Sink, messages: usize) -> Result<(), String> {
    if messages == 0 {
        return Ok(());
    }
    sink.reset();
    let case = case("prefill", KIB, 100, true);
    let load =
        Load { port: waybill.port(), case, submit_for: Duration::from_secs(3600), limit: messages };
    let mut measured = load.run().map_err(|e| format!("prefill: {e}"))?;
    measured.wait_for_relayed(sink)?;
    println!("prefilled with {} messages in {:.0?}", measured.accepted, measured.submitting);
    Ok(())
}
