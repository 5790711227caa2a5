//! What a user agent says of itself: scanner, proxy, mail program, browser, device.
//!
//! Browsers, systems and crawlers are told by woothee (its data is of 2022; a newer browser keeps the
//! shape of its older ones). Mail programs, image proxies and mail scanners, which it does not know, are
//! told by the words that they write. Whoever wants to lie here can: nothing but numbers depends on it.

use woothee::parser::{Parser, WootheeResult};

/// Parts of the user agents of programs that fetch without a person: scanners of mail, previews of
/// chat programs, libraries. In lower case.
const SCANNERS: [&str; 65] = [
    "barracuda",
    "mimecast",
    "proofpoint",
    "bitdefender",
    "symantec",
    "messagelabs",
    "trendmicro",
    "fortinet",
    "fortigate",
    "forcepoint",
    "sophos",
    "kaspersky",
    "cloudmark",
    "zscaler",
    "virustotal",
    "urlscan",
    "safebrowsing",
    "safelinks",
    "existence discovery",
    "bingpreview",
    "headless",
    "phantomjs",
    "selenium",
    "puppeteer",
    "playwright",
    "python",
    "aiohttp",
    "curl/",
    "wget/",
    "libwww",
    "go-http-client",
    "okhttp",
    "java/",
    "httpclient",
    "axios",
    "node-fetch",
    "undici",
    "scrapy",
    "facebookexternalhit",
    "whatsapp/",
    "skypeuripreview",
    "slack-imgproxy",
    "crawler",
    "spider",
    // Whatever names its home page; no browser does.
    "+http://",
    "+https://",
    // Fetches the images of Gmail before anybody looks.
    "edge/12.246 mozilla/5.0",
    // Of Office, before a link is opened or instead of it.
    "protocol discovery",
    "vade secure",
    "palo alto networks",
    "read-aloud",
    "googleother",
    "iframely",
    "embedly",
    "zgrab",
    "censys",
    "nuclei",
    "guzzlehttp",
    "postmanruntime",
    "httpie/",
    "reqwest/",
    "deno/",
    "bun/",
    "powershell",
    "cloudfront",
];

/// Parts of the user agents of proxies that fetch an image when somebody looks at it, with the name of
/// their mail program.
const IMAGE_PROXIES: [(&str, &str); 10] = [
    ("googleimageproxy", "Gmail"),
    ("yahoomailproxy", "Yahoo Mail"),
    ("outlookimageproxy", "Outlook"),
    ("outlook image proxy", "Outlook"),
    ("mailruimageproxy", "Mail.ru"),
    ("seznamemailproxy", "Seznam"),
    ("yandeximageproxy", "Yandex Mail"),
    ("fastmail", "Fastmail"),
    ("imageproxy", "a mail program"),
    ("mailproxy", "a mail program"),
];

/// Parts of the user agents of mail programs.
const MAIL_PROGRAMS: [(&str, &str); 12] = [
    ("outlook", "Outlook"),
    ("msoffice", "Outlook"),
    ("ms-office", "Outlook"),
    ("microsoft office", "Outlook"),
    ("thunderbird", "Thunderbird"),
    ("emclient", "eM Client"),
    ("airmail", "Airmail"),
    ("postbox", "Postbox"),
    ("k-9 mail", "K-9 Mail"),
    ("evolution/", "Evolution"),
    ("lotus-notes", "Notes"),
    ("the bat", "The Bat!"),
];

/// Systems by what stands in a user agent.
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows Phone", "Windows Phone"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// All that is told by a user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentKind {
    /// There is none.
    Absent,
    Scanner,
    ImageProxy,
    /// What Apple's proxies send: the first word of all browsers and nothing behind it.
    Bare,
    /// A mail program or a browser.
    Program,
    Unknown,
}

pub(super) fn kind(agent: &str) -> AgentKind {
    let agent = agent.trim();
    let small = agent.to_ascii_lowercase();
    if small.is_empty() || small == "-" {
        AgentKind::Absent
    } else if IMAGE_PROXIES.iter().any(|(word, _)| small.contains(word)) {
        AgentKind::ImageProxy
    } else if SCANNERS.iter().any(|word| small.contains(word)) || is_bot(&small) {
        AgentKind::Scanner
    } else if agent == "Mozilla/5.0" {
        AgentKind::Bare
    } else if MAIL_PROGRAMS.iter().any(|(word, _)| small.contains(word)) {
        AgentKind::Program
    } else {
        by_woothee(agent)
    }
}

fn by_woothee(agent: &str) -> AgentKind {
    match Parser::new().parse(agent) {
        Some(
            WootheeResult { category: "crawler", .. } | WootheeResult { name: "HTTP Library", .. },
        ) => AgentKind::Scanner,
        Some(WootheeResult {
            category: "pc" | "smartphone" | "mobilephone" | "appliance", ..
        }) => AgentKind::Program,
        _ if is_apple_mail(agent) => AgentKind::Program,
        _ => AgentKind::Unknown,
    }
}

/// `…bot` as the end of a word: `Twitterbot/1.0`, but not `Cubot` in the name of a telephone.
fn is_bot(small: &str) -> bool {
    small.match_indices("bot").any(|(at, _)| {
        let after = small.get(at + 3..).unwrap_or_default();
        after.starts_with(['/', ')', ';', ',', '.']) || (after.is_empty() && !small.contains(' '))
    })
}

