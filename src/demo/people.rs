//! Made-up people for a demonstration, as the CSV file a marketer would import.
//!
//! Cast: [`write()`], the whole file; [`person`], one of them; [`Person`].
//!
//! Addresses lie under reserved domains only (RFC 2606, RFC 6761): no mail to them can ever reach anybody. Everyone follows from the
//! seed and the number, so the same file can be made again.

use std::io::Write;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::chance;

/// The columns, in order. `list` names the list the person joined.
pub const COLUMNS: [&str; 8] = ["email", "first_name", "last_name", "language", "list", "recording_mode", "consent_source", "consent_date"];

/// One made-up person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// An address under a reserved domain, unique by the person's number.
    pub email: String,
    /// In the script of the person's language.
    pub first_name: &'static str,
    /// In the script of the person's language.
    pub last_name: &'static str,
    /// ISO 639-1.
    pub language: &'static str,
    /// off, aggregate, pseudonymous or identified.
    pub recording_mode: &'static str,
    /// Where the person agreed.
    pub consent_source: &'static str,
    /// When, as YYYY-MM-DD.
    pub consent_date: String,
}

/// Names as written and as they appear in addresses.
type Names = &'static [(&'static str, &'static str)];

/// A language with its share in percent, first names and last names.
const LANGUAGES: [(u32, &str, Names, Names); 6] = [
    (
        45,
        "en",
        &[
            ("Alice", "alice"),
            ("Oliver", "oliver"),
            ("Grace", "grace"),
            ("Samuel", "samuel"),
            ("Zoë", "zoe"),
            ("Conor", "conor"),
            ("Ruth", "ruth"),
            ("Niamh", "niamh"),
        ],
        &[
            ("Baker", "baker"),
            ("O'Neill", "oneill"),
            ("Clarke", "clarke"),
            ("Smith-Jones", "smithjones"),
            ("Okafor", "okafor"),
            ("Wright", "wright"),
            ("Hughes", "hughes"),
        ],
    ),
    (
        17,
        "de",
        &[
            ("Jürgen", "juergen"),
            ("Anneliese", "anneliese"),
            ("Björn", "bjoern"),
            ("Käthe", "kaethe"),
            ("Lukas", "lukas"),
            ("Sophie", "sophie"),
        ],
        &[
            ("Müller", "mueller"),
            ("Groß", "gross"),
            ("Schäfer", "schaefer"),
            ("von der Heide", "vonderheide"),
            ("Vogel", "vogel"),
            ("Özdemir", "oezdemir"),
        ],
    ),
    (
        8,
        "fr",
        &[("Hélène", "helene"), ("François", "francois"), ("Maëlle", "maelle"), ("Jean-Luc", "jeanluc"), ("Chloé", "chloe")],
        &[("Lefèvre", "lefevre"), ("d'Aubigné", "daubigne"), ("Moreau", "moreau"), ("Garçon", "garcon"), ("Noël", "noel")],
    ),
    (
        12,
        "uk",
        &[("Олена", "olena"), ("Тарас", "taras"), ("Ірина", "iryna"), ("Богдан", "bohdan"), ("Соломія", "solomiia")],
        &[("Шевченко", "shevchenko"), ("Коваль", "koval"), ("Їжак", "yizhak"), ("Мельник", "melnyk"), ("Ґудзь", "gudz")],
    ),
    (
        10,
        "vi",
        &[("Thị Hương", "huong"), ("Đức", "duc"), ("Quỳnh", "quynh"), ("Văn Dũng", "dung"), ("Ngọc Ánh", "anh")],
        &[("Nguyễn", "nguyen"), ("Trần", "tran"), ("Phạm", "pham"), ("Đặng", "dang"), ("Huỳnh", "huynh")],
    ),
    (
        8,
        "hi",
        &[("अनीता", "anita"), ("राजेश", "rajesh"), ("लक्ष्मी", "lakshmi"), ("विक्रम", "vikram"), ("ऋतु", "ritu")],
        &[("शर्मा", "sharma"), ("श्रीवास्तव", "shrivastava"), ("गुप्ता", "gupta"), ("द्विवेदी", "dwivedi"), ("पटेल", "patel")],
    ),
];

/// Mailbox providers in per mille. The last two are internationalised names.
const DOMAINS: [(u32, &str); 13] = [
    (340, "gmail.example"),
    (130, "outlook.example"),
    (110, "yahoo.example"),
    (120, "icloud.example"),
    (110, "corp.example"),
    (50, "gmx.example"),
    (30, "mail.test"),
    (30, "university.test"),
    (25, "example.com"),
    (20, "example.net"),
    (20, "example.org"),
    (8, "bücher.example"),
    (7, "пошта.example"),
];

