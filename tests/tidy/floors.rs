//! The floors: which room may import which.

use super::Finding;
use super::source::{Source, room_of};

/// What a room may touch beside `model` and `telemetry`.
enum May {
    Touch(&'static [&'static str]),
    /// Every room on a lower floor.
    TouchAllBelow,
}

/// One room.
struct Row {
    floor: u8,
    room: &'static str,
    may: May,
}

const fn row(floor: u8, room: &'static str, rooms: &'static [&'static str]) -> Row {
    Row { floor, room, may: May::Touch(rooms) }
}

const fn top(floor: u8, room: &'static str) -> Row {
    Row { floor, room, may: May::TouchAllBelow }
}

/// The house, from the ground up, as `src/ARCHITECTURE.md` shows it.
const ROWS: [Row; 24] = [
    row(0, "model", &[]),
    row(0, "telemetry", &[]),
    row(1, "smtp", &[]),
    row(1, "mime", &[]),
    row(1, "sms", &[]),
    row(1, "events", &[]),
    row(2, "lifecycle", &[]),
    row(2, "policy", &["sms"]),
    row(2, "report", &["mime"]),
    row(2, "rewrite", &["mime"]),
    row(3, "archive", &["mime", "lifecycle"]),
    row(3, "net", &["smtp"]),
    row(4, "intake", &["mime", "sms", "policy", "lifecycle", "archive"]),
    row(4, "relay", &["smtp", "sms", "net"]),
    row(4, "account", &["archive"]),
    row(4, "evidence", &["archive", "rewrite"]),
    row(5, "submission", &["net", "smtp", "sms", "policy", "intake", "archive"]),
    row(5, "dispatch", &["archive", "lifecycle", "policy", "relay", "evidence"]),
    row(
        5,
        "feedback",
        &[
            "net", "smtp", "sms", "mime", "report", "events", "policy", "rewrite", "intake",
            "archive",
        ],
    ),
    row(5, "flow", &["archive", "net", "intake", "policy", "sms", "report"]),
    row(5, "admin", &["net", "archive", "account", "evidence", "mime", "intake"]),
    top(6, "config"),
    top(7, "daemon"),
    top(8, "cli"),
];

/// Names that say nothing about what is inside.
const NOT_NAMES: [&str; 10] =
    ["util", "utils", "helper", "helpers", "common", "misc", "manager", "core", "shared", "stuff"];

fn find(room: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.room == room)
}

/// Every import of another room, against the table.
pub fn check(source: &Source) -> Vec<Finding> {
    let Some(from) = source.room().and_then(find) else { return Vec::new() };
    let mut findings = Vec::new();
    for (at, room) in imports(source) {
        let Some(to) = find(&room).filter(|to| to.room != from.room) else { continue };
        if let Some(says) = refusal(from, to) {
            findings.push(Finding::new(&source.path, source.line_of(at), says));
        }
    }
    findings
}

fn refusal(from: &Row, to: &Row) -> Option<String> {
    let open_to_all = to.floor == 0 && from.floor > 0;
    let (allowed, may) = match &from.may {
        May::Touch(rooms) => (rooms.contains(&to.room), rooms.join(", ")),
        May::TouchAllBelow => (true, "every room below".to_owned()),
    };
    if open_to_all || (allowed && to.floor < from.floor) {
        return None;
    }
    let (from, from_floor, to, to_floor) = (from.room, from.floor, to.room, to.floor);
    let may = if may.is_empty() { "nothing else".to_owned() } else { may };
    Some(format!(
        "`{from}` (floor {from_floor}) imports `{to}` (floor {to_floor}), but may touch only `model`, `telemetry` and: \
         {may}. Take the value as a parameter, or move what both need to a lower floor"
    ))
}

/// The rooms that the code names as `crate::room`, `crate::{room, …}`, or through enough `super::` to leave its room.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in source.words("crate::") {
        for (offset, room) in first_segments(&source.code[at + "crate::".len()..]) {
            found.push((at + "crate::".len() + offset, room));
        }
    }
    let depth = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    for at in source.words("super::") {
        let before = &source.code[..at];
        let supers = 1 + before.len().saturating_sub(before.trim_end_matches("super::").len()) / 7;
        let rest = &source.code[at + "super::".len()..];
        if supers >= depth && !rest.starts_with("super::") {
            found.extend(first_segments(rest).into_iter().map(|(o, room)| (at + 7 + o, room)));
        }
    }
    found
}

/// The first name of a path, or of each path in a group: `a::b` is `a`; `{a::{b, c}, d}` is `a` and `d`.
fn first_segments(path: &str) -> Vec<(usize, String)> {
    let start = path.len() - path.trim_start().len();
    if !path[start..].starts_with('{') {
        return vec![(start, name(&path[start..]))];
    }
    let (mut depth, mut expecting, mut found) = (0_usize, true, Vec::new());
    for (at, c) in path.char_indices().skip(start) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => expecting = true,
            c if expecting && depth == 1 && !c.is_whitespace() => {
                found.push((at, name(&path[at..])));
                expecting = false;
            }
            _ => {}
        }
    }
    found
}

