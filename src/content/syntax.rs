//! What a merge tag may say: fields, conditions, loops over written-out lists, and eight filters. Everything else is refused.
//!
//! Letters are written by people who are not programmers, and by some who are: a template engine bounds steps, not
//! memory, so that arithmetic, assignment and calls are left out by a list of what is allowed.
//!
//! Cast: [`FieldUse`]; [`check`] reads the tags of one part and lists the fields they use.

use super::error::ContentError;
use super::merge::{Tag, TagKind};
use super::newsletter::Part;
use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{self, Span};

/// The field that holds the recipient's unsubscribe address; only in the body.
pub const UNSUBSCRIBE: &str = "unsubscribe_url";
/// Names the letter keeps for itself begin so.
pub const RESERVED: &str = "__";
/// The filters there are.
pub const FILTERS: [&str; 8] = ["default", "upper", "lower", "title", "trim", "truncate", "escape", "urlencode"];
/// Most signs and operators in one tag; quotes of a written-out list count too.
const MOST_SIGNS: usize = 200;
/// Most `elif` in one part: the engine reads each inside the one before it.
const MOST_BRANCHES: usize = 100;
const OPERATOR_WORDS: [&str; 7] = ["not", "and", "or", "if", "else", "is", "in"];
const TESTS: [&str; 2] = ["defined", "undefined"];

/// One use of a merge field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldUse {
    /// The field's name.
    pub field: String,
    /// The tag's number in the letter's table.
    pub tag: usize,
    /// Where.
    pub part: Part,
    /// Counted from 1.
    pub line: usize,
    /// A person without a value does no harm here: there is a default, or the field is only asked for.
    pub optional: bool,
    /// Printed for every person: not inside a condition or loop, nor one itself.
    pub always: bool,
}

/// Checks the tags of one part and lists the fields they use. `first` is the number of the first tag in the letter's table.
pub fn check(part: Part, tags: &[Tag], first: usize) -> Result<Vec<FieldUse>, ContentError> {
    for tag in tags {
        refuse_other_languages(tag)?;
        refuse_heaps(tag)?;
    }
    let branches = |tag: &&Tag| {
        tag.kind == TagKind::Block && tag.code.trim_start_matches(['{', '%', '-', '+', ' ', '\t', '\n', '\r']).starts_with("elif")
    };
    if let Some(tag) = tags.iter().filter(branches).nth(MOST_BRANCHES) {
        let problem = format!("there are more than {MOST_BRANCHES} `elif` in the {part}; let the list carry the words in a field instead");
        return Err(ContentError::Merge { part: tag.part, line: tag.line, problem });
    }
    // The tags alone, one per line, so that nothing between them can be misread.
    let mut source = String::new();
    let mut starts = Vec::new();
    for tag in tags {
        starts.push(source.len());
        source.push_str(&tag.code.replace(['\n', '\r'], " "));
        source.push('\n');
    }
    let mut walk = Walk { part, tags, first, starts, locals: Vec::new(), guarded: Vec::new(), inside: 0, uses: Vec::new() };
    let parsed = machinery::parse(&source, "letter", Default::default()).map_err(|error| {
        let tag = error.line().and_then(|line| tags.get(line.saturating_sub(1))).or(tags.last());
        let line = tag.map_or(1, |tag| tag.line);
        let detail = error.detail().unwrap_or("it cannot be read");
        let quotes = tag.is_some_and(|tag| tag.code.contains(['“', '”', '„', '‘', '’']));
        let hint = if quotes { "; use straight quotes" } else { "" };
        let shown = tag.map_or_else(String::new, |tag| format!("`{}`: ", shorten(&tag.original)));
        ContentError::Merge { part, line, problem: format!("{shown}{detail}{hint}") }
    })?;
    walk.statement(&parsed)?;
    Ok(walk.uses)
}

/// Tags of other systems that share the braces get a message of their own.
fn refuse_other_languages(tag: &Tag) -> Result<(), ContentError> {
    let refuse = |problem: String| Err(ContentError::Merge { part: tag.part, line: tag.line, problem });
    let inner = tag.code.trim_start_matches(['{', '%', '-', '+', ' ']);
    if tag.kind == TagKind::Block && (inner.starts_with("raw") || inner.starts_with("endraw")) {
        return refuse("`raw` is not available in letters; write braces as {{ \"{{\" }}".to_owned());
    }
    let system = match inner.chars().next() {
        _ if tag.code.starts_with("{{{") => "Handlebars",
        Some('.' | '$') => "listmonk or another Go template",
        Some('#' | '/' | '>' | '^' | '&') if tag.kind == TagKind::Print => "Handlebars",
        _ => return Ok(()),
    };
    refuse(format!("`{}` is a tag of {system}; write a field as {{{{ first_name }}}}", shorten(&tag.original)))
}

