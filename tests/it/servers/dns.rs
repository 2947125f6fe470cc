//! Purpose: a DNS server on loopback that knows what a test tells it, and nothing else.
//!
//! Cast: [`Dns`] (ends with its value), built from records `(name, kind, value)`.
//!
//! Never: asks anybody else; a name it does not know does not exist (NXDOMAIN).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

type Zone = HashMap<String, Vec<(u16, Vec<u8>)>>;

/// A running server.
pub struct Dns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    questions: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    /// Serves these records: `TXT`, `A`, `AAAA`, `MX` (`10 name`), `PTR` (under the address itself), `CNAME`, and `SERVFAIL`.
    pub fn start(records: &[(&str, &str, &str)]) -> Result<Self> {
        let mut zone = Zone::new();
        for (name, kind, value) in records {
            let (number, data) = record(kind, value)?;
            let name = match (*kind, name.parse::<IpAddr>()) {
                ("PTR", Ok(IpAddr::V4(v4))) => {
                    let [a, b, c, d] = v4.octets();
                    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
                }
                _ => (*name).to_owned(),
            };
            zone.entry(name.to_ascii_lowercase()).or_default().push((number, data));
        }
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let address = socket.local_addr()?;
        let (stop, questions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopping, asked) = (stop.clone(), questions.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !stopping.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&zone, &buffer[..length]) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Ok(Self { address, stop, questions, thread: Some(thread) })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many questions it was asked.
    pub fn questions(&self) -> u32 {
        self.questions.load(Ordering::Relaxed)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const SERVFAIL: u16 = u16::MAX;
const CNAME: u16 = 5;

fn record(kind: &str, value: &str) -> Result<(u16, Vec<u8>)> {
    Ok(match kind {
        "A" => match value.parse()? {
            IpAddr::V4(v4) => (1, v4.octets().to_vec()),
            IpAddr::V6(_) => bail!("{value} is no A"),
        },
        "AAAA" => match value.parse()? {
            IpAddr::V6(v6) => (28, v6.octets().to_vec()),
            IpAddr::V4(_) => bail!("{value} is no AAAA"),
        },
        "CNAME" => (CNAME, name(value)),
        "PTR" => (12, name(value)),
        "MX" => {
            let (preference, host) = value.split_once(' ').context("an MX is written: 10 name")?;
            (15, [preference.parse::<u16>()?.to_be_bytes().to_vec(), name(host)].concat())
        }
        "TXT" => (16, value.as_bytes().chunks(255).flat_map(|chunk| [&[chunk.len() as u8], chunk].concat()).collect()),
        "SERVFAIL" => (SERVFAIL, Vec::new()),
        _ => bail!("no records of kind {kind} here"),
    })
}

fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// Header, question, answers (RFC 1035 §4). The question's own bytes are sent back as they came.
fn answer(zone: &Zone, question: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let asked = question.get(12..at + 4)?;
    let records = zone.get(&labels.join("."));
    let fails = records.is_some_and(|records| records.iter().any(|(number, _)| *number == SERVFAIL));
    let found: Vec<&(u16, Vec<u8>)> = records.into_iter().flatten().filter(|(number, _)| *number == kind || *number == CNAME).collect();
    let code: u8 = if fails {
        2
    } else if records.is_none() {
        3
    } else {
        0
    };
    let mut reply = question.get(..2)?.to_vec();
    reply.extend_from_slice(&[0x84 | (question[2] & 1), 0x80 | code, 0, 1, 0, found.len() as u8, 0, 0, 0, 0]);
    reply.extend_from_slice(asked);
    for (number, data) in found {
        // The name is a pointer to the question; one minute to live.
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&number.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        reply.extend_from_slice(&(data.len() as u16).to_be_bytes());
        reply.extend_from_slice(data);
    }
    Some(reply)
}
