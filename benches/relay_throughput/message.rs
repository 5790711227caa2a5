//! Messages as applications send them: text and HTML, and from 64 KiB on an attachment; no two are alike.

use std::fmt::Write as _;

const WORDS: [&str; 48] = [
    "invoice",
    "order",
    "delivery",
    "customer",
    "payment",
    "account",
    "balance",
    "reminder",
    "due",
    "amount",
    "thank",
    "you",
    "for",
    "your",
    "business",
    "please",
    "find",
    "attached",
    "the",
    "statement",
    "of",
    "this",
    "month",
    "and",
    "contact",
    "us",
    "with",
    "any",
    "question",
    "about",
    "shipping",
    "address",
    "warehouse",
    "contract",
    "service",
    "renewal",
    "price",
    "discount",
    "total",
    "including",
    "tax",
    "number",
    "reference",
    "project",
    "office",
    "regards",
    "team",
    "support",
];

/// Room for the longest slice, started anywhere in the first half.
const POOL_BYTES: usize = 4 << 20;

/// Text and base64 lines that messages are cut from.
pub struct Maker {
    text: String,
    base64: String,
    random: u64,
}

impl Maker {
    /// `seed` makes the messages of two makers differ.
    pub fn new(seed: u64) -> Maker {
        let mut maker = Maker { text: String::new(), base64: String::new(), random: seed | 1 };
        while maker.text.len() < POOL_BYTES {
            let end = maker.text.len() + 60;
            while maker.text.len() < end {
                let word = WORDS[maker.below(WORDS.len())];
                maker.text.push_str(word);
                maker.text.push(' ');
            }
            maker.text.push_str("\r\n");
        }
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        while maker.base64.len() < POOL_BYTES {
            for _ in 0..76 {
                let letter = alphabet[maker.below(alphabet.len())];
                maker.base64.push(char::from(letter));
            }
            maker.base64.push_str("\r\n");
        }
        maker
    }

    /// One message of about `size_bytes`, ready to be sent after DATA: no line begins with a dot, and the final dot
    /// is at its end.
    pub fn message(&mut self, serial: u64, size_bytes: usize) -> Vec<u8> {
        let id = format!("{:016x}.{serial}", self.next());
        let mut out = String::with_capacity(size_bytes + 1024);
        let _ = write!(
            out,
            "From: Billing <billing@example.com>\r\nTo: Kim <kim@example.org>\r\nSubject: Invoice INV-{serial} for {}\r\n\
             Date: Mon, 5 Jan 2026 10:00:00 +0000\r\nMessage-ID: <{id}@bench.example.com>\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"{id}\"\r\n\r\n",
            WORDS[self.below(WORDS.len())]
        );
        let _ = write!(
            out,
            "--{id}\r\nContent-Type: multipart/alternative; boundary=\"a{id}\"\r\n\r\n"
        );
        let attachment = size_bytes >= 64 << 10;
        let bodies = if attachment { 8 << 10 } else { size_bytes.saturating_sub(out.len() + 330) };
        let _ = write!(out, "--a{id}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
        self.paragraphs(&mut out, bodies / 3, "", "");
        let _ = write!(
            out,
            "\r\n--a{id}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n"
        );
        self.paragraphs(&mut out, bodies - bodies / 3, "<p>", "</p>");
        let _ = write!(out, "</body></html>\r\n--a{id}--\r\n");
        if attachment {
            let _ = write!(
                out,
                "--{id}\r\nContent-Type: application/pdf; name=\"INV-{serial}.pdf\"\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n"
            );
            let length = size_bytes.saturating_sub(out.len() + 60) / 78 * 78;
            let start = self.below(POOL_BYTES / 2) / 78 * 78;
            out.push_str(&self.base64[start..start + length]);
        }
        let _ = write!(out, "--{id}--\r\n.\r\n");
        out.into_bytes()
    }

    fn paragraphs(&mut self, out: &mut String, length: usize, open: &str, close: &str) {
        let end = out.len() + length;
        let from = self.below(POOL_BYTES / 2);
        let lines = self.text[from..].split("\r\n").skip(1);
        for line in lines {
            let room = end.saturating_sub(out.len() + open.len() + close.len() + 2);
            if room == 0 {
                break;
            }
            out.push_str(open);
            out.push_str(&line[..line.len().min(room)]);
            out.push_str(close);
            out.push_str("\r\n");
        }
    }

    /// xorshift64*: fast, and the same in every run.
    fn next(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
