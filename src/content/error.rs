//! Why a newsletter cannot be compiled, changed or rendered. No message repeats a merge value: values are personal data.

use super::newsletter::Part;

/// A newsletter, an override or a set of values was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A part is larger than accepted.
    #[error("the {part} has {bytes} bytes; at most {most} are accepted")]
    TooLarge {
        /// Where.
        part: Part,
        /// Its size.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A merge tag cannot be used.
    #[error("{part}, line {line}: {problem}")]
    Merge {
        /// Where.
        part: Part,
        /// Counted from 1.
        line: usize,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The body's markup cannot be used.
    #[error("body{}: {problem}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Markup {
        /// Counted from 1, where known.
        line: Option<usize>,
        /// What is wrong and what to do.
        problem: String,
    },
    /// No block has that name.
    #[error("no block is named '{name}'; {}", list_blocks(found))]
    NoSuchBlock {
        /// The name asked for.
        name: String,
        /// The names there are.
        found: Vec<String>,
    },
    /// Several blocks have that name.
    #[error("{times} elements are named '{name}'; a name must be given once. {}", list_blocks(found))]
    BlockRepeated {
        /// The name asked for.
        name: String,
        /// How often it is given.
        times: usize,
        /// The names there are.
        found: Vec<String>,
    },
    /// A selector means no part, or more than one.
    #[error("`{selector}`: {problem}")]
    Selector {
        /// As asked for.
        selector: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An override's value does not fit its element.
    #[error("{element} cannot be changed: {problem}")]
    Override {
        /// The element, in words.
        element: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A person has no value for a field that has no default.
    #[error("{part}, line {line}: no value for the merge field `{field}`; give it one, or a default: {{{{ {field} | default(\"…\") }}}}")]
    MissingField {
        /// The field.
        field: String,
        /// Where it is used.
        part: Part,
        /// Counted from 1.
        line: usize,
    },
    /// The rendered letter would be larger than accepted.
    #[error("the rendered {part} is larger than {most} bytes")]
    TooMuchOutput {
        /// Where.
        part: Part,
        /// The limit.
        most: usize,
    },
    /// The caller gave another number of link addresses than the letter has links.
    #[error("the letter has {expected} tracked links, but {given} addresses were given")]
    LinkCount {
        /// Links of the letter.
        expected: usize,
        /// Addresses given.
        given: usize,
    },
}

fn list_blocks(found: &[String]) -> String {
    if found.is_empty() {
        return "there are no named blocks: give an element id=\"name\" or data-block=\"name\"".to_owned();
    }
    format!("there are: {}", found.join(", "))
}