/// The engine reads `not not not …`, `a | upper | upper …` and the like by calling itself, and a stack that overflows ends the program.
fn refuse_heaps(tag: &Tag) -> Result<(), ContentError> {
    let (mut signs, mut quote, mut escaped, mut word) = (0, None, false, String::new());
    for letter in tag.code.chars().chain([' ']) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            None => {
                signs += usize::from(OPERATOR_WORDS.contains(&word.as_str())) + usize::from(letter.is_ascii_punctuation() && letter != ',');
                word.clear();
                quote = matches!(letter, '"' | '\'').then_some(letter);
            }
        }
    }
    if signs <= MOST_SIGNS {
        return Ok(());
    }
    let problem =
        format!("`{}`: there are more than {MOST_SIGNS} signs and words such as `|`, `-`, `or` in one tag", shorten(&tag.original));
    Err(ContentError::Merge { part: tag.part, line: tag.line, problem })
}

fn shorten(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= 80 {
        return one_line;
    }
    one_line.chars().take(79).chain(['…']).collect()
}

/// The walk over the parsed tags of one part.
struct Walk<'t> {
    part: Part,
    tags: &'t [Tag],
    first: usize,
    starts: Vec<usize>,
    locals: Vec<String>,
    guarded: Vec<String>,
    inside: usize,
    uses: Vec<FieldUse>,
}

