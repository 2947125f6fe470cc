//! What to think of what the DNS says, one function for each subject.
//!
//! Cast: [`spf`], [`dkim`], [`dmarc`], [`ptr`], [`mx`]; [`Tags`] (the `name=value;` lists of DKIM and DMARC).
//!
//! The measure is what Gmail, Yahoo and Microsoft ask of bulk senders since 2024 and 2025.

use std::net::IpAddr;

use super::dns::NoAnswer;
use super::spf::{self, LOOKUPS_MOST, SpfRecord, Verdict};
use super::{Finding, Level, Record, Subject};
use crate::delivery::dkim::{DkimKey, KeyKind};

fn unanswered(subject: &'static str, name: &str, error: &NoAnswer) -> Finding {
    Finding::new(subject, name, Level::Warn, error.to_string()).advice("Try again later, or ask another DNS server.")
}

/// SPF is about the return path, so about the domain that returned letters come to.
pub(super) async fn spf(subject: &Subject<'_>) -> Vec<Finding> {
    let name = subject.return_domain.as_str();
    let texts = match subject.dns.txt(name).await {
        Ok(texts) => texts,
        Err(error) => return vec![unanswered("SPF", name, &error)],
    };
    let records: Vec<&String> = texts.iter().filter(|text| SpfRecord::is_one(text)).collect();
    let proposal = Record::new("TXT", name, proposed_spf(subject));
    let text = match records.as_slice() {
        [text] => *text,
        [] => {
            let advice = "Publish a record that names the servers your letters leave from.";
            return vec![Finding::new("SPF", name, Level::Stop, "there is no SPF record").advice(advice).record(proposal)];
        }
        several => {
            let found = format!(
                "there are {} SPF records: {}",
                several.len(),
                records.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(" | ")
            );
            return vec![Finding::new("SPF", name, Level::Stop, found).advice("Receivers then take none: merge them into one.")];
        }
    };
    let mut findings = vec![spf_record(subject, text).await];
    if findings.iter().all(|finding| finding.level != Level::Stop) {
        for address in &subject.sends_from.addresses {
            findings.push(spf_for(subject, *address).await);
        }
    }
    findings
}

fn proposed_spf(subject: &Subject<'_>) -> String {
    let mut terms: Vec<String> = subject
        .sends_from
        .addresses
        .iter()
        .map(|address| if address.is_ipv4() { format!("ip4:{address}") } else { format!("ip6:{address}") })
        .collect();
    if terms.is_empty() && subject.relay.parse::<IpAddr>().is_err() && subject.relay.contains('.') {
        terms.push(format!("a:{}", subject.relay));
    }
    if terms.is_empty() {
        terms.push("ip4:ADDRESS-OF-YOUR-RELAY".to_owned());
    }
    format!("v=spf1 {} ~all", terms.join(" "))
}

async fn spf_record(subject: &Subject<'_>, text: &str) -> Finding {
    let name = subject.return_domain.as_str();
    let finding = |level, found: String| Finding::new("SPF", name, level, found);
    let record = match SpfRecord::parse(text) {
        Ok(record) => record,
        Err(term) => {
            return finding(Level::Stop, format!("{text}: the term {term:?} is unknown"))
                .advice("Receivers then ignore it all: mend that term.");
        }
    };
    if record.all() == Some(Verdict::Pass) {
        return finding(Level::Stop, text.to_owned())
            .advice("+all lets the whole world send in your name: end the record with ~all or -all.");
    }
    match spf::count_lookups(subject.dns, name).await {
        Err(why) => {
            finding(Level::Stop, format!("{text}: {why}")).advice("Receivers treat this as a permanent error: mend the records named.")
        }
        Ok(lookups) if lookups > LOOKUPS_MOST => {
            finding(Level::Stop, format!("{text}: it costs {lookups} questions to the DNS, at most {LOOKUPS_MOST} are allowed")).advice(
                "Replace include, a and mx by ip4 and ip6 where you can, or send newsletters from a subdomain with a record of its own.",
            )
        }
        Ok(_) if record.all().is_none() && record.redirect.is_none() => {
            finding(Level::Warn, text.to_owned()).advice("It says nothing of everybody else: end it with ~all.")
        }
        Ok(lookups) => finding(Level::Ok, format!("{text} ({lookups} of {LOOKUPS_MOST} questions)")),
    }
}

