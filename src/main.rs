//! The thin binary: hands the command line to [`letterlab::cli::run`] and prints why it failed.

use std::process::ExitCode;

fn main() -> ExitCode {
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
