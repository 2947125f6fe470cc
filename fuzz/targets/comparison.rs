//! Two bodies compared. A letter never differs from itself, and whether two differ does not depend on which comes first.

#![no_main]

use letterlab::content::difference::{Letter, Outcome, as_element, compare, compare_finished};
use letterlab::content::with_override;
use letterlab_fuzz::{fields, newsletter};

libfuzzer_sys::fuzz_target!(|input: &str| {
    let [one, other] = fields(input);
    let (one, other) = (newsletter(one), newsletter(other));
    if let Ok(itself) = compare(&[Letter::from(&one), Letter::from(&one)]) {
        assert_eq!(itself.outcome, Outcome::Same);
    }
    let letters = [Letter::from(&one), Letter::from(&other)];
    let there = compare(&letters);
    let back = compare(&[Letter::from(&other), Letter::from(&one)]);
    assert_eq!(there.is_ok(), back.is_ok());
    if let (Ok(there), Ok(back)) = (there, back) {
        assert_eq!(there.outcome == Outcome::Same, back.outcome == Outcome::Same);
        assert_eq!(there.outcome == Outcome::Same, there.twins == [(0, 1)]);
        if let Outcome::One(element) = &there.outcome {
            assert_eq!(element.values.len(), 2);
        }
        // What is adopted as an element gives exactly the other letter again.
        if let Ok(Some((element, values))) = as_element(&letters)
            && let Some(Some(value)) = values.get(1)
        {
            let made = with_override(&one, &element, value).expect("an element that was found can be set");
            let again = compare(&[Letter::from(&made), Letter::from(&other)]).expect("a letter made can be compared");
            assert_eq!(again.outcome, Outcome::Same);
        }
    }
    if let Ok(finished) = compare_finished(&one.body.source, &other.body.source) {
        assert_eq!(finished.differences.len(), finished.outlook_only.len());
    }
});
