//! Reads one table of the file key by key.
//!
//! Each option is declared once, by the call that reads it: `section.get("timeout", &PERIOD, …)`.
//! That call checks the value, reports what is wrong with it, remembers that the key exists (for
//! unknown keys, and for the test that the sample file names every key), and writes the value that
//! is in effect. So these four can not drift apart.
//!
//! A reader reads all its keys before it gives up on a missing one; else the keys that it did not
//! come to would be called unknown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::effective::Effective;
use super::environment::Environment;
use super::kind::{Kind, Spot, type_name};
use super::problem::{Place, Report, closest};

/// What all sections of one file share.
pub(super) struct Context<'s> {
    pub(super) report: Report<'s>,
    pub(super) environment: &'s Environment,
    /// Relative paths in the file start here.
    base: PathBuf,
    /// Every declared key by its table, and whether the file sets it.
    declared: RefCell<BTreeMap<(String, &'static str), bool>>,
    unknown: RefCell<Vec<Unknown>>,
    /// Where the first secret stands that is written in the file itself.
    inline_secret: Cell<Option<usize>>,
}

/// A key that no reader asked for.
struct Unknown {
    label: String,
    key: String,
    place: Place,
    siblings: Vec<&'static str>,
}

/// The label of what stands before the first table.
const TOP: &str = "the top level";

impl<'s> Context<'s> {
    pub(super) fn new(
        report: Report<'s>,
        environment: &'s Environment,
        base: &Path,
    ) -> Context<'s> {
        let (declared, unknown) = (RefCell::default(), RefCell::default());
        let (base, inline_secret) = (base.to_owned(), Cell::default());
        Context { report, environment, base, declared, unknown, inline_secret }
    }

    /// A path of the file, seen from the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// Remembers that a secret stands in the file itself.
    pub(super) fn saw_inline_secret(&self, start: usize) {
        let first = self.inline_secret.get().map_or(start, |other| other.min(start));
        self.inline_secret.set(Some(first));
    }

    /// Warns when the file itself holds a secret although everybody can read it.
    pub(super) fn check_inline_secrets(&self, path: &Path) {
        if let Some(start) = self.inline_secret.get() {
            let shown = path.display();
            let what = format!("everybody on this machine can read {shown}, and it holds a secret");
            let advice = format!("run chmod 600 {shown}, or keep the secret in a file of its own");
            self.report.warning(Some(start..start), what, advice);
        }
    }

    /// Reports all unknown keys; last, because only then all keys of all tables are known.
    pub(super) fn report_unknown_keys(&self) {
        for unknown in self.unknown.borrow().iter() {
            let what = format!("{:?} is not a key of {}", unknown.key, unknown.label);
            let what = match unknown.label == TOP {
                true => format!("{:?} is not a key at {TOP}", unknown.key),
                false => what,
            };
            self.report.wrong(unknown.place.clone(), what, self.advice(unknown));
        }
    }

    fn advice(&self, unknown: &Unknown) -> String {
        if let Some(key) = closest(&unknown.key, unknown.siblings.iter().copied()) {
            return format!("did you mean {key:?}?");
        }
        let declared = self.declared.borrow();
        let elsewhere = declared.keys().find(|(_, key)| *key == unknown.key);
        match elsewhere {
            Some((label, _)) if label == TOP => {
                String::from("it belongs at the top of the file, before the first [table]")
            }
            Some((label, _)) => format!("it belongs to {label}"),
            None => format!("the keys here are {}", unknown.siblings.join(", ")),
        }
    }

    /// Keys that are declared but not set: (table, key).
    #[cfg(test)]
    pub(super) fn unset(&self) -> Vec<(String, &'static str)> {
        let declared = self.declared.borrow();
        declared.iter().filter(|(_, set)| !**set).map(|(key, _)| key.clone()).collect()
    }
}

/// One table that is being read.
pub(super) struct Section<'c, 's> {
    pub(super) context: &'c Context<'s>,
    /// Dotted, without brackets; empty at the top.
    path: String,
    label: RefCell<String>,
    /// `None` when the file has no such table and the defaults are read.
    entries: Option<&'c DeTable<'c>>,
    place: Place,
    keys: RefCell<Vec<&'static str>>,
    effective: RefCell<Effective>,
    /// Nobody can tell which keys belong here.
    is_abandoned: Cell<bool>,
}

