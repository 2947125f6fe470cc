//! Purpose: letters that mean harm, given to the real program: each ends with a message, soon, and memory stays flat.
//!
//! Cast: [`checked`], one letter through `letterlab letters check` in a process of its own; [`compared`], two through `letters compare`;
//! [`Ending`], how that went.
//!
//! Never: a process judged by what it says alone; the kernel says how much memory it took at most.

use std::process::Command;

use anyhow::{Context, Result};
use letterlab::content::Body;

const PROGRAM: &str = env!("CARGO_BIN_EXE_letterlab");

/// Runs a command and writes its peak of memory, in KiB, behind what it says.
const MEASURED: &str = "import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], timeout=120).returncode
print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code if code >= 0 else 100 - code)";

/// What a hostile letter may take beyond an ordinary one: a source of 256 kB may become markup of ten megabytes before it is refused.
const MOST_BEYOND: u64 = 160 * 1024;

struct Ending {
    code: Option<i32>,
    said: String,
    peak: u64,
}

fn checked(name: &str, source: &str) -> Result<Ending> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join(name), source)?;
    ending(name, Command::new("python3").args(["-c", MEASURED, PROGRAM, "letters", "check", "--rounds", "0"]).arg(folder.path()))
}

fn compared(extension: &str, one: &str, two: &str) -> Result<Ending> {
    let folder = tempfile::tempdir()?;
    let files = ["a", "b"].map(|name| folder.path().join(format!("{name}.{extension}")));
    std::fs::write(&files[0], one)?;
    std::fs::write(&files[1], two)?;
    ending(extension, Command::new("python3").args(["-c", MEASURED, PROGRAM, "letters", "compare"]).args(files))
}

fn ending(name: &str, command: &mut Command) -> Result<Ending> {
    let output = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let peak = said.lines().find_map(|line| line.strip_prefix("peak ")).with_context(|| format!("{name}: {said}"))?.trim().parse()?;
    Ok(Ending { code: output.status.code(), said, peak })
}

