//! What shows that a campaign's letters differ in one element, as kept with the sealed plan.
//!
//! Cast: [`Proof`]. It is made before the launch, over finished messages; here it is only held and put into words.

use serde::{Deserialize, Serialize};

/// The finished messages of a sample of people, compared variant by variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// One per variant after the control: `B differs from A in: subject`.
    pub statements: Vec<String>,
    /// People of the list whose messages were made and compared, besides one made up.
    pub people: u32,
    /// People of the sample for whom no message could be made, such as for a missing merge value.
    pub left_out: u32,
    /// Outside the element every byte was equal; otherwise everything a reader or a mail program can notice was.
    pub every_byte: bool,
    /// SHA-256 over the control's messages with the element masked, in hexadecimal.
    pub hash: String,
}

impl Proof {
    /// The statements, and last how they were shown.
    pub fn sentences(&self) -> Vec<String> {
        self.told("Shown before the launch", "")
    }

    /// The same of a draft, whose letters may still change.
    pub fn sentences_of_a_draft(&self) -> Vec<String> {
        self.told("Tried just now", " At the launch it is shown again, and kept with the plan.")
    }

    fn told(&self, when: &str, after: &str) -> Vec<String> {
        let mut sentences: Vec<String> = self.statements.iter().map(|statement| format!("{statement}.")).collect();
        let extent = if self.every_byte { "equal byte for byte" } else { "equal in everything a reader or a mail program can notice" };
        let people = match self.people {
            0 => "a made-up person".to_owned(),
            1 => "one person and a made-up one".to_owned(),
            people => format!("{people} people and a made-up one"),
        };
        let short = self.hash.get(..16).unwrap_or(&self.hash);
        sentences.push(format!(
            "{when} on the finished messages of {people}: with the element masked they are {extent} (SHA-256 {short}…).{after}"
        ));
        sentences
    }
}