/// Mail on Apple's systems shows itself as the engine of a browser without a browser.
fn is_apple_mail(agent: &str) -> bool {
    let is_apple = ["iPhone", "iPad", "Macintosh"].iter().any(|system| agent.contains(system));
    let browsers = ["Safari/", "Chrome/", "CriOS/", "FxiOS/", "EdgiOS/", "GSA/", "OPR/"];
    is_apple
        && agent.contains("AppleWebKit/")
        && !browsers.iter().any(|browser| agent.contains(browser))
}

/// `Apple Mail on iPhone`, `Chrome on Windows`, `Gmail`; `None` where nothing is known.
pub(super) fn device(agent: &str) -> Option<String> {
    let small = agent.to_ascii_lowercase();
    if let Some((_, name)) = IMAGE_PROXIES.iter().find(|(word, _)| small.contains(word)) {
        // Its system is the proxy's, not the person's.
        return Some((*name).to_owned()).filter(|name| name != "a mail program");
    }
    let named = MAIL_PROGRAMS.iter().find(|(word, _)| small.contains(word)).map(|(_, name)| *name);
    let named = named.or_else(|| is_apple_mail(agent).then_some("Apple Mail"));
    let parsed = Parser::new().parse(agent);
    let browser = parsed.map(|found| found.name).filter(|name| *name != "UNKNOWN");
    let program = named.or(browser);
    let system = SYSTEMS.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name);
    match (program, system) {
        (Some(program), Some(system)) => Some(format!("{program} on {system}")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

    fn check(agent: &str, expected: AgentKind, name: Option<&str>) {
        assert_eq!(kind(agent), expected, "{agent}");
        if expected != AgentKind::Scanner {
            assert_eq!(device(agent).as_deref(), name, "{agent}");
        }
    }

    #[test]
    fn machines_are_told() {
        for agent in [
            "curl/8.5.0",
            "python-requests/2.31.0",
            "Go-http-client/1.1",
            "Barracuda Sentinel (EE)",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Twitterbot/1.0",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots), Slackbot.",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
            "WhatsApp/2.23.20.0",
            "Microsoft Office Existence Discovery",
            "Microsoft Office Protocol Discovery",
            "Slackbot 1.0 (+https://api.slack.com/robots)",
            "Slack-ImgProxy (+https://api.slack.com/robots)",
            "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
            "TelegramBot (like TwitterBot)",
            "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
            "Iframely/1.3.1 (+https://iframely.com/docs/about) Atlassian",
            "Mozilla/5.0 (compatible; Embedly/0.2; +http://support.embed.ly/)",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.13; rv:65.0) Gecko/20100101 Firefox/65.0 (BarracudaCentral)",
            "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
            "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.1; Trident/6.0) Vade Secure",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0",
            "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.2506",
            "Mozilla/5.0 zgrab/0.x",
            "Ruby",
            "GuzzleHttp/7",
            "facebookexternalhit/1.1",
        ] {
            check(agent, AgentKind::Scanner, None);
        }
        check("", AgentKind::Absent, None);
        check(" - ", AgentKind::Absent, None);
        check("Mozilla/5.0", AgentKind::Bare, None);
        check("x", AgentKind::Unknown, None);
        check("\u{202e}тест", AgentKind::Unknown, None);
    }

    #[test]
    fn proxies_are_told() {
        let gmail = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        check(gmail, AgentKind::ImageProxy, Some("Gmail"));
        let yahoo = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
        check(yahoo, AgentKind::ImageProxy, Some("Yahoo Mail"));
        let mail_ru = "Mozilla/5.0 (compatible; MailRuImageProxy/1.0)";
        check(mail_ru, AgentKind::ImageProxy, Some("Mail.ru"));
        check("Hotmail; Microsoft Outlook Image Proxy", AgentKind::ImageProxy, Some("Outlook"));
        check("Example ImageProxy/1", AgentKind::ImageProxy, None);
    }

    #[test]
    fn programs_are_told() {
        check(IPHONE, AgentKind::Program, Some("Apple Mail on iPhone"));
        check(CHROME, AgentKind::Program, Some("Chrome on Windows"));
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        check(mac, AgentKind::Program, Some("Apple Mail on Mac"));
        let bird = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0";
        check(bird, AgentKind::Program, Some("Thunderbird on Linux"));
        let outlook = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Microsoft Outlook 16.0.17328; ms-office)";
        check(outlook, AgentKind::Program, Some("Outlook on Windows"));
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        check(firefox, AgentKind::Program, Some("Firefox on Linux"));
        for (agent, name) in [
            (
                "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)",
                "Outlook on Windows",
            ),
            ("Outlook-iOS/709.2189947.prod.iphone (3.24.1)", "Outlook"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0) like Gecko",
                "Internet Explorer on Windows",
            ),
        ] {
            check(agent, AgentKind::Program, Some(name));
        }
        let phone = "Mozilla/5.0 (Linux; Android 13; CUBOT NOTE 50) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36";
        check(phone, AgentKind::Program, Some("Chrome on Android"));
    }
}