async fn spf_for(subject: &Subject<'_>, address: IpAddr) -> Finding {
    let finding = |level, found: String| Finding::new("SPF", &address.to_string(), level, found);
    let verdict = match spf::evaluate(subject.dns, &subject.return_domain, address).await {
        Ok(Verdict::Pass) => return finding(Level::Ok, format!("may send for {}", subject.return_domain)),
        Ok(verdict) => verdict,
        Err(why) => return finding(Level::Warn, why).advice("Receivers may take this for a failure."),
    };
    let term = if address.is_ipv4() { format!("ip4:{address}") } else { format!("ip6:{address}") };
    let found = format!("may not send for {} ({verdict:?})", subject.return_domain);
    if subject.sends_from.stated {
        return finding(Level::Stop, found).advice(format!("Add {term} to the record."));
    }
    finding(Level::Warn, found).advice(format!(
        "This is your relay's address. If letters leave from it, add {term} to the record; if they leave from others, name them in domain.sends_from."
    ))
}

/// `name=value; …` as DKIM and DMARC write it. Of a tag that stands twice the first counts.
struct Tags(Vec<(String, String)>);

impl Tags {
    fn parse(text: &str) -> Self {
        let tag = |part: &str| part.split_once('=').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Self(text.split(';').filter_map(tag).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|known| known.eq_ignore_ascii_case(value))
    }
}

/// Every key of the settings against its record.
pub(super) async fn dkim(subject: &Subject<'_>) -> Vec<Finding> {
    let signing = subject.keys.signing(&subject.domain);
    let keys = subject.keys.of_domain(&subject.domain);
    if keys.is_empty() {
        let advice = format!(
            "`letterlab domain keys {}` makes keys and says what to publish. Do nothing if your relay signs letters.",
            subject.domain
        );
        return vec![
            Finding::new("DKIM", &subject.domain, Level::Warn, "Letterlab has no key for this domain and does not sign its letters")
                .advice(advice),
        ];
    }
    let mut findings = Vec::new();
    for key in keys {
        let signs = signing.iter().any(|other| std::ptr::eq(*other, key));
        findings.push(match subject.dns.txt(&key.record_name()).await {
            Ok(texts) => dkim_record(key, signs, &texts),
            Err(error) => unanswered("DKIM", &key.record_name(), &error),
        });
    }
    if signing.iter().all(|key| key.kind() != KeyKind::Rsa) {
        let advice =
            format!("Gmail and Microsoft do not verify Ed25519: `letterlab domain keys {}` makes an RSA key, too.", subject.domain);
        findings.push(Finding::new("DKIM", &subject.domain, Level::Stop, "no RSA key signs").advice(advice));
    }
    findings
}

fn dkim_record(key: &DkimKey, signs: bool, texts: &[String]) -> Finding {
    let name = key.record_name();
    // A key that waits for its turn may still be unpublished.
    let broken = if signs { Level::Stop } else { Level::Warn };
    let role = if signs { "signs" } else { "waits, does not sign" };
    let finding = |level, found: String| Finding::new("DKIM", &name, level, format!("{} key, {role}: {found}", key.kind().as_str()));
    let record = || Record::new("TXT", &name, key.record_value());
    let text = match texts {
        [text] => text,
        [] => return finding(broken, "there is no record".to_owned()).advice("Publish the public key.").record(record()),
        several => {
            return finding(broken, format!("there are {} records", several.len())).advice("Leave only this one.").record(record());
        }
    };
    let tags = Tags::parse(text);
    let public: String = tags.get("p").unwrap_or_default().split_whitespace().collect();
    let replace = |found: &str| finding(broken, found.to_owned()).advice("Publish the public key of this installation.").record(record());
    if tags.get("v").is_some_and(|version| version != "DKIM1") {
        replace("the record does not begin with v=DKIM1")
    } else if public.is_empty() {
        replace("the record's key is empty: it was revoked")
    } else if public != key.public() || !tags.get("k").unwrap_or("rsa").eq_ignore_ascii_case(key.kind().as_str()) {
        replace("the record holds another key")
    } else if tags.get("h").is_some_and(|hashes| !hashes.split(':').any(|hash| hash.trim() == "sha256")) {
        replace("the record forbids sha256")
    } else if tags.get("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y")) {
        finding(Level::Warn, "published, in test mode (t=y)".to_owned())
            .advice("Receivers then take letters for unsigned: remove t=y.")
            .record(record())
    } else if tags.get("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "s"))
        && !name.ends_with(&format!("._domainkey.{}", key.domain()))
    {
        replace("the record allows no subdomains")
    } else {
        finding(Level::Ok, "published as it should be".to_owned())
    }
}

