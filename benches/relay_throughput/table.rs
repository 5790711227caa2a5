//! The table that is printed: one row for each case, medians over the rounds.

use std::fmt::Write as _;
use std::time::Duration;

use super::load::Measured;
use super::peer::{Peer, PeerKind};
use super::process;
use super::{Case, HitsGo};

/// When, on what, with what, and how busy the machine is otherwise.
pub fn preamble(peers: &[Peer]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let versions: Vec<String> = peers.iter().map(Peer::version).collect();
    format!(
        "{}; {cores} cores; load average before: {}\n{}\n",
        jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z"),
        process::load_average(),
        versions.join("; ")
    )
}

/// One line for one measurement, while the others still run.
pub fn progress(case: &Case, round: usize, kind: PeerKind, measured: &Measured) -> String {
    format!(
        "{:<11} round {round} {:<8} {:>6.0} accepted/s {:>6.0} relayed/s  p50 {:>7} p99 {:>7}",
        case.name,
        name(kind),
        measured.accepted_per_second(),
        measured.relayed_per_second(),
        milliseconds(measured.p50),
        milliseconds(measured.p99),
    )
}

fn name(kind: PeerKind) -> &'static str {
    match kind {
        PeerKind::Rig => "rig",
        PeerKind::Postfix => "Postfix",
        PeerKind::Waybill => "Waybill",
    }
}

/// Medians of one peer in one case.
struct Row {
    accepted: f64,
    relayed: f64,
    p50: Duration,
    p99: Duration,
    cpu_per_1000: f64,
    rss_bytes: u64,
}

impl Row {
    fn of(results: &[(Case, PeerKind, Measured)], case: &Case, kind: PeerKind) -> Option<Row> {
        let wanted = |(c, k, m): &(Case, PeerKind, Measured)| {
            (c.name == case.name && *k == kind).then(|| m.clone())
        };
        let all: Vec<Measured> = results.iter().filter_map(wanted).collect();
        if all.is_empty() {
            return None;
        }
        let of = |value: &dyn Fn(&Measured) -> f64| median(all.iter().map(value).collect());
        let seconds = |value: f64| Duration::from_secs_f64(value);
        Some(Row {
            accepted: of(&Measured::accepted_per_second),
            relayed: of(&Measured::relayed_per_second),
            p50: seconds(of(&|m| m.p50.as_secs_f64())),
            p99: seconds(of(&|m| m.p99.as_secs_f64())),
            cpu_per_1000: of(&|m| m.usage.cpu_seconds * 1000.0 / m.accepted.max(1) as f64),
            rss_bytes: all.iter().map(|m| m.usage.peak_rss_bytes).max().unwrap_or(0),
        })
    }

    fn text(&self) -> String {
        format!(
            "{:.0}, {:.0}; {} / {}",
            self.accepted,
            self.relayed,
            milliseconds(self.p50),
            milliseconds(self.p99)
        )
    }

    fn cost(&self) -> String {
        format!("{:.2} s, {} MiB", self.cpu_per_1000, self.rss_bytes >> 20)
    }
}

/// The whole table, in Markdown.
pub fn table(cases: &[Case], results: &[(Case, PeerKind, Measured)]) -> String {
    let mut out = String::from(
        "| case | rig accepted/s | Postfix accepted/s, relayed/s; p50 / p99 | Waybill, the same | accepted, relayed: \
         Waybill to Postfix | CPU for 1000 messages, peak memory: Postfix | Waybill |\n|---|---|---|---|---|---|---|\n",
    );
    for case in cases {
        let row = |kind: PeerKind| Row::of(results, case, kind);
        let (rig, postfix, waybill) =
            (row(PeerKind::Rig), row(PeerKind::Postfix), row(PeerKind::Waybill));
        let ratio = match (&waybill, &postfix) {
            (Some(w), Some(p)) => {
                format!("{:.1}x, {:.1}x", w.accepted / p.accepted, w.relayed / p.relayed)
            }
            _ => String::from("-"),
        };
        let show = |row: &Option<Row>, of: fn(&Row) -> String| row.as_ref().map_or("-".into(), of);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {ratio} | {} | {} |",
            describe(case),
            show(&rig, |r| format!("{:.0}", r.accepted)),
            show(&postfix, Row::text),
            show(&waybill, Row::text),
            show(&postfix, Row::cost),
            show(&waybill, Row::cost),
        );
    }
    out
}

/// Medians of one case with hits and without, and what they are to those without.
pub fn beside_hits(case: &Case, results: &[(HitsGo, Measured, f64, f64)]) -> String {
    let accepted = |go: HitsGo| {
        let turns = results.iter().filter(|(at, ..)| *at == go);
        median(turns.map(|(_, measured, ..)| measured.accepted_per_second()).collect())
    };
    let alone = accepted(HitsGo::Nowhere);
    let mut out = format!("{}\n", describe(case));
    for go in [HitsGo::Nowhere, HitsGo::ToAnother, HitsGo::ToWaybill] {
        let turns = || results.iter().filter(|(at, ..)| *at == go);
        let of =
            |value: fn(&(HitsGo, Measured, f64, f64)) -> f64| median(turns().map(value).collect());
        let milliseconds = |value| milliseconds(Duration::from_secs_f64(value));
        let _ = writeln!(
            out,
            "  hits go {go:?}: {:.0} accepted/s ({:.2}x), p50 {} p99 {}, CPU for 1000 messages {:.2} s; {:.0} hits/s \
             answered, {:.0} recorded in all",
            accepted(go),
            accepted(go) / alone,
            milliseconds(of(|turn| turn.1.p50.as_secs_f64())),
            milliseconds(of(|turn| turn.1.p99.as_secs_f64())),
            of(|turn| turn.1.usage.cpu_seconds * 1000.0 / turn.1.accepted.max(1) as f64),
            of(|turn| turn.2),
            of(|turn| turn.3),
        );
    }
    out
}

fn describe(case: &Case) -> String {
    let size = match case.size_bytes >> 10 {
        kib if kib >= 1024 => format!("{} MiB", kib >> 10),
        kib => format!("{kib} KiB"),
    };
    let connection = if case.kept { "kept" } else { "new each" };
    format!("{size}, {} sessions, {connection}", case.sessions)
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
