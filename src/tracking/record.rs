//! One hit as the spool keeps it: 72 bytes, closed values only.
//!
//! | bytes | what (numbers are little endian) |
//! |---|---|
//! | 16 | event id |
//! | 16 | pseudonym; zeros for an arm as a whole |
//! | 8 | when, milliseconds since 1970 |
//! | 4 | campaign number |
//! | 4 | reasons |
//! | 2 | version of the rules |
//! | 2 | link number, 0 for a pixel |
//! | 8 | one each: kind, whose (0 recipient, 1 arm), variant, part, class, confidence, client family, device |
//! | 12 | zeros |
//!
//! Cast: [`encode`], [`decode`], [`Words`]. A code is a place in the list of words at the beginning of the segment, so a later version with
//! longer lists reads what an earlier one wrote. It never holds an address, a user agent or a hash of them: [`Event`] has no place for one.

use jiff::Timestamp;

use crate::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, VariantNumber};
use crate::ledger::event::{Event, EventKind, Hit, Whose};
use crate::ledger::subject::Part;
use crate::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};

/// Bytes of a record.
pub const RECORD: usize = 72;

const PARTS: [Part; 3] = [Part::Test, Part::Rest, Part::Holdout];

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|known| known == one).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

/// Appends a record. Answers `false`, and appends nothing, for an event that is no hit.
pub fn encode(event: &Event, into: &mut Vec<u8>) -> bool {
    let Some(hit) = &event.hit else { return false };
    let (pseudonym, is_arm, variant, part) = match event.whose {
        Whose::Recipient(pseudonym) => (*pseudonym.as_bytes(), 0, 0, 0),
        Whose::Arm { variant, part } => ([0; 16], 1, variant.0, place(&PARTS, &part)),
    };
    let mut bytes = [0; RECORD];
    bytes[..16].copy_from_slice(event.id.as_bytes());
    bytes[16..32].copy_from_slice(&pseudonym);
    bytes[32..40].copy_from_slice(&event.at.as_millisecond().to_le_bytes());
    bytes[40..44].copy_from_slice(&event.campaign.0.to_le_bytes());
    bytes[44..48].copy_from_slice(&u32::from(hit.verdict.reasons.0).to_le_bytes());
    bytes[48..50].copy_from_slice(&hit.verdict.ruleset.to_le_bytes());
    bytes[50..52].copy_from_slice(&hit.link.map_or(0, |link| link.0).to_le_bytes());
    bytes[52..60].copy_from_slice(&[
        place(&EventKind::ALL, &event.kind),
        is_arm,
        variant,
        part,
        place(&Class::ALL, &hit.verdict.class),
        place(&Confidence::ALL, &hit.verdict.confidence),
        place(&ClientFamily::ALL, &hit.family),
        place(&DeviceClass::ALL, &hit.device),
    ]);
    into.extend_from_slice(&bytes);
    true
}

/// What the codes of a segment mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    kinds: Vec<EventKind>,
    parts: Vec<Part>,
    classes: Vec<Class>,
    confidences: Vec<Confidence>,
    families: Vec<ClientFamily>,
    devices: Vec<DeviceClass>,
}

impl Words {
    /// This version's lists, one per line.
    pub fn ours() -> String {
        let lines = [
            EventKind::ALL.map(EventKind::as_str).join(" "),
            PARTS.map(Part::as_str).join(" "),
            Class::ALL.map(Class::as_str).join(" "),
            Confidence::ALL.map(Confidence::as_str).join(" "),
            ClientFamily::ALL.map(ClientFamily::as_str).join(" "),
            DeviceClass::ALL.map(DeviceClass::as_str).join(" "),
        ];
        lines.join("\n")
    }

    /// Reads a segment's lists; none when they hold a word of a later version.
    pub fn read(text: &str) -> Option<Self> {
        let mut lines = text.split('\n').map(|line| line.split(' '));
        let words = Self {
            kinds: lines.next()?.map(EventKind::from_word).collect::<Option<_>>()?,
            parts: lines.next()?.map(Part::from_word).collect::<Option<_>>()?,
            classes: lines.next()?.map(|word| word.parse().ok()).collect::<Option<_>>()?,
            confidences: lines.next()?.map(|word| word.parse().ok()).collect::<Option<_>>()?,
            families: lines.next()?.map(|word| word.parse().ok()).collect::<Option<_>>()?,
            devices: lines.next()?.map(|word| word.parse().ok()).collect::<Option<_>>()?,
        };
        lines.next().is_none().then_some(words)
    }
}

