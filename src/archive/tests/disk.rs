//! A disk in memory that fails where it is told to, and remembers enough to lose its power.
//!
//! Every write, sync, change of length, rename and sync of the folder is an operation with a number,
//! over all files. A disk that was told to keeps a log of them: then `Replay` gives the disk as it would
//! be found had the power gone after any one of them, with what was not synced lost, kept, or partly
//! both. So one run of a workload is enough for all its power cuts.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Database, DatabaseError, StorageBackend};

use crate::archive::files::{Files, INDEX, RECORDS, Space, volume_name};

/// The unit in which a disk writes or does not.
const SECTOR_BYTES: usize = 512;

/// One operation, as it went to the disk. Files are known by their number, names by the folder.
#[derive(Clone, Debug)]
enum Operation {
    /// A file without a lasting name comes to be.
    Create,
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    SetLen {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    /// A sync failed: what it was to write is lost, and a later one that succeeds does not say so.
    Forget {
        file: usize,
    },
    Rename {
        file: usize,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncFolder,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// Number of the operation that fails first, from 0.
    pub at: usize,
    /// What the system says: `EIO`, `ENOSPC`.
    pub code: i32,
    /// Whether everything after it fails too; if not, a second try would "succeed".
    pub lasts: bool,
    /// Only operations on this file are counted and fail; `None`: on all.
    pub only: Option<&'static str>,
}

#[derive(Default)]
struct State {
    files: Vec<Vec<u8>>,
    is_open: Vec<bool>,
    names: BTreeMap<String, usize>,
    log: Option<Vec<Operation>>,
    count: usize,
    fault: Option<Fault>,
    /// What each file was opened as.
    labels: Vec<String>,
    /// The file that met the fault.
    struck: Option<String>,
    free_bytes: Option<u64>,
}

impl State {
    fn operate(&mut self, operation: Operation) -> io::Result<()> {
        let only = self.fault.and_then(|fault| fault.only);
        let is_counted = only.is_none_or(|only| self.file_of(&operation) == Some(only));
        let number = self.count;
        self.count += usize::from(is_counted);
        if let Some(fault) = self.fault
            && is_counted
            && (number == fault.at || (fault.lasts && number > fault.at))
        {
            self.strike(&operation);
            return Err(io::Error::from_raw_os_error(fault.code));
        }
        apply(&mut self.files, &mut self.names, &operation);
        if let Some(log) = &mut self.log {
            log.push(operation);
        }
        Ok(())
    }

    fn file_of(&self, operation: &Operation) -> Option<&str> {
        match operation {
            Operation::Write { file, .. }
            | Operation::SetLen { file, .. }
            | Operation::Sync { file }
            | Operation::Forget { file }
            | Operation::Rename { file, .. } => self.labels.get(*file).map(String::as_str),
            Operation::Create | Operation::Remove { .. } | Operation::SyncFolder => None,
        }
    }

    fn strike(&mut self, operation: &Operation) {
        let file = self.file_of(operation).unwrap_or("the folder").to_owned();
        self.struck.get_or_insert(file);
        if let (Operation::Sync { file }, Some(log)) = (operation, &mut self.log) {
            log.push(Operation::Forget { file: *file });
        }
    }
}

fn apply(files: &mut Vec<Vec<u8>>, names: &mut BTreeMap<String, usize>, operation: &Operation) {
    match operation {
        Operation::Create => files.push(Vec::new()),
        Operation::Write { file, offset, bytes } => {
            let (file, end) = (&mut files[*file], offset + bytes.len());
            file.resize(file.len().max(end), 0);
            file[*offset..end].copy_from_slice(bytes);
        }
        Operation::SetLen { file, len } => files[*file].resize(*len, 0),
        Operation::Rename { file, to } => drop(names.insert(to.clone(), *file)),
        Operation::Remove { name } => drop(names.remove(name)),
        Operation::Sync { .. } | Operation::Forget { .. } | Operation::SyncFolder => {}
    }
}

/// The disk; clones share it.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// An empty one that keeps a log.
    pub(super) fn recording() -> Disk {
        Disk(Arc::new(Mutex::new(State { log: Some(Vec::new()), ..State::default() })))
    }

    /// The same content, as another process would find it, without log and faults.
    pub(super) fn copy(&self) -> Disk {
        let state = self.state();
        Disk::with(state.files.clone(), state.names.clone())
    }

    fn with(files: Vec<Vec<u8>>, names: BTreeMap<String, usize>) -> Disk {
        let is_open = vec![false; files.len()];
        let mut labels = vec![String::new(); files.len()];
        names.iter().for_each(|(name, file)| labels[*file] = name.clone());
        Disk(Arc::new(Mutex::new(State { files, names, is_open, labels, ..State::default() })))
    }

    /// Starts a log here.
    pub(super) fn record(&self) -> Replay {
        let mut state = self.state();
        state.log = Some(Vec::new());
        Replay::from(&state)
    }

    /// Lets this go wrong; operations are counted from now on.
    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.count, state.struck) = (Some(fault), 0, None);
    }

    /// The file that met the fault, if one did.
    pub(super) fn struck(&self) -> Option<String> {
        self.state().struck.clone()
    }

    /// Turns one bit of a file over, as a disk does that rots; `false` when the place held nothing.
    pub(super) fn rot(&self, name: &str, chance: &mut Chance) -> bool {
        let mut state = self.state();
        let file = state.names[name];
        let bytes = &mut state.files[file];
        let place = chance.below(bytes.len());
        let is_content = bytes[place] != 0;
        bytes[place] ^= 1 << chance.below(8);
        is_content
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> usize {
        self.state().count
    }

    /// Claims to have so much room.
    pub(super) fn set_free(&self, bytes: u64) {
        self.state().free_bytes = Some(bytes);
    }

    /// Every file that has a name.
    pub(super) fn file_names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Files for Disk {
    fn open(&self, name: &str, cache_bytes: usize) -> Result<Database, DatabaseError> {
        let found = self.state().names.get(name).copied();
        let file = match found {
            Some(file) => file,
            None => {
                let mut state = self.state();
                state.operate(Operation::Create)?;
                state.is_open.push(false);
                state.labels.push(name.to_owned());
                state.files.len() - 1
            }
        };
        if std::mem::replace(&mut self.state().is_open[file], true) {
            return Err(DatabaseError::DatabaseAlreadyOpen);
        }
        let handle = Handle { disk: self.clone(), file };
        let database =
            redb::Builder::new().set_cache_size(cache_bytes).create_with_backend(handle)?;
        if found.is_none() {
            let mut state = self.state();
            state.operate(Operation::Rename { file, to: name.to_owned() })?;
            state.operate(Operation::SyncFolder)?;
        }
        Ok(database)
    }

    fn size(&self, name: &str) -> Option<u64> {
        let state = self.state();
        state.names.get(name).map(|file| state.files[*file].len() as u64)
    }

    fn volumes(&self) -> io::Result<Vec<u32>> {
        let names = self.file_names();
        Ok((1..1_000).filter(|number| names.contains(&volume_name(*number))).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(Operation::Remove { name: name.to_owned() })?;
        state.operate(Operation::SyncFolder)
    }

    fn usage(&self) -> Vec<(&'static str, u64)> {
        [RECORDS, INDEX].map(|name| (name, self.size(name).unwrap_or(0))).to_vec()
    }

    fn space(&self) -> io::Result<Space> {
        let free_bytes = self.state().free_bytes.unwrap_or(1 << 40);
        Ok(Space { free_bytes, total_bytes: 1 << 40 })
    }
}

/// An open file.
struct Handle {
    disk: Disk,
    file: usize,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file {}", self.file)
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.files[self.file].get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        self.disk.state().operate(Operation::SetLen { file: self.file, len })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().operate(Operation::Sync { file: self.file })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let write = Operation::Write { file: self.file, offset, bytes: data.to_vec() };
        self.disk.state().operate(write)
    }

    fn close(&self) -> io::Result<()> {
        self.disk.state().is_open[self.file] = false;
        Ok(())
    }
}

/// What becomes of what was not synced when the power goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// It is gone.
    Lost,
    /// It is all there, as after a `kill -9`.
    Kept,
    /// Each operation is there or not, and a write may be there in part; by this seed.
    Mixed(u64),
}

