//! What keeps a relay from taking our letters, step by step.
//!
//! Cast: [`probe`] and its answer, [`ProbeStep`]s: name, connection, greeting, encryption, sign-in, sender.
//!
//! It hands no letter over: the last step names a sender and takes it back.

use std::error::Error;

use lettre::transport::smtp::commands::Mail;
use tokio::time::timeout;

use super::{Connection, RelaySettings, Security, SmtpFault, Stage, without_addresses};
use crate::delivery::address::wire_address;

/// One step on the way, and how it went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProbeStep {
    /// What was tried.
    pub what: &'static str,
    /// Whether it went well.
    pub good: bool,
    /// What was found, or what is wrong and what to do.
    pub detail: String,
}

fn good(what: &'static str, detail: impl Into<String>) -> ProbeStep {
    ProbeStep { what, good: true, detail: detail.into() }
}

fn bad(what: &'static str, detail: impl Into<String>) -> ProbeStep {
    ProbeStep { what, good: false, detail: detail.into() }
}

/// Tries everything a letter needs but the letter, and stops at the first step that fails. `sender` is an address letters come from.
pub async fn probe(settings: &RelaySettings, sender: Option<&str>) -> Vec<ProbeStep> {
    let mut steps = Vec::new();
    if let Some(problem) = settings.problem() {
        return vec![bad("settings", problem)];
    }
    let (host, port, limit) = (settings.host.as_str(), settings.port(), settings.timeouts.connect());
    match timeout(limit, tokio::net::lookup_host((host, port))).await {
        Err(_) => return vec![bad("name", format!("{host} was not found within {} s: is the name server reachable?", limit.as_secs()))],
        Ok(Err(error)) => return vec![bad("name", format!("{host} is not a name with an address ({error}): check relay.host"))],
        Ok(Ok(found)) => {
            let addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            if addresses.is_empty() {
                return vec![bad("name", format!("{host} has no address: check relay.host"))];
            }
            steps.push(good("name", format!("{host} is {}", addresses.join(", "))));
        }
    }
    let mut connection = match Connection::open(settings).await {
        Ok(connection) => connection,
        Err(fault) => {
            let what = place(&fault);
            steps.extend(way_to(what, settings.security).map(|step| good(step, "")));
            steps.push(bad(what, told(&fault)));
            return steps;
        }
    };
    steps.push(good("connection", format!("port {port} answers")));
    steps.push(good("greeting", ""));
    steps.push(match settings.security {
        Security::None => good("encryption", "none, as set"),
        Security::Opportunistic if !connection.is_encrypted => good("encryption", "none: the relay does not offer STARTTLS"),
        _ => good("encryption", format!("TLS with a certificate valid for {host}")),
    });
    steps.push(good("sign-in", if settings.credentials.is_some() { "name and password or token are taken" } else { "none, as set" }));
    if let Some(sender) = sender {
        steps.push(match name_sender(&mut connection, sender).await {
            Ok(()) => good("sender", "letters from this address are taken"),
            Err(fault) => bad("sender", told(&fault)),
        });
    }
    connection.quit().await;
    steps
}

/// Which step failed.
fn place(fault: &SmtpFault) -> &'static str {
    let stage = match fault {
        SmtpFault::Unreachable { .. } => return "connection",
        SmtpFault::Settings { .. } => return "settings",
        SmtpFault::NoStartTls | SmtpFault::Tls { .. } | SmtpFault::TlsTimedOut { .. } => return "encryption",
        SmtpFault::NoMechanism | SmtpFault::NoToken { .. } => return "sign-in",
        SmtpFault::TimedOut { stage, .. } | SmtpFault::Refused { stage, .. } | SmtpFault::Broken { stage, .. } => stage,
    };
    match stage {
        Stage::Connect | Stage::Hello => "greeting",
        Stage::Auth => "sign-in",
        Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot => "sender",
    }
}

/// The steps that went well before the one that failed. With TLS from the first byte the greeting comes behind the encryption.
fn way_to(failed: &'static str, security: Security) -> impl Iterator<Item = &'static str> {
    let way: &[&str] = match security {
        _ if failed == "settings" => &[],
        Security::None => &["connection", "greeting", "sign-in"],
        Security::Tls => &["connection", "encryption", "greeting", "sign-in"],
        Security::StartTls | Security::Opportunistic => &["connection", "greeting", "encryption", "sign-in"],
    };
    way.iter().copied().take_while(move |step| *step != failed)
}

/// The fault with everything behind it: this is where details help.
fn told(fault: &SmtpFault) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    without_addresses(&text)
}

async fn name_sender(connection: &mut Connection, sender: &str) -> Result<(), SmtpFault> {
    let broken = |why: String| SmtpFault::Broken { stage: Stage::Mail, why };
    let address = wire_address(sender).map_err(|why| broken(format!("the sender's address cannot be used: {why}")))?;
    let Some(mut wire) = connection.wire.take() else { return Err(broken("the connection was already closed".to_owned())) };
    let limit = connection.timeouts.command();
    let command = Mail::new(Some(address), Vec::new()).to_string();
    wire.send(command.as_bytes(), limit).await.map_err(|fault| broken(fault.to_string()))?;
    let reply = wire.reply(limit).await.map_err(|fault| broken(fault.to_string()))?;
    if connection.reset(&mut wire).await {
        connection.wire = Some(wire);
    }
    match reply.code {
        200..=299 => Ok(()),
        code => Err(SmtpFault::Refused {
            stage: Stage::Mail,
            code,
            enhanced: reply.enhanced().map(str::to_owned),
            text: without_addresses(&reply.text()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn tried(settings: &str) -> Vec<(&'static str, bool)> {
        let settings: RelaySettings = toml::from_str(settings).unwrap();
        probe(&settings, None).await.into_iter().map(|step| (step.what, step.good)).collect()
    }

    #[tokio::test]
    async fn what_takes_too_long_is_told_where_it_does() {
        // Accepts and is silent for ever.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let settings = |security: &str| {
            let timeouts = "timeouts = { connect_seconds = 1, command_seconds = 1 }";
            format!("host = \"127.0.0.1\"\nport = {port}\nsecurity = \"{security}\"\n{timeouts}")
        };
        let within = |what: String| async move { timeout(Duration::from_secs(20), tried(&what)).await.unwrap() };
        assert_eq!(within(settings("tls")).await, [("name", true), ("connection", true), ("encryption", false)]);
        assert_eq!(within(settings("none")).await, [("name", true), ("connection", true), ("greeting", false)]);
    }

    #[test]
    fn nobody_there_is_no_greeting() {
        let source = std::io::ErrorKind::TimedOut.into();
        assert_eq!(place(&SmtpFault::Unreachable { host: "relay.example.org".to_owned(), port: 25, source }), "connection");
        assert_eq!(way_to("connection", Security::StartTls).count(), 0);
    }
}
