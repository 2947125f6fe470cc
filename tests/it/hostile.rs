//! Purpose: letters that mean harm, given to the real program: each ends with a message, soon, and memory stays flat.
//!
//! Cast: [`checked`], one letter through `letterlab letters check` in a process of its own; [`Ending`], how that went.
//!
//! Never: a process judged by what it says alone; the kernel says how much memory it took at most.

use std::process::Command;

use anyhow::{Context, Result};

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
    let program = env!("CARGO_BIN_EXE_letterlab");
    let output =
        Command::new("python3").args(["-c", MEASURED, program, "letters", "check", "--rounds", "0"]).arg(folder.path()).output()?;
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
        assert!(ending.peak < ordinary.peak + MOST_BEYOND, "{name}: {} KiB, an ordinary letter takes {}", ending.peak, ordinary.peak);
    }
    Ok(())
}
