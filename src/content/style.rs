//! The look of one block: declarations of a style attribute, or in MJML the attributes of the same names.
//!
//! Cast: [`Declaration`]; [`parse`] reads what an author wrote, [`merge`] applies it to a style attribute,
//! [`mjml_attributes`] says which attributes an MJML element has.

/// `property: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Lower case.
    pub property: String,
    /// As written, trimmed.
    pub value: String,
}

/// Reads `color: red; font-size: 18px`. The error says what is wrong.
pub fn parse(text: &str) -> Result<Vec<Declaration>, String> {
    let mut declarations: Vec<Declaration> = Vec::new();
    for written in split(text) {
        let Some((property, value)) = written.split_once(':') else {
            return Err(format!("'{written}' is no declaration; write property: value"));
        };
        let (property, value) = (property.trim().to_ascii_lowercase(), value.trim());
        let named = !property.is_empty() && property.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !named {
            return Err(format!("'{property}' is no property name"));
        }
        if value.is_empty() || value.contains(['{', '}', '<', '>', '@', '\\']) || value.contains(char::is_control) {
            return Err(format!("the value of {property} cannot be used: it is empty or holds one of {{ }} < > @ \\"));
        }
        if declarations.iter().any(|other| other.property == property) {
            return Err(format!("{property} is given twice"));
        }
        declarations.push(Declaration { property, value: value.to_owned() });
    }
    if declarations.is_empty() {
        return Err("there is no declaration; write for example color: #c00; font-size: 18px".to_owned());
    }
    Ok(declarations)
}

/// A style attribute's text with these declarations in place of those of the same name; new ones come last.
pub fn merge(existing: &str, declarations: &[Declaration]) -> String {
    let property = |written: &str| written.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut merged: Vec<String> = Vec::new();
    for written in split(existing) {
        match declarations.iter().find(|declaration| declaration.property == property(written)) {
            Some(declaration) => merged.push(format!("{}: {}", declaration.property, declaration.value)),
            None => merged.push(written.to_owned()),
        }
    }
    let had = |declaration: &&Declaration| !split(existing).iter().any(|written| property(written) == declaration.property);
    merged.extend(declarations.iter().filter(had).map(|declaration| format!("{}: {}", declaration.property, declaration.value)));
    merged.join("; ")
}

/// A style attribute's text without what is no declaration (`;;`, `color:;`, stray words), at which the inliner would give up;
/// nothing when all of it is in order.
pub fn mend(existing: &str) -> Option<String> {
    let whole =
        |written: &str| written.split_once(':').is_some_and(|(property, value)| !property.trim().is_empty() && !value.trim().is_empty());
    let pieces = pieces(existing);
    // One empty piece after a last semicolon is in order.
    let (last, before) = pieces.split_last()?;
    if before.iter().all(|piece| whole(piece)) && (last.is_empty() || whole(last)) {
        return None;
    }
    Some(pieces.into_iter().filter(|piece| whole(piece)).collect::<Vec<_>>().join("; "))
}

/// The declarations of a style text.
fn split(text: &str) -> Vec<&str> {
    pieces(text).into_iter().filter(|piece| !piece.is_empty()).collect()
}

