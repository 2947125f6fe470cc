//! Purpose: programs nobody here wrote that judge finished messages: OpenDKIM, dkimpy and Python's parser, mail-auth, SpamAssassin.
//!
//! Cast: [`Verifiers`] (public keys, and a folder for messages), [`Judged`] (what Python says), [`Scored`] (what SpamAssassin says).
//!
//! Never: asks the DNS of the world; public keys come from a file or from a server on loopback.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use letterlab::app::domain::Record;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use serde::Deserialize;
use tempfile::TempDir;

use super::dns::Dns;
use super::process::scratch;

const CHECKS: &str = include_str!("../checks.py");

/// What Python's strict parser and dkimpy find in a message.
#[derive(Debug, Clone, Deserialize)]
pub struct Judged {
    /// Defects of any part or header.
    pub defects: Vec<String>,
    /// For each signature from the top: `true`, `false` or why it cannot be verified.
    pub verified: Vec<serde_json::Value>,
    /// The subject, decoded.
    pub subject: String,
    /// The sender's display name, decoded.
    pub from: String,
    /// The text part, decoded.
    pub text: String,
    /// The HTML part, decoded.
    pub html: String,
}

/// SpamAssassin's judgement.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Points; five are spam.
    pub points: f64,
    /// Rules that hit.
    pub rules: Vec<String>,
}

/// Public keys, and a folder for messages under judgement.
pub struct Verifiers {
    folder: TempDir,
    dns: Dns,
}

impl Verifiers {
    /// Knows these public keys.
    pub fn new(records: &[Record]) -> Result<Self> {
        let folder = scratch("verifiers-")?;
        let lines: String = records.iter().map(|record| format!("{} {}\n", record.name, record.value)).collect();
        fs::write(folder.path().join("keys.txt"), lines)?;
        fs::write(folder.path().join("checks.py"), CHECKS)?;
        let keys = folder.path().join("keys.txt");
        let settings = format!("Mode v\nSyslog no\nUserID root\nTestPublicKeys {}\n", keys.display());
        fs::write(folder.path().join("opendkim.conf"), settings)?;
        let published: Vec<(&str, &str, &str)> =
            records.iter().map(|record| (record.name.as_str(), "TXT", record.value.as_str())).collect();
        Ok(Self { folder, dns: Dns::start(&published)? })
    }

    fn write(&self, messages: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
        let folder = tempfile::Builder::new().prefix("batch-").tempdir_in(self.folder.path())?.keep();
        let write = |(number, message): (usize, &Vec<u8>)| {
            let path = folder.join(format!("{number:03}.eml"));
            fs::write(&path, message)?;
            Ok(path)
        };
        messages.iter().enumerate().map(write).collect()
    }

    /// Python's strict parser and dkimpy.
    pub fn python(&self, messages: &[Vec<u8>]) -> Result<Vec<Judged>> {
        let files = self.write(messages)?;
        // Debian's own Python, which has Debian's dkimpy.
        let output = Command::new("/usr/bin/python3")
            .arg(self.folder.path().join("checks.py"))
            .arg(self.folder.path().join("keys.txt"))
            .args(&files)
            .output()
            .context("python3 did not start; tests/run installs it")?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let judged: Vec<Judged> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(judged.len() == messages.len(), "{} of {} messages were judged", judged.len(), messages.len());
        Ok(judged)
    }

    /// OpenDKIM: of each message, how many signatures pass, and how many it saw.
    pub fn opendkim(&self, messages: &[Vec<u8>]) -> Result<Vec<(usize, usize)>> {
        let files: Vec<String> = self.write(messages)?.iter().map(|file| file.display().to_string()).collect();
        let mut command = Command::new("/usr/sbin/opendkim");
        command.arg("-x").arg(self.folder.path().join("opendkim.conf")).arg("-vv").arg("-t").arg(files.join(","));
        let output = command.output().context("opendkim did not start; tests/run installs it")?;
        // Its exit code is 0 either way: only its words count. It writes one Authentication-Results header for each message, in order.
        let said = String::from_utf8_lossy(&output.stdout);
        let results: Vec<(usize, usize)> = said
            .split("### INSHEADER")
            .skip(1)
            .map(|block| {
                let of: Vec<&str> = block.lines().filter(|line| line.trim_start().starts_with("dkim=")).collect();
                (of.iter().filter(|line| line.trim_start().starts_with("dkim=pass")).count(), of.len())
            })
            .collect();
        ensure!(
            results.len() == messages.len(),
            "OpenDKIM judged {} of {} messages: {said}{}",
            results.len(),
            messages.len(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(results)
    }

    /// mail-auth: whether each signature, from the top, passes.
    pub async fn mail_auth(&self, message: &[u8]) -> Result<Vec<bool>> {
        let address = self.dns.address();
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let server = NameServerConfig::new(address.ip(), true, vec![connection]);
        let authenticator = MessageAuthenticator::new(ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())?;
        let parsed = AuthenticatedMessage::parse(message).context("mail-auth cannot read the message")?;
        let verified = authenticator.verify_dkim(&parsed).await;
        Ok(verified.iter().map(|output| matches!(output.result(), DkimResult::Pass)).collect())
    }

    /// SpamAssassin without network, all messages in one run (it takes seconds to start).
    pub fn spamassassin(&self, messages: &[Vec<u8>]) -> Result<Vec<Scored>> {
        let mut mailbox = Vec::new();
        for message in messages {
            mailbox.extend_from_slice(b"From MAILER-DAEMON Sun Nov 22 12:00:00 2026\n");
            for line in String::from_utf8_lossy(message).replace("\r\n", "\n").split_inclusive('\n') {
                mailbox.extend_from_slice(if line.starts_with("From ") { b">" } else { b"" });
                mailbox.extend_from_slice(line.as_bytes());
            }
            mailbox.push(b'\n');
        }
        let file = self.folder.path().join("all.mbox");
        fs::write(&file, mailbox)?;
        let state = self.folder.path().join("spamassassin");
        fs::create_dir_all(&state)?;
        let output = Command::new("/usr/bin/spamassassin")
            .args(["-L", "--mbox", "--cf=use_bayes 0", "--cf=use_auto_welcomelist 0", "--cf=fold_headers 0"])
            .arg(format!("--siteconfigpath={}", "/etc/spamassassin"))
            .arg("--prefspath=/dev/null")
            .env("HOME", &state)
            .arg(&file)
            .output()
            .context("spamassassin did not start; tests/run installs it")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let scored: Vec<Scored> = said.lines().filter_map(|line| line.strip_prefix("X-Spam-Status: ")).filter_map(status).collect();
        ensure!(
            scored.len() == messages.len(),
            "{} of {} messages were scored: {}\n{said}",
            scored.len(),
            messages.len(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(scored)
    }
}

/// `No, score=-0.1 required=5.0 tests=A,B autolearn=no`
fn status(line: &str) -> Option<Scored> {
    let points = line.split("score=").nth(1)?.split(' ').next()?.parse().ok()?;
    let rules = line.split("tests=").nth(1)?.split(" autolearn").next()?;
    Some(Scored { points, rules: rules.split(',').map(|rule| rule.trim().to_owned()).filter(|rule| rule != "none").collect() })
}
