//! What surrounds the code: manifests, the README, metric names, and words that belong to one machine only.

use super::Finding;
use super::source::{Source, line_of};

/// Places that exist only where a file was written, and hosts that a build's own settings choose.
const PLACES: [(&str, &str); 9] = [
    ("/root/", "a path from the project's root, or an environment variable"),
    ("/home/", "a path from the project's root, or an environment variable"),
    ("/Users/", "a path from the project's root, or an environment variable"),
    ("/work/", "a path from the project's root, or an environment variable"),
    ("index.crates.io", "the name of the crate alone"),
    ("static.crates.io", "the name of the crate alone"),
    ("registry.npmjs.org", "the name of the package alone"),
    ("pypi.org", "the name of the package alone"),
    ("proxy.golang.org", "the name of the module alone"),
];

/// Files that a person wrote here. Lock files name hosts by their nature, and this test names what it forbids.
pub fn is_prose_or_code(path: &str) -> bool {
    let endings = [".rs", ".md", ".toml", ".service", ".txt", ".sh", ".py", ".js", "/run"];
    let skipped = path.starts_with("tests/tidy") || path.starts_with("tests/golden");
    !skipped && endings.iter().any(|ending| path.ends_with(ending))
}

/// Paths of one machine, and hosts of package registries.
pub fn check_places(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, instead) in PLACES {
        for (at, _) in text.match_indices(place) {
            // `example.com/home/` and `$X/tmp/` are other places than those at the root of a file system.
            let before = text[..at].chars().next_back();
            let goes_on = before.is_some_and(|c| c.is_alphanumeric() || "}_-.*".contains(c));
            if !(place.starts_with('/') && goes_on) {
                let says = format!("`{place}` is a place of one machine: write {instead}");
                findings.push(Finding::new(path, line_of(text, at), says));
            }
        }
    }
    findings
}

/// Documents in capitals, such as `README.md`, that are cited but are not in the project.
pub fn check_citations(path: &str, text: &str, files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, _) in text.match_indices(".md") {
        let before = text[..at].chars().rev();
        let name: String = before.take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        let name: String = name.chars().rev().chain(".md".chars()).collect();
        let exists =
            |name: &str| files.iter().any(|f| f == name || f.ends_with(&format!("/{name}")));
        if name.len() > ".md".len() + 1 && !exists(&name) {
            let says =
                format!("`{name}` is not in the project: say the rule itself, and cite its RFC");
            findings.push(Finding::new(path, line_of(text, at), says));
        }
    }
    findings
}

/// Dependencies with no bound on their version, or from outside the registry.
pub fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default();
        let compact: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let mut add = |says: &str| findings.push(Finding::new(path, number + 1, says));
        if compact.contains("=\"*\"") || compact.contains(".*\"") {
            add("a wildcard version: write the lowest version that is known to work");
        }
        if compact.contains("git=\"") {
            add("a dependency from a repository: write a published version");
        }
    }
    findings
}

/// A fuzz target that is not in the manifest is never run; one without a file stops all the others.
pub fn check_fuzz_targets(manifest: &str, files: &[String]) -> Vec<Finding> {
    let file = |path: &&String| path.starts_with("fuzz/fuzz_targets/") && path.ends_with(".rs");
    let mut findings = Vec::new();
    for path in files.iter().filter(file) {
        let target = path.trim_start_matches("fuzz/");
        if !manifest.contains(&format!("path = \"{target}\"")) {
            let says = format!("no [[bin]] has `path = \"{target}\"`: add one, or it never runs");
            findings.push(Finding::new("fuzz/Cargo.toml", 1, says));
        }
    }
    for (number, line) in manifest.lines().enumerate() {
        let target = line.strip_prefix("path = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(target) = target.filter(|t| !files.contains(&format!("fuzz/{t}"))) {
            let says = format!("fuzz/{target} does not exist: write it, or take the [[bin]] away");
            findings.push(Finding::new("fuzz/Cargo.toml", number + 1, says));
        }
    }
    findings
}

/// Project files that the README names, in links and in code, and its benchmarks.
pub fn check_readme_paths(readme: &str, files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folders = ["config/", "src/", "tests/", "fuzz/", "benches/", "systemd/", ".ci/"];
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    for (number, line) in readme.lines().enumerate() {
        let mut add = |says: String| findings.push(Finding::new("README.md", number + 1, says));
        for word in line.split(|c: char| !is_part(c)) {
            let word = word.trim_end_matches(['.', '/']).trim_start_matches("./");
            let inside = folders.iter().any(|folder| word.starts_with(folder));
            let exists =
                |word: &str| files.iter().any(|f| f == word || f.starts_with(&format!("{word}/")));
            if inside && !exists(word) {
                add(format!("`{word}` does not exist: name a file of the project"));
            }
        }
        let bench = line.split("--bench ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let bench = bench.map(|b| b.trim_end_matches('`'));
        let places = |b: &str| [format!("benches/{b}.rs"), format!("benches/{b}/main.rs")];
        let is_there = |b: &str| places(b).iter().any(|place| files.contains(place));
        if let Some(bench) = bench.filter(|b| !is_there(b)) {
            add(format!("there is no benchmark `{bench}`: name one that is in benches"));
        }
    }
    findings
}

/// The `waybill` commands in the README's code: line, and the words up to the first option or placeholder.
pub fn waybill_commands(readme: &str) -> Vec<(usize, Vec<String>)> {
    let mut commands = Vec::new();
    let mut in_block = false;
    for (number, line) in readme.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let pieces: Vec<&str> = match in_block {
            true => line.split(" && ").map(|part| part.split('#').next().unwrap_or("")).collect(),
            false => line.split('`').skip(1).step_by(2).collect(),
        };
        for piece in pieces {
            let piece =
                piece.trim().trim_start_matches("sudo -u waybill ").trim_start_matches("sudo ");
            let starts =
                ["cargo run --release -- ", "cargo run -- ", "waybill ", "target/release/waybill "];
            let Some(rest) = starts.iter().find_map(|start| piece.strip_prefix(start)) else {
                continue;
            };
            let is_word = |word: &&str| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit())
            };
            let words =
                rest.split_whitespace().take_while(|word| is_word(word) && !word.starts_with('-'));
            let words: Vec<String> = words.take(2).map(str::to_owned).collect();
            if !words.is_empty() {
                commands.push((number + 1, words));
            }
        }
    }
    commands
}