/// What stands between semicolons outside quotes and brackets, trimmed; never empty.
fn pieces(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut brackets, mut quote) = (0, 0_usize, None);
    for (position, found) in text.char_indices() {
        match (quote, found) {
            (Some(open), _) if found == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(found),
            (None, '(') => brackets += 1,
            (None, ')') => brackets = brackets.saturating_sub(1),
            (None, ';') if brackets == 0 => {
                parts.push(text[start..position].trim());
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// The attributes of an MJML element that change its look (MJML 4 documentation, as far as the renderer knows them).
pub fn mjml_attributes(tag: &str) -> &'static [&'static str] {
    match tag {
        "mj-text" => &[
            "align",
            "color",
            "container-background-color",
            "font-family",
            "font-size",
            "font-style",
            "font-weight",
            "height",
            "letter-spacing",
            "line-height",
            "padding",
            "padding-bottom",
            "padding-left",
            "padding-right",
            "padding-top",
            "text-decoration",
            "text-transform",
        ],
        "mj-button" => &[
            "align",
            "background-color",
            "border",
            "border-radius",
            "color",
            "container-background-color",
            "font-family",
            "font-size",
            "font-style",
            "font-weight",
            "height",
            "inner-padding",
            "letter-spacing",
            "line-height",
            "padding",
            "padding-bottom",
            "padding-left",
            "padding-right",
            "padding-top",
            "text-align",
            "text-decoration",
            "text-transform",
            "vertical-align",
            "width",
        ],
        "mj-image" => &[
            "align",
            "border",
            "border-radius",
            "container-background-color",
            "height",
            "padding",
            "padding-bottom",
            "padding-left",
            "padding-right",
            "padding-top",
            "width",
        ],
        "mj-section" | "mj-wrapper" => &[
            "background-color",
            "border",
            "border-radius",
            "padding",
            "padding-bottom",
            "padding-left",
            "padding-right",
            "padding-top",
            "text-align",
        ],
        "mj-column" | "mj-group" => &["background-color", "border", "border-radius", "padding", "vertical-align", "width"],
        "mj-hero" => &["background-color", "height", "padding", "vertical-align"],
        // Defaults of every element or of a class, inside <mj-attributes>.
        "mj-all" | "mj-class" => &[
            "align",
            "background-color",
            "border-radius",
            "color",
            "font-family",
            "font-size",
            "font-style",
            "font-weight",
            "letter-spacing",
            "line-height",
            "padding",
            "text-align",
            "text-decoration",
            "text-transform",
        ],
        "mj-divider" => &["border-color", "border-style", "border-width", "padding", "width"],
        "mj-spacer" => &["height"],
        "mj-social-element" => &[
            "background-color",
            "border-radius",
            "color",
            "font-family",
            "font-size",
            "font-style",
            "font-weight",
            "line-height",
            "text-decoration",
        ],
        "mj-navbar-link" => &[
            "color",
            "font-family",
            "font-size",
            "font-style",
            "font-weight",
            "letter-spacing",
            "line-height",
            "padding",
            "text-decoration",
            "text-transform",
        ],
        "mj-accordion-title" | "mj-accordion-text" => &["background-color", "color", "font-family", "font-size", "padding"],
        "mj-table" => &["align", "color", "font-family", "font-size", "line-height", "padding", "width"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_declarations_change() {
        for (existing, change, expected) in [
            ("", "color: red", "color: red"),
            ("color:blue;margin:0", "COLOR: red", "color: red; margin:0"),
            ("background:url(a;b);color:blue;", "font-size: 18px", "background:url(a;b); color:blue; font-size: 18px"),
            ("font-family:'a;b'", "color:red;font-family: \"Helvetica Neue\", serif", "font-family: \"Helvetica Neue\", serif; color: red"),
        ] {
            assert_eq!(merge(existing, &parse(change).unwrap()), expected);
        }
    }

    #[test]
    fn broken_declarations_are_dropped_and_sound_ones_left_alone() {
        for (existing, expected) in [
            ("color: red; margin: 0", None),
            ("color: red;", None),
            ("background: url('a;b')", None),
            ("color: red;; margin: 0", Some("color: red; margin: 0")),
            ("color:; margin: 0; bold;", Some("margin: 0")),
            ("color: red;;", Some("color: red")),
        ] {
            assert_eq!(mend(existing).as_deref(), expected, "{existing}");
        }
    }

    #[test]
    fn what_is_no_declaration_is_refused() {
        for text in ["", "red", "color:", "color: red; color: blue", "co lor: red", "color: </style>", "color: {{ x }}", "@import: x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
