//! Whole letters on the campaign's form: each variant brings its own, typed or as a file; they are compared, and the one element in
//! which they differ is adopted, or every difference is shown.
//!
//! Cast: [`take_files`] (chosen files into the fields they belong to), [`read`] (a variant's letter), [`newsletters`] (all of them, to
//! compare), [`in_short`] (complaints, where the comparison says it better), [`fill`].
//!
//! It stores nothing; that letters differ in one element is judged where campaign files are read.

use crate::app::letters::Compared;
use crate::campaign::file::Problem;
use crate::content::{Body, Newsletter};
use crate::web::admin::campaign_text::{CampaignText, WholeLetter};
use crate::web::admin::draft_form::{VARIANTS_MOST, lines};
use crate::web::admin::letter::format_of;
use crate::web::form::Fields;
use crate::web::view::Field;
use crate::web::view::campaign_form::{WholeInput, letter_formats};

/// The form's word for variants that bring whole letters.
pub const WHOLE: &str = "letters";

/// Puts the text of each chosen file where it would have been typed, so that nothing is lost when the form comes back. A file that is
/// no text is complained of.
pub fn take_files(fields: &mut Fields) -> Vec<Problem> {
    let mut problems = Vec::new();
    for row in 1..=VARIANTS_MOST {
        let name = |field: &str| if row == 1 { field.to_owned() } else { format!("variant_{row}_{field}") };
        let file = name("file");
        let text = fields.get(&file).trim_start_matches('\u{feff}').to_owned();
        if text.trim().is_empty() {
            continue;
        }
        let file_name = fields.get(&format!("{file}.file")).to_owned();
        if !fields.get(&format!("{file}.unreadable")).is_empty() {
            let shown: String = file_name.chars().filter(|character| !character.is_control()).take(80).collect();
            let message = format!("the file {shown} is not text in UTF-8; save it so and choose it again");
            problems.push(Problem::of(&format!("row[{row}].body"), message));
            continue;
        }
        if let Some(format) = format_by_name(&file_name) {
            fields.set(&name("format"), format.to_owned());
        }
        fields.set(&name("body"), text);
    }
    problems
}

fn format_by_name(file: &str) -> Option<&'static str> {
    match file.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "mjml" => Some("mjml"),
        "html" | "htm" => Some("html"),
        "md" | "txt" => Some("markdown"),
        _ => None,
    }
}

/// What a row of the form brings; none when it is empty.
pub fn read(fields: &Fields, row: usize) -> Option<WholeLetter> {
    let field = |name: &str| lines(fields.get(&format!("variant_{row}_{name}")));
    let filled = |name: &str| Some(field(name)).filter(|text| !text.trim().is_empty());
    let text = filled("body");
    let letter = WholeLetter {
        subject: filled("subject"),
        preheader: filled("preheader"),
        sender_name: filled("sender_name"),
        format: filled("format").filter(|_| text.is_some()),
        text,
    };
    Some(letter).filter(|letter| *letter != WholeLetter::default())
}

/// Every variant's letter, the control first: the letter of the form, and the others with what is left empty as in it.
pub fn newsletters(text: &CampaignText) -> Vec<(Newsletter, Option<String>)> {
    let letter = &text.letter;
    let control = Newsletter {
        subject: letter.subject.clone(),
        preheader: letter.preheader.clone(),
        sender_name: text.sender.name.clone(),
        body: Body { format: format_of(&letter.format), source: letter.text.clone() },
    };
    let with = |whole: &WholeLetter| {
        let or = |own: &Option<String>, otherwise: &String| own.clone().unwrap_or_else(|| otherwise.clone());
        Newsletter {
            subject: or(&whole.subject, &control.subject),
            preheader: or(&whole.preheader, &control.preheader),
            sender_name: or(&whole.sender_name, &control.sender_name),
            body: whole.text.as_ref().map_or_else(
                || control.body.clone(),
                |source| Body { format: whole.format.as_deref().map_or(control.body.format, format_of), source: source.clone() },
            ),
        }
    };
    let newsletters = text.variants.iter().map(|variant| variant.letter.as_ref().map_or_else(|| control.clone(), with));
    newsletters.map(|newsletter| (newsletter, None)).collect()
}

