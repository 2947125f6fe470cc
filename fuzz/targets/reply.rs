//! Whatever a relay says, at once and to the end of the connection, while a letter is sent to it.

#![no_main]

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};

use letterlab::delivery::smtp::{BeforeDot, Connection, Outcome, RelaySettings, Security, Stage, Timeouts, judge};

const RECIPIENT: &str = "jane.doe@example.net";

libfuzzer_sys::fuzz_target!(|said: &[u8]| {
    let settings = RelaySettings {
        host: "relay.example".to_owned(),
        port: None,
        security: Security::None,
        credentials: None,
        hello_name: Some("letters.example.org".to_owned()),
        root_certificates: None,
        timeouts: Timeouts::default(),
        messages_per_connection: 10,
        minutes_per_connection: 5,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::io::join(Cursor::new(said.to_vec()), tokio::io::sink());
        let Ok(mut connection) = Connection::over(stream, &settings, IpAddr::V4(Ipv4Addr::LOCALHOST)).await else { return };
        let mut taken = 0;
        while connection.usable() {
            let letter = b"Subject: x\r\n\r\n.\r\n";
            let outcome = connection.transact("b+abc@bounce.example.org", RECIPIENT, letter, async { BeforeDot::Send }).await;
            taken += u32::from(matches!(outcome, Outcome::Accepted { .. }));
            check(&outcome);
        }
        assert_eq!(taken, connection.messages_sent());
    });
});

fn check(outcome: &Outcome) {
    match outcome {
        Outcome::Refused { stage, code, enhanced, text } | Outcome::Deferred { stage, code, enhanced, text } => {
            assert_eq!(*code >= 500, matches!(outcome, Outcome::Refused { .. }));
            assert!(matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot), "{stage:?}");
            let _ = judge(*stage, *code, enhanced.as_deref(), text);
            nothing_personal(text);
            nothing_personal(enhanced.as_deref().unwrap_or_default());
        }
        Outcome::Accepted { reply } => nothing_personal(reply),
        Outcome::Lost { why, .. } => nothing_personal(why),
        Outcome::Unsupported { .. } | Outcome::Withheld => {}
    }
}

fn nothing_personal(text: &str) {
    assert!(text.chars().count() <= 400 && !text.chars().any(char::is_control), "{text:?}");
    assert!(!text.to_lowercase().contains(RECIPIENT), "{text:?}");
}
