//! TXT records as people have them at hand: in a zone file (RFC 1035 §5.1), from `dig`, `host` or `nslookup`, or as the
//! bare value that a DNS provider's page shows.
//!
//! Takes any text and gives the records in it, strings joined (RFC 6376 §3.6.2.2) and escapes resolved; aliases are
//! followed within the text. Nothing is an error: what is no record is left out. Linear in the text.
//! What a record has to say is `dkim_record`'s.

/// The longest string of a TXT record (RFC 1035 §3.3).
const MAX_STRING_BYTES: usize = 255;

/// What a text says of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneText {
    records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    /// As it is written; `None` where there was none.
    owner: Option<String>,
    data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    Txt(String),
    Alias(String),
}

/// One word of a zone file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    is_quoted: bool,
    /// It stands at the beginning of its line, where names do.
    is_first: bool,
}

impl ZoneText {
    /// Reads a text.
    pub fn parse(text: &str) -> ZoneText {
        match text.contains('"') {
            true => ZoneText::of_zone(text),
            // Without quotes a semicolon can not be told from the beginning of a comment.
            false => ZoneText::of_value(text),
        }
    }

    /// Whether its records say nowhere whose they are.
    pub fn is_nameless(&self) -> bool {
        self.records.iter().all(|record| record.owner.is_none())
    }

    /// The texts of this name's records; of nobody's too, where the text names nobody.
    pub fn of(&self, name: &str) -> Vec<&str> {
        let is_nameless = self.is_nameless();
        let mut names = vec![name];
        let mut texts = Vec::new();
        for record in &self.records {
            let is_it = match &record.owner {
                None => is_nameless,
                Some(owner) => names.iter().any(|name| is_name(owner, name)),
            };
            match &record.data {
                Data::Txt(text) if is_it => texts.push(text.as_str()),
                Data::Alias(target) if is_it => names.push(target),
                Data::Txt(_) | Data::Alias(_) => {}
            }
        }
        texts
    }

    fn of_value(text: &str) -> ZoneText {
        let text = text.trim();
        let before = text.find('=').map_or("", |at| &text[..at]);
        let words: Vec<&str> = before.split_whitespace().collect();
        let place = words.iter().position(|word| word.eq_ignore_ascii_case("TXT"));
        let (owner, value) = match place {
            // The word before the first `=` is a tag's name.
            Some(place) if place + 2 == words.len() => {
                let space = before.char_indices().rfind(|(_, c)| c.is_whitespace());
                let begin = space.map_or(0, |(at, c)| at + c.len_utf8());
                let owner = (place > 0).then(|| words[0].to_owned());
                (owner, &text[begin..])
            }
            Some(_) | None => (None, text),
        };
        let data = Data::Txt(unescaped(value));
        let records = match value.is_empty() {
            true => Vec::new(),
            false => vec![Record { owner, data }],
        };
        ZoneText { records }
    }

    fn of_zone(text: &str) -> ZoneText {
        let mut zone = ZoneText::default();
        let (mut origin, mut last_owner) = (None, None);
        for words in lines(text) {
            if words.first().is_some_and(|word| word.text.eq_ignore_ascii_case("$ORIGIN")) {
                origin = words.get(1).map(|word| word.text.trim_end_matches('.').to_owned());
            } else {
                zone.line(&words, origin.as_deref(), &mut last_owner);
            }
        }
        zone
    }

