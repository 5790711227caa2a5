//! The search over a large archive: how fast the index is built, and how long answers take.
//!
//! `cargo bench --bench search`. Fills an archive with messages of one seed, waits for the index, builds it anew once
//! for its rate on one core, then asks 200 mixed questions: each for its first page, and for the page a thousand pages
//! deep (or its last one). The table shows p50 and p99; resident memory is told at the end, apart from what is only
//! mapped from files.

mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use waybill::archive::{
    Archive, ArchiveSettings, Filter, Place, Question, SearchOrder, SearchRequest, StagingLimits,
};

use story::Story;

const USAGE: &str = "\
cargo bench --bench search -- [OPTIONS]
  --messages N     how many messages (default 100000)
  --million        the same as --messages 1000000
  --text N         bytes of text of a message (default 5120)
  --dir DIR        keep the archive in DIR, and use the one that is there";

/// Accepts under way while the archive is filled.
const TOGETHER: usize = 400;
/// Messages of a page, and pages down to the deep one.
const PAGE: usize = 50;
const DEEP: usize = 1_000;
const QUESTIONS: usize = 200;

type Trouble = Box<dyn std::error::Error>;

struct Options {
    messages: u64,
    text_bytes: usize,
    dir: Option<PathBuf>,
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
    let temporary = TempDir::new()?;
    let dir = options.dir.as_deref().unwrap_or(temporary.path());
    let archive = open(dir)?;
    let there = archive.extent()?.messages;
    if there < options.messages {
        fill(&archive, there..options.messages, options.text_bytes).await?;
    }
    settle(&archive, Instant::now(), "caught up").await?;
    let begin = Instant::now();
    archive.reindex();
    settle(&archive, begin, "built anew").await?;
    for (kind, bytes) in archive.disk_usage() {
        println!("{kind:>9}: {} MiB", bytes >> 20);
    }
    let questions = Story::questions(QUESTIONS);
    ask(&archive, &questions, "first page", |_, _| Ok(None))?;
    ask(&archive, &questions, "again", |_, _| Ok(None))?;
    ask(&archive, &questions, "deep page", deep)?;
    memory();
    archive.close().await;
    Ok(())
}

async fn fill(
    archive: &Archive,
    numbers: std::ops::Range<u64>,
    text_bytes: usize,
) -> Result<(), Trouble> {
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
    let seconds = begin.elapsed().as_secs_f64();
    println!("filled with {count} messages, {:.0} a second, index on", count as f64 / seconds);
    Ok(())
}

async fn settle(archive: &Archive, begin: Instant, what: &str) -> Result<(), Trouble> {
    loop {
        let progress = archive.search_progress()?;
        if !progress.is_rebuilding && progress.indexed == progress.total {
            let rate = progress.total as f64 / begin.elapsed().as_secs_f64();
            println!(
                "{what} in {:.1} s, {rate:.0} messages a second",
                begin.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where the page a thousand pages deep begins, or the last one.
fn deep(archive: &Archive, question: &Question) -> Result<Option<Place>, Trouble> {
    let mut after = None;
    for _ in 0..DEEP * PAGE / 500 {
        let found = page(archive, question, after, 500)?;
        match found.1 {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(after)
}

fn page(
    archive: &Archive,
    question: &Question,
    after: Option<Place>,
    limit: usize,
) -> Result<(usize, Option<Place>), Trouble> {
    let filter = Filter::default();
    let found = archive.search(&SearchRequest {
        question: Some(question),
        filter: &filter,
        read: None,
        order: SearchOrder::Newest,
        after,
        limit,
    })?;
    Ok((found.items.len(), found.next))
}

fn ask(
    archive: &Archive,
    questions: &[String],
    what: &str,
    place: impl Fn(&Archive, &Question) -> Result<Option<Place>, Trouble>,
) -> Result<(), Trouble> {
    let mut times = Vec::new();
    for q in questions {
        let question = Question::parse(q).map_err(|error| format!("{q}: {}", error.detail))?;
        let after = place(archive, &question)?;
        let begin = Instant::now();
        let (found, _) = page(archive, &question, after, PAGE)?;
        times.push((begin.elapsed(), q.as_str(), found));
    }
    times.sort();
    let at =
        |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].0.as_secs_f64() * 1e3;
    println!("{what:>10}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(50), at(99), at(100));
    for (time, q, found) in times.iter().rev().take(5) {
        println!("{:>22.2} ms  {found:>3} found  {q}", time.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("RssAnon")) {
        println!("{line}");
    }
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
    let mut options = Options { messages: 100_000, text_bytes: 5 << 10, dir: None };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match argument.as_str() {
            // What cargo itself says.
            "--bench" => {}
            "--messages" => options.messages = number(value()?)?.clamp(1, 20_000_000),
            "--million" => options.messages = 1_000_000,
            "--text" => options.text_bytes = number(value()?)?.clamp(64, 1 << 20) as usize,
            "--dir" => options.dir = Some(value()?.into()),
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok(options)
}