/// A disk that goes through a log again, and knows what is durable.
pub(super) struct Replay {
    durable_files: Vec<Vec<u8>>,
    durable_names: BTreeMap<String, usize>,
    /// Not synced yet, in order.
    pending: Vec<Operation>,
}

impl Replay {
    /// Of a disk that was empty when its log began.
    pub(super) fn new() -> Replay {
        Replay::from(&State::default())
    }

    fn from(state: &State) -> Replay {
        Replay {
            durable_files: state.files.clone(),
            durable_names: state.names.clone(),
            pending: Vec::new(),
        }
    }

    /// The operations of a log, from one number up to another, in this order.
    pub(super) fn advance(&mut self, disk: &Disk, from: usize, to: usize) {
        let operations = disk.state().log.as_ref().map(|log| log[from..to].to_vec());
        operations.unwrap_or_default().into_iter().for_each(|operation| self.take(operation));
    }

    /// All operations of a log that was not looked at yet.
    pub(super) fn finish(&mut self, disk: &Disk) {
        let operations = disk.state().log.clone();
        operations.unwrap_or_default().into_iter().for_each(|operation| self.take(operation));
    }

    fn take(&mut self, operation: Operation) {
        if let Operation::Forget { file } = operation {
            let is_other = |pending: &Operation| match pending {
                Operation::Write { file: of, .. } | Operation::SetLen { file: of, .. } => {
                    file != *of
                }
                _ => true,
            };
            return self.pending.retain(is_other);
        }
        let is_settled = |pending: &Operation| match (&operation, pending) {
            (
                Operation::Sync { file },
                Operation::Write { file: of, .. } | Operation::SetLen { file: of, .. },
            ) => file == of,
            (Operation::SyncFolder, Operation::Rename { .. } | Operation::Remove { .. }) => true,
            _ => false,
        };
        let pending = std::mem::take(&mut self.pending);
        let (settled, rest): (Vec<_>, Vec<_>) = pending.into_iter().partition(is_settled);
        self.pending = rest;
        for operation in &settled {
            apply(&mut self.durable_files, &mut self.durable_names, operation);
        }
        match operation {
            Operation::Create => self.durable_files.push(Vec::new()),
            Operation::Sync { .. } | Operation::Forget { .. } | Operation::SyncFolder => {}
            Operation::Write { .. }
            | Operation::SetLen { .. }
            | Operation::Rename { .. }
            | Operation::Remove { .. } => self.pending.push(operation),
        }
    }

