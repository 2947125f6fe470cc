//! Anything that arrives at the return path.

#![no_main]

use letterlab::bounce::{Action, ReturnedKind, read};

/// `read` catches what the mail parser's own assertions throw (they are not there in a release build); libFuzzer would end before it can.
fn leave_assertions_of_the_parser_to_read() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("mail-parser")) {
            end(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: leave_assertions_of_the_parser_to_read(), |message: &[u8]| {
    let returned = read(message);
    assert_eq!(returned.class.is_some(), returned.kind == ReturnedKind::Failed);
    assert!(returned.candidates.len() <= 16);
    assert!(returned.candidates.iter().all(|one| one.token.len() == 52 && one.token.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    for recipient in &returned.recipients {
        assert_eq!(recipient.class.is_some(), recipient.action == Action::Failed);
        assert!(recipient.diagnostic.chars().count() <= 500);
        assert!(!recipient.diagnostic.chars().any(char::is_control), "{:?}", recipient.diagnostic);
    }
});