/// Metric names that are used but not declared in `telemetry`.
pub fn check_metrics(sources: &[Source]) -> Vec<Finding> {
    let declares = |source: &&Source| source.room() == Some("telemetry");
    let declared: String = sources.iter().filter(declares).map(|s| s.text.as_str()).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.room() != Some("telemetry")) {
        for (at, _) in source.text.match_indices("\"waybill_") {
            let name: String = source.text[at + 1..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_')
                .collect();
            // A histogram shows itself as three series.
            let series = ["_count", "_sum", "_bucket"];
            let base = series.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            let is_declared = |name: &str| declared.contains(&format!("\"{name}\""));
            if !is_declared(&name) && !is_declared(base) {
                let says = format!(
                    "`{name}` is not declared: give it its name, unit and help in `telemetry`"
                );
                findings.push(Finding::new(&source.path, source.line_of(at), says));
            }
        }
    }
    findings
}

#[test]
fn places_of_one_machine_are_found() {
    for (place, _) in PLACES {
        assert_eq!(check_places("a.md", &format!("see {place}x")).len(), 1, "{place}");
    }
    assert_eq!(check_places("a.md", "https://example.com/home/x and $dir/data").len(), 0);
}

#[test]
fn citations_of_absent_documents_are_found() {
    let files = ["README.md".to_owned(), "src/ARCHITECTURE.md".to_owned()];
    let check = |text: &str| check_citations("a.rs", text, &files).len();
    assert_eq!(check("see PLAN.md, section 3"), 1);
    assert_eq!(check("README.md and ARCHITECTURE.md and notes.md and *.md"), 0);
}

#[test]
fn versions_without_a_bound_are_found() {
    assert_eq!(check_manifest("Cargo.toml", "a = \"*\"").len(), 1);
    assert_eq!(check_manifest("Cargo.toml", "a = { version = \"1.*\" }").len(), 1);
    assert_eq!(check_manifest("Cargo.toml", "a = { git = \"https://example.com\" }").len(), 1);
    assert_eq!(check_manifest("Cargo.toml", "a = \"1.2\" # not \"*\"").len(), 0);
}

#[test]
fn fuzz_targets_that_would_not_run_are_found() {
    let manifest = "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\n";
    let files = |names: &[&str]| {
        names.iter().map(|n| format!("fuzz/fuzz_targets/{n}.rs")).collect::<Vec<_>>()
    };
    assert_eq!(check_fuzz_targets(manifest, &files(&["a"])).len(), 0);
    assert_eq!(check_fuzz_targets(manifest, &files(&["a", "b"])).len(), 1);
    assert_eq!(check_fuzz_targets(manifest, &files(&[])).len(), 1);
}

#[test]
fn a_readme_that_promises_too_much_is_found() {
    let files =
        ["tests/run".to_owned(), "benches/relay.rs".to_owned(), "src/net/mod.rs".to_owned()];
    let check = |text: &str| check_readme_paths(text, &files).len();
    assert_eq!(check("run `tests/run`, read [it](src/net) and `cargo bench --bench relay`"), 0);
    assert_eq!(check("run `tests/walk` and read [it](src/gone/mod.rs)."), 2);
    assert_eq!(check("`cargo bench --bench submit`"), 1);
    let commands = waybill_commands(
        "`waybill token create --role x`\n```\ncargo run --release -- demo # x\nls\n```\n",
    );
    assert_eq!(commands, [(1, vec!["token".into(), "create".into()]), (3, vec!["demo".into()])]);
}

#[test]
fn undeclared_metrics_are_found() {
    let telemetry = Source::new("src/telemetry/mod.rs", "const A: &str = \"waybill_a_total\";");
    let check = |code: &str| {
        let used = Source::new("src/net/mod.rs", code);
        check_metrics(&[Source::new(&telemetry.path, &telemetry.text), used]).len()
    };
    assert_eq!(check("counter!(\"waybill_b_total\")"), 1);
    assert_eq!(check("counter!(\"waybill_a\")"), 1);
    assert_eq!(check("counter!(\"waybill_a_total\")"), 0);
    assert_eq!(check("page.contains(\"waybill_a_total_count{\")"), 0);
}