    /// The disk as it is found after the power went now.
    pub(super) fn cut(&self, cut: Cut) -> Disk {
        let (mut files, mut names) = (self.durable_files.clone(), self.durable_names.clone());
        let mut chance = Chance::new(match cut {
            Cut::Lost | Cut::Kept => 0,
            Cut::Mixed(seed) => seed,
        });
        for operation in &self.pending {
            let survives = match cut {
                Cut::Lost => None,
                Cut::Kept => Some(operation.clone()),
                Cut::Mixed(_) => chance.survivor(operation),
            };
            if let Some(operation) = survives {
                apply(&mut files, &mut names, &operation);
            }
        }
        Disk::with(files, names)
    }
}

/// Numbers by chance, the same for the same seed.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn survivor(&mut self, operation: &Operation) -> Option<Operation> {
        match (self.below(4), operation) {
            (0, _) => None,
            (1, Operation::Write { file, offset, bytes }) => {
                // A run of its sectors; they begin where the disk's do, not where the write does.
                let sectors = (offset + bytes.len()).div_ceil(SECTOR_BYTES) - offset / SECTOR_BYTES;
                let first = self.below(sectors);
                let last = first + 1 + self.below(sectors - first);
                let begin = (offset / SECTOR_BYTES + first) * SECTOR_BYTES;
                let end = (offset / SECTOR_BYTES + last) * SECTOR_BYTES;
                let begin = begin.max(*offset);
                let bytes = bytes[begin - offset..end.min(offset + bytes.len()) - offset].to_vec();
                Some(Operation::Write { file: *file, offset: begin, bytes })
            }
            _ => Some(operation.clone()),
        }
    }
}
