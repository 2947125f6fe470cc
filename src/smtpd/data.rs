//! The message part of a session: finds its end, undoes dot-stuffing, keeps within a size.
//!
//! Cast: [`DataReader`], fed with pieces of input until it reports the end.
//!
//! It ends a message at CR LF . CR LF and nowhere else: an end made of bare line feeds is content, so a message cannot smuggle a second
//! one in ("SMTP smuggling", 2023). It never holds more than the size it was given.

/// Where in a line the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Right after CR LF, or at the very beginning.
    LineStart,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot and CR at the start of a line.
    DotCarriageReturn,
    /// Anywhere else.
    Text,
}

/// Collects one message.
#[derive(Debug)]
pub(super) struct DataReader {
    message: Vec<u8>,
    bytes_max: usize,
    bytes_seen: usize,
    place: Place,
    last: u8,
}

impl DataReader {
    /// Ready for a message of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { message: Vec::new(), bytes_max, bytes_seen: 0, place: Place::LineStart, last: 0 }
    }

    /// Takes input up to the end of the message: how many bytes were used, and whether the end was reached.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, bool) {
        let mut rest = input;
        while let Some((&byte, after)) = rest.split_first() {
            match self.place {
                Place::LineStart if byte == b'.' => {
                    self.place = Place::Dot;
                    self.last = byte;
                    rest = after;
                }
                Place::Dot if byte == b'\r' => {
                    self.place = Place::DotCarriageReturn;
                    self.last = byte;
                    rest = after;
                }
                Place::DotCarriageReturn if byte == b'\n' => return (input.len() - after.len(), true),
                Place::DotCarriageReturn => {
                    self.keep(b"\r");
                    self.place = Place::Text;
                }
                Place::LineStart | Place::Dot | Place::Text => rest = self.take_line(rest),
            }
        }
        (input.len(), false)
    }

    /// Keeps input up to and including the next line feed; returns what is left.
    fn take_line<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let length = input.iter().position(|&byte| byte == b'\n').map_or(input.len(), |at| at + 1);
        let (line, rest) = input.split_at(length);
        let carriage_return = match line {
            [.., b'\r', b'\n'] => true,
            [b'\n'] => self.last == b'\r',
            _ => false,
        };
        self.place = if carriage_return { Place::LineStart } else { Place::Text };
        self.last = line.last().copied().unwrap_or(self.last);
        self.keep(line);
        rest
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes_seen = self.bytes_seen.saturating_add(bytes.len());
        if self.is_too_long() {
            // What was gathered will be refused anyway: give the memory back now.
            self.message = Vec::new();
        } else {
            self.message.extend_from_slice(bytes);
        }
    }

    /// Whether the message is longer than allowed.
    pub(super) fn is_too_long(&self) -> bool {
        self.bytes_seen > self.bytes_max
    }

    /// Whether it is so long that reading on to its end is a waste: the connection is better closed.
    pub(super) fn is_absurd(&self) -> bool {
        self.bytes_seen / 4 > self.bytes_max
    }

    /// The message, or nothing when it was too long.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        if self.is_too_long() { None } else { Some(self.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input` in pieces of every small size: the result must not depend on how the network cut it.
    fn check(input: &[u8], expected: &[u8], left: &[u8]) {
        for size in 1..=input.len() {
            let mut reader = DataReader::new(1000);
            let mut used = 0;
            let mut done = false;
            for piece in input.chunks(size) {
                let (taken, end) = reader.take(piece);
                used += taken;
                if end {
                    done = true;
                    break;
                }
            }
            assert!(done, "no end found in pieces of {size}");
            assert_eq!(&input[used..], left, "rest in pieces of {size}");
            assert_eq!(reader.finish().as_deref(), Some(expected), "message in pieces of {size}");
        }
    }

    #[test]
    fn a_message_ends_at_the_dot_line_and_stuffed_dots_are_removed() {
        check(b"a\r\nb\r\n.\r\nQUIT\r\n", b"a\r\nb\r\n", b"QUIT\r\n");
        check(b".\r\n", b"", b"");
        check(b"..\r\n...x\r\n.\r\n", b".\r\n..x\r\n", b"");
        check(b".a\r\n.\r\n", b"a\r\n", b"");
        check(b"a.\r\n.b.\r\n.\r\n", b"a.\r\nb.\r\n", b"");
    }

    #[test]
    fn ends_made_of_bare_line_feeds_or_carriage_returns_are_content() {
        for fake in [&b"\n.\n"[..], b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r.\r", b"\n.\r", b"\r\n\0.\r\n", b"\r\r\n.\rx"] {
            let mut input = b"a".to_vec();
            input.extend_from_slice(fake);
            input.extend_from_slice(b"MAIL FROM:<>\r\n.\r\n");
            let mut reader = DataReader::new(1000);
            let (used, end) = reader.take(&input);
            assert!(end);
            assert_eq!(used, input.len(), "{fake:?} was taken for an end");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_read_to_its_end_but_not_kept() {
        let mut reader = DataReader::new(10);
        let (used, end) = reader.take(b"0123456789abc\r\n.\r\nrest");
        assert_eq!((used, end), (18, true));
        assert_eq!(reader.finish(), None);
    }

    proptest::proptest! {
        #[test]
        fn what_a_client_stuffs_comes_out_unchanged(lines in proptest::collection::vec("[.\r\n a]{0,6}", 0..12), size in 1_usize..9) {
            let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let mut stuffed = message.replace("\r\n.", "\r\n..");
            if stuffed.starts_with('.') {
                stuffed.insert(0, '.');
            }
            let input = format!("{stuffed}.\r\nrest");
            let mut reader = DataReader::new(1000);
            let mut used = 0;
            for piece in input.as_bytes().chunks(size) {
                let (taken, end) = reader.take(piece);
                used += taken;
                if end {
                    break;
                }
            }
            proptest::prop_assert_eq!(&input[used..], "rest");
            proptest::prop_assert_eq!(reader.finish(), Some(message.into_bytes()));
        }
    }
}