/// The problems, with those that the comparison above the form shows better said in short beside each letter.
pub fn in_short(problems: Vec<Problem>, compared: Option<&Compared>) -> Vec<Problem> {
    let Some(compared) = compared.filter(|compared| !compared.is_test) else { return problems };
    let is_about_letters = |problem: &Problem| {
        let field = problem.key.strip_prefix("variants[").and_then(|rest| rest.split_once("].")).map(|(_, field)| field);
        matches!(field, Some("text" | "subject" | "preheader" | "sender_name" | "format"))
    };
    let mut kept: Vec<Problem> = problems.into_iter().filter(|problem| !is_about_letters(problem)).collect();
    let mut told: std::collections::BTreeMap<usize, Vec<&str>> = std::collections::BTreeMap::new();
    for one in &compared.differences {
        told.entry(one.letter).or_default().push(&one.place);
    }
    for (number, places) in told {
        let message = match places.as_slice() {
            [only] => format!("it differs from A in {only}; see above"),
            several => format!("it differs from A in {} elements; see above", several.len()),
        };
        kept.push(Problem::of(&format!("variants[{number}].text"), message));
    }
    for (_, number) in &compared.comparison.twins {
        let message = "it is the same letter as another; a test needs a difference";
        kept.push(Problem::of(&format!("variants[{number}].text"), message));
    }
    kept
}

/// A row of the form as it was sent.
pub fn refill(fields: &Fields, row: usize) -> WholeInput {
    let field = |name: &str| Field::new(&lines(fields.get(&format!("variant_{row}_{name}"))));
    WholeInput {
        subject: field("subject"),
        preheader: field("preheader"),
        sender_name: field("sender_name"),
        format: letter_formats(fields.get(&format!("variant_{row}_format"))),
        body: field("body"),
    }
}

