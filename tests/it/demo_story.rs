//! Purpose: `letterlab demo`, as a newcomer runs it.
//!
//! Cast: the real binary with a small list.
//!
//! Never: a look inside; only what it prints counts.

use std::process::Command;

use anyhow::{Result, ensure};

fn demo(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_letterlab")).arg("demo").args(arguments).arg("--exit").output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(printed)
}

/// The lines that the seed decides: counts per arm, verdict, truth. Moments, addresses and hashes differ, and in which order people come, on
/// which the reading over time rests.
fn repeatable(printed: &str) -> Vec<&str> {
    let decided = |line: &&str| {
        ["  A ", "  B ", "    A ", "    B ", "  imported", "  received", "  readers"].iter().any(|start| line.starts_with(start))
            || line.contains("wins:")
            || line.contains("No winner:")
    };
    printed.lines().filter(decided).filter(|line| !line.contains(" against A: ")).collect()
}

#[test]
fn the_demo_shows_a_test_with_everything_accounted_for_and_repeats_by_its_seed() -> Result<()> {
    let once = demo(&["--people", "1500", "--seed", "7", "--lift", "0.6"])?;
    assert!(once.contains("Variant B wins"), "a lift of 60 % among 1,500 people is found: {once}");
    assert!(once.contains("true open rate") && once.contains("came back"), "{once}");
    assert!(once.contains("enrolled = accepted + refused + skipped + failed + waiting + unknown") && !once.contains("BROKEN"), "{once}");
    assert!(once.contains("/r/") && once.contains("/campaigns/1/results"), "both addresses are printed: {once}");
    let again = demo(&["--people", "1500", "--seed", "7", "--lift", "0.6"])?;
    assert_eq!(repeatable(&once), repeatable(&again));
    assert!(repeatable(&once).len() >= 6, "{once}");
    Ok(())
}

#[test]
fn without_a_difference_the_demo_finds_no_winner() -> Result<()> {
    // One seed in twenty shows a winner that is none, as the level of 5 % says; this one does not.
    let printed = demo(&["--people", "800", "--seed", "13", "--lift", "0"])?;
    assert!(printed.contains("No winner"), "{printed}");
    Ok(())
}
