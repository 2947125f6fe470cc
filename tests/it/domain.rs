//! Purpose: what `letterlab domain`, its page and its API say about a domain, asked through a real DNS server.
//!
//! Cast: a [`Dns`] server on loopback with a good zone, and cases that each spoil one thing in it.
//!
//! Never: a question to the world.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on has failed")]

use std::process::Command;

use anyhow::Result;
use letterlab::app::config::{self, Config};
use letterlab::app::domain::keys::{MadeKey, make};
use letterlab::app::domain::{Level, Report, Request, check};
use letterlab::app::keyfile::dkim_keys;
use letterlab::delivery::dkim::DkimKeys;
use tempfile::TempDir;

use crate::servers::dns::Dns;

const IP: &str = "192.0.2.25";

/// Keys and settings of an installation that sends for news.example.org.
struct Setup {
    _folder: TempDir,
    config: Config,
    keys: DkimKeys,
    made: Vec<MadeKey>,
}

impl Setup {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = make(folder.path(), "example.org", "s1", || [4; 32])?;
        let mut config = config::load(None, std::iter::empty())?;
        config.bounce.domain = "bounces.example.org".to_owned();
        config.relay.host = "mail.example.org".to_owned();
        config.domain.dkim = made.iter().map(|key| key.entry.clone()).collect();
        let keys = dkim_keys(&config.domain.dkim)?;
        Ok(Self { _folder: folder, config, keys, made })
    }

    fn zone(&self) -> Vec<(String, &'static str, String)> {
        let mut zone: Vec<(String, &'static str, String)> =
            self.made.iter().map(|key| (key.record.name.clone(), "TXT", key.record.value.clone())).collect();
        let mut add = |name: &str, kind, value: &str| zone.push((name.to_owned(), kind, value.to_owned()));
        add("bounces.example.org", "TXT", "google-site-verification=x");
        add("bounces.example.org", "TXT", "v=spf1 include:_spf.example.org ~all");
        add("_spf.example.org", "TXT", "v=spf1 a:mail.example.org ip6:2001:db8::/64 -all");
        add("_dmarc.example.org", "TXT", "v=DMARC1; p=reject; rua=mailto:dmarc@example.org");
        add("mail.example.org", "A", IP);
        add(IP, "PTR", "mail.example.org");
        add("news.example.org", "MX", "10 mail.example.org");
        add("bounces.example.org", "MX", "20 spare.example.org");
        add("bounces.example.org", "MX", "10 mail.example.org");
        zone
    }

    fn ask(&self, zone: &[(String, &'static str, String)], sends_from: &[&str]) -> Report {
        let records: Vec<(&str, &str, &str)> = zone.iter().map(|(name, kind, value)| (name.as_str(), *kind, value.as_str())).collect();
        let dns = Dns::start(&records).unwrap();
        let request = Request {
            domain: "News.example.org".to_owned(),
            resolver: Some(dns.address()),
            sends_from: sends_from.iter().map(|address| address.parse().unwrap()).collect(),
        };
        let report = check(&self.config, &self.keys, &request).unwrap();
        assert!(dns.questions() > 0);
        report
    }
}

fn shown(report: &Report) -> String {
    report
        .findings
        .iter()
        .map(|finding| format!("{} {} {:?}: {} {}\n", finding.subject, finding.name, finding.level, finding.found, finding.advice))
        .collect()
}

#[test]
fn a_domain_that_is_as_it_should_be_is_found_so() -> Result<()> {
    let setup = Setup::new()?;
    let report = setup.ask(&setup.zone(), &[]);
    assert_eq!(report.level, Level::Ok, "{}", shown(&report));
    assert_eq!((report.domain.as_str(), report.return_domain.as_str()), ("news.example.org", "bounces.example.org"));
    let subjects: Vec<&str> = report.findings.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, ["SPF", "SPF", "DKIM", "DKIM", "DMARC", "DMARC", "PTR", "MX", "MX"]);
    assert!(report.findings[0].found.contains("2 of 10 questions"), "{}", shown(&report));
    assert_eq!(report.findings[8].found, "mail.example.org, spare.example.org", "the preferred first");
    assert!(report.findings.iter().all(|finding| finding.record.is_none()));
    Ok(())
}

#[test]
fn each_fault_is_found_and_said_how_to_mend() -> Result<()> {
    let setup = Setup::new()?;
    // What is changed in the good zone (a value of None takes the record away), and what must be found.
    type Case<'a> = (&'a str, &'static str, &'a str, Option<&'a str>, &'a str, Level, &'a str);
    let cases: &[Case<'_>] = &[
        ("bounces.example.org", "TXT", "v=spf1 include", None, "SPF", Level::Stop, "there is no SPF record"),
        ("bounces.example.org", "TXT", "v=spf1 include", Some("v=spf1 ipv4:1.2.3.4 -all"), "SPF", Level::Stop, "unknown"),
        ("bounces.example.org", "TXT", "v=spf1 include", Some("v=spf1 +all"), "SPF", Level::Stop, "+all"),
        ("bounces.example.org", "TXT", "v=spf1 include", Some("v=spf1 ip4:192.0.2.25"), "SPF", Level::Warn, "~all"),
        ("bounces.example.org", "TXT", "v=spf1 include", Some("v=spf1 ip4:198.51.100.0/24 -all"), "SPF", Level::Warn, "ip4:192.0.2.25"),
        (
            "bounces.example.org",
            "TXT",
            "v=spf1 include",
            Some("v=spf1 include:nothing.example.org -all"),
            "SPF",
            Level::Stop,
            "no SPF record",
        ),
        ("bounces.example.org", "TXT", "v=spf1 include", Some("v=spf1 include:bounces.example.org -all"), "SPF", Level::Stop, "circle"),
        ("bounces.example.org", "TXT", "v=spf1 include", Some("v=spf1 a a a a a a a a a a mx -all"), "SPF", Level::Stop, "11 questions"),
        ("bounces.example.org", "TXT", "google", Some("v=spf1 -all"), "SPF", Level::Stop, "2 SPF records"),
        ("s1._domainkey.example.org", "TXT", "", None, "DKIM", Level::Stop, "there is no record"),
        ("s1._domainkey.example.org", "TXT", "", Some("v=DKIM1; k=rsa; p="), "DKIM", Level::Stop, "revoked"),
        ("s1e._domainkey.example.org", "TXT", "", Some("v=DKIM1; k=ed25519; p=AAAA"), "DKIM", Level::Stop, "another key"),
        ("s1e._domainkey.example.org", "TXT", "", None, "DKIM", Level::Stop, "Publish the public key"),
        ("_dmarc.example.org", "TXT", "", None, "DMARC", Level::Stop, "there is no DMARC record"),
        ("_dmarc.example.org", "TXT", "", Some("v=DMARC1; p=reject; aspf=s"), "DMARC", Level::Warn, "DKIM counts for it, SPF of"),
        ("_dmarc.example.org", "TXT", "", Some("v=DMARC1; p=reject; adkim=s"), "DMARC", Level::Warn, "SPF counts for it, DKIM of"),
        ("_dmarc.example.org", "TXT", "", Some("v=DMARC1; p=reject; adkim=s; aspf=s"), "DMARC", Level::Stop, "neither"),
        (IP, "PTR", "", None, "PTR", Level::Stop, "it has no name"),
        (IP, "PTR", "", Some("other.example.org"), "PTR", Level::Stop, "does not lead back"),
        ("news.example.org", "MX", "", None, "MX", Level::Warn, "Answers of readers are lost"),
        ("news.example.org", "MX", "", Some("0 ."), "MX", Level::Warn, "null MX"),
        ("bounces.example.org", "MX", "10 ", Some("10 gone.example.org"), "MX", Level::Stop, "has no address"),
        ("news.example.org", "MX", "", Some("10 broken.example.org"), "MX", Level::Warn, "no answer about broken.example.org"),
    ];
    for (name, kind, start, value, subject, level, words) in cases {
        let mut zone = setup.zone();
        zone.push(("broken.example.org".to_owned(), "SERVFAIL", String::new()));
        let at = zone.iter().position(|record| record.0 == *name && record.1 == *kind && record.2.starts_with(start)).unwrap();
        match value {
            Some(value) => zone[at].2 = (*value).to_owned(),
            None => drop(zone.remove(at)),
        }
        let report = setup.ask(&zone, &[]);
        let found = report.findings.iter().find(|finding| {
            finding.subject == *subject && finding.level == *level && format!("{} {}", finding.found, finding.advice).contains(words)
        });
        assert!(found.is_some(), "{name} {kind} {value:?} should give {level:?} {words:?}\n{}", shown(&report));
        assert_eq!(report.level, report.findings.iter().map(|finding| finding.level).max().unwrap());
    }
    Ok(())
}

#[test]
fn what_to_publish_mends_what_is_missing() -> Result<()> {
    let setup = Setup::new()?;
    let empty = setup.ask(&[], &[IP]);
    assert_eq!(empty.level, Level::Stop);
    let mut zone: Vec<(String, &'static str, String)> =
        empty.findings.iter().filter_map(|finding| finding.record.clone()).map(|record| (record.name, record.kind, record.value)).collect();
    for (_, kind, value) in &mut zone {
        if *kind == "MX" {
            *value = "10 mail.example.org".to_owned();
        }
    }
    zone.push(("mail.example.org".to_owned(), "A", IP.to_owned()));
    zone.push((IP.to_owned(), "PTR", "mail.example.org".to_owned()));
    let mended = setup.ask(&zone, &[IP]);
    assert_eq!(mended.level, Level::Ok, "{}", shown(&mended));
    let elsewhere = setup.ask(&zone, &["198.51.100.7"]);
    assert!(shown(&elsewhere).contains("SPF 198.51.100.7 Stop: may not send"), "{}", shown(&elsewhere));
    Ok(())
}

#[test]
fn the_command_makes_keys_and_says_what_is_wrong() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run = |arguments: &[&str]| -> Result<(bool, String)> {
        let output = Command::new(env!("CARGO_BIN_EXE_letterlab")).current_dir(folder.path()).arg("domain").args(arguments).output()?;
        Ok((output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))))
    };
    let (good, printed) = run(&["keys", "example.org", "--selector", "a"])?;
    assert!(good && printed.contains("a._domainkey.example.org. IN TXT \"v=DKIM1; k=rsa; p=MIIB"), "{printed}");
    assert!(printed.contains("ae._domainkey.example.org. IN TXT \"v=DKIM1; k=ed25519; p=") && !printed.contains("PRIVATE"), "{printed}");
    let (good, refused) = run(&["keys", "example.org", "--selector", "a"])?;
    assert!(!good && refused.contains("--selector"), "{refused}");

    let settings: String = printed
        .lines()
        .skip_while(|line| *line != "[[domain.dkim]]")
        .take_while(|line| !line.starts_with("3."))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(folder.path().join("letterlab.toml"), settings)?;
    let published: Vec<(String, String)> = printed
        .lines()
        .filter_map(|line| line.split_once(". IN TXT "))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').replace("\" \"", "")))
        .collect();
    let records: Vec<(&str, &str, &str)> = published.iter().map(|(name, value)| (name.as_str(), "TXT", value.as_str())).collect();
    let dns = Dns::start(&records)?;
    let resolver = dns.address().to_string();
    let (good, printed) = run(&["check", "example.org", "--resolver", &resolver, "--ip", IP])?;
    assert!(!good && printed.contains("ok    DKIM   a._domainkey.example.org") && printed.contains("stop  DMARC"), "{printed}");
    let (_, json) = run(&["check", "example.org", "--resolver", &resolver, "--json"])?;
    let report: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!((&report["level"], &report["findings"][0]["subject"]), (&"stop".into(), &"SPF".into()));
    let (good, refused) = run(&["check", "localhost", "--resolver", &resolver])?;
    assert!(!good && refused.contains("example.org"), "{refused}");
    Ok(())
}
