//! What SpamAssassin says of each variant's finished message, when it is installed: its local rules, without the network.
//!
//! Cast: [`items`], [`is_installed`], [`Score`]. One call for all variants: starting it takes seconds.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::app::lab::Lab;
use crate::app::preview;
use crate::campaign::store::Campaign;
use crate::content::preflight::{Item, Level, Topic};
use crate::ids::VariantNumber;

/// How long it may take.
const DEADLINE: Duration = Duration::from_secs(90);
/// From this score on a letter is worth a look, whatever the limit of this machine is.
const HIGH: f64 = 2.0;

/// What SpamAssassin says of one message.
#[derive(Debug, Clone, PartialEq)]
struct Score {
    score: f64,
    required: f64,
    rules: Vec<String>,
}

fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join("spamassassin")).find(|file| file.is_file())
}

/// Whether it is there.
pub(super) fn is_installed() -> bool {
    program().is_some()
}

/// One point for each variant.
pub(super) fn items(lab: &Lab, campaign: &Campaign) -> Vec<Item> {
    let failed = |why: String| {
        vec![
            Item::new(Topic::SpamScore, Level::Warn, format!("could not be asked: {why}"))
                .advice("try `spamassassin -L --test-mode` on this machine"),
        ]
    };
    let Some(program) = program() else { return failed("SpamAssassin is not installed".to_owned()) };
    let letters = match preview::Messages::of(lab, campaign) {
        Ok(letters) => letters,
        Err(error) => return failed(error.to_string()),
    };
    let mut mailbox = Vec::new();
    for variant in letters.variants() {
        match letters.message(variant, "reader@example.org", &BTreeMap::new(), "Sample") {
            Ok(message) => push(&mut mailbox, &message),
            Err(why) => return failed(why),
        }
    }
    match ask(&program, mailbox) {
        Ok(answer) => {
            let scores: Vec<Score> = messages(&answer).iter().filter_map(|message| score(message)).collect();
            if scores.len() == letters.variants().count() {
                letters.variants().zip(&scores).map(|(variant, score)| judged(variant, score)).collect()
            } else {
                failed("its answer cannot be read".to_owned())
            }
        }
        Err(why) => failed(why),
    }
}

/// A message as one of a mailbox: its line ends, and the mark before it.
fn push(mailbox: &mut Vec<u8>, message: &[u8]) {
    mailbox.extend_from_slice(b"From news@example.org Thu Jan  1 00:00:00 1970\n");
    let text = String::from_utf8_lossy(message).replace("\r\n", "\n");
    for line in text.lines() {
        if line.starts_with("From ") {
            mailbox.push(b'>');
        }
        mailbox.extend_from_slice(line.as_bytes());
        mailbox.push(b'\n');
    }
    mailbox.push(b'\n');
}

fn ask(program: &std::path::Path, mailbox: Vec<u8>) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(["--local", "--mbox", "--nocreate-prefs"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (Some(mut to), Some(mut from)) = (child.stdin.take(), child.stdout.take()) else { return Err("it has no pipes".to_owned()) };
    let (answered, answer) = mpsc::channel();
    // Writing and reading at the same time: neither waits for a full pipe of the other. An ended program is seen by the reader.
    std::thread::spawn(move || to.write_all(&mailbox));
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = from.read_to_end(&mut bytes);
        // Nobody waits any more after the deadline.
        let _ = answered.send(read.map(|_| bytes));
    });
    let read = answer.recv_timeout(DEADLINE);
    if read.is_err() {
        // It may have ended by itself meanwhile; either way it is gone.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match read {
        Ok(Ok(bytes)) if status.success() => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(Ok(_)) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} seconds", DEADLINE.as_secs())),
    }
}

/// The messages of a mailbox.
fn messages(mailbox: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in mailbox.lines() {
        if line.starts_with("From ") {
            found.push(String::new());
        } else if let Some(last) = found.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    found
}

/// Reads `X-Spam-Status: No, score=0.1 required=5.0 tests=A,B autolearn=…`.
fn score(message: &str) -> Option<Score> {
    let mut header = String::new();
    for line in message.lines().take_while(|line| !line.is_empty()) {
        match line.strip_prefix("X-Spam-Status:") {
            Some(value) => header = value.to_owned(),
            None if !header.is_empty() && line.starts_with([' ', '\t']) => header.push_str(line),
            None if !header.is_empty() => break,
            None => {}
        }
    }
    let value = |name: &str| header.split_whitespace().find_map(|word| word.strip_prefix(name)).map(|word| word.trim_end_matches(','));
    let rules = header.split_once("tests=").map(|(_, rest)| rest.split_once("autolearn=").map_or(rest, |(rules, _)| rules));
    Some(Score {
        score: value("score=")?.parse().ok()?,
        required: value("required=")?.parse().ok()?,
        rules: rules
            .unwrap_or_default()
            .split(|character: char| character == ',' || character.is_whitespace())
            .filter(|rule| !rule.is_empty() && *rule != "none" && !rule.contains('='))
            .map(str::to_owned)
            .collect(),
    })
}

fn judged(variant: VariantNumber, score: &Score) -> Item {
    let found = format!("{:.1}; spam is from {:.1}", score.score, score.required);
    let item = if score.score >= score.required {
        Item::new(Topic::SpamScore, Level::Stop, found).advice("change what the rules name; most filters will keep this letter back")
    } else if score.score >= HIGH {
        Item::new(Topic::SpamScore, Level::Warn, found).advice("look at what the rules name")
    } else {
        Item::new(Topic::SpamScore, Level::Ok, found)
    };
    Item { variants: variant.to_string(), ..item.details(score.rules.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_over_folded_lines() {
        let answer = "From a Thu Jan  1\nX-Spam-Status: No, score=-0.1 required=5.0 tests=ALL_TRUSTED,\n\tHTML_MESSAGE autolearn=ham\n\t\
                      version=4.0.1\nSubject: x\n\nX-Spam-Status: Yes\nFrom b Thu\nX-Spam-Status: Yes, score=7.5 required=5.0 tests=none autolearn=no\n\nbody\n";
        let found: Vec<Option<Score>> = messages(answer).iter().map(|message| score(message)).collect();
        let first = Score { score: -0.1, required: 5.0, rules: vec!["ALL_TRUSTED".to_owned(), "HTML_MESSAGE".to_owned()] };
        assert_eq!(found, [Some(first), Some(Score { score: 7.5, required: 5.0, rules: Vec::new() })]);
        assert_eq!(score("Subject: x\n\n"), None);
    }

    #[test]
    fn a_score_says_whether_to_launch() {
        let level = |score| judged(VariantNumber(1), &Score { score, required: 5.0, rules: Vec::new() }).level;
        assert_eq!([level(0.0), level(2.0), level(5.0)], [Level::Ok, Level::Warn, Level::Stop]);
    }

    #[test]
    fn lines_that_begin_like_the_mark_do_not_begin_a_message() {
        let mut mailbox = Vec::new();
        push(&mut mailbox, b"Subject: x\r\n\r\nFrom here on\r\n");
        push(&mut mailbox, b"Subject: y\r\n\r\n");
        let mailbox = String::from_utf8(mailbox).unwrap();
        assert_eq!(messages(&mailbox).len(), 2);
        assert!(mailbox.contains("\n>From here on\n"));
    }
}
