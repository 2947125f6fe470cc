//! The line or block with which a proxy says whose connection this is: PROXY protocol, versions 1 and 2 (HAProxy, 2020).
//!
//! Cast: [`read_header`]. Not a byte behind the header is read. What a header says beyond the source's address is passed over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Most bytes of a header of version 1.
const LINE_MOST: usize = 107;
/// Most bytes behind the first sixteen of version 2: addresses, and what else proxies add.
const BLOCK_MOST: usize = 2048;

/// Reads the header. None: the proxy speaks for itself (a health check) or does not know.
///
/// # Errors
/// When it ends early or is no header.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // Both kinds are longer.
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let [version, family, high, low] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > BLOCK_MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        return block_says(version, family, &block).ok_or_else(|| io::ErrorKind::InvalidData.into());
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        line.push(stream.read_u8().await?);
    }
    std::str::from_utf8(&line).ok().and_then(line_says).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Outer none: no header.
fn line_says(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.strip_suffix("\r\n")?.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, _target, port) = (words.next()?, words.next()?, words.next()?);
    let source: IpAddr = match family {
        "TCP4" => IpAddr::V4(source.parse().ok()?),
        "TCP6" => IpAddr::V6(source.parse().ok()?),
        _ => return None,
    };
    Some(Some(SocketAddr::new(source, port.parse().ok()?)))
}

fn block_says(version: u8, family: u8, block: &[u8]) -> Option<Option<SocketAddr>> {
    match version {
        // LOCAL: the proxy's own.
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let port = |at: usize| Some(u16::from_be_bytes(block.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let source: [u8; 4] = block.get(..4)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv4Addr::from(source).into(), port(8)?)))
        }
        0x21 => {
            let source: [u8; 16] = block.get(..16)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port(32)?)))
        }
        // Unspecified, or no TCP.
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the header says, and what is left behind it.
    async fn read(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), io::ErrorKind> {
        let mut stream = bytes;
        let source = read_header(&mut stream).await.map_err(|error| error.kind())?;
        Ok((source.map(|address| address.to_string()), stream.to_vec()))
    }

    fn version_2(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version, family]);
        bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
        bytes.extend(b"GET /");
        bytes
    }

    #[tokio::test]
    async fn both_versions_name_the_source_and_leave_the_rest() {
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 1, 187];
        let mut six = [0_u8; 36];
        (six[0], six[15], six[33]) = (0x20, 9, 80);
        let extended = [&four[..], &[4, 0, 1, 7]].concat();
        for (bytes, source) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 443\r\nGET /".to_vec(), Some("192.0.2.1:4660")),
            (b"PROXY TCP6 2001:db8::1 ::1 4660 443\r\nGET /".to_vec(), Some("[2001:db8::1]:4660")),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nGET /".to_vec(), None),
            (version_2(0x21, 0x11, &four), Some("192.0.2.1:4660")),
            (version_2(0x21, 0x11, &extended), Some("192.0.2.1:4660")),
            (version_2(0x21, 0x21, &six), Some("[2000::9]:80")),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x21, 0x31, &[0; 216]), None),
        ] {
            let expected = (source.map(str::to_owned), b"GET /".to_vec());
            assert_eq!(read(&bytes).await, Ok(expected), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 2\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
            vec![b'P'; 200],
            version_2(0x31, 0x11, &[0; 12]),
            version_2(0x21, 0x11, &[0; 9]),
            version_2(0x21, 0x11, &[0; 4000]),
        ] {
            assert_eq!(read(&bytes).await, Err(io::ErrorKind::InvalidData), "{}", String::from_utf8_lossy(&bytes));
        }
        assert_eq!(read(b"PROXY TCP4 192").await, Err(io::ErrorKind::UnexpectedEof));
    }
}