#[test]
fn letters_that_mean_harm_are_refused_soon_and_in_little_memory() -> Result<()> {
    let ordinary = checked("ordinary.html", &"<p>One line of an ordinary letter</p>".repeat(200))?;
    assert_eq!(ordinary.code, Some(0), "{}", ordinary.said);
    let mjml = |inner: &str| format!("<mjml><mj-body><mj-section>{inner}</mj-section></mj-body></mjml>");
    let nested = |open: &str, times: usize| open.repeat(times);
    for (name, source, expected) in [
        ("ten-megabytes.html", "<p>x</p>".repeat(1_250_000), "10000000 bytes; at most 262144"),
        ("ten-megabytes.md", "x ".repeat(5_000_000), "10000000 bytes; at most 262144"),
        ("hundred-thousand-tags.html", nested("<b>", 100_000), "300000 bytes"),
        ("nested.html", nested("<b>", 87_000), "deep in one another"),
        ("nested.mjml", mjml(&nested("<b>", 80_000)), "deep in one another"),
        ("nested.md", nested("> ", 120_000), "deep in one another"),
        ("half-closed.html", nested("<div></x>", 29_000), "deep in one another"),
        ("style-bomb.html", format!("<style>{}</style>{}", "p{color:red}".repeat(10_000), "<p>x</p>".repeat(15_000)), "style sheets"),
        ("many-columns.mjml", mjml(&"<mj-column/>".repeat(20_000)), "at most 1048576"),
        ("bomb.html", "{{ 'a' * 99999999 }}".to_owned(), "arithmetic"),
        ("list-bomb.html", "{{ [1] * 90000000 }}".to_owned(), "arithmetic"),
        ("doubling.html", format!("{{% set a = 'x' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(40)), "`set`"),
        ("heap.html", format!("{{{{ {}a }}}}", "not ".repeat(60_000)), "4096 bytes"),
        ("open-tags.html", "{{\\\"}}".repeat(40_000), "more than 2000 merge tags"),
        ("script.html", "<a href=\"javascript:alert(1)\">x</a>".to_owned(), "runs a script"),
    ] {
        let ending = checked(name, &source)?;
        assert_eq!(ending.code, Some(1), "{name} is refused, and by nothing else: {}", ending.said);
        assert!(ending.said.contains(expected) && !ending.said.contains("panicked"), "{name}: {}", ending.said);
        assert!(ending.said.len() < 4_000, "{name}: the message repeats the letter");
        // What is refused by its size is not even read.
        let beyond = if source.len() > Body::MOST_BYTES { 2 * 1024 } else { MOST_BEYOND };
        assert!(ending.peak < ordinary.peak + beyond, "{name}: {} KiB, an ordinary letter takes {}", ending.peak, ordinary.peak);
    }
    Ok(())
}

#[test]
fn two_letters_that_mean_harm_are_compared_or_refused_soon_and_in_little_memory() -> Result<()> {
    let line = "<p>One line of an ordinary letter</p>";
    let ordinary = compared("html", &line.repeat(200), &line.repeat(201))?;
    assert_eq!(ordinary.code, Some(0), "{}", ordinary.said);
    let mjml = |inner: &str| format!("<mjml><mj-body><mj-section>{inner}</mj-section></mj-body></mjml>");
    // As much of it as a letter may have.
    let full = |piece: &str| piece.repeat((Body::MOST_BYTES - 300) / piece.len());
    let sheet = format!("<style>{}</style>", "p{color:red}".repeat(10_000));
    let rules: String = (0..6_000).map(|number| format!("p.c{number}{{color:red}}")).collect();
    let other_rules = rules.replace("red", "blue");
    for (extension, one, two, expected) in [
        ("html", "<p>x</p>".repeat(1_250_000), "<p>y</p>".repeat(1_250_000), "10000000 bytes; at most 262144"),
        ("md", "x ".repeat(500_000), "y ".repeat(500_000), "1000000 bytes; at most 262144"),
        ("html", "<b>".repeat(100_000), "<i>".repeat(100_000), "300000 bytes; at most 262144"),
        ("html", full("<b>"), full("<i>"), "deep in one another"),
        ("html", full("<div></x>"), full("<div></y>"), "deep in one another"),
        ("mjml", mjml(&full("<mj-column>")), mjml(&full("<mj-text>")), "deep in one another"),
        ("html", format!("{}x", full("{{ a }}")), full("{{ b }}"), "more than 2000 merge tags"),
        ("html", full("<a b=c>"), full("<a b=d>"), "to be compared; close those left open"),
        // These can be compared, and are: in all of it, in every part of it, in nothing.
        ("html", full("<p>x</p>"), full("<p>y</p>"), "differ"),
        ("html", full("<i>x</i>"), full("<u>x</u>y"), "differ"),
        ("html", full("<br>x"), format!("y{}", full("<br>x")), "differ"),
        ("html", full("<a b=c>x</a>"), full("<a b=d>x</a>"), "differ"),
        ("html", full("<td>x"), full("<th>x"), "differ"),
        ("html", full("x"), full("y"), "differ"),
        ("html", format!("{sheet}{}", "<p>x</p>".repeat(15_000)), format!("{sheet}{}", "<p>y</p>".repeat(15_000)), "differ"),
        ("html", format!("<style>{rules}</style>x"), format!("<style>{other_rules}</style>x"), "differ"),
        ("html", full("<!--x-->"), full("<!--y-->"), "differ"),
        ("mjml", mjml(&full("<mj-column/>")), mjml(&full("<mj-spacer/>")), "differ"),
        ("md", full("* x\n"), full("1. x\n"), "differ"),
    ] {
        let name: String = one.chars().take(40).collect();
        let ending = compared(extension, &one, &two)?;
        assert!(matches!(ending.code, Some(0 | 1)), "{name}: {:?}, {}", ending.code, ending.said);
        assert!(ending.said.contains(expected) && !ending.said.contains("panicked"), "{name}: {}", ending.said);
        assert!(ending.peak < ordinary.peak + MOST_BEYOND, "{name}: {} KiB, ordinary letters take {}", ending.peak, ordinary.peak);
    }
    Ok(())
}
