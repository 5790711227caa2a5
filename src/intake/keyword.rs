//! STOP, START and HELP: what a person writes to be left alone, or to be written to again.
//!
//! Pure reading. The whole text is the word, but for white space around it and for case; a
//! sentence that holds it is a message to the application.

/// `[sms] stop_words` and their like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeywordSettings {
    pub stop: Vec<String>,
    pub start: Vec<String>,
    pub help: Vec<String>,
    /// `None`: no answer, which is right where the provider answers by itself.
    pub stop_reply: Option<String>,
    pub start_reply: Option<String>,
    pub help_reply: Option<String>,
}

impl Default for KeywordSettings {
    /// The words of Twilio's opt-out handling and the Danish ones, and no answers.
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
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

/// What a person wants by a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Stop,
    Start,
    Help,
}

impl Keyword {
    /// As lists and reasons show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Keyword::Stop => "STOP",
            Keyword::Start => "START",
            Keyword::Help => "HELP",
        }
    }
}

impl KeywordSettings {
    /// The keyword that a text is, if it is one. A word that stands in two lists opts out.
    pub fn read(&self, text: &str) -> Option<Keyword> {
        let text = text.trim().to_lowercase();
        let is_in = |words: &[String]| words.iter().any(|word| word.trim().to_lowercase() == text);
        if text.is_empty() {
            None
        } else if is_in(&self.stop) {
            Some(Keyword::Stop)
        } else if is_in(&self.start) {
            Some(Keyword::Start)
        } else if is_in(&self.help) {
            Some(Keyword::Help)
        } else {
            None
        }
    }

    /// What is answered to it.
    pub fn reply(&self, keyword: Keyword) -> Option<&str> {
        match keyword {
            Keyword::Stop => self.stop_reply.as_deref(),
            Keyword::Start => self.start_reply.as_deref(),
            Keyword::Help => self.help_reply.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_text_is_a_keyword() {
        let check = |text: &str, expected| {
            assert_eq!(KeywordSettings::default().read(text), expected, "{text:?}");
        };
        for text in ["", " ", "please stop", "STOP it", "S T O P", "stopp", "STOP.", "no"] {
            check(text, None);
        }
        check("STOP", Some(Keyword::Stop));
        check(" \tsToP\r\n", Some(Keyword::Stop));
        check("afmeld", Some(Keyword::Stop));
        check("yes", Some(Keyword::Start));
        check("Tilmeld", Some(Keyword::Start));
        check("hjælp", Some(Keyword::Help));
        check("HJÆLP", Some(Keyword::Help));
    }

    #[test]
    fn a_word_in_two_lists_opts_out() {
        let both = vec!["away".to_owned()];
        let settings = KeywordSettings { stop: both.clone(), start: both, ..Default::default() };
        assert_eq!(settings.read("Away"), Some(Keyword::Stop));
        let none = KeywordSettings { stop: vec![String::new()], ..Default::default() };
        assert_eq!(none.read(" "), None);
    }
}