    fn line(&mut self, words: &[Word], origin: Option<&str>, last_owner: &mut Option<String>) {
        let is_type = |word: &Word, names: &[&str]| {
            !word.is_quoted && names.iter().any(|name| word.text.eq_ignore_ascii_case(name))
        };
        // `host` says `descriptive text`, `nslookup` says `text =`.
        let txt = words.iter().position(|word| is_type(word, &["TXT", "text"]));
        let alias = words.iter().position(|word| is_type(word, &["CNAME"]));
        let has_strings_only = words.iter().all(|word| word.is_quoted);
        let strings = |from: usize| -> String {
            let data = words.iter().skip(from).filter(|word| word.is_quoted || word.text != "=");
            data.map(|word| word.text.as_str()).collect()
        };
        if has_strings_only {
            return self.continuation(strings(0), last_owner.clone());
        }
        if let Some(first) = words.first().filter(|word| word.is_first && !word.is_quoted) {
            let name = first.text.as_str();
            let absolute = match (name.ends_with('.'), origin) {
                (false, Some(origin)) => format!("{name}.{origin}"),
                (true, _) | (false, None) => name.trim_end_matches('.').to_owned(),
            };
            *last_owner = Some(absolute);
        }
        let owner = last_owner.clone();
        match (txt, alias) {
            (Some(at), _) => {
                self.records.push(Record { owner, data: Data::Txt(strings(at + 1)) });
            }
            (None, Some(at)) => {
                let target = words.get(at + 1).map(|word| word.text.trim_end_matches('.'));
                let data = target.map(|target| Data::Alias(target.to_owned()));
                self.records.extend(data.map(|data| Record { owner, data }));
            }
            (None, None) => {}
        }
    }

    /// A line of nothing but strings: `dig +short` writes a record so, others the rest of one.
    fn continuation(&mut self, more: String, owner: Option<String>) {
        match self.records.last_mut().map(|record| &mut record.data) {
            Some(Data::Txt(text)) if text.is_empty() || !more.starts_with("v=") => {
                text.push_str(&more);
            }
            Some(Data::Txt(_) | Data::Alias(_)) | None => {
                self.records.push(Record { owner, data: Data::Txt(more) });
            }
        }
    }
}

/// Whether a record of `owner` is one of `name`; the owner may be relative to an origin that nobody knows.
fn is_name(owner: &str, name: &str) -> bool {
    let (owner, name) = (owner.to_ascii_lowercase(), name.to_ascii_lowercase());
    owner == name
        || name.strip_prefix(&owner).is_some_and(|rest| {
            rest.starts_with('.') && owner.split('.').any(|label| label == "_domainkey")
        })
}

/// The words of each line; within parentheses a line goes on.
fn lines(text: &str) -> Vec<Vec<Word>> {
    let (mut lines, mut words) = (Vec::new(), Vec::new());
    let mut is_within = false;
    let mut chars = text.chars().peekable();
    let mut is_first = true;
    while let Some(c) = chars.next() {
        match c {
            '\n' if !is_within => {
                lines.push(std::mem::take(&mut words));
                is_first = true;
                continue;
            }
            // `dig` shows its question as a comment, and so does a zone whatever it leaves out.
            ';' => while chars.next_if(|c| *c != '\n').is_some() {},
            '(' => is_within = true,
            ')' => is_within = false,
            '"' => {
                let mut text = String::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    text.push(if c == '\\' { escaped(&mut chars) } else { c });
                }
                words.push(Word { text, is_quoted: true, is_first });
            }
            c if c.is_whitespace() => {}
            c => {
                let mut text = String::from(c);
                let ends = |c: &char| c.is_whitespace() || matches!(c, ';' | '(' | ')' | '"');
                while let Some(c) = chars.next_if(|c| !ends(c)) {
                    text.push(c);
                }
                words.push(Word { text, is_quoted: false, is_first });
            }
        }
        is_first = false;
    }
    lines.push(words);
    lines.retain(|words| !words.is_empty());
    lines
}

/// What stands behind a backslash: three digits are the number of a byte.
fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> char {
    let Some(first) = chars.next() else { return '\\' };
    let Some(mut number) = first.to_digit(10) else { return first };
    for _ in 0..2 {
        if let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            number = number * 10 + digit;
            chars.next();
        }
    }
    char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars().peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { escaped(&mut chars) } else { c });
    }
    out
}

