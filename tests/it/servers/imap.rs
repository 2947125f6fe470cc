//! Purpose: read an inbox by the few IMAP commands a test needs (RFC 3501; IDLE is RFC 2177).
//!
//! Cast: [`Imap`] a session with the inbox selected.
//!
//! Never: changes a message (it peeks), and shares no code with the application, whose IMAP it checks.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long mail may take from the sender to the inbox on a busy machine.
pub const MAIL_DEADLINE: Duration = Duration::from_secs(30);

/// A logged-in session with INBOX selected.
pub struct Imap {
    stream: BufReader<TcpStream>,
    next_tag: u32,
    exists: usize,
}

/// One answer line of the server; a message body is its literal.
struct Answer {
    line: String,
    literal: Option<Vec<u8>>,
}

impl Imap {
    /// Connects, logs in and selects INBOX.
    pub async fn login(address: SocketAddr, user: &str, password: &str) -> Result<Imap> {
        let mut session = Imap { stream: BufReader::new(TcpStream::connect(address).await?), next_tag: 1, exists: 0 };
        session.read_answer().await.context("no IMAP greeting")?;
        session.command(&format!("LOGIN \"{user}\" \"{password}\"")).await?;
        session.command("SELECT INBOX").await?;
        Ok(session)
    }

    /// Every message, oldest first, without marking any as seen.
    pub async fn fetch_all(&mut self) -> Result<Vec<Vec<u8>>> {
        // An empty inbox has no message numbers, and Dovecot answers "1:*" there with nothing.
        let answers = self.command("UID FETCH 1:* BODY.PEEK[]").await?;
        Ok(answers.into_iter().filter_map(|answer| answer.literal).collect())
    }

    /// Waits (IDLE) until the inbox holds at least `count` messages.
    ///
    /// # Errors
    /// After [`MAIL_DEADLINE`], telling how many there are.
    pub async fn wait_until_exists(&mut self, count: usize) -> Result<()> {
        if self.exists >= count {
            return Ok(());
        }
        self.send("idle IDLE").await?;
        let waited = tokio::time::timeout(MAIL_DEADLINE, self.read_until_exists(count)).await;
        match waited {
            Ok(result) => result?,
            Err(_) => bail!("{} of {count} messages came within {MAIL_DEADLINE:?}", self.exists),
        }
        self.send("DONE").await?;
        self.read_until_tag("idle").await?;
        Ok(())
    }

    async fn read_until_exists(&mut self, count: usize) -> Result<()> {
        while self.exists < count {
            self.read_answer().await?;
        }
        Ok(())
    }

    async fn command(&mut self, command: &str) -> Result<Vec<Answer>> {
        let tag = format!("a{}", self.next_tag);
        self.next_tag += 1;
        self.send(&format!("{tag} {command}")).await?;
        self.read_until_tag(&tag).await
    }

    async fn send(&mut self, line: &str) -> Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(())
    }

    async fn read_until_tag(&mut self, tag: &str) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        loop {
            let answer = tokio::time::timeout(MAIL_DEADLINE, self.read_answer()).await.context("the IMAP server does not answer")??;
            match answer.line.strip_prefix(tag).map(str::trim_start) {
                Some(status) if status.starts_with("OK") => return Ok(answers),
                Some(status) => bail!("the IMAP server refused: {status}"),
                None => answers.push(answer),
            }
        }
    }

    /// One line; when it announces a literal (`{123}`), also the literal and the rest of the line after it.
    async fn read_answer(&mut self) -> Result<Answer> {
        let mut line = self.read_line().await?;
        let mut literal = None;
        if let Some(length) = literal_length(&line) {
            let mut bytes = vec![0; length];
            self.stream.read_exact(&mut bytes).await?;
            literal = Some(bytes);
            line += &self.read_line().await?;
        }
        if let Some(count) = line.strip_prefix("* ").and_then(|rest| rest.strip_suffix(" EXISTS")) {
            self.exists = count.parse()?;
        }
        Ok(Answer { line, literal })
    }

    async fn read_line(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        if self.stream.read_until(b'\n', &mut bytes).await? == 0 {
            bail!("the IMAP server closed the connection");
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }
}

fn literal_length(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