fn bytes<const N: usize>(record: &[u8], from: usize) -> Option<[u8; N]> {
    record.get(from..from + N)?.try_into().ok()
}

/// Reads a record; none when it is not one, which a frame's checksum all but rules out.
pub fn decode(record: &[u8], words: &Words) -> Option<Event> {
    let [kind, is_arm, variant, part, class, confidence, family, device] = bytes::<8>(record, 52)?.map(usize::from);
    let pseudonym = Pseudonym::from_bytes(bytes(record, 16)?);
    let whose = match is_arm {
        0 => Whose::Recipient(pseudonym),
        _ => Whose::Arm { variant: VariantNumber(u8::try_from(variant).ok()?), part: *words.parts.get(part)? },
    };
    let link = u16::from_le_bytes(bytes(record, 50)?);
    let verdict = Verdict {
        class: *words.classes.get(class)?,
        confidence: *words.confidences.get(confidence)?,
        reasons: Reasons(u32::from_le_bytes(bytes(record, 44)?).try_into().ok()?),
        ruleset: u16::from_le_bytes(bytes(record, 48)?),
    };
    Some(Event {
        id: EventId::from_bytes(bytes(record, 0)?),
        campaign: CampaignNumber(u32::from_le_bytes(bytes(record, 40)?)),
        whose,
        kind: *words.kinds.get(kind)?,
        at: Timestamp::from_millisecond(i64::from_le_bytes(bytes(record, 32)?)).ok()?,
        hit: Some(Hit {
            // Repeats are found later, when a letter's hits are judged together.
            multiplicity: 1,
            link: (link > 0).then_some(LinkNumber(link)),
            verdict,
            family: *words.families.get(family)?,
            device: *words.devices.get(device)?,
        }),
        reason: None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A click of recipient `number`.
    pub fn click(number: u8) -> Event {
        Event {
            id: EventId::from_bytes([number; 16]),
            campaign: CampaignNumber(70_000),
            whose: Whose::Recipient(Pseudonym::from_bytes([number; 16])),
            kind: EventKind::Click,
            at: Timestamp::from_millisecond(1_795_000_000_123).unwrap(),
            hit: Some(Hit {
                multiplicity: 1,
                link: Some(LinkNumber(300)),
                verdict: Verdict { class: Class::Scanner, confidence: Confidence::Weak, reasons: Reasons(0x8001), ruleset: 7 },
                family: ClientFamily::Unknown,
                device: DeviceClass::Tablet,
            }),
            reason: None,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was() {
        let words = Words::read(&Words::ours()).unwrap();
        let arm = Event { whose: Whose::Arm { variant: VariantNumber(5), part: Part::Rest }, ..click(2) };
        let mut pixel = Event { kind: EventKind::Open, ..click(3) };
        pixel.hit.as_mut().unwrap().link = None;
        for event in [click(1), arm, pixel] {
            let mut record = Vec::new();
            assert!(encode(&event, &mut record));
            assert_eq!(record.len(), RECORD);
            assert_eq!(decode(&record, &words), Some(event));
        }
        assert!(!encode(&Event { hit: None, ..click(4) }, &mut Vec::new()), "the spool is for hits only");
    }

    #[test]
    fn codes_mean_what_their_own_segment_says() {
        let mut record = Vec::new();
        encode(&click(1), &mut record);
        let reordered = Words::ours().replace("human proxied prefetch scanner", "human proxied scanner prefetch");
        let read = decode(&record, &Words::read(&reordered).unwrap()).unwrap();
        assert_eq!(read.hit.unwrap().verdict.class, Class::Prefetch);
        assert_eq!(Words::read(&Words::ours().replace("human", "alien")), None, "a word of a later version");
        assert_eq!(Words::read(""), None);
    }
}