/// The record as a zone file has it: strings of what they may hold.
pub fn zone_record(name: &str, txt: &str) -> String {
    let mut record = format!("{name}. IN TXT (");
    let mut rest = txt;
    while !rest.is_empty() {
        let at_most = MAX_STRING_BYTES.min(rest.len());
        let end = (1..=at_most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (string, behind) = rest.split_at(end);
        record.push_str(&format!("\n    \"{string}\""));
        rest = behind;
    }
    record + " )"
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "s1._domainkey.example.com";

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(ZoneText::parse(text).of(NAME), expected, "{text}");
    }

    #[test]
    fn what_is_no_record_of_the_name_is_left_out() {
        check("", &[]);
        check(" \n", &[]);
        check("s1._domainkey.example.com TXT\u{a0}v=DKIM1", &["v=DKIM1"]);
        check("s1._domainkey.example.com TXT\u{2003}v=DKIM1", &["v=DKIM1"]);
        check(";; connection timed out", &[";; connection timed out"]);
        check("other.example.com. IN TXT \"v=spf1\"\n", &[]);
        check("s1._domainkey.example.org. IN TXT \"v=DKIM1\"", &[]);
        check("xs1._domainkey.example.com. IN TXT \"v=DKIM1\"", &[]);
        check("; s1._domainkey.example.com. IN TXT \"v=DKIM1\"", &[]);
        check("s1 IN TXT \"v=DKIM1\"", &[]);
        check("s1._domainkey.example.com. IN A \"192.0.2.1\"", &[]);
        check("$ORIGIN example.org.\ns1._domainkey TXT \"x\"", &[]);
    }

    #[test]
    fn a_bare_value_is_the_record() {
        check("v=DKIM1; k=rsa; p=AB", &["v=DKIM1; k=rsa; p=AB"]);
        check(" v=DKIM1\\; p=AB\n", &["v=DKIM1; p=AB"]);
        check("\"v=DKIM1; p=AB\" \"CD\"", &["v=DKIM1; p=ABCD"]);
        check("\"v=DKIM1; p=AB\"\n\"CD\"\n", &["v=DKIM1; p=ABCD"]);
        check("\"v=DKIM1\"\n\"v=DKIM1\"\n", &["v=DKIM1", "v=DKIM1"]);
        check("s1._domainkey 300 IN TXT v=DKIM1\\; p=AB", &["v=DKIM1; p=AB"]);
        check("\"v=DKIM1\\; p=A\\066\\\"\\\\\"", &["v=DKIM1; p=AB\"\\"]);
        check("\"v=DKIM1; p=A", &["v=DKIM1; p=A"]);
    }

    #[test]
    fn zone_files_and_look_up_tools_are_read() {
        let zone = "$TTL 3600\n$ORIGIN example.com.\n@ IN SOA a. b. (1 2\n 3 4 5) ; serial\n\
                    www IN TXT \"x\"\ns1._domainkey IN TXT ( \"v=DKIM1; k=rsa; \" ; kind\n  \"p=AB\"\n\
                    \t\"CD\" )\n IN TXT \"second\"\ns2._domainkey TXT \"v=DKIM1; p=EF\"\n";
        check(zone, &["v=DKIM1; k=rsa; p=ABCD", "second"]);
        let dig = "; <<>> DiG 9 <<>> TXT\n;; QUESTION SECTION:\n;s1._domainkey.example.com. IN TXT\n\n\
                   ;; ANSWER SECTION:\nS1._domainkey.Example.com. 300 IN CNAME s1.mailer.example.net.\n\
                   s1.mailer.example.net. 300 IN TXT \"v=DKIM1; \" \"p=AB\"\n;; Query time: 1 msec\n";
        check(dig, &["v=DKIM1; p=AB"]);
        let host = "s1._domainkey.example.com descriptive text \"v=DKIM1; p=AB\" \"CD\"";
        check(host, &["v=DKIM1; p=ABCD"]);
        check("s1._domainkey.example.com\ttext = \"v=DKIM1; p=AB\"\n", &["v=DKIM1; p=AB"]);
        let windows =
            "s1._domainkey.example.com\ttext =\r\n\r\n\t\"v=DKIM1; p=AB\"\r\n\t\"CD\"\r\n";
        check(windows, &["v=DKIM1; p=ABCD"]);
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for length in [1, 255, 256, 700] {
            let txt = format!("v=DKIM1; k=rsa; p={}", "A".repeat(length));
            let zone = zone_record(NAME, &txt);
            assert_eq!(ZoneText::parse(&zone).of(NAME), [txt]);
            assert!(zone.split('"').all(|string| string.len() <= MAX_STRING_BYTES), "{zone}");
        }
    }
}