impl Walk<'_> {
    fn tag_at(&self, span: Span) -> usize {
        self.starts.partition_point(|start| *start <= span.start_offset as usize).saturating_sub(1)
    }

    fn refuse<T>(&self, span: Span, problem: &str) -> Result<T, ContentError> {
        let tag = self.tags.get(self.tag_at(span));
        let shown = tag.map_or_else(String::new, |tag| format!("`{}`: ", shorten(&tag.original)));
        Err(ContentError::Merge { part: self.part, line: tag.map_or(1, |tag| tag.line), problem: format!("{shown}{problem}") })
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Result<(), ContentError> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Result<(), ContentError> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(print) => self.expression(&print.expr, false),
            Stmt::IfCond(condition) => {
                self.aside(&condition.expr, true)?;
                let guards = self.guarded.len();
                guards_of(&condition.expr, &mut self.guarded);
                self.inside += 1;
                self.statements(&condition.true_body)?;
                self.guarded.truncate(guards);
                self.statements(&condition.false_body)?;
                self.inside -= 1;
                Ok(())
            }
            Stmt::ForLoop(each) => {
                let span = each.iter.span();
                if each.recursive {
                    return self.refuse(span, "a loop cannot be recursive");
                }
                let (Expr::List(_) | Expr::Tuple(_), Expr::Var(target)) = (&each.iter, &each.target) else {
                    return self.refuse(span, "a loop runs over a written-out list: {% for size in [\"S\", \"M\"] %}");
                };
                self.aside(&each.iter, false)?;
                let locals = self.locals.len();
                self.locals.extend([target.id.to_owned(), "loop".to_owned()]);
                if let Some(filter) = &each.filter_expr {
                    self.aside(filter, true)?;
                }
                self.inside += 1;
                self.statements(&each.body)?;
                self.locals.truncate(locals);
                self.statements(&each.else_body)?;
                self.inside -= 1;
                Ok(())
            }
            other => {
                let (span, word) = describe(other);
                self.refuse(span, &format!("{word} is not available in letters; there are fields, `if` and `for`"))
            }
        }
    }

    /// `optional` says that an absent value does no harm at this place.
    fn expression(&mut self, expression: &Expr<'_>, optional: bool) -> Result<(), ContentError> {
        match expression {
            Expr::Var(variable) => self.field(variable.id, variable.span(), optional),
            Expr::Const(_) => Ok(()),
            Expr::UnaryOp(operation) if matches!(operation.op, UnaryOpKind::Not) => self.aside(&operation.expr, true),
            Expr::UnaryOp(operation) => self.expression(&operation.expr, optional),
            Expr::BinOp(operation) => match operation.op {
                BinOpKind::ScAnd | BinOpKind::ScOr => {
                    self.aside(&operation.left, optional)?;
                    self.aside(&operation.right, optional)
                }
                BinOpKind::Eq | BinOpKind::Ne | BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte | BinOpKind::In => {
                    self.aside(&operation.left, true)?;
                    self.aside(&operation.right, true)
                }
                _ => self.refuse(expression.span(), "arithmetic and joining of texts are not available in letters"),
            },
            Expr::Compare(comparison) => {
                self.aside(&comparison.expr, true)?;
                comparison.ops.iter().try_for_each(|operation| self.aside(&operation.expr, true))
            }
            Expr::IfExpr(choice) => {
                self.aside(&choice.test_expr, true)?;
                let guards = self.guarded.len();
                guards_of(&choice.test_expr, &mut self.guarded);
                self.aside(&choice.true_expr, optional)?;
                self.guarded.truncate(guards);
                choice.false_expr.iter().try_for_each(|other| self.aside(other, optional))
            }
            Expr::Filter(filter) => {
                if !FILTERS.contains(&filter.name) {
                    let problem = format!("there is no filter `{}`; there are: {}", filter.name, FILTERS.join(", "));
                    return self.refuse(expression.span(), &problem);
                }
                if let Some(inner) = &filter.expr {
                    self.expression(inner, optional || filter.name == "default")?;
                }
                self.arguments(&filter.args, expression.span())
            }
            Expr::Test(test) => {
                if !TESTS.contains(&test.name) {
                    return self.refuse(expression.span(), &format!("there is no test `{}`; there are: {}", test.name, TESTS.join(", ")));
                }
                self.aside(&test.expr, true)?;
                self.arguments(&test.args, expression.span())
            }
            Expr::List(list) => list.items.iter().try_for_each(|item| self.expression(item, false)),
            Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| self.expression(item, false)),
            Expr::GetAttr(member) => match &member.expr {
                Expr::Var(variable) if variable.id == "loop" && self.locals.iter().any(|local| local == "loop") => Ok(()),
                _ => self.refuse(expression.span(), "a field is one plain name, without dots: {{ first_name }}"),
            },
            Expr::Call(_) => self.refuse(expression.span(), "functions cannot be called in letters"),
            Expr::Slice(_) | Expr::GetItem(_) | Expr::Map(_) => {
                self.refuse(expression.span(), "brackets and braces are not available here; a field is one plain name: {{ first_name }}")
            }
        }
    }

    /// An expression that is asked for, or printed for some people only.
    fn aside(&mut self, expression: &Expr<'_>, optional: bool) -> Result<(), ContentError> {
        self.inside += 1;
        let walked = self.expression(expression, optional);
        self.inside -= 1;
        walked
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>], span: Span) -> Result<(), ContentError> {
        for argument in arguments {
            match argument {
                CallArg::Pos(value) => self.aside(value, false)?,
                CallArg::Kwarg(..) | CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return self.refuse(span, "write arguments without names: truncate(20)");
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str, span: Span, optional: bool) -> Result<(), ContentError> {
        if self.locals.iter().any(|local| local == name) {
            return Ok(());
        }
        if name.starts_with(RESERVED) {
            return self.refuse(span, "names that begin with two underscores are reserved");
        }
        if name == UNSUBSCRIBE && self.part != Part::Body {
            return self.refuse(span, "the unsubscribe address is available in the body only");
        }
        let tag = self.tag_at(span);
        self.uses.push(FieldUse {
            field: name.to_owned(),
            tag: self.first + tag,
            part: self.part,
            line: self.tags.get(tag).map_or(1, |tag| tag.line),
            optional: optional || self.guarded.iter().any(|guarded| guarded == name),
            always: self.inside == 0,
        });
        Ok(())
    }
}

/// The fields that certainly have a value once a condition holds.
fn guards_of(condition: &Expr<'_>, guarded: &mut Vec<String>) {
    match condition {
        Expr::Var(variable) => guarded.push(variable.id.to_owned()),
        Expr::Test(test) if test.name == "defined" => guards_of(&test.expr, guarded),
        Expr::BinOp(operation) if matches!(operation.op, BinOpKind::ScAnd) => {
            guards_of(&operation.left, guarded);
            guards_of(&operation.right, guarded);
        }
        _ => {}
    }
}

fn describe(statement: &Stmt<'_>) -> (Span, &'static str) {
    match statement {
        Stmt::WithBlock(found) => (found.span(), "`with`"),
        Stmt::Set(found) => (found.span(), "`set`"),
        Stmt::SetBlock(found) => (found.span(), "`set`"),
        Stmt::AutoEscape(found) => (found.span(), "`autoescape`"),
        Stmt::FilterBlock(found) => (found.span(), "`filter`"),
        Stmt::Do(found) => (found.span(), "`do`"),
        // Statements that exist only with features of the engine that another crate may switch on.
        _ => (Span::default(), "this"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge::Marks;
    use super::*;

    fn uses(source: &str) -> Result<Vec<FieldUse>, String> {
        let mut marks = Marks::for_texts(&[source]);
        marks.mask(Part::Body, source, true).map_err(|error| error.to_string())?;
        Ok(marks.uses)
    }

    #[test]
    fn fields_are_listed_with_line_and_need() {
        let check = |source: &str, expected: &[(&str, usize, bool, bool)]| {
            let found = uses(source).expect(source);
            let found: Vec<_> = found.iter().map(|one| (one.field.as_str(), one.line, one.optional, one.always)).collect();
            assert_eq!(found, expected, "{source}");
        };
        check("Hi {{ a }}", &[("a", 1, false, true)]);
        check("x\n{{ a | default(\"y\") }}\n{{ b|trim|upper }}", &[("a", 2, true, true), ("b", 3, false, true)]);
        check("{{ a | trim | default(b) }}", &[("a", 1, true, true), ("b", 1, false, false)]);
        check(
            "{% if a %}{{ a }}{{ b }}{% else %}{{ a }}{% endif %}",
            &[("a", 1, true, false), ("a", 1, true, false), ("b", 1, false, false), ("a", 1, false, false)],
        );
        check(
            "{% if a is defined and b == \"x\" %}{{ a }}{% elif c %}1{% endif %}",
            &[("a", 1, true, false), ("b", 1, true, false), ("a", 1, true, false), ("c", 1, true, false)],
        );
        check("{% for s in [\"a\", b] %}{{ s }}{{ loop.index }}{% endfor %}", &[("b", 1, false, false)]);
        check("{{ 'x' if a else 'y' }}{{ a if a in ['p', 'q'] }}", &[("a", 1, true, false), ("a", 1, true, false), ("a", 1, false, false)]);
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_name() {
        for (source, expected) in [
            ("{% set a = 1 %}", "`set`"),
            ("{% with a = 1 %}{% endwith %}", "`with`"),
            ("{% filter upper %}a{% endfilter %}", "`filter`"),
            ("{{ 'a' * 99999 }}", "arithmetic"),
            ("{{ 2 ** 99 }}", "arithmetic"),
            ("{{ a ~ a }}", "joining"),
            ("{{ a + a }}", "arithmetic"),
            ("{{ range(9) }}", "functions"),
            ("{{ a.b }}", "without dots"),
            ("{{ a[0] }}", "brackets"),
            ("{{ {'a': 1} }}", "brackets"),
            ("{{ a | safe }}", "no filter `safe`"),
            ("{{ a is startingwith('x') }}", "no test"),
            ("{% for x in a %}{% endfor %}", "written-out list"),
            ("{% macro m() %}{% endmacro %}", "line 1"),
            ("{% include 'x' %}", "line 1"),
            ("{% import 'x' as y %}", "line 1"),
            ("{% raw %}{{ a }}{% endraw %}", "line 1"),
            ("{{ __h1 }}", "reserved"),
            ("x\n{{ .Subscriber.FirstName }}", "line 2: `{{ .Subscriber.FirstName }}` is a tag of listmonk"),
            ("{{#if a}}x{{/if}}", "Handlebars"),
            ("{{ a | default(“x”) }}", "straight quotes"),
            ("{{ }}", "`{{ }}`"),
            ("x\n\n{% if a %}", "line 3"),
            ("{% endif %}", "endif"),
        ] {
            let error = uses(source).expect_err(source);
            assert!(error.contains(expected), "{source}: {error}");
        }
    }

    #[test]
    fn heaps_of_operators_are_refused_before_the_engine_reads_them() {
        let heaps =
            [("not ", ""), ("-", ""), ("a or ", ""), ("a if b else ", ""), ("\"\\\"'\" == -", ""), ("(", ")"), ("[", "]"), ("a.", "")];
        for (before, after) in heaps {
            let source = format!("{{{{ {}a{} }}}}", before.repeat(201), after.repeat(201));
            let error = uses(&source).expect_err(before);
            assert!(error.contains("more than 200 signs"), "{error}");
        }
        let filters = format!("{{{{ a{} }}}}", " | upper".repeat(201));
        assert!(uses(&filters).expect_err("filters").contains("more than 200 signs"));
        // As many as are allowed are read, on a stack as small as a server's threads have.
        for allowed in [
            format!("{{{{ {}a }}}}", "not ".repeat(190)),
            format!("{{{{ {}1 }}}}", "-".repeat(190)),
            format!("{{{{ a{} }}}}", "|upper".repeat(190)),
        ] {
            uses(&allowed).expect("within the limit");
        }
    }
}
