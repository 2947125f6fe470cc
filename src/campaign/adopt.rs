//! Whole letters → the one element in which they differ, and a variant for each.
//!
//! Cast: [`adopt`], [`Adopted`]. Letters that differ in several elements, or in none, are refused with every difference and its place.

use crate::campaign::definition::Variant;
use crate::campaign::file::Problem;
use crate::content::difference::{Letter, Outcome, Place, as_element, compare};
use crate::content::{Element, Newsletter};

/// What a campaign takes from whole letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The element found.
    pub element: Element,
    /// One per letter.
    pub variants: Vec<Variant>,
}

/// Compares whole letters, the control first, and adopts the one element in which they differ. `same_letters` asks for none.
///
/// # Errors
/// Why they are no test of one element: a problem per difference.
pub fn adopt(newsletters: &[Newsletter], same_letters: bool) -> Result<Adopted, Vec<Problem>> {
    let letters: Vec<Letter<'_>> = newsletters.iter().map(Letter::from).collect();
    let unreadable = |error| vec![Problem::of("variants", error)];
    let compared = compare(&letters).map_err(unreadable)?;
    let element = match compared.outcome {
        Outcome::Same if same_letters => {
            let variants = newsletters.iter().map(|_| Variant { value: None, letter: None }).collect();
            return Ok(Adopted { element: Element::Subject, variants });
        }
        Outcome::Several(differences) => {
            let all = differences.len();
            let problem = |difference: &crate::content::difference::Difference| {
                let message = format!(
                    "letter {} differs from letter A in more than one element ({all} in all), here in {difference}: A has {:?}, {} has {:?}",
                    letter(difference.letter),
                    difference.control,
                    letter(difference.letter),
                    difference.variant
                );
                Problem::of(&key(difference.letter, Some(&difference.place)), message)
            };
            return Err(differences.iter().map(problem).collect());
        }
        _ if same_letters => {
            let message = "same_letters asks for the same letter in every arm, but these letters differ";
            return Err(vec![Problem::of("test.same_letters", message)]);
        }
        Outcome::One(_) | Outcome::Same if !compared.twins.is_empty() => {
            let problem = |(one, other): &(usize, usize)| {
                let message = format!(
                    "letter {} differs from letter {} in nothing a reader or a mail program could notice; a test needs a difference",
                    letter(*other),
                    letter(*one)
                );
                Problem::of(&key(*other, None), message)
            };
            return Err(compared.twins.iter().map(problem).collect());
        }
        Outcome::Same => return Err(vec![Problem::of("variants", "a test needs at least two letters")]),
        Outcome::One(element) => element,
    };
    if let Some((element, values)) = as_element(&letters).map_err(unreadable)? {
        let variants = values.into_iter().map(|value| Variant { value, letter: None }).collect();
        return Ok(Adopted { element, variants });
    }
    let variants = newsletters
        .iter()
        .zip(&element.values)
        .map(|(newsletter, value)| Variant { value: Some(value.clone()), letter: Some(newsletter.clone()) })
        .collect();
    Ok(Adopted { element: Element::Found(element.to_string()), variants })
}

/// The key in the file that says it, or one that stands for the variant as a whole.
fn key(number: usize, place: Option<&Place>) -> String {
    let name = match place {
        Some(Place::Subject) => "subject",
        Some(Place::Preheader) => "preheader",
        Some(Place::SenderName) => "sender_name",
        Some(Place::Format) => "format",
        Some(Place::ReplyTo | Place::Body(_)) | None => "text",
    };
    format!("variants[{number}].{name}")
}

fn letter(number: usize) -> char {
    u8::try_from(number).ok().and_then(|number| b'A'.checked_add(number)).map_or('?', char::from)
}
