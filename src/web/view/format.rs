//! Numbers as words: counts with thousands, rates in per cent, differences in percentage points, p-values.
//!
//! Pure functions, one wording for every page. Rates are fractions (0.034 is 3.4 %); a value that is not finite becomes a dash.

use crate::report::reading::chance_words;

/// What stands where there is no number.
pub const DASH: &str = "–";

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A fraction as per cent with two decimals: `0.0342` as `3.42 %`.
pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{:.2} %", fraction * 100.0) } else { DASH.to_owned() }
}

/// A level, share or other chosen fraction as per cent without needless zeros: `0.5` as `50 %`, `0.333` as `33.3 %`.
pub fn level(fraction: f64) -> String {
    if !fraction.is_finite() {
        return DASH.to_owned();
    }
    let text = format!("{:.4}", fraction * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A chance without pretending certainty: `83 %`, `over 99.9 %`.
pub fn chance(chance: f64) -> String {
    if chance.is_finite() { chance_words(chance) } else { DASH.to_owned() }
}

/// A difference of two fractions in percentage points with its sign: `0.0061` as `+0.61`, with a true minus sign.
pub fn points(difference: f64) -> String {
    signed(difference * 100.0, 2)
}

/// A ratio of two rates as relative change: `1.18` as `+18.0 %`.
pub fn lift(ratio: f64) -> String {
    if ratio.is_finite() { format!("{} %", signed((ratio - 1.0) * 100.0, 1)) } else { DASH.to_owned() }
}

/// A p-value: `0.0031`, `< 0.0001`, `0.42`.
pub fn p_value(p: f64) -> String {
    if !p.is_finite() {
        DASH.to_owned()
    } else if p < 0.0001 {
        "< 0.0001".to_owned()
    } else if p < 0.01 {
        format!("{p:.4}")
    } else {
        format!("{p:.3}")
    }
}

/// `part` of `whole` as per cent with one decimal, a dash when there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 { DASH.to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// A message as a sentence of its own.
pub fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).chain(['.']).collect())
}

/// A plural that counts: `1 person`, `2 people`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn signed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return DASH.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|character| character == '0' || character == '.');
    match (is_zero, value < 0.0) {
        (true, _) => text,
        (false, true) => format!("−{text}"),
        (false, false) => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (20_000, "20,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn differences_carry_their_sign_and_zero_carries_none() {
        for (difference, text) in [(0.0061, "+0.61"), (-0.0061, "−0.61"), (0.00001, "0.00"), (-0.00001, "0.00"), (f64::NAN, DASH)] {
            assert_eq!(points(difference), text);
        }
        assert_eq!(lift(1.18), "+18.0 %");
        assert_eq!(lift(f64::INFINITY), DASH);
    }

    #[test]
    fn small_p_values_are_bounds_not_zeros() {
        for (p, text) in [(1e-300, "< 0.0001"), (0.0031, "0.0031"), (0.42, "0.420"), (1.0, "1.000"), (f64::NAN, DASH)] {
            assert_eq!(p_value(p), text);
        }
    }

    #[test]
    fn what_was_chosen_shows_no_needless_zeros() {
        for (fraction, text) in
            [(0.5, "50 %"), (1.0, "100 %"), (0.333, "33.3 %"), (0.07, "7 %"), (1.0 / 3.0, "33.3333 %"), (f64::NAN, DASH)]
        {
            assert_eq!(level(fraction), text);
        }
    }

    #[test]
    fn a_share_of_nothing_is_a_dash() {
        assert_eq!(share(1, 0), DASH);
        assert_eq!(share(1, 8), "12.5 %");
        assert_eq!(counted(1, "person", "people"), "1 person");
        assert_eq!(counted(1_200, "person", "people"), "1,200 people");
    }
}