fn name(path: &str) -> String {
    path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// Every room has a row, names say something, and folders are one level deep below a room.
pub fn check_names(files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| path.starts_with("src/") && path.ends_with(".rs")) {
        let mut add = |says: String| findings.push(Finding::new(path, 1, says));
        if let Some(room) = room_of(path).filter(|room| find(room).is_none()) {
            add(format!(
                "`{room}` has no row in tests/tidy/floors.rs: give it its floor and what it may touch"
            ));
        }
        let names = path.trim_end_matches(".rs").split('/').skip(1);
        if let Some(bad) = names.into_iter().find(|name| NOT_NAMES.contains(name)) {
            add(format!("`{bad}` says nothing: name it by the noun of the field that it is"));
        }
        if path.matches('/').count() > 3 {
            add("one level of folders below a room is enough: move it up".to_owned());
        }
    }
    findings
}

#[test]
fn floors_are_told_apart() {
    let check = |path: &str, code: &str, expected: usize| {
        let findings = check(&Source::new(path, code));
        assert_eq!(findings.len(), expected, "{path}: {code}: {findings:?}");
    };
    check("src/relay/pool.rs", "use crate::archive::Archive;", 1);
    check("src/relay/pool.rs", "use crate::{model::Reply, archive::{Archive, Event}};", 1);
    check("src/relay/pool.rs", "use crate::{\n    model::Reply,\n    admin,\n    intake,\n};", 2);
    check("src/relay/pool.rs", "fn f() -> crate::dispatch::Claim {}", 1);
    check("src/relay/pool.rs", "use super::super::archive::Archive;", 1);
    check("src/relay/mod.rs", "use super::archive::Archive;", 1);
    check("src/relay/pool.rs", "#[cfg(test)]\nmod tests {\n    use crate::archive::Archive;\n}", 1);
    check("src/model/id.rs", "use crate::telemetry::Log;", 1);
    check("src/archive/mod.rs", "use crate::config::Config;", 1);
    check("src/net/mod.rs", "use crate::archive::Archive;", 1);
    check("src/config/mod.rs", "use crate::daemon::run;", 1);
    check("src/relay/pool.rs", "// use crate::archive::Archive;\nlet x = \"crate::archive\";", 0);
    check(
        "src/relay/pool.rs",
        "use crate::net::Tls;\nuse crate::model::Reply;\nuse crate::relay::x;",
        0,
    );
    check("src/relay/pool.rs", "use super::settings::SmtpUpstream;", 0);
    check("src/daemon/mod.rs", "use crate::config::Config;\nuse crate::archive::Archive;", 0);
}

#[test]
fn the_table_itself_stands() {
    for row in &ROWS {
        let May::Touch(rooms) = row.may else { continue };
        for to in rooms {
            let to = find(to).unwrap();
            assert!(to.floor < row.floor, "`{}` may not touch `{}`", row.room, to.room);
        }
    }
}

/// Rows of the architecture's table that differ from those here, and rows that only one of them has.
pub fn check_architecture(page: &str) -> Vec<Finding> {
    let path = "src/ARCHITECTURE.md";
    let mut findings = Vec::new();
    let mut shown = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [floor, room, _, imports] = cells[..] else { continue };
        let (Ok(floor), room) = (floor.parse::<u8>(), room.trim_matches('`')) else { continue };
        shown.push(room);
        let named: Vec<&str> = imports.split('`').skip(1).step_by(2).collect();
        let is_same = find(room).is_some_and(|row| {
            row.floor == floor
                && match row.may {
                    May::Touch(rooms) => rooms == named,
                    May::TouchAllBelow => named.is_empty(),
                }
        });
        if !is_same {
            let says =
                format!("`{room}` has another row in tests/tidy/floors.rs: make both say the same");
            findings.push(Finding::new(path, number + 1, says));
        }
    }
    for row in ROWS.iter().filter(|row| !shown.contains(&row.room)) {
        let says = format!("`{}` has no row in the table of floors and rooms: add it", row.room);
        findings.push(Finding::new(path, 1, says));
    }
    findings
}

#[test]
fn a_page_that_shows_another_house_is_found() {
    let row = |row: &Row| {
        let rooms = match row.may {
            May::Touch(rooms) => rooms.iter().map(|room| format!("`{room}`")).collect(),
            May::TouchAllBelow => vec!["all below".to_owned()],
        };
        format!("| {} | `{}` | what it is | {} |\n", row.floor, row.room, rooms.join(" "))
    };
    let page: String = ROWS.iter().map(row).collect();
    assert_eq!(check_architecture(&page), []);
    assert_eq!(check_architecture("").len(), ROWS.len());
    assert_eq!(check_architecture(&page.replace("| 4 | `relay`", "| 3 | `relay`")).len(), 1);
    assert_eq!(
        check_architecture(&page.replace("`smtp` `sms` `net` |", "`smtp` `net` |")).len(),
        1
    );
    assert_eq!(check_architecture(&format!("{page}| 9 | `attic` | what it is | |\n")).len(), 1);
}

#[test]
fn names_are_judged() {
    let check = |path: &str| check_names(&[path.to_owned()]).len();
    assert_eq!(check("src/attic/mod.rs"), 1);
    assert_eq!(check("src/utils/mod.rs"), 2);
    assert_eq!(check("src/relay/helpers.rs"), 1);
    assert_eq!(check("src/relay/a/b/c.rs"), 1);
    assert_eq!(check("src/relay/a/b.rs"), 0);
    assert_eq!(check("src/main.rs"), 0);
}
