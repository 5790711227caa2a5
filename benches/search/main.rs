//! The search over a large archive: how fast the index is built, and how long answers take.
//!
//! `cargo bench --bench search`. Fills an archive with messages of one seed, asks 200 mixed questions while the index is
//! still behind, waits for it, builds it anew once for its rate, then asks the questions again: each for its first page,
//! and for the page a thousand pages deep (or its last one), six in ten newest first, two oldest first, two by relevance.
//! It tells p50 and p99 by the clock and in time of a processor, and resident memory with the part that is only mapped
//! from files; for what a process needs that only answers, ask again with `--keep` and the same `--dir`. With
//! `--throughput` it compares how fast messages are accepted with the index and without, in turns. With `--burst` it
//! looks for messages during a burst of others, each as soon as it was accepted.

mod meter;
mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use waybill::archive::{
    Archive, ArchiveSettings, Filter, Place, Question, SearchOrder, SearchRequest, StagingLimits,
};

use meter::Meter;
use story::Story;

/// The daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
cargo bench --bench search -- [OPTIONS]
  --messages N     how many messages (default 100000)
  --million        the same as --messages 1000000
  --text N         bytes of text of a message (default 5120)
  --dir DIR        keep the archive in DIR, and use the one that is there
  --keep           do not build the index anew
  --throughput     only compare how fast messages are accepted with the index and without
  --burst          only look for messages while all others are accepted";

/// Accepts under way while the archive is filled.
const TOGETHER: usize = 400;
/// Messages of a page, and pages down to the deep one.
const PAGE: usize = 50;
const DEEP: usize = 1_000;
const QUESTIONS: usize = 200;
/// Between two messages of a burst that are looked for.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Each is looked for again when so many have followed it: a second later, or more.
const PROBES_LATER: u64 = 10;
/// Turns that medians are taken of.
const ROUNDS: usize = 3;

type Trouble = Box<dyn std::error::Error>;

