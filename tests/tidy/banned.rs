//! Calls and words that have no place in the code, or not in that room.

use super::Finding;
use super::source::Source;

/// A word that is not to be written, and what to write instead.
type Ban = (&'static str, &'static str);

/// Rooms without sockets, clocks and chance: what they need of the world is an argument.
const PURE_ROOMS: [&str; 9] =
    ["model", "smtp", "mime", "sms", "events", "report", "lifecycle", "policy", "rewrite"];

const IMPURE: [Ban; 12] = [
    ("SystemTime::now", "take the time as an argument"),
    ("Instant::now", "take the time as an argument"),
    ("Timestamp::now", "take the time as an argument"),
    ("Zoned::now", "take the time as an argument"),
    ("thread_rng", "take the randomness as an argument"),
    ("rand::", "take the randomness as an argument"),
    ("getrandom", "take the randomness as an argument"),
    ("Ulid::generate", "take the id as an argument"),
    ("async", "let a room above do the waiting"),
    (".await", "let a room above do the waiting"),
    ("tokio", "let a room above bring the runtime"),
    ("std::net::TcpStream", "take the bytes as an argument"),
];

const CALLS: [Ban; 6] = [
    ("println!", "log with tracing; only `cli` and `main.rs` talk to a terminal"),
    ("eprintln!", "log with tracing; only `cli` and `main.rs` talk to a terminal"),
    ("print!", "log with tracing; only `cli` and `main.rs` talk to a terminal"),
    ("eprint!", "log with tracing; only `cli` and `main.rs` talk to a terminal"),
    ("process::exit", "return an `ExitCode`; only `main.rs` ends the process"),
    ("unsafe", "write it the safe way, or take a crate that has proven its unsafe one"),
];

const UNDONE: [Ban; 4] = [
    ("todo!", "write what it should do, or nothing"),
    ("unimplemented!", "write what it should do, or nothing"),
    ("dbg!", "write an assertion, or a log line with tracing"),
    ("#[ignore", "write a test that runs, or none"),
];

const UNDONE_WORDS: [&str; 3] = ["TODO", "FIXME", "XXX"];

fn find(source: &Source, bans: &[Ban], wanted: impl Fn(&str, usize) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (word, instead) in bans {
        for at in source.words(word) {
            let line = source.line_of(at);
            if wanted(word, line) {
                let says = format!("`{word}` has no place here: {instead}");
                findings.push(Finding::new(&source.path, line, says));
            }
        }
    }
    findings
}

/// Clocks, chance, sockets and waiting in a pure room; serde in `model`.
pub fn check_pure_rooms(source: &Source) -> Vec<Finding> {
    let room = source.room().unwrap_or_default();
    let mut findings = Vec::new();
    if PURE_ROOMS.contains(&room) {
        // A test may bound its own time.
        findings.extend(find(source, &IMPURE, |_, line| !source.is_test_line(line)));
    }
    if room == "model" {
        let serde = [("serde", "write a shape of its own in the room that stores or shows it")];
        findings.extend(find(source, &serde, |_, _| true));
    }
    findings
}

/// Calls that only some files may make. Test code may print.
pub fn check_calls(source: &Source) -> Vec<Finding> {
    let is_main = source.path == "src/main.rs";
    let talks = is_main || source.room() == Some("cli");
    find(source, &CALLS, |word, line| match word {
        "unsafe" => true,
        "process::exit" => !is_main,
        _ => !talks && !source.is_test_line(line),
    })
}

/// Code and comments that say that something is missing.
pub fn check_undone(source: &Source) -> Vec<Finding> {
    if is_of_this_test(&source.path) {
        return Vec::new();
    }
    let mut findings = find(source, &UNDONE, |_, _| true);
    for word in UNDONE_WORDS {
        for at in super::source::words(&source.comments, word) {
            let says =
                format!("`{word}`: do it now, or write an issue and leave it out of the code");
            findings.push(Finding::new(&source.path, source.line_of(at), says));
        }
    }
    findings
}

/// `unwrap` and `expect` outside tests, unless a comment on the line or above its statement proves that they can not
/// fail.
pub fn check_unwraps(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in [".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("] {
        for at in source.words(word) {
            let line = source.line_of(at);
            if source.is_test_line(line) || has_proof(source, line) {
                continue;
            }
            let says = format!(
                "`{word}` without proof: handle the case with `?`, `let … else` or `unwrap_or`, or say in a comment \
                 on the line above why it can not fail"
            );
            findings.push(Finding::new(&source.path, line, says));
        }
    }
    findings
}

