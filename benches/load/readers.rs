//! Readers at a steady pace: so many requests per second however fast the answers come, each timed from the moment it was due, so that a
//! pause of the server counts for everybody who would have come meanwhile.
//!
//! `readers ADDRESS PATHS RATE SECONDS CONNECTIONS`; PATHS is a file with one path per line. Not part of the product; started by
//! `benches/load/pixel.sh`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a program for measuring")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Reads one whole answer; answers whether it is a good one.
fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    let mut some = [0; 4096];
    loop {
        let read = stream.read(&mut some).unwrap();
        assert!(read > 0, "the connection was closed before its answer");
        buffer.extend_from_slice(&some[..read]);
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or_default();
        if buffer.len() >= end + 4 + length {
            return head.starts_with("http/1.1 200") || head.starts_with("http/1.1 302");
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let paths: Vec<String> = std::fs::read_to_string(&arguments[1]).unwrap().lines().map(str::to_owned).collect();
    let (rate, seconds): (f64, f64) = (arguments[2].parse().unwrap(), arguments[3].parse().unwrap());
    let connections: usize = arguments[4].parse().unwrap();
    let start = Instant::now() + Duration::from_millis(200);
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let (address, paths) = (arguments[0].clone(), paths.clone());
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut times, mut bad, mut buffer) = (Vec::new(), 0_u64, Vec::new());
                for turn in (number..(rate * seconds) as usize).step_by(connections) {
                    let due = start + Duration::from_secs_f64(turn as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let path = &paths[turn % paths.len()];
                    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {AGENT}\r\n\r\n");
                    stream.write_all(request.as_bytes()).unwrap();
                    bad += u64::from(!read_answer(&mut stream, &mut buffer));
                    times.push(due.elapsed());
                }
                (times, bad)
            })
        })
        .collect();
    let (mut times, mut bad) = (Vec::new(), 0);
    for thread in threads {
        let (some, some_bad) = thread.join().unwrap();
        times.extend(some);
        bad += some_bad;
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{} answers at {rate}/s over {connections} connections: p50 {:.2} ms p99 {:.2} ms p99.9 {:.2} ms slowest {:.2} ms, bad {bad}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