/// A stored letter as a row of the form: lines as in the control stay empty, so that they follow it.
pub fn fill(whole: &WholeLetter, text: &CampaignText) -> WholeInput {
    let unless = |own: &Option<String>, control: &str| Field::new(own.as_deref().filter(|own| *own != control).unwrap_or_default());
    WholeInput {
        subject: unless(&whole.subject, &text.letter.subject),
        preheader: unless(&whole.preheader, &text.letter.preheader),
        sender_name: unless(&whole.sender_name, &text.sender.name),
        format: letter_formats(whole.format.as_deref().filter(|format| *format != text.letter.format).unwrap_or_default()),
        body: Field::new(whole.text.as_deref().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::letters::compare;
    use crate::campaign::definition::Definition;
    use crate::campaign::file;
    use crate::content::Element;
    use crate::web::admin::draft_form;
    use crate::web::view::Page;
    use crate::web::view::campaign_form::NewCampaignView;

    fn form(more: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        let usual = [
            ("name", "spring"),
            ("list", "customers"),
            ("mode", "pseudonymous"),
            ("sender_name", "Fern"),
            ("sender_address", "a@example.org"),
            ("subject", "Hello"),
            ("format", "html"),
            ("body", "<h1>Spring</h1>\r\n<p>Come <a href=\"https://a.example/\">here</a></p>"),
            ("element", WHOLE),
            ("test_share", "50"),
            ("metric", "click"),
            ("level", "5"),
            ("hours", "48"),
            ("rule", "hand"),
            ("images", "linked"),
        ];
        for (name, value) in usual.iter().chain(more) {
            fields.set(name, (*value).to_owned());
        }
        fields
    }

    fn stored(fields: &Fields) -> Result<Definition, Vec<Problem>> {
        file::read(&draft_form::read(fields, None).text.write(), &|_| Err("no".to_owned()))
    }

    const OTHER_WORDS: &str = "<h1>Spring</h1>\n<p>Go <a href=\"https://a.example/\">here</a></p>";

    #[test]
    fn letters_that_differ_in_one_thing_become_a_draft_that_the_form_shows_again() {
        let fields = form(&[("variant_2_body", OTHER_WORDS)]);
        let definition = stored(&fields).unwrap();
        assert!(matches!(&definition.element, Element::Found(place) if place.ends_with(": text")), "{:?}", definition.element);
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        draft_form::fill(&mut view, &definition);
        let chosen: Vec<&str> = view.element.options.iter().filter(|option| option.chosen).map(|option| option.value.as_str()).collect();
        assert_eq!((chosen, view.variants[1].whole.body.value.as_str()), (vec![WHOLE], OTHER_WORDS));
        assert_eq!(view.variants[1].whole.subject.value, "", "it follows the control");
        assert!(view.body.value.contains("Come") && view.variants[0].whole.body.value.is_empty());
        let again = form(&[("variant_2_body", &view.variants[1].whole.body.value), ("subject", "Another hello")]);
        let changed = stored(&again).unwrap();
        assert_eq!((changed.element, changed.newsletter.subject.as_str()), (definition.element, "Another hello"));
    }

    #[test]
    fn another_subject_alone_is_the_subject_under_test() {
        let definition = stored(&form(&[("variant_2_subject", "Good day"), ("variant_2_preheader", " ")])).unwrap();
        assert_eq!((definition.element, definition.variants[1].value.as_deref()), (Element::Subject, Some("Good day")));
    }

    #[test]
    fn several_differences_stand_above_and_in_short_at_their_letter() {
        let fields = form(&[("variant_2_body", OTHER_WORDS), ("variant_2_subject", "Good day"), ("variant_4_subject", "Hey")]);
        let typed = draft_form::read(&fields, None);
        assert_eq!(typed.names(), ['A', 'B', 'D']);
        let compared = compare(&newsletters(&typed.text), &typed.names()).unwrap();
        assert_eq!((compared.is_test, compared.differences.len()), (false, 3));
        assert!(compared.sentence.contains("B from A in 2 elements, D from A in 1 element"), "{}", compared.sentence);
        let problems = in_short(stored(&fields).unwrap_err(), Some(&compared));
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        draft_form::refill(&mut view, &fields);
        draft_form::place(&mut view, &typed, &problems);
        let told = |row: usize| view.variants[row - 1].whole.body.error.clone().unwrap_or_default();
        assert_eq!(
            (told(2).as_str(), told(4).as_str()),
            ("It differs from A in 2 elements; see above.", "It differs from A in subject; see above.")
        );
        assert_eq!((view.complaints(), view.variants[1].whole.subject.value.as_str()), (2, "Good day"));
    }

    #[test]
    fn an_empty_letter_is_asked_for_where_it_belongs() {
        let fields = form(&[]);
        let typed = draft_form::read(&fields, None);
        let mut problems = typed.problems.clone();
        problems.extend(stored(&fields).unwrap_err());
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        draft_form::refill(&mut view, &fields);
        draft_form::place(&mut view, &typed, &problems);
        assert!(view.variants[1].whole.body.error.as_deref().is_some_and(|error| error.contains("Paste or choose")));
        assert_eq!(view.complaints(), 1);
    }

    #[test]
    fn a_chosen_file_becomes_the_text_and_its_name_the_format() {
        let mut fields = form(&[
            ("variant_2_file", "\u{feff}<mjml></mjml>"),
            ("variant_2_file.file", "B.MJML"),
            ("file", "# A"),
            ("file.file", "a.md"),
            ("variant_3_body", "typed"),
            ("variant_3_file", "\u{fffd}"),
            ("variant_3_file.file", "c.doc"),
            ("variant_3_file.unreadable", "yes"),
        ]);
        let problems = take_files(&mut fields);
        assert_eq!((fields.get("variant_2_body"), fields.get("variant_2_format")), ("<mjml></mjml>", "mjml"));
        assert_eq!((fields.get("body"), fields.get("format")), ("# A", "markdown"));
        assert_eq!(fields.get("variant_3_body"), "typed", "what was typed stays");
        assert!(problems.len() == 1 && problems[0].message.contains("c.doc is not text in UTF-8"), "{problems:?}");
    }
}
