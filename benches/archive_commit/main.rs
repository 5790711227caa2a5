//! Durable accepts of the archive alone, beside the ceiling of redb on the same disk in the same run.
//!
//! `cargo bench --bench archive_commit`. Producers hand in messages of 10 KiB, each the next one as soon as the last is
//! durable. The ceiling is one redb file with one writer thread that commits in groups and stores nothing but the bytes,
//! a record of 700 bytes and a row of the queue for each message: what the archive does beside that (compression,
//! events, counters, indexes, a second file) is the distance between the two. They take turns in every round; the table
//! shows medians.
//!
//! With `--fill` it measures nothing and fills a folder with messages, for other measurements.

mod ceiling;
mod fill;
#[path = "../relay_throughput/message.rs"]
mod message;
mod rate;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use waybill::archive::{Archive, ArchiveSettings, StagingLimits};

use ceiling::Ceiling;
use fill::{Fill, Pool};
use rate::Rate;

const USAGE: &str = "\
cargo bench --bench archive_commit -- [OPTIONS]
  --quick          one round of one second each, under half a minute
  --rounds N       rounds that medians are taken of (default 3)
  --seconds N      how long each measurement lasts (default 3)
  --producers N    only this many (may be repeated; default 1, 10, 50, 200)
  --size N         bytes of a message (default 10240)
  --preload N      measure as well on an archive that holds N messages of 1 KiB
  --dir DIR        where to keep the files (default: the system's temporary folder)
  --fill DIR       measure nothing: fill an archive in DIR, which must be empty
  --messages N     with --fill: how many (default 100000, at most 20 million)";

struct Options {
    rounds: usize,
    span: Duration,
    producers: Vec<usize>,
    size_bytes: usize,
    preload: usize,
    dir: PathBuf,
    fill: Option<PathBuf>,
    messages: usize,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    }
}

type Trouble = Box<dyn std::error::Error>;

async fn run(options: &Options) -> Result<(), Trouble> {
    if let Some(dir) = &options.fill {
        let is_used = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            return Err(format!("{} is not empty", dir.display()).into());
        }
        return fill(&open(dir)?, options.messages, true).await;
    }
    println!(
        "{} bytes a message; {} cores; load average before: {}",
        options.size_bytes,
        std::thread::available_parallelism().map_or(0, usize::from),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    let full = match options.preload {
        0 => None,
        preload => {
            let dir = TempDir::new_in(&options.dir)?;
            let archive = open(dir.path())?;
            fill(&archive, preload, false).await?;
            Some((dir, archive))
        }
    };
    let mut columns = vec!["redb alone".to_owned(), "archive, empty".to_owned()];
    if full.is_some() {
        columns.push(format!("archive of {}", options.preload));
    }
    println!("\n{:>9}  {}", "producers", columns.iter().map(rate::heading).collect::<String>());
    for &producers in &options.producers {
        let mut rates: Vec<Vec<Rate>> = vec![Vec::new(); columns.len()];
        for round in 0..options.rounds {
            let pool = Pool::new(round as u64, options.size_bytes);
            let dir = TempDir::new_in(&options.dir)?;
            let ceiling = Ceiling::open(dir.path())?;
            rates[0].push(rate::measure(&ceiling, &pool, producers, options.span).await?);
            drop((ceiling, dir));
            let dir = TempDir::new_in(&options.dir)?;
            let archive = open(dir.path())?;
            rates[1].push(rate::measure(&archive, &pool, producers, options.span).await?);
            archive.close().await;
            if let Some((_, archive)) = &full {
                rates[2].push(rate::measure(archive, &pool, producers, options.span).await?);
            }
        }
        println!("{producers:>9}  {}", rate::line(rates));
    }
    println!("\naccepts/s (of redb alone), p50 and p99 in milliseconds");
    Ok(())
}

fn open(dir: &std::path::Path) -> Result<Archive, Trouble> {
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

async fn fill(archive: &Archive, messages: usize, tell: bool) -> Result<(), Trouble> {
    let begin = Instant::now();
    Fill::new(1).run(archive, messages).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let disk: u64 = archive.disk_usage().iter().map(|(_, bytes)| bytes).sum();
    let extent = archive.extent()?;
    println!(
        "filled with {} messages in {seconds:.1} s; {} MiB submitted, {} MiB on disk",
        extent.messages,
        extent.raw_bytes >> 20,
        disk >> 20
    );
    if tell {
        println!("all are not sent or held: a daemon that is started on it sends nothing");
    }
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        rounds: 3,
        span: Duration::from_secs(3),
        producers: Vec::new(),
        size_bytes: 10 << 10,
        preload: 0,
        dir: std::env::temp_dir(),
        fill: None,
        messages: 100_000,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse::<usize>().map_err(|e| format!("{text}: {e}"));
        match argument.as_str() {
            // What cargo itself says.
            "--bench" => {}
            "--quick" => (options.rounds, options.span) = (1, Duration::from_secs(1)),
            "--rounds" => options.rounds = number(value()?)?.clamp(1, 100),
            "--seconds" => options.span = Duration::from_secs(number(value()?)? as u64),
            "--producers" => options.producers.push(number(value()?)?.clamp(1, 10_000)),
            "--size" => options.size_bytes = number(value()?)?.clamp(1 << 10, 1 << 20),
            "--preload" => options.preload = number(value()?)?.min(fill::MOST),
            "--dir" => options.dir = value()?.into(),
            "--fill" => options.fill = Some(value()?.into()),
            "--messages" => options.messages = number(value()?)?.min(fill::MOST),
            other => return Err(format!("there is no option {other}")),
        }
    }
    if options.producers.is_empty() {
        options.producers = vec![1, 10, 50, 200];
    }
    Ok(options)
}
