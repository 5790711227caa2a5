//! The most that redb gives on this disk: one file, one writer, one group in each commit, keys that append.

use std::path::Path;

use redb::{Database, Durability, TableDefinition};
use tokio::sync::{mpsc, oneshot};
use waybill::archive::Acceptance;

use super::Trouble;
use super::rate::Store;

const BLOBS: TableDefinition<u64, &[u8]> = TableDefinition::new("blobs");
const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const QUEUE: TableDefinition<(u64, u64), ()> = TableDefinition::new("queue");

/// About what the archive writes for one message beside its bytes.
const RECORD_BYTES: usize = 700;
const MAX_BATCH: usize = 1_000;

type Job = (Acceptance, oneshot::Sender<()>);

#[derive(Clone)]
pub struct Ceiling {
    jobs: mpsc::Sender<Job>,
}

impl Ceiling {
    pub fn open(dir: &Path) -> Result<Ceiling, Trouble> {
        let database = Database::create(dir.join("ceiling.redb"))?;
        let (jobs, queue) = mpsc::channel(4_096);
        std::thread::spawn(move || write(&database, queue));
        Ok(Ceiling { jobs })
    }
}

impl Store for Ceiling {
    async fn accept(&self, message: Acceptance) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send((message, reply)).await.map_err(|error| error.to_string())?;
        answer.await.map_err(|error| error.to_string())
    }
}

/// An error ends the writer, and with it every producer.
fn write(database: &Database, mut queue: mpsc::Receiver<Job>) {
    let mut number = 0;
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        if let Err(error) = commit(database, &batch, &mut number) {
            return eprintln!("redb: {error}");
        }
        for (_, reply) in batch {
            let _ = reply.send(());
        }
    }
}

fn commit(database: &Database, batch: &[Job], number: &mut u64) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    {
        let mut blobs = transaction.open_table(BLOBS)?;
        let mut records = transaction.open_table(RECORDS)?;
        let mut queue = transaction.open_table(QUEUE)?;
        for (message, _) in batch {
            *number += 1;
            blobs.insert(*number, &message.raw[..])?;
            records.insert(*number, &[7; RECORD_BYTES][..])?;
            queue.insert((message.accepted_at.as_millis().unsigned_abs(), *number), ())?;
        }
    }
    Ok(transaction.commit()?)
}