/// A comment on line `line` (from 1), or directly above the statement that the line belongs to.
fn has_proof(source: &Source, line: usize) -> bool {
    let code: Vec<&str> = source.code.lines().collect();
    let comments: Vec<&str> = source.comments.lines().collect();
    let is_proof = |at: usize| {
        let comment = comments[at].trim();
        comment.starts_with("//") && !comment.starts_with("///") && comment.len() > 5
    };
    if is_proof(line - 1) {
        return true;
    }
    for at in (0..line - 1).rev() {
        if code[at].trim().is_empty() {
            return is_proof(at);
        }
        if code[at].trim_end().ends_with([';', '{', '}', ',']) {
            return false;
        }
    }
    false
}

/// The rules name what they forbid.
fn is_of_this_test(path: &str) -> bool {
    path.starts_with("tests/tidy")
}

#[test]
fn impurity_is_found() {
    let check = |path: &str, code: &str| check_pure_rooms(&Source::new(path, code)).len();
    for (word, _) in IMPURE {
        assert_eq!(check("src/smtp/session.rs", &format!("let x = {word};")), 1, "{word}");
        assert_eq!(check("src/relay/session.rs", &format!("let x = {word};")), 0, "{word}");
    }
    let test = "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }";
    assert_eq!(check("src/smtp/session.rs", test), 0);
    assert_eq!(check("src/smtp/session.rs", "// tokio\nlet asynchronous = \"async\";"), 0);
    assert_eq!(check("src/model/id.rs", "#[derive(serde::Serialize)]"), 1);
    assert_eq!(check("src/policy/app.rs", "#[derive(serde::Serialize)]"), 0);
}

#[test]
fn calls_are_found_where_they_are_banned() {
    let check = |path: &str, code: &str| check_calls(&Source::new(path, code)).len();
    for (word, _) in CALLS {
        assert_eq!(check("src/net/mod.rs", &format!("{word}(1);")), 1, "{word}");
    }
    assert_eq!(check("src/cli/demo.rs", "println!();"), 0);
    assert_eq!(check("src/cli/demo.rs", "std::process::exit(1)"), 1);
    assert_eq!(check("src/main.rs", "std::process::exit(1)"), 0);
    assert_eq!(check("src/main.rs", "unsafe { }"), 1);
    assert_eq!(check("src/net/mod.rs", "#[cfg(test)]\nmod tests { fn f() { println!(); } }"), 0);
    assert_eq!(check("src/net/mod.rs", "#![forbid(unsafe_code)]"), 0);
}

#[test]
fn undone_work_is_found() {
    let check = |code: &str| check_undone(&Source::new("src/net/mod.rs", code)).len();
    for (word, _) in UNDONE {
        assert_eq!(check(&format!("{word}(1)")), 1, "{word}");
    }
    for word in UNDONE_WORDS {
        assert_eq!(check(&format!("// {word}: later")), 1, "{word}");
    }
    assert_eq!(check("let text = \"todo!\";"), 0);
}

#[test]
fn unwraps_need_a_proof() {
    let check = |code: &str| check_unwraps(&Source::new("src/net/mod.rs", code)).len();
    assert_eq!(check("let a = b.unwrap();"), 1);
    assert_eq!(check("let a = b\n    .expect(\"c\");"), 1);
    assert_eq!(check("/// Docs are no proof of this.\nlet a = b.unwrap();"), 1);
    assert_eq!(check("// The proof of another line.\nlet c = 1;\nlet a = b.unwrap();"), 1);
    assert_eq!(check("let a = b.unwrap(); // The line above has checked it."), 0);
    assert_eq!(check("// `b` was made from a constant.\nlet a = b.unwrap();"), 0);
    assert_eq!(
        check("// `b` was made from a constant.\nlet a = b\n    .c()\n    .expect(\"d\");"),
        0
    );
    assert_eq!(check("let a = b.unwrap_or(1);"), 0);
    assert_eq!(check("#[cfg(test)]\nmod tests { fn f() { b.unwrap(); } }"), 0);
}
