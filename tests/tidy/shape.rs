//! The shape of files: headers, and the walls for the length of files and functions.

use super::Finding;
use super::source::{Source, closing_brace};

/// Lines of a file, inline tests not counted.
const FILE_WALL: usize = 600;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_WALL: usize = 70;
/// Fewer words are a label, not a sentence.
const SENTENCE_WORDS: usize = 3;

/// A file begins with `//!` and a whole sentence. The front page may be another file instead.
pub fn check_header(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("#![doc = include_str!(") {
        return Vec::new();
    }
    let lines = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<&str> = lines.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    let is_sentence = paragraph.split_whitespace().count() >= SENTENCE_WORDS
        && (paragraph.contains(". ") || paragraph.ends_with('.'));
    if is_sentence {
        return Vec::new();
    }
    let says = "the file must begin with `//!` and one whole sentence that says what it is, in the field's words";
    vec![Finding::new(&source.path, 1, says)]
}

/// Files and functions that have grown too long.
pub fn check_sizes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.lines_without_tests();
    if lines > FILE_WALL {
        let says = format!(
            "{lines} lines without tests, the wall is {FILE_WALL}: split it by what it does"
        );
        findings.push(Finding::new(&source.path, FILE_WALL, says));
    }
    for at in source.words("fn") {
        let Some(end) = function_end(&source.code, at) else { continue };
        let (first, last) = (source.line_of(at), source.line_of(end));
        let length = last - first + 1;
        if length > FUNCTION_WALL {
            let says = format!(
                "a function of {length} lines, the wall is {FUNCTION_WALL}: give its steps names of their own"
            );
            findings.push(Finding::new(&source.path, first, says));
        }
    }
    findings
}

/// The closing brace of the function whose `fn` stands at `at`; nothing for a declaration or a function type.
fn function_end(code: &str, at: usize) -> Option<usize> {
    let after = code[at..].strip_prefix("fn")?.trim_start();
    if !after.starts_with(|first: char| first.is_alphabetic() || first == '_') {
        return None;
    }
    // What the function gives, and under which bounds, may have commas and equal signs.
    let mut depth = 0_usize;
    for (offset, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' if depth == 0 => return closing_brace(code, at + offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn headers_are_sentences() {
    let check = |text: &str| check_header(&Source::new("src/a.rs", text)).len();
    assert_eq!(check("fn main() {}\n"), 1);
    assert_eq!(check("// An ordinary comment is not a header.\n"), 1);
    assert_eq!(check("//! Helpers.\n"), 1);
    assert_eq!(check("//! A list without an end\n//!\n//! And a sentence after it.\n"), 1);
    assert_eq!(check("\n//! A header must be the very first thing.\n"), 1);
    assert_eq!(check("//! One attempt at one upstream.\n"), 0);
    assert_eq!(check("//! One attempt\n//! at one upstream.\n//!\n//! More\n"), 0);
    assert_eq!(check("#![doc = include_str!(\"ARCHITECTURE.md\")]\n"), 0);
}

#[test]
fn long_functions_and_files_are_found() {
    let check = |text: &str| check_sizes(&Source::new("src/a.rs", text)).len();
    let function =
        |lines: usize| format!("fn f<'a>(x: [u8; 4]) {{\n{}}}\n", "// }\n".repeat(lines - 2));
    assert_eq!(check(&function(70)), 0);
    assert_eq!(check(&function(71)), 1);
    assert_eq!(check(&format!("impl A {{\n{}{}}}\n", function(71), function(60))), 1);
    assert_eq!(check(&format!("trait A {{ fn f(); }}\n{}", "\n".repeat(100))), 0);
    assert_eq!(check(&format!("fn f() {{ let s = \"{{\"; }}\n{}", "\n".repeat(100))), 0);
    assert_eq!(check(&"\n".repeat(600)), 0);
    assert_eq!(check(&"\n".repeat(601)), 1);
    assert_eq!(
        check(&format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(500), "\n".repeat(500))),
        0
    );
}