/// DMARC: the policy of the nearest domain with a record, this one or one above; the organisation is the uppermost of them
/// (RFC 9989 §4.10).
pub(super) async fn dmarc(subject: &Subject<'_>) -> Vec<Finding> {
    let mut records: Vec<(&str, String)> = Vec::new();
    let mut domain = subject.domain.as_str();
    while domain.contains('.') {
        let name = format!("_dmarc.{domain}");
        let texts = match subject.dns.txt(&name).await {
            Ok(texts) => texts,
            Err(error) => return vec![unanswered("DMARC", &name, &error)],
        };
        let mut found = texts.into_iter().filter(|text| Tags::parse(text).is("v", "DMARC1"));
        if let Some(text) = found.next() {
            if found.next().is_some() {
                let words = "there are several DMARC records";
                return vec![Finding::new("DMARC", &name, Level::Stop, words).advice("Receivers then take none: leave one.")];
            }
            records.push((domain, text));
        }
        domain = domain.split_once('.').map_or("", |(_, above)| above);
    }
    let own = organisation(&subject.domain, &subject.return_domain);
    let proposal = Record::new("TXT", &format!("_dmarc.{own}"), format!("v=DMARC1; p=none; rua=mailto:dmarc@{own}"));
    let (Some((at, text)), Some((top, _))) = (records.first(), records.last()) else {
        let advice = "Publish one; p=none only asks for reports and harms nothing.";
        return vec![Finding::new("DMARC", &subject.domain, Level::Stop, "there is no DMARC record").advice(advice).record(proposal)];
    };
    let mut findings = vec![dmarc_record(text, at, &subject.domain, proposal)];
    findings.extend(alignment(subject, &Tags::parse(text), top));
    findings
}

/// Where a record covers both the sender and return paths: what their names have in common, unless that looks like a registry's
/// (`co.uk`) rather than anybody's.
fn organisation<'a>(domain: &'a str, return_domain: &str) -> &'a str {
    let mut name = domain;
    while !name.is_empty() && return_domain != name && !return_domain.ends_with(&format!(".{name}")) {
        name = name.split_once('.').map_or("", |(_, above)| above);
    }
    match name.split_once('.') {
        Some((second, first)) if first.contains('.') || second.len() > 3 || first.len() > 2 => name,
        _ => domain,
    }
}

fn dmarc_record(text: &str, at: &str, domain: &str, proposal: Record) -> Finding {
    let tags = Tags::parse(text);
    let finding = |level| Finding::new("DMARC", &format!("_dmarc.{at}"), level, text.to_owned());
    // A record of a domain above has a policy of its own for those below.
    let policy = if at == domain { tags.get("p") } else { tags.get("sp").or(tags.get("p")) };
    match policy.map(str::to_ascii_lowercase).as_deref() {
        None if tags.get("rua").is_some() => {
            finding(Level::Warn).advice("It has no policy; receivers take it for p=none. Write p=none, p=quarantine or p=reject.")
        }
        None | Some("") => {
            finding(Level::Stop).advice("It has no policy and is ignored: write p=none, p=quarantine or p=reject.").record(proposal)
        }
        Some("none") if tags.get("rua").is_none() => {
            finding(Level::Ok).advice("Enough for bulk mail. With rua=mailto:… receivers would send reports.")
        }
        Some("none") => {
            finding(Level::Ok).advice("Enough for bulk mail. Once reports show that all your mail passes, p=quarantine protects your name.")
        }
        Some("quarantine" | "reject") => finding(Level::Ok),
        Some(other) => {
            finding(Level::Stop).advice(format!("{other:?} is no policy: write p=none, p=quarantine or p=reject.")).record(proposal)
        }
    }
}

