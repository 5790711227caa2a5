//! How many accepts a second so many producers get, and how long each waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use waybill::archive::{Acceptance, Archive};

use super::Trouble;
use super::fill::Pool;

/// Something that makes messages durable.
pub trait Store: Clone + Send + 'static {
    fn accept(&self, message: Acceptance) -> impl Future<Output = Result<(), String>> + Send;
}

impl Store for Archive {
    async fn accept(&self, message: Acceptance) -> Result<(), String> {
        Archive::accept(self, message).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: f64,
    p50: Duration,
    p99: Duration,
}

/// No two messages of a run are the same.
static SERIAL: AtomicU64 = AtomicU64::new(0);

pub async fn measure<S: Store>(
    store: &S,
    pool: &Pool,
    producers: usize,
    span: Duration,
) -> Result<Rate, Trouble> {
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..producers {
        let (store, pool) = (store.clone(), pool.clone());
        running.spawn(async move {
            let mut waits = Vec::new();
            while begin.elapsed() < span {
                let message = pool.take(SERIAL.fetch_add(1, Ordering::Relaxed));
                let asked = Instant::now();
                store.accept(message).await?;
                waits.push(asked.elapsed());
            }
            Ok::<_, String>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = running.join_next().await {
        waits.extend(done??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |share: f64| {
        let index = (waits.len() as f64 * share) as usize;
        waits.get(index.min(waits.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    Ok(Rate { per_second: waits.len() as f64 / seconds, p50: at(0.5), p99: at(0.99) })
}

/// A column's name over its figures.
pub fn heading(name: &String) -> String {
    format!("{name:>32}")
}

/// The medians of each column; all after the first with their ratio to it.
pub fn line(columns: Vec<Vec<Rate>>) -> String {
    let medians: Vec<Rate> = columns.into_iter().map(median).collect();
    let base = medians[0].per_second;
    let mut line = String::new();
    for (number, rate) in medians.iter().enumerate() {
        let ratio = match number {
            0 => String::new(),
            _ => format!("({:.2})", rate.per_second / base),
        };
        let ms = |wait: Duration| wait.as_secs_f64() * 1e3;
        let figures =
            format!("{:.0} {ratio:>6} {:5.1} /{:6.1}", rate.per_second, ms(rate.p50), ms(rate.p99));
        line.push_str(&format!("{figures:>32}"));
    }
    line
}

fn median(mut rates: Vec<Rate>) -> Rate {
    rates.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rates[rates.len() / 2]
}
