//! Signatures against what the standards print, and what must break them.

use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

/// RFC 8463 appendix A.2: the seed of the Ed25519 key and its public half.
const RFC_SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const RFC_PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
/// 1024 bits, made for this test.
const SHORT_RSA_KEY: &str = "MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBAJWVeSymmPVkQcLx504P3BdwxLYZhNdMWI2OPFar9k2Yvqauzsyolr5buCyaaoZPEfR1 \
    k7sz4faxajFEYYYpwwe6HMJhLUC/A9coclb9qAqfbFeqrW+5HSrQndtWId/xnMkiRjrG7n/lO+sym2KMsYbuKRF2+RpCbXcNFkdY1nRdAgMBAAECgYA6 \
    KmFwJ2gbI90efQpApJIk20jitpGdVqaohMKZwUyJZ/fawObRVk0nwGqhjXoWt/B3arEDfm1DjEGK3tg9X0fixSAIJgToJbz9V/V9fmV0hdJUggO3pccR \
    BjvZPPTfC2tJb19/WXKzZwpbOqSWyEVllAAWIffID78DSDjI4u6BgQJBAMPJpDbjt/TaPdqizcH94FCLu/aGGBD2BoyKlkkslmvL9Mds3UTGflcofL4B \
    FC3SVNDtIrQWK3jwqTlsZsRUUVUCQQDDljWH0g0fdSZ+hehs8EDwGXFEmyFlYhnONmToK50EpapWgANe2xbLNyFqmWhmYlTbj1RH3rF5VWUpAne1Lrbp \
    AkEAmJJHHNsiHHYB46IhE76CkmICDN98W6NNgTHyYX2UjtZ2nv3wBEtmYwdTBkIS9o5EuDdDZvEr2Wg5h105TF+krQJBAIHo4YFnSYQdggYD14+UPO29 \
    WHijOZlngZBwnLGBVnfhubRert5wU0GDStTNNITcx1RWbTqXdfYLfHeyxeQ4NRECQQCjwZ6bCIMT41+bVFNACzvM3CHETx9BJGgR3MXJdlJtCYa3reuQ \
    1xUImKApyIHtJ0BhS4iJ0qJNeJf68VEZiV97";
const MESSAGE: &[u8] =
    b"From: \"A\" <a@news.example.org>\r\nTo: b@example.net\r\nSubject: Hello\r\n there\r\nDate: Tue, 03 Nov 2026 07:08:09 +0000\r\n\
      Message-ID: <1@example.org>\r\nPrecedence: bulk\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.  \r\n\r\n";

fn ed25519(domain: &str, selector: &str, seed: u8) -> DkimKey {
    DkimKey::from_pem(domain, selector, &generate::ed25519_pem([seed; 32])).unwrap()
}

fn moment() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

#[test]
fn an_ed25519_key_has_the_public_half_the_standard_prints() {
    let seed: [u8; 32] = BASE64.decode(RFC_SEED.as_bytes()).unwrap().try_into().unwrap();
    let key = DkimKey::from_pem("football.example.com", "brisbane", &generate::ed25519_pem(seed)).unwrap();
    assert_eq!(key.record_value(), format!("v=DKIM1; k=ed25519; p={RFC_PUBLIC}"));
    assert_eq!(key.record_name(), "brisbane._domainkey.football.example.com");
}