/// What proves a letter must belong to the domain its reader sees.
fn alignment(subject: &Subject<'_>, tags: &Tags, organisation: &str) -> Vec<Finding> {
    let belongs = |name: &str| name == organisation || name.ends_with(&format!(".{organisation}"));
    let aligned = |name: &str, mode: &str| if tags.is(mode, "s") { name == subject.domain } else { belongs(name) };
    let signing = subject.keys.signing(&subject.domain);
    let by_dkim = signing.first().is_some_and(|key| aligned(key.domain(), "adkim"));
    let by_spf = aligned(&subject.return_domain, "aspf");
    let finding = |level, found: String| Finding::new("DMARC", &subject.domain, level, found);
    let return_path = format!(
        "Set bounce.domain to a subdomain of {}{}",
        subject.domain,
        if tags.is("aspf", "s") { ", and leave aspf=s out of the record." } else { "." }
    );
    vec![match (by_spf, by_dkim, signing.first()) {
        (true, true, _) => finding(Level::Ok, "both SPF and DKIM count for it".to_owned()),
        (true, false, Some(key)) => finding(Level::Warn, format!("SPF counts for it, DKIM of {} does not", key.domain()))
            .advice(format!("`letterlab domain keys {}` makes a key of its own for this domain.", subject.domain)),
        (true, false, None) => finding(Level::Ok, "SPF counts for it; Letterlab does not sign".to_owned()),
        (false, true, _) => {
            finding(Level::Warn, format!("DKIM counts for it, SPF of {} does not", subject.return_domain)).advice(return_path)
        }
        (false, false, None) => {
            finding(Level::Warn, format!("SPF of {} does not count for it, and Letterlab does not sign", subject.return_domain))
                .advice(format!("Unless your relay signs for {}, letters fail. {return_path}", subject.domain))
        }
        (false, false, Some(_)) => finding(Level::Stop, "neither SPF nor DKIM counts for it".to_owned()).advice(return_path),
    }]
}

/// Whether each sending address has a name that leads back to it.
pub(super) async fn ptr(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.sends_from.addresses.is_empty() {
        let advice = "Name it in domain.sends_from or by --ip. If another relay sends for you, its operator looks after this.";
        return vec![
            Finding::new("PTR", subject.relay, Level::Warn, "it is not known from which address letters reach the world").advice(advice),
        ];
    }
    let mut findings = Vec::new();
    for address in &subject.sends_from.addresses {
        findings.push(ptr_of(subject, *address).await);
    }
    findings
}

async fn ptr_of(subject: &Subject<'_>, address: IpAddr) -> Finding {
    let shown = address.to_string();
    let names = match subject.dns.names(address).await {
        Ok(names) => names,
        Err(error) => return unanswered("PTR", &shown, &error),
    };
    let Some(first) = names.first() else {
        let advice = "Ask whoever gave you the address to set its name to that of your mail server; Gmail refuses mail without.";
        return Finding::new("PTR", &shown, Level::Stop, "it has no name").advice(advice);
    };
    for name in &names {
        match subject.dns.addresses(name).await {
            Ok(addresses) if addresses.contains(&address) => {
                return Finding::new("PTR", &shown, Level::Ok, format!("{name}, which leads back to it"));
            }
            Ok(_) => {}
            Err(error) => return unanswered("PTR", &shown, &error),
        }
    }
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    Finding::new("PTR", &shown, Level::Stop, format!("{first}, which does not lead back to it"))
        .advice("Receivers want both directions.")
        .record(Record::new(kind, first, address.to_string()))
}

/// Whether answers and returned letters arrive.
pub(super) async fn mx(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![mx_of(subject, &subject.domain, Level::Warn, "Answers of readers").await];
    if subject.return_domain != subject.domain {
        findings.push(mx_of(subject, &subject.return_domain, Level::Stop, "Returned letters").await);
    }
    findings
}