impl<'c, 's> Section<'c, 's> {
    /// Reads a whole document; without one, the defaults.
    pub(super) fn document<T>(
        context: &'c Context<'s>,
        entries: Option<&'c DeTable<'c>>,
        read: impl FnOnce(&Section<'c, 's>) -> T,
    ) -> (T, Effective) {
        let top = Section {
            context,
            path: String::new(),
            label: RefCell::new(String::from(TOP)),
            entries,
            place: None,
            keys: RefCell::default(),
            effective: RefCell::default(),
            is_abandoned: Cell::default(),
        };
        let value = read(&top);
        (value, top.finish())
    }

    /// Whether the file has this table; else the built-in defaults are being read.
    pub(super) fn is_written(&self) -> bool {
        self.entries.is_some()
    }

    /// How a problem names this table: `[smtp]`, `[[upstream]] of kind "smtp"`.
    pub(super) fn label(&self) -> String {
        self.label.borrow().clone()
    }

    /// Adds to the label what kind of table this is, once that is known.
    pub(super) fn qualify(&self, text: &str) {
        let mut label = self.label.borrow_mut();
        *label = format!("{label} {text}");
    }

    /// Whether the file sets this key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the file sets this key to something else than nothing. Then a reader that got
    /// nothing from it has said why.
    pub(super) fn is_filled(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|(_, node)| match node.get_ref() {
            DeValue::Array(items) => !items.is_empty(),
            DeValue::Table(entries) => !entries.is_empty(),
            _ => true,
        })
    }

    /// Leaves the other keys alone, because a mistake hides which ones are right.
    pub(super) fn abandon(&self) {
        self.is_abandoned.set(true);
    }

    /// Where this key's value stands; the table itself when it is not set.
    pub(super) fn place(&self, key: &str) -> Place {
        self.entry(key).map(|(_, node)| node.span()).or_else(|| self.place.clone())
    }

    /// A key with a default.
    pub(super) fn get<K: Kind>(&self, key: &'static str, kind: &K, default: K::Value) -> K::Value {
        let value = self.read(key, kind).unwrap_or(default);
        self.effective.borrow_mut().set(key, kind.show(&value));
        value
    }

    /// A key that may be missing.
    pub(super) fn optional<K: Kind>(&self, key: &'static str, kind: &K) -> Option<K::Value> {
        let value = self.read(key, kind)?;
        self.effective.borrow_mut().set(key, kind.show(&value));
        Some(value)
    }

    /// A key that must be there; `None` after a problem was reported.
    pub(super) fn required<K: Kind>(&self, key: &'static str, kind: &K) -> Option<K::Value> {
        if !self.is_set(key) {
            let what = format!("{} has no {key:?}", self.label());
            let advice = format!("write {key} = {}", kind.example());
            self.context.report.error(self.place.clone(), what, advice);
        }
        self.optional(key, kind)
    }

    /// Writes another effective value than the one that was read.
    pub(super) fn show<K: Kind>(&self, key: &'static str, kind: &K, value: &K::Value) {
        self.effective.borrow_mut().set(key, kind.show(value));
    }

    /// Says of this whole table that this version does nothing with it.
    pub(super) fn whole_has_no_effect_yet(&self) {
        let what = format!("{} has no effect yet", self.label());
        self.context.report.notice(self.place.clone(), what, "it is checked, and it may stay");
    }

    /// Says of a key that is set that this version does nothing with it.
    pub(super) fn no_effect_yet(&self, key: &str) {
        if let Some((key_place, node)) = self.entry(key) {
            let name = match (node.get_ref(), self.path.is_empty()) {
                (DeValue::Table(_), true) => format!("[{key}]"),
                (DeValue::Array(items), true) if items.iter().any(|i| i.get_ref().is_table()) => {
                    format!("[[{key}]]")
                }
                (DeValue::Table(_), false) => format!("[{}.{key}]", self.path),
                _ => format!("{key:?} of {}", self.label()),
            };
            let what = format!("{name} has no effect yet");
            self.context.report.notice(Some(key_place), what, "it is checked, and it may stay");
        }
    }

    /// A table that exists even where the file does not write it: then its defaults are read.
    pub(super) fn table<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'c, 's>) -> T,
    ) -> T {
        let (entries, place) = self.table_entries(key).unzip();
        let section = self.child(key, false, entries, place.flatten());
        let value = read(&section);
        self.effective.borrow_mut().table(key, section.finish());
        value
    }

    /// A table that may be missing.
    pub(super) fn optional_table<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'c, 's>) -> Option<T>,
    ) -> Option<T> {
        let (entries, place) = self.table_entries(key)?;
        let section = self.child(key, false, Some(entries), place);
        let value = read(&section);
        self.effective.borrow_mut().table(key, section.finish());
        value
    }

    /// All `[[key]]` tables.
    pub(super) fn tables<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&Section<'c, 's>) -> T,
    ) -> Vec<T> {
        let mut values = Vec::new();
        let mut effective = Vec::new();
        for (entries, place) in self.array_entries(key) {
            let section = self.child(key, true, Some(entries), place);
            values.push(read(&section));
            effective.push(section.finish());
        }
        self.effective.borrow_mut().array(key, effective);
        values
    }

    /// All `[[key]]` tables; without any, one made of defaults.
    pub(super) fn tables_or_default<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&Section<'c, 's>) -> T,
    ) -> Vec<T> {
        if self.is_set(key) {
            return self.tables(key, read);
        }
        self.declare(key);
        let section = self.child(key, true, None, None);
        let value = read(&section);
        self.effective.borrow_mut().array(key, vec![section.finish()]);
        vec![value]
    }

    fn child(
        &self,
        key: &'static str,
        is_array: bool,
        entries: Option<&'c DeTable<'c>>,
        place: Place,
    ) -> Section<'c, 's> {
        let path = match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        };
        let label = if is_array { format!("[[{path}]]") } else { format!("[{path}]") };
        let (keys, effective) = (RefCell::default(), RefCell::default());
        let label = RefCell::new(label);
        let (context, is_abandoned) = (self.context, Cell::default());
        Section { context, path, label, entries, place, keys, effective, is_abandoned }
    }

    fn table_entries(&self, key: &'static str) -> Option<(&'c DeTable<'c>, Place)> {
        self.declare(key);
        let (key_place, node) = self.entry(key)?;
        match node.get_ref() {
            DeValue::Table(entries) => Some((entries, Some(node.span()))),
            other => {
                let what = format!("{key:?} is {}, but it is a table", type_name(other));
                let header = self.child(key, false, None, None).label();
                let advice = format!("write {header} and its keys below");
                self.context.report.wrong(Some(key_place), what, advice);
                None
            }
        }
    }

    fn array_entries(&self, key: &'static str) -> Vec<(&'c DeTable<'c>, Place)> {
        self.declare(key);
        let Some((key_place, node)) = self.entry(key) else {
            return Vec::new();
        };
        let header = self.child(key, true, None, None).label();
        let nodes: Vec<&'c Spanned<DeValue<'c>>> = match node.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut tables = Vec::new();
        for node in nodes {
            match node.get_ref() {
                DeValue::Table(entries) => tables.push((entries, Some(node.span()))),
                other => {
                    let what = format!("{key:?} holds {}, not a table", type_name(other));
                    let advice = format!("write {header} and its keys below");
                    self.context.report.wrong(Some(key_place.clone()), what, advice);
                }
            }
        }
        if node.get_ref().is_table() {
            let single = header.replace("[[", "[").replace("]]", "]");
            let what = format!("{single} is one table, but there can be several of them");
            self.context.report.wrong(Some(key_place), what, format!("write {header}"));
        }
        tables
    }

    fn entry(&self, key: &str) -> Option<(std::ops::Range<usize>, &'c Spanned<DeValue<'c>>)> {
        let (key, node) = self.entries?.get_key_value(key)?;
        Some((key.span(), node))
    }

    fn declare(&self, key: &'static str) {
        self.keys.borrow_mut().push(key);
        let mut declared = self.context.declared.borrow_mut();
        *declared.entry((self.label(), key)).or_default() |= self.is_set(key);
    }

    fn read<K: Kind>(&self, key: &'static str, kind: &K) -> Option<K::Value> {
        self.declare(key);
        self.effective.borrow_mut().declare(key);
        let (_, node) = self.entry(key)?;
        kind.read(node.get_ref(), &Spot { context: self.context, key, span: node.span() })
    }

    /// Keeps what nobody asked for, for the report at the end.
    fn finish(self) -> Effective {
        if self.is_abandoned.get() {
            return self.effective.into_inner();
        }
        let siblings = self.keys.into_inner();
        let label = self.label.into_inner();
        let mut unknown = self.context.unknown.borrow_mut();
        for key in self.entries.into_iter().flat_map(|entries| entries.keys()) {
            if !siblings.contains(&key.get_ref().as_ref()) {
                let (place, key) = (Some(key.span()), key.get_ref().to_string());
                let (label, siblings) = (label.clone(), siblings.clone());
                unknown.push(Unknown { label, key, place, siblings });
            }
        }
        self.effective.into_inner()
    }
}
