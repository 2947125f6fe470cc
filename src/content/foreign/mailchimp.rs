//! Mailchimp: `*|FNAME|*`, `*|IF:PLAN=gold|* … *|END:IF|*`.

use super::{Translation, field, quoted};

const FUNCTIONS: [(&str, &str); 3] = [("TITLE", "title"), ("UPPER", "upper"), ("LOWER", "lower")];

/// What stands between `*|` and `|*`, in our words.
pub fn translate(inner: &str) -> Translation {
    let inner = inner.trim();
    let upper = inner.to_ascii_uppercase();
    let (word, argument) = inner.split_once(':').unwrap_or((inner, ""));
    let word = word.trim().to_ascii_uppercase();
    match word.as_str() {
        "IF" => Translation::Open(condition(argument).map(|condition| format!("{{% if {condition} %}}"))),
        "IFNOT" => Translation::Open(name(argument).map(|field| format!("{{% if not {field} %}}"))),
        "ELSEIF" => Translation::Turn(condition(argument).map(|condition| format!("{{% elif {condition} %}}"))),
        "ELSE" => Translation::Turn(Ok("{% else %}".to_owned())),
        "END" => Translation::Close,
        "INTERESTED" | "NOTINTERESTED" | "GROUP" => {
            Translation::Open(Err("there are no interest groups; import the group as a column and ask for it with {% if … %}".to_owned()))
        }
        "UNSUB" => Translation::Print("{{ unsubscribe_url }}".to_owned()),
        "EMAIL" => Translation::No(
            "a person's address is not available in letters; import it as a column of its own if it must be shown".to_owned(),
        ),
        "ARCHIVE" | "FORWARD" | "UPDATE_PROFILE" | "ABUSE_EMAIL" | "REWARDS" | "PROMO_CODE" | "SHARE" => {
            Translation::No(format!("{upper} is not available; take it out or write your own address"))
        }
        _ if word.starts_with("CURRENT_")
            || ["MC", "LIST", "DATE", "USER", "HTML", "FEED", "RSSFEED", "RSSITEM", "ARCHIVE_LINK_SHORT"].contains(&word.as_str()) =>
        {
            Translation::No(format!("{upper} is filled in by Mailchimp; write the text itself"))
        }
        _ if argument.is_empty() => match name(inner) {
            Ok(field) => Translation::Print(format!("{{{{ {field} }}}}")),
            Err(why) => Translation::No(why),
        },
        _ => match FUNCTIONS.iter().find(|(theirs, _)| *theirs == word) {
            Some((_, ours)) => match name(argument) {
                Ok(field) => Translation::Print(format!("{{{{ {field} | {ours} }}}}")),
                Err(why) => Translation::No(why),
            },
            None => Translation::No(format!("the function {word} is not available")),
        },
    }
}

fn name(theirs: &str) -> Result<String, String> {
    match theirs.trim().to_ascii_uppercase().as_str() {
        "FNAME" => Ok("first_name".to_owned()),
        "LNAME" => Ok("last_name".to_owned()),
        "EMAIL" => Err("a person's address is not available in letters".to_owned()),
        upper => field(&upper.to_ascii_lowercase()).ok_or_else(|| format!("{upper} is no name of a field")),
    }
}

fn condition(argument: &str) -> Result<String, String> {
    if argument.contains(['<', '>']) {
        return Err("numbers cannot be compared in letters; compare whole values with =".to_owned());
    }
    match argument.split_once('=') {
        None => name(argument),
        Some((left, value)) => {
            let (left, sign) = left.strip_suffix('!').map_or((left, "=="), |left| (left, "!="));
            Ok(format!("{} {sign} {}", name(left)?, quoted(value.trim().trim_matches('"'))))
        }
    }
}
