//! Tokens: what is sealed opens as it was, for one use only; nothing else opens, one changed character included.

#![no_main]

use letterlab::bounce::return_path_token;
use letterlab::ids::{CampaignNumber, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use letterlab::token::{Bearer, Keys, Kind, LINKS_MAX, Payload};

const KINDS: [Kind; 5] = [Kind::Open, Kind::Click, Kind::Unsubscribe, Kind::Bounce, Kind::Share];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let keys = Keys::new((1, [7; 32]), vec![(0, [8; 32])]);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let text = String::from_utf8_lossy(input);
    // 64 bits of a keyed hash are not found by chance.
    assert!(KINDS.iter().all(|kind| keys.open(*kind, &text).is_err()));
    assert!(keys.open_share(&text, now).is_err());
    if let Some(token) = return_path_token(&text) {
        assert_eq!(token.len(), 52);
        assert!(keys.open(Kind::Bounce, &token).is_err());
    }

    let Some((fields, rest)) = input.split_first_chunk::<26>() else { return };
    let payload = payload(fields);
    let token = keys.seal(&payload);
    for kind in KINDS {
        assert_eq!(keys.open(kind, &token).ok(), (kind == payload.kind).then_some(payload));
    }
    assert_eq!(keys.open(payload.kind, &token.to_ascii_uppercase()), Ok(payload));
    assert_eq!(return_path_token(&format!("b+{token}@bounce.example.org")), Some(token.clone()));
    if let [at, other, ..] = rest {
        let at = usize::from(*at) % token.len();
        let mut changed = token.clone().into_bytes();
        changed[at] = *other;
        if !changed.eq_ignore_ascii_case(token.as_bytes()) {
            assert!(keys.open(payload.kind, &String::from_utf8_lossy(&changed)).is_err(), "{token} with {other} at {at}");
        }
    }
});

fn payload(fields: &[u8; 26]) -> Payload {
    let number = |at: usize| u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
    let mut pseudonym = [0; 16];
    pseudonym.copy_from_slice(&fields[4..20]);
    let bearer = if pseudonym[..15].iter().all(|byte| *byte == 0) {
        Bearer::Arm { rest: pseudonym[15] % 2 == 1 }
    } else {
        Bearer::Recipient(Pseudonym::from_bytes(pseudonym))
    };
    let link = u16::from_be_bytes([fields[20], fields[21]]) & LINKS_MAX;
    Payload {
        kind: KINDS[usize::from(fields[22]) % 4],
        campaign: CampaignNumber(number(0)),
        bearer,
        variant: VariantNumber(fields[23] & 0x0f),
        link: (link > 0).then_some(LinkNumber(link)),
        mode: RecordingMode::ALL[usize::from(fields[24]) % 4],
    }
}
