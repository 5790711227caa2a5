//! The configuration that is in effect, defaults included, written as TOML; secrets are hidden
//! before they get here.

use std::fmt::Write;

/// One table: its values, then its tables, each in the order in which they were declared. A value
/// that is neither set nor has a default keeps its rank, for it may be found out later.
#[derive(Clone, Debug, Default)]
pub(super) struct Effective {
    values: Vec<(&'static str, Option<toml::Value>)>,
    tables: Vec<(&'static str, Effective)>,
    arrays: Vec<(&'static str, Vec<Effective>)>,
}

impl Effective {
    /// Gives a key its rank.
    pub(super) fn declare(&mut self, key: &'static str) {
        self.slot(key);
    }

    /// Sets a value, or replaces it.
    pub(super) fn set(&mut self, key: &'static str, value: toml::Value) {
        *self.slot(key) = Some(value);
    }

    fn slot(&mut self, key: &'static str) -> &mut Option<toml::Value> {
        let known = self.values.iter().position(|(other, _)| *other == key);
        let index = known.unwrap_or_else(|| {
            self.values.push((key, None));
            self.values.len() - 1
        });
        &mut self.values[index].1
    }

    pub(super) fn table(&mut self, key: &'static str, table: Effective) {
        self.tables.push((key, table));
    }

    pub(super) fn array(&mut self, key: &'static str, tables: Vec<Effective>) {
        self.arrays.push((key, tables));
    }

    /// The whole as a TOML document.
    pub(super) fn to_toml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, "");
        out
    }

    // Writing into a String does not fail, so its results are let go.
    fn write(&self, out: &mut String, path: &str) {
        for (key, value) in self.values.iter().filter_map(|(k, v)| Some((k, v.as_ref()?))) {
            let _ = writeln!(out, "{key} = {value}");
        }
        for (key, table) in &self.tables {
            let path = join(path, key);
            if table.values.iter().any(|(_, value)| value.is_some()) {
                let _ = writeln!(out, "\n[{path}]");
            }
            table.write(out, &path);
        }
        for (key, tables) in &self.arrays {
            let path = join(path, key);
            for table in tables {
                let _ = writeln!(out, "\n[[{path}]]");
                table.write(out, &path);
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_before_tables() {
        let mut inner = Effective::default();
        inner.set("level", "info".into());
        let mut root = Effective::default();
        root.table("empty", Effective::default());
        root.table("log", inner.clone());
        root.array("app", vec![inner]);
        root.set("a", 1.into());
        root.set("a", 2.into());
        assert_eq!(
            root.to_toml(),
            "a = 2\n\n[log]\nlevel = \"info\"\n\n[[app]]\nlevel = \"info\"\n"
        );
        assert!(root.to_toml().parse::<toml::Table>().is_ok());
    }
}
