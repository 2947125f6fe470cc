//! Addresses as they go over the wire: international domains as A-labels, nothing that could end a command or a header.
//!
//! Cast: [`wire_address`] and its refusal, [`UnusableAddress`]. Used for headers and envelopes alike, so that both always agree.
//!
//! It never puts an address into an error: errors are logged.

use lettre::Address;

/// Longest address a path may hold, in bytes (RFC 5321 §4.5.3.1.3, less the angle brackets).
const LONGEST: usize = 254;

/// Why an address cannot be used. Never contains the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAddress {
    /// No `@`, or a local part or domain that RFC 5321 does not allow.
    #[error("it is not of the form name@domain that RFC 5321 allows")]
    Malformed,
    /// The domain has no valid A-label form (IDNA 2008 with UTS 46).
    #[error("its international domain has no valid ASCII form")]
    Domain,
    /// Longer than 254 bytes.
    #[error("it is longer than 254 bytes")]
    TooLong,
    /// A control character, a line break or a space.
    #[error("it contains a control character or a space")]
    ControlCharacter,
}

/// Reads an address and writes its domain in lower case, as A-labels when it is international.
///
/// The local part is kept as it is; it may be non-ASCII, in which case only a relay that offers SMTPUTF8 can take it.
pub fn wire_address(text: &str) -> Result<Address, UnusableAddress> {
    let text = text.trim();
    if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(UnusableAddress::ControlCharacter);
    }
    let (local, domain) = text.rsplit_once('@').ok_or(UnusableAddress::Malformed)?;
    let domain = if domain.is_ascii() {
        domain.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii_strict(domain).map_err(|_| UnusableAddress::Domain)?
    };
    let address = Address::new(local, &domain).map_err(|_| UnusableAddress::Malformed)?;
    if AsRef::<str>::as_ref(&address).len() > LONGEST { Err(UnusableAddress::TooLong) } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_wire_wants_them_or_refused() {
        let long = format!("{}@{}.example", "a".repeat(64), ["b".repeat(60).as_str(); 4].join("."));
        let cases: &[(&str, Result<&str, UnusableAddress>)] = &[
            ("ann@example.org", Ok("ann@example.org")),
            (" Ann@EXAMPLE.org ", Ok("Ann@example.org")),
            ("ann@bücher.example", Ok("ann@xn--bcher-kva.example")),
            ("आन@example.org", Ok("आन@example.org")),
            ("ann@[192.0.2.1]", Ok("ann@[192.0.2.1]")),
            ("\"ann@home\"@example.org", Ok("\"ann@home\"@example.org")),
            ("b+token234@bounce.example.org", Ok("b+token234@bounce.example.org")),
            ("ann", Err(UnusableAddress::Malformed)),
            ("ann@", Err(UnusableAddress::Malformed)),
            ("a..b@example.org", Err(UnusableAddress::Malformed)),
            ("a>b@example.org", Err(UnusableAddress::Malformed)),
            ("ann@ex>ample.org", Err(UnusableAddress::Malformed)),
            ("ann@example.org>\r\nRCPT TO:<eve@example.org", Err(UnusableAddress::ControlCharacter)),
            ("ann\0@example.org", Err(UnusableAddress::ControlCharacter)),
            (&long, Err(UnusableAddress::TooLong)),
        ];
        for (text, expected) in cases {
            let found = wire_address(text).map(|address| address.to_string());
            assert_eq!(found.as_deref().map_err(|fault| *fault), *expected, "{text:?}");
        }
    }
}
