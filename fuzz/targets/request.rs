//! Bytes off the wire at the front door, reduced to closed values and judged.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use letterlab::signal::{DeliveryAge, HitKind, NetworkTable, RequestFacts, classify, reduce};
use letterlab::web::front::request::{Read, read};

static NETWORKS: LazyLock<NetworkTable> = LazyLock::new(|| {
    NetworkTable::parse("192.0.2.0/24 google_fetcher\n2001:db8::/32 apple_relay\n198.51.100.0/25 listed_scanner\n")
        .expect("a table of networks")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match read(input) {
        Read::Hit(hit, length) => {
            assert!(length <= input.len());
            assert!(!hit.token.is_empty() && hit.token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            // What a reader in front of us passes on cannot end the request elsewhere.
            assert!(matches!(read(&input[..length]), Read::Hit(_, again) if again == length));
            assert!(matches!(read(&input[..length - 1]), Read::Incomplete));
            let peer = hit.forwarded.and_then(|forwarded| forwarded.parse::<IpAddr>().ok());
            judge(RequestFacts {
                method: if hit.is_head { "HEAD" } else { "GET" },
                peer,
                user_agent: hit.user_agent,
                purpose: hit.purpose,
                referer: hit.referer,
                accept_language: hit.accept_language,
                fetch_user: hit.fetch_user,
            });
        }
        Read::Incomplete | Read::Other => {}
    }
    // The same bytes as a user agent and as headers.
    let text = String::from_utf8_lossy(input);
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    judge(RequestFacts {
        method: other,
        peer: other.parse().ok(),
        user_agent: one,
        purpose: Some(other),
        referer: Some(other),
        accept_language: other.is_empty(),
        fetch_user: one.is_empty(),
    });
});

fn judge(facts: RequestFacts<'_>) {
    let client = reduce(facts, &NETWORKS);
    for kind in [HitKind::Open, HitKind::Click] {
        let verdict = classify(kind, &client, DeliveryAge::Unknown);
        assert_eq!(verdict, classify(kind, &reduce(facts, &NETWORKS), DeliveryAge::Unknown));
    }
}
