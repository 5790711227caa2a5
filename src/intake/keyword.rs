//! The words by which people opt out, opt in, and ask for help.

/// `[sms] stop_words` and their like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeywordSettings {
    pub stop: Vec<String>,
    pub start: Vec<String>,
    pub help: Vec<String>,
    /// What is sent back; `None` is nothing.
    pub stop_reply: Option<String>,
    pub start_reply: Option<String>,
    pub help_reply: Option<String>,
}

impl Default for KeywordSettings {
    /// Twilio's words, and Danish ones.
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        KeywordSettings {
            stop: words(&["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "AFMELD"]),
            start: words(&["START", "YES", "UNSTOP", "TILMELD"]),
            help: words(&["HELP", "INFO", "HJÆLP"]),
            stop_reply: None,
            start_reply: None,
            help_reply: None,
        }
    }
}