async fn mx_of(subject: &Subject<'_>, name: &str, lost: Level, what: &str) -> Finding {
    let finding = |level, found: String| Finding::new("MX", name, level, found);
    let record = || Record::new("MX", name, "10 NAME-OF-YOUR-MAIL-SERVER.");
    let servers = match subject.dns.mx(name).await {
        Ok(servers) => servers,
        Err(error) => return unanswered("MX", name, &error),
    };
    if servers.iter().all(String::is_empty) && !servers.is_empty() {
        return finding(lost, "it says that it takes no mail (null MX)".to_owned()).advice(format!("{what} are lost.")).record(record());
    }
    let hosts = if servers.is_empty() { vec![name.to_owned()] } else { servers.clone() };
    for host in &hosts {
        match subject.dns.addresses(host).await {
            Ok(addresses) if !addresses.is_empty() && servers.is_empty() => {
                return finding(Level::Warn, "there is no MX record; mail goes to its address".to_owned())
                    .advice("Name the server.")
                    .record(record());
            }
            Ok(addresses) if !addresses.is_empty() => return finding(Level::Ok, servers.join(", ")),
            Ok(_) => {}
            Err(error) => return unanswered("MX", name, &error),
        }
    }
    let found = if servers.is_empty() { "there is no MX record".to_owned() } else { format!("{} has no address", servers.join(", ")) };
    finding(lost, found).advice(format!("{what} are lost.")).record(record())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::dkim::generate;

    #[test]
    fn a_key_record_is_compared_with_the_key() {
        let key = DkimKey::from_pem("example.org", "s1", &generate::ed25519_pem([3; 32])).unwrap();
        let good = key.record_value();
        let cases = [
            (vec![good.clone()], Level::Ok),
            (vec![good.replace("; ", ";\t")], Level::Ok),
            (vec![good.replace("p=", "p= ")], Level::Ok),
            (vec![], Level::Stop),
            (vec![good.clone(), good.clone()], Level::Stop),
            (vec!["v=DKIM1; k=ed25519; p=".to_owned()], Level::Stop),
            (vec![good.replace("k=ed25519; ", "")], Level::Stop),
            (vec![good.replace("DKIM1", "DKIM2")], Level::Stop),
            (vec![format!("{good}; h=sha1")], Level::Stop),
            (vec![format!("{good}; t=y")], Level::Warn),
        ];
        for (texts, level) in cases {
            assert_eq!(dkim_record(&key, true, &texts).level, level, "{texts:?}");
        }
        let waiting = dkim_record(&key, false, &[]);
        assert_eq!((waiting.level, waiting.record.unwrap().value), (Level::Warn, good));
    }

    #[test]
    fn a_record_is_proposed_where_it_covers_sender_and_return_path() {
        for (domain, return_domain, expected) in [
            ("example.org", "bounces.example.org", "example.org"),
            ("news.example.org", "bounces.example.org", "example.org"),
            ("example.org", "example.net", "example.org"),
            ("news.shop.co.uk", "b.shop.co.uk", "shop.co.uk"),
            ("news.shop.co.uk", "b.other.co.uk", "news.shop.co.uk"),
            ("example.org", "", "example.org"),
        ] {
            assert_eq!(organisation(domain, return_domain), expected, "{domain} {return_domain}");
        }
    }

    #[test]
    fn a_policy_is_judged() {
        let cases = [
            ("v=DMARC1; p=none", "example.org", Level::Ok),
            ("v=DMARC1; p=reject; rua=mailto:a@b.org", "example.org", Level::Ok),
            ("v=DMARC1; rua=mailto:a@b.org", "example.org", Level::Warn),
            ("v=DMARC1", "example.org", Level::Stop),
            ("v=DMARC1; p=maybe", "example.org", Level::Stop),
            ("v=DMARC1; p=maybe; sp=none", "news.example.org", Level::Ok),
        ];
        for (text, domain, level) in cases {
            let finding = dmarc_record(text, "example.org", domain, Record::new("TXT", "x", "y"));
            assert_eq!(finding.level, level, "{text} for {domain}");
        }
    }
}
