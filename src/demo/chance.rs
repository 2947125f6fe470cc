//! Chance that can be repeated: a generator per seed, person and purpose.
//!
//! Cast: [`of`]. It never depends on the order of arrival, and two purposes of one person are independent of each other.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// A generator for one purpose of one person. The address's case does not matter.
pub(super) fn of(seed: u64, address: &str, purpose: &str) -> ChaCha8Rng {
    // FNV-1a (Fowler, Noll, Vo 1991): stable across versions and machines, which std's hasher does not promise.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    let bytes = address.bytes().map(|byte| byte.to_ascii_lowercase()).chain([0]).chain(purpose.bytes());
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    ChaCha8Rng::seed_from_u64(hash)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn draw(seed: u64, address: &str, purpose: &str) -> f64 {
        of(seed, address, purpose).random()
    }

    #[test]
    fn draws_repeat_and_differ_by_seed_person_and_purpose() {
        assert_eq!(draw(1, "a@x.example", "open"), draw(1, "A@X.example", "open"));
        assert_ne!(draw(1, "a@x.example", "open"), draw(2, "a@x.example", "open"));
        assert_ne!(draw(1, "a@x.example", "open"), draw(1, "b@x.example", "open"));
        assert_ne!(draw(1, "a@x.example", "open"), draw(1, "a@x.example", "click"));
    }

    #[test]
    fn draws_are_uniform_over_people() {
        let mean = (0..20_000).map(|n| draw(7, &format!("person{n}@x.example"), "open")).sum::<f64>() / 20_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
