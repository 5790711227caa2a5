//! `waybill dkim`: what has to be published for the keys that sign, and whether a given DNS text says it.
//!
//! Nothing is looked up: the text comes from a zone file, from `dig` or from a DNS provider's page, so that it can be
//! checked before it is published. Only public keys are shown.

use std::io::Read as _;
use std::path::Path;

use super::listing::show;
use super::{Failure, load};
use crate::config::Environment;
use crate::rewrite::{DkimSigner, ZoneText, compare, zone_record};

/// A zone file of some thousand records.
const MAX_TEXT_BYTES: u64 = 4 << 20;

const HELP: &str = "\
Examples:
  waybill dkim                                  what to publish, for every key
  dig TXT s2026._domainkey.example.com | waybill dkim -
  waybill dkim --key s2026._domainkey.example.com 'v=DKIM1; k=rsa; p=MIIBIjANBg…'
  waybill dkim - < example.com.zone             every key, before the zone goes live

The text may be the value alone, the answer of dig, host or nslookup, or a zone file with strings in quotes and in
parentheses. A text without names is compared with one key; with several keys say which with --key. It exits with 1
when a key and the text differ.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct DkimArgs {
    /// DNS text to compare the keys with; - reads it from stdin. Without it, what to publish is shown
    #[arg(value_name = "DNS_TEXT")]
    text: Option<String>,
    /// One key alone, by its DNS name or its selector
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

pub(super) fn dkim(
    args: &DkimArgs,
    config: Option<&Path>,
    environment: Environment,
) -> Result<(), Failure> {
    // Other secrets may be credentials that only systemd hands over; they are not needed here.
    let loaded = load(config, &Environment { is_rehearsal: true, ..environment })?;
    let signers = chosen(&loaded.config.dkim, args.key.as_deref())?;
    match args.text.as_deref() {
        None => list(&signers),
        Some("-") => compare_all(&signers, &read_stdin()?),
        Some(text) => compare_all(&signers, text),
    }
}

fn chosen<'a>(all: &'a [DkimSigner], key: Option<&str>) -> Result<Vec<&'a DkimSigner>, Failure> {
    if all.is_empty() {
        let text = "no key is configured under [dkim], or none could be read";
        return Err(Failure::Failed(text.to_owned()));
    }
    let is_it = |signer: &&DkimSigner| {
        let name = signer.dns_name();
        let selector = name.split_once("._domainkey.").map_or("", |(selector, _)| selector);
        key.is_none_or(|key| {
            let key = key.trim_end_matches('.');
            key.eq_ignore_ascii_case(&name) || key.eq_ignore_ascii_case(selector)
        })
    };
    let signers: Vec<&DkimSigner> = all.iter().filter(is_it).collect();
    match (signers.is_empty(), key) {
        (true, Some(key)) => {
            let known: Vec<String> = all.iter().map(DkimSigner::dns_name).collect();
            let text = format!("there is no key {key:?}; there is {}", known.join(", "));
            Err(Failure::Usage(text))
        }
        (true | false, _) => Ok(signers),
    }
}

fn list(signers: &[&DkimSigner]) -> Result<(), Failure> {
    let sections = signers.iter().map(|signer| {
        let (name, txt) = (signer.dns_name(), signer.dns_txt());
        let zone = zone_record(&name, &txt);
        let domain = signer.domain().as_str();
        format!(
            "Key of {domain}\n  name:  {name}\n  type:  TXT\n  value: {txt}\n\nIn a zone file:\n{zone}\n"
        )
    });
    show(&sections.collect::<Vec<_>>().join("\n"))
}

fn compare_all(signers: &[&DkimSigner], text: &str) -> Result<(), Failure> {
    let zone = ZoneText::parse(text);
    if zone.is_nameless() && signers.len() > 1 {
        let names: Vec<String> = signers.iter().map(|signer| signer.dns_name()).collect();
        let text = format!("the text names no key; say which with --key: {}", names.join(", "));
        return Err(Failure::Usage(text));
    }
    let mut differing = 0;
    let mut report = String::new();
    for signer in signers {
        let name = signer.dns_name();
        let found = match zone.of(&name)[..] {
            [] => vec![String::from("the text has no TXT record of this name")],
            [txt] => compare(signer, txt).iter().map(ToString::to_string).collect(),
            // RFC 6376 §3.6.2.2.
            [_, _, ..] => {
                vec![String::from(
                    "there are several TXT records of this name, and may be one only",
                )]
            }
        };
        match found.is_empty() {
            true => report.push_str(&format!("{name}: the record fits the key\n")),
            false => {
                differing += 1;
                found.iter().for_each(|what| report.push_str(&format!("{name}: {what}\n")));
                report.push_str(&format!("  publish: {}\n", signer.dns_txt()));
            }
        }
    }
    show(&report)?;
    match differing {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 key is not published as it has to be".to_owned())),
        count => Err(Failure::Failed(format!("{count} keys are not published as they have to be"))),
    }
}

fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Failed(format!("stdin can not be read: {error}")))?;
    match bytes.len() as u64 > MAX_TEXT_BYTES {
        true => Err(Failure::Failed("the text is longer than 4 MiB".to_owned())),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
