//! Lists, people, import.
//!
//! Cast: [`PeopleView`], [`ImportView`], [`ImportReportView`], [`ListView`]. Addresses arrive as the handler wants them shown
//! (masked unless the reader may see them); nothing here unmasks.

use super::{Badge, Choices, Field, Link, Page, Pager};

/// One list in the overview.
#[derive(Debug, Clone)]
pub struct ListRow {
    /// Its page.
    pub url: String,
    /// Its name.
    pub name: String,
    /// People on it.
    pub people: String,
    /// Of those, how many may be mailed.
    pub mailable: String,
    /// Of those, how many are suppressed.
    pub suppressed: String,
}

/// All lists.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/people.html")]
pub struct PeopleView {
    /// The frame.
    pub page: Page,
    /// All people, each counted once.
    pub people: String,
    /// Suppressed people.
    pub suppressed: String,
    /// The lists by name.
    pub lists: Vec<ListRow>,
}

/// Import form. Posts multipart `file`, `list`, `mode`, `consent_source`, `consent_date` to `/people/import`.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/import.html")]
pub struct ImportView {
    /// The frame.
    pub page: Page,
    /// Complaint about the file as a whole.
    pub file_error: Option<String>,
    /// List that people join when their line names none.
    pub list: Field,
    /// Names of existing lists, offered while typing.
    pub known_lists: Vec<String>,
    /// Recording mode of lines that state none: [`import_modes`].
    pub mode: Choices,
    /// Where the agreement comes from.
    pub consent_source: Field,
    /// When it was given, `YYYY-MM-DD`.
    pub consent_date: Field,
    /// Largest file accepted, in words.
    pub largest_file: String,
}

/// The four recording modes with their explanation, `chosen` marked.
pub fn recording_modes(chosen: &str) -> Choices {
    let options = super::Choice::several(
        &[
            ("off", "Off", "No pixel, links untouched. These people get the letter and count for nothing."),
            ("aggregate", "Aggregate", "Totals per variant only. Nobody is counted once, so no significance test."),
            ("pseudonymous", "Pseudonymous", "A fresh random number per person and campaign. The usual choice for a test."),
            ("identified", "Identified", "Linked to the person. Only with a recorded consent to exactly this."),
        ],
        chosen,
    );
    Choices { options, error: None }
}

/// The same, and the choice to go by what the file says.
pub fn import_modes(chosen: &str) -> Choices {
    let mut choices = recording_modes(chosen);
    let hint = "Lines that say nothing are counted in aggregate only, which allows no test.";
    choices.options.extend(super::Choice::several(&[("file", "As the file says", hint)], chosen));
    choices.options.rotate_right(1);
    choices
}

/// A line that was not taken.
#[derive(Debug, Clone)]
pub struct RefusedLine {
    /// Line number in the file, the header being 1.
    pub line: String,
    /// Why it was refused, and what to do.
    pub reason: String,
}

/// What became of every line of a file.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/import_report.html")]
pub struct ImportReportView {
    /// The frame.
    pub page: Page,
    /// Name of the file.
    pub file: String,
    /// The list.
    pub list: Link,
    /// How long it took, in words.
    pub took: String,
    /// Lines read, without the header.
    pub lines: String,
    /// New people.
    pub added: String,
    /// Known people with something new.
    pub updated: String,
    /// Known people without anything new.
    pub unchanged: String,
    /// Lines that repeat an address from earlier in the same file.
    pub repeated: String,
    /// Lines refused.
    pub refused: String,
    /// Whether added + updated + unchanged + repeated + refused equals lines.
    pub adds_up: bool,
    /// What else is worth knowing, such as columns left out.
    pub notes: Vec<String>,
    /// The refused lines, perhaps only the first of them.
    pub refusals: Vec<RefusedLine>,
    /// How many refused lines are not shown, in words, or empty.
    pub more_refusals: String,
}

/// One person on a list.
#[derive(Debug, Clone)]
pub struct PersonRow {
    /// Address as it may be shown.
    pub address: String,
    /// Name, or empty.
    pub name: String,
    /// Whether the person may be mailed, and why not.
    pub state: Badge,
    /// Recording mode.
    pub mode: String,
    /// Where and when it was agreed to.
    pub consent: String,
}

/// A list with its people, a page at a time.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/list.html")]
pub struct ListView {
    /// The frame.
    pub page: Page,
    /// Name of the list.
    pub name: String,
    /// Where the list can be had as CSV.
    pub export_url: String,
    /// People, mailable, suppressed.
    pub counts: [String; 3],
    /// The people shown.
    pub rows: Vec<PersonRow>,
    /// Which of all they are.
    pub pager: Pager,
}
