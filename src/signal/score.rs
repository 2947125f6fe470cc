//! How well the rules do on a labelled file of user agents.
//!
//! Cast: [`score`], [`score_some`], [`Score`] (a confusion table per direction), [`Row`], [`Half`] (a file split in two, one to look at
//! while rules are written and one to judge them by), [`misses`].
//!
//! Only user agents are scored: no network, no headers, no timing. Never keeps a user agent of the file.

use std::collections::BTreeMap;
use std::fmt;

use super::class::Class;
use super::client::{RequestFacts, reduce};
use super::network::NetworkTable;
use super::verdict::{DeliveryAge, HitKind, classify};

/// Hits of one label by the class they got, in the order of [`Class::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    counts: [u64; Class::ALL.len()],
}

impl Row {
    /// How many got this class.
    pub fn count(&self, class: Class) -> u64 {
        Class::ALL.iter().zip(self.counts).filter(|(known, _)| **known == class).map(|(_, count)| count).sum()
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The part that got this class, 0 to 1; 0 where there is none.
    pub fn share(&self, class: Class) -> f64 {
        if self.total() == 0 { 0.0 } else { self.count(class) as f64 / self.total() as f64 }
    }

    fn add(&mut self, class: Class) {
        for (known, count) in Class::ALL.iter().zip(self.counts.iter_mut()) {
            if *known == class {
                *count += 1;
            }
        }
    }
}

/// The outcome: labels against classes, once as opens and once as clicks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Score {
    /// Every user agent as a GET of the pixel.
    pub opens: BTreeMap<String, Row>,
    /// Every user agent as a GET of a link.
    pub clicks: BTreeMap<String, Row>,
    /// Lines that are neither a comment nor three columns.
    pub skipped: u64,
}

impl Score {
    /// The part of a label's opens that got this class, 0 to 1; 0 for a label that does not occur.
    pub fn share(&self, label: &str, class: Class) -> f64 {
        self.opens.get(label).map_or(0.0, |row| row.share(class))
    }
}

/// One half of a file, by a hash of the user agent: the same user agent is always in the same half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The half to look at.
    Seen,
    /// The half to judge by.
    Unseen,
}

impl Half {
    /// The half a user agent belongs to: the lowest bit of its FNV-1a hash, folded (Fowler, Noll, Vo 1991).
    pub fn of(user_agent: &str) -> Self {
        let hash = user_agent.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        if (hash ^ (hash >> 32)) & 1 == 0 { Self::Seen } else { Self::Unseen }
    }
}

/// The class a user agent gets as a GET of the pixel or of a link, without network, headers and timing.
pub fn class_of(user_agent: &str, kind: HitKind) -> Class {
    let facts =
        RequestFacts { method: "GET", peer: None, user_agent, purpose: None, referer: None, accept_language: false, fetch_user: false };
    classify(kind, &reduce(facts, &NetworkTable::empty()), DeliveryAge::Unknown).class
}

/// Line numbers (from 1) of one half's user agents with this label that did not get this class as an open.
pub fn misses(tsv: &str, label: &str, class: Class, half: Half) -> Vec<usize> {
    let is_miss = |line: &str| {
        let mut columns = line.splitn(3, '\t');
        let (Some(found), Some(_), Some(user_agent)) = (columns.next(), columns.next(), columns.next()) else { return false };
        found == label && Half::of(user_agent) == half && class_of(user_agent, HitKind::Open) != class
    };
    tsv.lines().enumerate().filter(|(_, line)| is_miss(line)).map(|(index, _)| index + 1).collect()
}

/// Scores lines of `label<TAB>source<TAB>user agent`; lines that start with `#` are comments.
pub fn score(tsv: &str) -> Score {
    score_some(tsv, None)
}