/// What happens to letters, by the beginning of the address, in per mille (see `receiver::Fate`).
const FATES: [(u32, &str); 4] = [(20, "gone."), (15, "bounces."), (15, "later."), (950, "")];

const MODES: [(u32, &str); 4] = [(90, "pseudonymous"), (5, "aggregate"), (4, "off"), (1, "identified")];

const SOURCES: [(u32, &str); 4] = [(60, "sign-up form"), (25, "web shop checkout"), (10, "trade fair"), (5, "telephone")];

/// The person of a number.
pub fn person(number: u64, seed: u64) -> Person {
    let mut chance = chance::of(seed, &number.to_string(), "person");
    let (_, language, first_names, last_names) = LANGUAGES[weighted(LANGUAGES.map(|(share, ..)| share), &mut chance)];
    let (first_name, first) = first_names[chance.random_range(0..first_names.len())];
    let (last_name, last) = last_names[chance.random_range(0..last_names.len())];
    let domain = DOMAINS[weighted(DOMAINS.map(|(share, _)| share), &mut chance)].1;
    let fate = FATES[weighted(FATES.map(|(share, _)| share), &mut chance)].1;
    Person {
        email: format!("{fate}{first}.{last}{number}@{domain}"),
        first_name,
        last_name,
        language,
        recording_mode: MODES[weighted(MODES.map(|(share, _)| share), &mut chance)].1,
        consent_source: SOURCES[weighted(SOURCES.map(|(share, _)| share), &mut chance)].1,
        consent_date: format!("{}-{:02}-{:02}", chance.random_range(2023..=2025), chance.random_range(1..=12), chance.random_range(1..=28)),
    }
}

/// Writes people number 1 to `count` as CSV with a header line; `list` fills the column of that name.
pub fn write(to: impl Write, count: u64, seed: u64, list: &str) -> csv::Result<()> {
    let mut rows = csv::Writer::from_writer(to);
    rows.write_record(COLUMNS)?;
    for number in 1..=count {
        let person = person(number, seed);
        rows.write_record([
            person.email.as_str(),
            person.first_name,
            person.last_name,
            person.language,
            list,
            person.recording_mode,
            person.consent_source,
            &person.consent_date,
        ])?;
    }
    rows.flush()?;
    Ok(())
}

/// An index drawn with these weights.
fn weighted<const N: usize>(weights: [u32; N], chance: &mut ChaCha8Rng) -> usize {
    let mut point = chance.random_range(0..weights.iter().sum());
    for (at, weight) in weights.into_iter().enumerate() {
        if point < weight {
            return at;
        }
        point -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_file_repeats_by_seed_and_has_no_address_twice() {
        let file = |seed| {
            let mut bytes = Vec::new();
            write(&mut bytes, 3000, seed, "readers").unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let text = file(1);
        assert_eq!(text, file(1));
        assert_ne!(text, file(2));
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(rows.headers().unwrap(), &csv::StringRecord::from(COLUMNS.to_vec()));
        let addresses: HashSet<String> = rows.records().map(|row| row.unwrap()[0].to_owned()).collect();
        assert_eq!(addresses.len(), 3000);
    }

    #[test]
    fn addresses_lie_under_reserved_domains() {
        for number in 1..3000 {
            let person = person(number, 9);
            let domain = person.email.rsplit('@').next().unwrap();
            let top = domain.rsplit('.').next().unwrap();
            assert!(matches!(top, "example" | "test") || matches!(domain, "example.com" | "example.net" | "example.org"), "{domain}");
            assert!(person.email.split('@').next().unwrap().is_ascii());
        }
    }

    #[test]
    fn scripts_modes_and_fates_are_all_there_in_about_their_shares() {
        let people: Vec<Person> = (1..=20_000).map(|number| person(number, 4)).collect();
        let share = |test: &dyn Fn(&Person) -> bool| people.iter().filter(|person| test(person)).count() as f64 / people.len() as f64;
        let check = |expected: f64, test: &dyn Fn(&Person) -> bool| {
            let found = share(test);
            assert!((found - expected).abs() < 0.01, "{found} instead of {expected}");
        };
        check(0.90, &|person| person.recording_mode == "pseudonymous");
        check(0.04, &|person| person.recording_mode == "off");
        check(0.02, &|person| person.email.starts_with("gone."));
        check(0.015, &|person| person.email.starts_with("bounces."));
        check(0.015, &|person| person.email.starts_with("later."));
        check(0.12, &|person| person.language == "uk");
        check(0.10, &|person| person.language == "vi");
        check(0.08, &|person| person.language == "hi");
        check(0.015, &|person| !person.email.is_ascii());
    }
}
