//! Keeps the house tidy: floors, file headers, sizes, banned calls, and what the README promises to exist.
//!
//! Every finding names file and line and says what to write instead. Every rule is also run on a small made-up source
//! that breaks it, because a rule that can not fail is no rule. The reading of Rust is lexical (comments, strings and
//! characters are blanked out, braces are counted), which is exact enough for code that rustfmt has laid out.

#[path = "tidy/banned.rs"]
mod banned;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use source::Source;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    says: String,
}

impl Finding {
    fn new(path: &str, line: usize, says: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, says: says.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.says)
    }
}

/// Fails with all findings, one on each line.
fn report(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} finding(s)\n{}", lines.len(), lines.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, by its path from the root; build results and what git ignores are left out.
fn project_files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = ["target", ".git", "corpus", "artifacts", "coverage", "waybill-data"];
            if path.is_dir() && !skipped.contains(&name.as_str()) {
                folders.push(path);
            } else if path.is_file() {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

/// The Rust sources below these folders, read and lexed.
fn sources(folders: &[&str]) -> Vec<Source> {
    let of_folder =
        |path: &String| path.ends_with(".rs") && folders.iter().any(|f| path.starts_with(f));
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        Source::new(&path, &text)
    };
    let found: Vec<Source> = project_files().into_iter().filter(of_folder).map(read).collect();
    assert!(!found.is_empty(), "no sources under {folders:?}");
    found
}

fn check_all(folders: &[&str], rule: impl Fn(&Source) -> Vec<Finding>) {
    report(&sources(folders).iter().flat_map(rule).collect::<Vec<_>>());
}

const ALL_RUST: [&str; 4] = ["src/", "tests/", "benches/", "fuzz/fuzz_targets/"];

#[test]
fn rooms_stand_on_their_floors() {
    check_all(&["src/"], floors::check);
}

#[test]
fn every_room_has_a_row_and_a_good_name() {
    report(&floors::check_names(&project_files()));
}

#[test]
fn every_file_has_a_header() {
    check_all(&ALL_RUST, shape::check_header);
}

#[test]
fn files_and_functions_stay_below_their_walls() {
    check_all(&ALL_RUST, shape::check_sizes);
}

#[test]
fn pure_rooms_stay_pure() {
    check_all(&["src/"], banned::check_pure_rooms);
}

#[test]
fn nothing_banned_is_called() {
    check_all(&["src/"], banned::check_calls);
}

#[test]
fn nothing_is_left_undone() {
    check_all(&ALL_RUST, banned::check_undone);
}

#[test]
fn no_unwrap_without_its_proof() {
    check_all(&["src/"], banned::check_unwraps);
}

#[test]
fn no_file_speaks_of_the_machine_it_was_made_on() {
    let findings = project_files().into_iter().filter(|path| papers::is_prose_or_code(path));
    let findings: Vec<Finding> = findings
        .flat_map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
            papers::check_places(&path, &text)
        })
        .collect();
    report(&findings);
}

#[test]
fn cited_documents_exist() {
    let files = project_files();
    let findings: Vec<Finding> = files
        .iter()
        .filter(|path| papers::is_prose_or_code(path))
        .flat_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            papers::check_citations(path, &text, &files)
        })
        .collect();
    report(&findings);
}

#[test]
fn dependencies_have_versions() {
    for path in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        report(&papers::check_manifest(path, &text));
    }
}

#[test]
fn fuzz_targets_and_their_manifest_agree() {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    report(&papers::check_fuzz_targets(&manifest, &project_files()));
}

#[test]
fn the_architecture_shows_the_floors_as_they_are() {
    let page = std::fs::read_to_string(root().join("src/ARCHITECTURE.md")).unwrap();
    report(&floors::check_architecture(&page));
}

#[test]
fn the_readme_names_what_exists() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut findings = papers::check_readme_paths(&readme, &project_files());
    for (line, command) in papers::waybill_commands(&readme) {
        let mut arguments = command.clone();
        arguments.push("--help".to_owned());
        let waybill = std::process::Command::new(env!("CARGO_BIN_EXE_waybill"))
            .args(&arguments)
            .output()
            .unwrap();
        if !waybill.status.success() {
            let says = format!("there is no `waybill {}`: name a real command", command.join(" "));
            findings.push(Finding::new("README.md", line, says));
        }
    }
    report(&findings);
}

#[test]
fn every_metric_is_declared() {
    let all = sources(&["src/", "tests/it/"]);
    report(&papers::check_metrics(&all));
}