struct Options {
    messages: u64,
    text_bytes: usize,
    dir: Option<PathBuf>,
    keep: bool,
    throughput: bool,
    burst: bool,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = tokio::runtime::Runtime::new()
        .map_err(Trouble::from)
        .and_then(|runtime| runtime.block_on(run(&options)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Trouble> {
    if options.throughput {
        return throughput(options).await;
    }
    if options.burst {
        return burst(options).await;
    }
    let temporary = TempDir::new()?;
    let dir = options.dir.as_deref().unwrap_or(temporary.path());
    let archive = open(dir)?;
    let there = archive.extent()?.messages;
    let questions = Story::questions(QUESTIONS);
    if there < options.messages {
        let rate = fill(&archive, there..options.messages, options.text_bytes).await?;
        println!("filled up to {} messages, {rate:.0} a second, index on", options.messages);
        let progress = archive.search_progress()?;
        println!("the index is {} messages behind:", progress.total - progress.indexed);
        ask(&archive, &questions, "at once", false)?;
    }
    settle(&archive, "caught up").await?;
    if !options.keep {
        archive.reindex();
        settle(&archive, "built anew").await?;
    }
    for (kind, bytes) in archive.disk_usage() {
        println!("{kind:>9}: {} MiB", bytes >> 20);
    }
    meter::memory("before");
    ask(&archive, &questions, "first page", false)?;
    ask(&archive, &questions, "again", false)?;
    meter::memory("after first pages");
    ask(&archive, &questions, "deep page", true)?;
    meter::memory("after deep pages");
    archive.close().await;
    Ok(())
}

/// Accepts all messages, and now and then one more that is looked for at once; then asks everything
/// while the index is behind.
async fn burst(options: &Options) -> Result<(), Trouble> {
    let dir = TempDir::new()?;
    let archive = open(dir.path())?;
    let others = archive.clone();
    let (count, text_bytes) = (options.messages, options.text_bytes);
    let filling = tokio::spawn(async move {
        fill(&others, 0..count, text_bytes).await.map_err(|trouble| trouble.to_string())
    });
    let (mut at_once, mut later) = (Probes::default(), Probes::default());
    let mut number = count;
    while !filling.is_finished() {
        tokio::time::sleep(PROBE_PAUSE).await;
        archive.accept(Story::new(number).message(text_bytes)).await?;
        at_once.look_for(&archive, number)?;
        if let Some(earlier) = number.checked_sub(PROBES_LATER).filter(|it| *it >= count) {
            later.look_for(&archive, earlier)?;
        }
        number += 1;
    }
    let rate = filling.await??;
    let progress = archive.search_progress()?;
    let behind = progress.total - progress.indexed;
    println!("{rate:.0} a second, then the index is {behind} behind");
    at_once.tell("as soon as accepted");
    later.tell("a second or more later");
    ask(&archive, &Story::questions(QUESTIONS), "behind", false)?;
    meter::memory("after the burst");
    archive.close().await;
    Ok(())
}

/// What came of looking for single messages.
#[derive(Default)]
struct Probes {
    clock: Vec<Duration>,
    busy: Vec<Duration>,
    missed: usize,
}

impl Probes {
    /// By its reference, which two others have at most; only the first page counts.
    fn look_for(&mut self, archive: &Archive, number: u64) -> Result<(), Trouble> {
        let question = Question::parse(&format!("ref:INV-{}", number / 3)).map_err(|e| e.detail)?;
        let meter = Meter::start();
        let found = page(archive, &question, SearchOrder::Newest, None, PAGE)?.0;
        let (clock, busy) = meter.end();
        self.missed += usize::from(found == 0);
        self.clock.push(clock);
        self.busy.push(busy);
        Ok(())
    }

    fn tell(&mut self, when: &str) {
        println!("looked for {when}: {}, not found: {}", self.clock.len(), self.missed);
        tell("by the clock", &mut self.clock);
        tell("processor", &mut self.busy);
    }
}

/// Submissions a second with the index and without, in turns.
async fn throughput(options: &Options) -> Result<(), Trouble> {
    let mut rates: [Vec<f64>; 2] = Default::default();
    for round in 0..ROUNDS {
        for (which, is_on) in [(0, false), (1, true)] {
            let dir = TempDir::new()?;
            if !is_on {
                // With a file in its place there is no index.
                std::fs::write(dir.path().join("search"), "")?;
            }
            let archive = open(dir.path())?;
            let rate = fill(&archive, 0..options.messages, options.text_bytes).await?;
            let behind = archive.search_progress()?;
            let name = if is_on { "on" } else { "off" };
            let behind = behind.total - behind.indexed;
            println!("round {round}, index {name:<3}: {rate:.0} a second, then {behind} behind");
            rates[which].push(rate);
            archive.close().await;
        }
    }
    let [off, on] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    println!("medians: {off:.0} off, {on:.0} on, {:.0} %", on / off * 100.0);
    Ok(())
}

async fn fill(
    archive: &Archive,
    numbers: std::ops::Range<u64>,
    text_bytes: usize,
) -> Result<f64, Trouble> {
    let (begin, count) = (Instant::now(), numbers.end - numbers.start);
    let mut running = JoinSet::new();
    for number in numbers {
        let (archive, message) = (archive.clone(), Story::new(number).message(text_bytes));
        running.spawn(async move { archive.accept(message).await.map(|_| ()) });
        if running.len() >= TOGETHER
            && let Some(done) = running.join_next().await
        {
            done??;
        }
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// Waits for the index, and tells what it cost: by the clock, and in time of a processor, which does
/// not depend on what else the machine does.
async fn settle(archive: &Archive, what: &str) -> Result<(), Trouble> {
    let (begin, busy) = (Instant::now(), meter::indexing_seconds());
    let mut from = None;
    loop {
        let progress = archive.search_progress()?;
        if progress.is_given_up {
            return Err("the index was given up".into());
        }
        // At the start it is not known yet what the index has; while it is built anew, it has nothing.
        if from.is_none() && (progress.indexed > 0 || progress.is_rebuilding) {
            from = Some(progress.indexed);
        }
        if !progress.is_rebuilding && progress.indexed == progress.total {
            let seconds = begin.elapsed().as_secs_f64();
            let busy = meter::indexing_seconds() - busy;
            let count = progress.total - from.unwrap_or(progress.total);
            if count == 0 {
                println!("{what}: the index had everything");
                return Ok(());
            }
            println!(
                "{what}: {count} messages in {seconds:.1} s, {:.0} a second; {:.0} a second of a processor",
                count as f64 / seconds,
                count as f64 / busy,
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where the page a thousand pages deep begins, or the last one.
fn deep(
    archive: &Archive,
    question: &Question,
    order: SearchOrder,
) -> Result<Option<Place>, Trouble> {
    let mut after = None;
    for _ in 0..DEEP * PAGE / 500 {
        match page(archive, question, order, after, 500)?.1 {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(after)
}

fn page(
    archive: &Archive,
    question: &Question,
    order: SearchOrder,
    after: Option<Place>,
    limit: usize,
) -> Result<(usize, Option<Place>), Trouble> {
    let filter = Filter::default();
    let question = Some(question);
    let request = SearchRequest { question, filter: &filter, read: None, order, after, limit };
    let found = archive.search(&request)?;
    Ok((found.items.len(), found.next))
}

/// Asks everything, each three times: the first answer is what a person waits for, the fastest one is
/// what it costs where others use the machine too.
fn ask(archive: &Archive, questions: &[String], what: &str, is_deep: bool) -> Result<(), Trouble> {
    let (mut first, mut fastest, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let mut slowest = Vec::new();
    for (number, q) in questions.iter().enumerate() {
        let question = Question::parse(q).map_err(|error| format!("{q}: {}", error.detail))?;
        let order = match number % 10 {
            0..=5 => SearchOrder::Newest,
            6..=7 => SearchOrder::Oldest,
            _ => SearchOrder::Relevance,
        };
        let after = if is_deep { deep(archive, &question, order)? } else { None };
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..3 {
            let meter = Meter::start();
            found = page(archive, &question, order, after, PAGE)?.0;
            times.push(meter.end());
        }
        first.push(times[0].0);
        busy.push(times[0].1);
        let least = times.iter().map(|(wall, _)| *wall).min().unwrap_or_default();
        fastest.push(least);
        slowest.push((times[0].1, q.as_str(), order, found));
    }
    println!("{what}:");
    tell("by the clock", &mut first);
    tell("processor", &mut busy);
    tell("fastest", &mut fastest);
    slowest.sort_by_key(|asked| asked.0);
    for (time, q, order, found) in slowest.iter().rev().take(6) {
        let time = time.as_secs_f64() * 1e3;
        println!("{time:>22.2} ms  {found:>3} found  {order:?}  {q}");
    }
    Ok(())
}

fn tell(name: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: usize| match times.get((times.len() * part / 100).min(times.len().max(1) - 1)) {
        Some(time) => time.as_secs_f64() * 1e3,
        None => 0.0,
    };
    let (p50, p99, most) = (at(50), at(99), at(100));
    println!("{name:>14}: p50 {p50:.2} ms, p99 {p99:.2} ms, most {most:.2} ms");
}

fn open(dir: &Path) -> Result<Archive, Trouble> {
    use waybill::archive::settings::{
        DEFAULT_CACHE_BYTES, DEFAULT_RESERVE_BYTES, DEFAULT_VOLUME_BYTES,
    };
    Ok(Archive::open(&ArchiveSettings {
        data_dir: dir.to_owned(),
        cache_bytes: DEFAULT_CACHE_BYTES,
        volume_bytes: DEFAULT_VOLUME_BYTES,
        reserve_bytes: DEFAULT_RESERVE_BYTES,
        staging: StagingLimits::default(),
    })?)
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        messages: 100_000,
        text_bytes: 5 << 10,
        dir: None,
        keep: false,
        throughput: false,
        burst: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match argument.as_str() {
            // What cargo itself says.
            "--bench" => {}
            "--messages" => options.messages = number(value()?)?.clamp(1, 20_000_000),
            "--million" => options.messages = 1_000_000,
            "--text" => options.text_bytes = number(value()?)?.clamp(64, 1 << 20) as usize,
            "--keep" => options.keep = true,
            "--throughput" => options.throughput = true,
            "--burst" => options.burst = true,
            "--dir" => options.dir = Some(value()?.into()),
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok(options)
}