/// The same for one half of the file.
pub fn score_some(tsv: &str, half: Option<Half>) -> Score {
    let mut score = Score::default();
    for line in tsv.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.splitn(3, '\t');
        let (Some(label), Some(_), Some(user_agent)) = (columns.next(), columns.next(), columns.next()) else {
            score.skipped += 1;
            continue;
        };
        if half.is_some_and(|half| half != Half::of(user_agent)) {
            continue;
        }
        score.opens.entry(label.to_owned()).or_default().add(class_of(user_agent, HitKind::Open));
        score.clicks.entry(label.to_owned()).or_default().add(class_of(user_agent, HitKind::Click));
    }
    score
}

impl fmt::Display for Score {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, table) in [("opens", &self.opens), ("clicks", &self.clicks)] {
            write!(formatter, "{title:<16}")?;
            for class in Class::ALL {
                write!(formatter, "{:>10}", class.as_str())?;
            }
            writeln!(formatter, "{:>10}{:>11}", "total", "scanner %")?;
            for (label, row) in table {
                write!(formatter, "{label:<16}")?;
                for class in Class::ALL {
                    write!(formatter, "{:>10}", row.count(class))?;
                }
                writeln!(formatter, "{:>10}{:>11.2}", row.total(), 100.0 * row.share(Class::Scanner))?;
            }
            writeln!(formatter)?;
        }
        if self.skipped > 0 {
            writeln!(formatter, "{} lines skipped: they have not three columns", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# label\tsource\tuser agent
robot\town\texample-crawler/1.0
robot\town\tMozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0
mail_proxy\town\tExample ImageProxy/3
broken line
";

    #[test]
    fn labels_are_counted_against_classes_in_both_directions() {
        let score = score(FILE);
        let robots = score.opens.get("robot").copied().unwrap();
        assert_eq!((robots.count(Class::Scanner), robots.count(Class::Human), robots.total()), (1, 1, 2));
        assert_eq!(score.share("robot", Class::Scanner), 0.5);
        assert_eq!(score.share("mail_proxy", Class::Proxied), 1.0);
        assert_eq!(score.clicks.get("mail_proxy").unwrap().count(Class::Unknown), 1);
        assert_eq!(score.share("missing", Class::Human), 0.0);
        assert_eq!(score.skipped, 1);
    }

    #[test]
    fn halves_share_nothing_and_miss_nothing() {
        let (whole, seen, unseen) = (score(FILE), score_some(FILE, Some(Half::Seen)), score_some(FILE, Some(Half::Unseen)));
        let count = |score: &Score| score.opens.values().map(Row::total).sum::<u64>();
        assert_eq!(count(&whole), count(&seen) + count(&unseen));
        let missed: Vec<usize> =
            [Half::Seen, Half::Unseen].into_iter().flat_map(|half| misses(FILE, "robot", Class::Scanner, half)).collect();
        assert_eq!(missed, [3]);
    }

    /// User agents of well-known programs, written down from general knowledge.
    const KNOWN: &str = include_str!("../../tests/data/user-agents.tsv");

    #[test]
    fn well_known_programs_are_told_apart() {
        let wanted = |label: &str| match label {
            "robot" => Class::Scanner,
            "mail_proxy" => Class::Proxied,
            "apple_prefetch" => Class::Prefetch,
            _ => Class::Human,
        };
        let known = score(KNOWN);
        assert_eq!(known.skipped, 0);
        assert!(known.opens.values().map(Row::total).sum::<u64>() >= 400);
        for label in known.opens.keys() {
            let missed: Vec<&str> = [Half::Seen, Half::Unseen]
                .into_iter()
                .flat_map(|half| misses(KNOWN, label, wanted(label), half))
                .filter_map(|number| KNOWN.lines().nth(number - 1))
                .collect();
            // Of a few tools in a whole browser, only the name tells; they are undecided, never taken for people's mail.
            let allowed = if label == "robot" { 3 } else { 0 };
            assert!(missed.len() <= allowed, "{missed:#?}");
        }
    }

    #[test]
    fn the_printed_table_names_every_class_and_label() {
        let printed = score(FILE).to_string();
        for word in Class::ALL.map(Class::as_str).into_iter().chain(["robot", "mail_proxy", "1 lines skipped"]) {
            assert!(printed.contains(word), "{word}");
        }
    }
}
