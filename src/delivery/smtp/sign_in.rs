//! Saying who we are: AUTH PLAIN, LOGIN or XOAUTH2.
//!
//! Cast: [`sign_in`]. A token is fetched for each connection, so that a fresh one is used as soon as there is one.
//!
//! It never shows or keeps a password or a token, and never runs a shell.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use data_encoding::BASE64;
use lettre::transport::smtp::authentication::{Credentials as LettreCredentials, Mechanism};
use lettre::transport::smtp::commands::Auth;
use tokio::time::{Duration, timeout};

use super::open::{ask, expect};
use super::settings::{Secret, TokenSource};
use super::wire::{Offers, Wire};
use super::{RelaySettings, SmtpFault, Stage};

/// Longest token taken, in bytes; real ones have up to about 4,000.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Signs in if the settings say so.
pub(super) async fn sign_in(wire: &mut Wire, settings: &RelaySettings, offers: Offers) -> Result<(), SmtpFault> {
    let Some(credentials) = &settings.credentials else { return Ok(()) };
    let name = credentials.username.clone();
    match &credentials.secret {
        Secret::Password(password) if offers.auth_plain => {
            let credentials = LettreCredentials::new(name, password.clone());
            ask(wire, settings, Stage::Auth, &command(Mechanism::Plain, &credentials, None)?, 235).await?;
            Ok(())
        }
        Secret::Password(password) if offers.auth_login => by_login(wire, settings, &LettreCredentials::new(name, password.clone())).await,
        Secret::Token(source) if offers.auth_xoauth2 => {
            let token = fetch(source, settings.timeouts.connect()).await?;
            by_token(wire, settings, &LettreCredentials::new(name, token)).await
        }
        Secret::Password(_) | Secret::Token(_) => Err(SmtpFault::NoMechanism),
    }
}

fn command(mechanism: Mechanism, credentials: &LettreCredentials, challenge: Option<String>) -> Result<String, SmtpFault> {
    Auth::new(mechanism, credentials.clone(), challenge)
        .map(|auth| auth.to_string())
        .map_err(|_| SmtpFault::Broken { stage: Stage::Auth, why: "the relay asks for something other than name and password".to_owned() })
}

async fn by_login(wire: &mut Wire, settings: &RelaySettings, credentials: &LettreCredentials) -> Result<(), SmtpFault> {
    let mut reply = ask(wire, settings, Stage::Auth, &command(Mechanism::Login, credentials, None)?, 334).await?;
    for wanted in [334, 235] {
        let challenge = reply.lines.first().map(String::as_str).unwrap_or_default();
        let challenge = BASE64.decode(challenge.trim().as_bytes()).unwrap_or_default();
        let challenge = String::from_utf8_lossy(&challenge).into_owned();
        reply = ask(wire, settings, Stage::Auth, &command(Mechanism::Login, credentials, Some(challenge))?, wanted).await?;
    }
    Ok(())
}

/// A token that is refused is answered by 334 and a reason; the refusal itself comes after an empty line of ours.
async fn by_token(wire: &mut Wire, settings: &RelaySettings, credentials: &LettreCredentials) -> Result<(), SmtpFault> {
    let limit = settings.timeouts.command();
    let first = command(Mechanism::Xoauth2, credentials, None)?;
    wire.send(first.as_bytes(), limit).await.map_err(SmtpFault::broken(Stage::Auth))?;
    let reply = wire.reply(limit).await.map_err(SmtpFault::broken(Stage::Auth))?;
    if reply.code == 334 {
        ask(wire, settings, Stage::Auth, "\r\n", 235).await?;
        return Ok(());
    }
    expect(Stage::Auth, &reply, 235)
}

fn no_token(what: impl Into<String>) -> SmtpFault {
    SmtpFault::NoToken { what: what.into() }
}

async fn fetch(source: &TokenSource, limit: Duration) -> Result<String, SmtpFault> {
    let text = match source {
        TokenSource::Written(token) => token.clone(),
        TokenSource::File(path) => read_file(path).await?,
        TokenSource::Command(words) => run(words, limit).await?,
    };
    let token = text.lines().next().unwrap_or_default().trim();
    // Anything else would end the token, or the command it stands in.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(no_token("what was found is empty or not a token"));
    }
    Ok(token.to_owned())
}

async fn read_file(path: &Path) -> Result<String, SmtpFault> {
    tokio::fs::read_to_string(path).await.map_err(|error| no_token(format!("token_file cannot be read: {}", error.kind())))
}

async fn run(words: &[String], limit: Duration) -> Result<String, SmtpFault> {
    let (program, arguments) = words.split_first().ok_or_else(|| no_token("token_command is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| no_token(format!("token_command does not start: {}", error.kind())))?;
    let output = child.stdout.take();
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        output.map(|output| output.take(LONGEST_TOKEN).read_to_string(&mut text)).transpose().map(|_| text)
    });
    let read = timeout(limit, reading).await;
    let succeeded = end(child, read.is_ok()).await;
    match read {
        Err(_) => Err(no_token(format!("token_command did not end within {} s", limit.as_secs()))),
        Ok(Ok(Ok(text))) if succeeded => Ok(text),
        Ok(Ok(Err(_))) => Err(no_token("what token_command prints is not text")),
        Ok(_) => Err(no_token("token_command failed")),
    }
}

/// Waits for a command that has said all, and for no other; whether it succeeded.
async fn end(mut child: Child, has_said_all: bool) -> bool {
    if !has_said_all {
        // Its end is all that is wanted; one that is over already is as good.
        let _ = child.kill();
    }
    let waiting = tokio::task::spawn_blocking(move || child.wait());
    matches!(waiting.await, Ok(Ok(status)) if status.success())
}