#[test]
fn a_new_rsa_key_has_2048_bits_and_its_record_begins_as_every_such_record() {
    let pem = generate::rsa_pem().unwrap();
    let key = DkimKey::from_pem("example.org", "s1", &pem).unwrap();
    assert_eq!(key.kind(), KeyKind::Rsa);
    assert!(key.record_value().starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"), "{}", key.record_value());
    assert_eq!(key.public().len(), 392);
    assert_ne!(pem, generate::rsa_pem().unwrap());
    let signed = DkimKeys::new(vec![key]).sign("example.org", MESSAGE.to_vec(), moment()).unwrap();
    assert!(signed.ends_with(MESSAGE) && signed.starts_with(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;"));
}

#[test]
fn an_rsa_key_is_read_in_both_forms_and_not_when_it_is_short() {
    let pem = generate::rsa_pem().unwrap();
    let (_, der) = generate::read_pem(&pem).unwrap();
    // In PKCS #8 of a key of 2048 bits the PKCS #1 form stands behind 26 bytes.
    let bare = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", BASE64.encode(&der[26..]));
    let read = |pem: &str| DkimKey::from_pem("example.org", "s1", pem).map(|key| key.record_value());
    assert_eq!(read(&bare).unwrap(), read(&pem).unwrap());
    let short = format!("-----BEGIN PRIVATE KEY-----\n{SHORT_RSA_KEY}\n-----END PRIVATE KEY-----\n");
    assert_eq!(read(&short), Err(DkimError::Rejected));
}

/// The value of a tag of the first signature, without white space.
fn tag(message: &[u8], name: &str) -> String {
    let text = String::from_utf8(message.to_vec()).unwrap().replace("\r\n ", " ");
    let header = text.lines().next().unwrap().split_once(':').unwrap().1;
    let value = header.split(';').find_map(|tag| tag.trim().strip_prefix(&format!("{name}="))).unwrap();
    value.split_whitespace().collect()
}

/// Checks the first signature with the signer's own canonical forms but a foreign verification.
fn verifies(key: &DkimKey, message: &[u8]) -> bool {
    let (headers, body) = split(message).unwrap();
    if tag(message, "bh") != BASE64.encode(digest(&SHA256, &relaxed_body(body)).as_ref()) {
        return false;
    }
    let mut signed = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for name in tag(message, "h").split(':') {
        let before = taken.iter().filter(|known| known.eq_ignore_ascii_case(name)).count();
        if let Some(header) = headers.iter().rev().filter(|header| header.name.eq_ignore_ascii_case(name)).nth(before) {
            relax_header(header.bytes, &mut signed);
            signed.extend_from_slice(b"\r\n");
        }
        taken.push(name.to_owned());
    }
    let own = headers[0].bytes;
    let b = own.windows(4).rposition(|bytes| bytes == b"\n b=").unwrap() + 4;
    relax_header(&own[..b], &mut signed);
    let signature = BASE64.decode(tag(message, "b").as_bytes()).unwrap();
    match &key.signer {
        Signer::Rsa(pair) => {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()).verify(&signed, &signature).is_ok()
        }
        Signer::Ed25519(pair) => {
            let hash = digest(&SHA256, &signed);
            UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref()).verify(hash.as_ref(), &signature).is_ok()
        }
    }
}

#[test]
fn a_signature_holds_until_something_it_covers_is_changed() {
    let keys = DkimKeys::new(vec![ed25519("example.org", "s1", 1)]);
    let signed = keys.sign("news.example.org", MESSAGE.to_vec(), moment()).unwrap();
    let key = keys.signing("news.example.org")[0];
    assert!(verifies(key, &signed));
    let text = String::from_utf8(signed).unwrap();
    let cases = [
        ("Subject: Hello\r\n there", "Subject: Hello   there", true),
        ("Precedence: bulk", "Precedence: list", true),
        ("Hello.  \r\n\r\n", "Hello.\r\n", true),
        ("To: b@example.net", "to:b@example.net  ", true),
        ("Subject: Hello", "Subject: hello", false),
        ("Content-Type: text/plain", "Content-Type: text/html", false),
        ("Hello.  ", "Hello!  ", false),
        ("From: \"A\"", "From: eve@example.net\r\nFrom: \"A\"", false),
        ("t=", "t=1", false),
        ("d=example.org", "d=example.com", false),
    ];
    for (from, to, holds) in cases {
        assert!(text.contains(from), "{from}");
        assert_eq!(verifies(key, text.replacen(from, to, 1).as_bytes()), holds, "{from:?} → {to:?}");
    }
}

#[test]
fn a_signature_names_what_it_covers_and_has_no_length() {
    let keys = DkimKeys::new(vec![ed25519("example.org", "s1", 1)]);
    let signed = keys.sign("example.org", MESSAGE.to_vec(), moment()).unwrap();
    assert_eq!(tag(&signed, "h"), "From:From:To:Subject:Date:Message-ID:MIME-Version:Content-Type");
    assert_eq!(tag(&signed, "t"), "1795341600");
    let head = String::from_utf8(signed[..signed.len() - MESSAGE.len()].to_vec()).unwrap();
    assert!(!head.contains("l=") && !head.contains("\r\n\r\n"), "{head}");
    for line in head.split_terminator("\r\n") {
        assert!(line.len() <= 98, "{line}");
        // Folded between tags and behind colons only: some relays join lines differently.
        assert!(line.ends_with(';') || line.ends_with(':') || line.trim_start().starts_with("b="), "{line}");
    }
}

#[test]
fn the_first_key_of_each_kind_signs_and_a_domain_above_may() {
    let keys = DkimKeys::new(vec![ed25519("example.org", "new", 1), ed25519("example.org", "old", 2), ed25519("other.org", "x", 3)]);
    let selectors = |domain: &str| -> Vec<&str> { keys.signing(domain).iter().map(|key| key.selector()).collect() };
    assert_eq!(selectors("example.org"), ["new"]);
    assert_eq!(selectors("a.news.EXAMPLE.org"), ["new"]);
    assert_eq!(selectors("other.org"), ["x"]);
    assert!(selectors("example.com").is_empty() && selectors("notexample.org").is_empty() && selectors("").is_empty());
    assert_eq!(keys.of_domain("example.org").len(), 2);
    assert_eq!(keys.sign("example.com", MESSAGE.to_vec(), moment()).unwrap(), MESSAGE);
}

#[test]
fn what_is_no_key_is_refused_without_showing_it() {
    let ed25519 = generate::ed25519_pem([1; 32]);
    let short = ed25519.replace("MC4CAQAwBQYDK2VwBCIEI", "MC4CAQAwBQYDK2VwBCIEA");
    for (domain, selector, pem) in [
        ("example.org", "s", "secret"),
        ("example.org", "s", short.as_str()),
        ("exa mple.org", "s", ed25519.as_str()),
        ("example.org", "s;", ed25519.as_str()),
        ("example.org", "", ed25519.as_str()),
    ] {
        let error = DkimKey::from_pem(domain, selector, pem).unwrap_err().to_string();
        assert!(!error.contains("secret") && !error.contains("MC4C"), "{error}");
    }
    let key = DkimKey::from_pem("Bücher.example", "S", &ed25519).unwrap();
    assert_eq!(format!("{key:?}"), "DkimKey(s._domainkey.xn--bcher-kva.example, Ed25519)");
}
