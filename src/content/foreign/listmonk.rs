//! listmonk and other Go templates: `{{ .Subscriber.FirstName }}`, `{{ if eq .Subscriber.Attribs.city "Bern" }} … {{ end }}`.

use super::{Translation, field, quoted, split_outside_quotes, words};

/// What listmonk writes after an address it shall track; every web link is tracked here.
pub const TRACKED: &str = "@TrackLink";

const ADDRESS: &str = "a person's address is not available in letters; import it as a column of its own if it must be shown";

/// What stands between `{{` and `}}`; [`Translation::Ours`] when it is no tag of this language.
pub fn translate(inner: &str) -> Translation {
    let all = words(inner);
    let first = all.first().map_or("", String::as_str);
    match first {
        "if" => Translation::Open(condition(all.get(1..).unwrap_or_default()).map(|condition| format!("{{% if {condition} %}}"))),
        "else" if all.get(1).is_some_and(|word| word == "if") => {
            Translation::Turn(condition(all.get(2..).unwrap_or_default()).map(|condition| format!("{{% elif {condition} %}}")))
        }
        "else" if all.len() == 1 => Translation::Turn(Ok("{% else %}".to_owned())),
        "end" if all.len() == 1 => Translation::Close,
        "range" => Translation::Open(Err("a loop runs over a written-out list: {% for size in [\"S\", \"M\"] %}".to_owned())),
        "with" | "block" | "define" => Translation::Open(Err(format!("`{first}` is not available; write the fields themselves"))),
        "template" => Translation::No("`template` is not available; write the letter as one text".to_owned()),
        "UnsubscribeURL" => Translation::Print("{{ unsubscribe_url }}".to_owned()),
        "TrackView" => Translation::Print(String::new()),
        "TrackLink" => match all.get(1).map(|url| url.trim_matches(['"', '\'', '`'])) {
            Some(url) if !url.starts_with('.') => Translation::Print(url.to_owned()),
            _ => Translation::No("the address of the link must be written out".to_owned()),
        },
        "MessageURL" | "OptinURL" | "ManageURL" | "ArchiveURL" | "RootURL" | "Date" | "L" | "Safe" => {
            Translation::No(format!("{first} is not available; take it out or write the text itself"))
        }
        _ if first.starts_with(['.', '$']) || (first == "default" && all.len() > 2) => match pipeline(inner) {
            Ok(printed) => Translation::Print(format!("{{{{ {printed} }}}}")),
            Err(why) => Translation::No(why),
        },
        _ => Translation::Ours,
    }
}

fn pipeline(inner: &str) -> Result<String, String> {
    let pieces = split_outside_quotes(inner, '|');
    let Some((head, filters)) = pieces.split_first() else { return Err("it is empty".to_owned()) };
    let head = words(head);
    let mut printed = match head.as_slice() {
        [name] => name_of(name)?,
        [function, other, name] if function == "default" => format!("{} | default({})", name_of(name)?, literal(other)?),
        _ => return Err("only a field, with filters after it, can be rewritten".to_owned()),
    };
    for filter in filters {
        let filter = words(filter);
        let ours = match filter.as_slice() {
            [name] if ["upper", "lower", "title", "trim"].contains(&name.as_str()) => name.clone(),
            [name, other] if name == "default" => format!("default({})", literal(other)?),
            [name, ..] => return Err(format!("there is no filter `{name}`; there are default, upper, lower, title and trim")),
            [] => return Err("a filter is missing after `|`".to_owned()),
        };
        printed.push_str(&format!(" | {ours}"));
    }
    Ok(printed)
}

fn literal(written: &str) -> Result<String, String> {
    let inner = written.trim_matches(['"', '\'', '`']);
    if written.starts_with(['"', '\'', '`']) { Ok(quoted(inner)) } else { name_of(written) }
}

fn name_of(path: &str) -> Result<String, String> {
    let path = path.trim_start_matches('$').trim_start_matches('.');
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["Subscriber", "Email"] => Err(ADDRESS.to_owned()),
        ["Subscriber", "UUID" | "ID" | "Status" | "CreatedAt" | "UpdatedAt" | "Lists"] => {
            Err("letters know a person's fields only; import it as a column".to_owned())
        }
        ["Subscriber", name] | ["Subscriber", "Attribs", name] | ["Tx", "Data", name] => {
            field(name).ok_or_else(|| format!("{name} is no name of a field"))
        }
        ["Campaign", ..] => Err("what the campaign is called is not available in letters; write the text itself".to_owned()),
        _ => Err(format!("`.{path}` is not available: letters know the fields of the person only, by one plain name")),
    }
}

fn condition(words: &[String]) -> Result<String, String> {
    let of = |path: &String| {
        if path.starts_with(['.', '$']) { name_of(path) } else { Err(format!("`{path}` is not understood in a condition")) }
    };
    match words {
        [field] => of(field),
        [not, field] if not == "not" => Ok(format!("not {}", of(field)?)),
        [sign, field, value] if sign == "eq" || sign == "ne" => {
            Ok(format!("{} {} {}", of(field)?, if sign == "eq" { "==" } else { "!=" }, literal(value)?))
        }
        [joint, fields @ ..] if (joint == "and" || joint == "or") && fields.len() > 1 => {
            Ok(fields.iter().map(of).collect::<Result<Vec<_>, _>>()?.join(&format!(" {joint} ")))
        }
        _ => Err("only conditions with eq, ne, not, and, or over plain fields can be rewritten".to_owned()),
    }
}
