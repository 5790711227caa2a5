//! Lists on the terminal: one line an entry, columns under their names.

use std::io::Write as _;

use serde_json::Value;

use super::Failure;

/// Writes a result to stdout.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Failed(format!("the result could not be written: {error}")))
}

/// The fields with these names of each entry; an empty list gives the names alone.
pub(super) fn columns(names: &[&str], entries: &[Value]) -> String {
    let head = names.iter().map(|name| name.replace('_', " ").to_uppercase()).collect();
    let row = |entry: &Value| names.iter().map(|name| field(entry, name)).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(entries.iter().map(row)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// No limit to apps is all of them, which a dash would not say.
fn field(entry: &Value, name: &str) -> String {
    match entry.get(name) {
        Some(Value::Null) if name == "apps" => String::from("all"),
        value => cell(value),
    }
}

/// Without control and direction characters: what strangers wrote must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !('\u{200e}'..='\u{202e}').contains(c)).collect()
}

/// One field.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::from("-"),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            let words: Vec<String> = values.iter().map(|value| cell(Some(value))).collect();
            words.join(",")
        }
        Some(other) => other.to_string(),
    };
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_under_their_names() {
        let entries = [
            json!({"name": "anna", "apps": null, "created_at": "2026"}),
            json!({"name": "bo", "apps": ["erp", "crm"], "created_at": "x\u{1b}[2J"}),
        ];
        assert_eq!(
            columns(&["name", "apps", "created_at"], &entries),
            "NAME  APPS     CREATED AT\nanna  all      2026\nbo    erp,crm  x[2J\n"
        );
        assert_eq!(columns(&["name"], &[]), "NAME\n");
    }
}
