//! The thin binary: hands the command line to [`letterlab::cli::run`] and prints why it failed.

use std::process::ExitCode;

fn main() -> ExitCode {
    end_quietly_when_nobody_reads();
    match letterlab::cli::run() {
        Ok(code) => code,
        Err(error) => {
            // Each cause on a line of its own, the nearest first.
            eprintln!("letterlab: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// `letterlab … | head` closes our output: that is the reader's choice and no fault. 141 is what a shell expects then (128 + SIGPIPE).
fn end_quietly_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(141);
        }
        usual(panic);
    }));
}
