//! A Rust source whose comments, strings and characters can be told from its code.

/// What one byte of a source belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// One file.
pub struct Source {
    /// From the root of the project, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and the insides of literals blanked; lines and columns stay.
    pub code: String,
    /// The text with everything but comments blanked.
    pub comments: String,
    /// For each line, whether it is inside an item marked `#[cfg(test)]`.
    in_tests: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let kinds = lex(text.as_bytes());
        let only = |wanted: Kind| blank(text, |at| kinds[at] == wanted);
        let code = only(Kind::Code);
        // Test modules that have a file or a folder of their own.
        let is_tests = |part: &str| part == "tests" || part == "tests.rs";
        let whole_file_is_test = path.starts_with("src/") && path.split('/').any(is_tests);
        let in_tests = test_lines(&code, whole_file_is_test);
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            comments: only(Kind::Comment),
            code,
            in_tests,
        }
    }

    /// The number, from 1, of the line that holds this byte.
    pub fn line_of(&self, at: usize) -> usize {
        line_of(&self.text, at)
    }

    /// Whether line `line` (from 1) is inside test code.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.in_tests.get(line - 1).copied().unwrap_or(false)
    }

    /// Lines that are not inside an inline test module.
    pub fn lines_without_tests(&self) -> usize {
        self.in_tests.iter().filter(|in_test| !**in_test).count()
    }

    /// The room of a file under `src`: `src/archive/x.rs` and `src/archive.rs` are of `archive`.
    pub fn room(&self) -> Option<&str> {
        room_of(&self.path)
    }

    /// Where `word` stands in the code, neither preceded nor followed by a character of an identifier.
    pub fn words(&self, word: &str) -> Vec<usize> {
        words(&self.code, word)
    }
}

/// See `Source::room`; `lib.rs` and `main.rs` belong to no room.
pub fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    match first {
        "lib.rs" | "main.rs" => None,
        _ => Some(first.strip_suffix(".rs").unwrap_or(first)),
    }
}

/// The number, from 1, of the line that holds byte `at`.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// Where `word` stands by itself; an end of the word that is punctuation needs no boundary there.
pub fn words(text: &str, word: &str) -> Vec<usize> {
    let identifier = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    let (first, last) = (word.as_bytes().first(), word.as_bytes().last());
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = at.checked_sub(1).and_then(|b| bytes.get(b));
            let after = bytes.get(at + word.len());
            let joined_before = identifier(first) && identifier(before);
            let joined_after = identifier(last) && identifier(after);
            !joined_before && !joined_after
        })
        .collect()
}

/// The index of the brace that closes the one at `open`.
pub fn closing_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn blank(text: &str, keep: impl Fn(usize) -> bool) -> String {
    let byte = |(at, byte): (usize, u8)| match byte {
        b'\n' => b'\n',
        kept if keep(at) && kept.is_ascii() => kept,
        _ => b' ',
    };
    text.bytes().enumerate().map(byte).map(char::from).collect()
}

fn lex(text: &[u8]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let (kind, end) = token(text, at);
        let end = end.min(text.len());
        // Quotes of a literal stay visible as code, so that only its inside is blanked.
        kinds[at..end].fill(kind);
        at = end;
    }
    kinds
}

/// The kind of what begins at `at`, and where it ends.
fn token(text: &[u8], at: usize) -> (Kind, usize) {
    let rest = &text[at..];
    let after_identifier = at > 0 && (text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_');
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, at + length);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, block_comment_end(text, at));
    }
    if let Some(end) = raw_string_end(text, at).filter(|_| !after_identifier) {
        return (Kind::Literal, end);
    }
    match rest[0] {
        b'"' => (Kind::Literal, quoted_end(text, at, b'"')),
        b'\'' => match character_end(text, at) {
            Some(end) => (Kind::Literal, end),
            None => (Kind::Code, at + 1),
        },
        _ => (Kind::Code, at + 1),
    }
}

fn block_comment_end(text: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, `br…`, `cr…`.
fn raw_string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut next = at;
    if matches!(text[next], b'b' | b'c') {
        next += 1;
    }
    if text.get(next) != Some(&b'r') {
        return None;
    }
    next += 1;
    let hashes = text[next..].iter().take_while(|b| **b == b'#').count();
    next += hashes;
    if text.get(next) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.extend(std::iter::repeat_n(b'#', hashes));
    let body = &text[next + 1..];
    let length = body.windows(end.len()).position(|window| window == end)?;
    Some(next + 1 + length + end.len())
}

fn quoted_end(text: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The end of a character literal, or nothing when the quote begins a lifetime.
fn character_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at + 1)? {
        b'\\' => Some(quoted_end(text, at, b'\'')),
        _ => {
            let body = std::str::from_utf8(&text[at + 1..]).ok()?;
            let length = body.chars().next()?.len_utf8();
            (text.get(at + 1 + length) == Some(&b'\'')).then_some(at + 2 + length)
        }
    }
}

fn test_lines(code: &str, whole_file: bool) -> Vec<bool> {
    let mut lines = vec![whole_file; code.lines().count()];
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let open = code[at..].find(['{', ';']).map(|offset| at + offset);
        let end = open.and_then(|open| match code.as_bytes()[open] {
            b'{' => closing_brace(code, open),
            _ => Some(open),
        });
        let Some(end) = end else { continue };
        lines[line_of(code, at) - 1..line_of(code, end)].fill(true);
    }
    lines
}

#[test]
fn comments_and_literals_are_not_code() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Source::new("src/a.rs", text).code, expected, "{text}");
    };
    check("a // b", "a     ");
    check("a /* b /* c */ d */ e", "a                   e");
    check("f(\"}\\\"\") }", "f(     ) }");
    check("f(r#\"\"{\"#) }", "f(       ) }");
    check("f('{', '\\'', b'\"') }", "f(   ,     , b   ) }");
    check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
    check("'outer: loop {}", "'outer: loop {}");
}

#[test]
fn test_items_are_told_from_the_rest() {
    let source = Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\nfn b() {}\n");
    let marks: Vec<bool> = (1..=5).map(|line| source.is_test_line(line)).collect();
    assert_eq!(marks, [false, true, true, true, false]);
    assert_eq!(source.lines_without_tests(), 2);
    assert!(Source::new("src/a/tests.rs", "fn a() {}").is_test_line(1));
    assert!(Source::new("src/a/tests/b.rs", "fn a() {}").is_test_line(1));
    assert_eq!(source.room(), Some("a"));
    assert_eq!(room_of("src/relay/pool.rs"), Some("relay"));
    assert_eq!(room_of("src/main.rs"), None);
}
