//! Segments: the files hits wait in, and the frames in them.
//!
//! A segment is made whole, full of zeros, before the first hit goes in: overwriting what is allocated needs no journal of the file
//! system, so that making a group durable costs one flush. It begins with 4,096 bytes: `LLHITS01`, its number, the length of the
//! lists of [`Words`] (4 bytes), a checksum of number and lists (16 bytes), four zeros, the lists. Then follow frames, one per group:
//!
//! | bytes | what (numbers are little endian) |
//! |---|---|
//! | 4 | `HITS` |
//! | 4 | how many records |
//! | 16 | the first 128 bits of BLAKE3 over segment number, place of the frame in the file (8 bytes each) and the records |
//! | 8 | zeros |
//! | 72 each | [records](super::record) |
//!
//! Cast: [`create`], [`seal`], [`Reader`] and what it finds, [`Found`]. A frame counts whole or not at all; it never changes once durable.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::{RECORD, Words, decode};
use crate::ledger::event::Event;

/// Where the first frame begins.
pub const FIRST_FRAME: u64 = 4096;
/// Bytes before a frame's records.
pub const FRAME_HEAD: usize = 32;

const SEGMENT_MAGIC: &[u8; 8] = b"LLHITS01";
const FRAME_MAGIC: &[u8; 4] = b"HITS";
const ENDING: &str = ".hits";
const UNFINISHED: &str = ".new";
/// Frames begin at multiples of this.
const STEP: usize = 8;

/// A segment's file.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}{ENDING}"))
}

/// The segment numbers in a folder, ascending, and how many were set aside. The highest number ever seen comes third.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> io::Result<(Vec<u64>, usize, u64)> {
    let (mut numbers, mut aside, mut highest) = (Vec::new(), 0, 0);
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some((number, ending)) = name.to_str().and_then(|name| name.split_at_checked(16)) else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        highest = highest.max(number);
        if ending == ENDING {
            numbers.push(number);
        } else if ending.starts_with(ENDING) {
            aside += 1;
        }
    }
    numbers.sort_unstable();
    Ok((numbers, aside, highest))
}

/// Puts a segment that cannot be read, or not all of it, out of the way; it is kept for a person to look at.
///
/// # Errors
/// When the file cannot be renamed.
pub fn set_aside(folder: &Path, number: u64, why: &str) -> io::Result<()> {
    std::fs::rename(path(folder, number), folder.join(format!("{number:016}{ENDING}.{why}")))?;
    sync_folder(folder)
}

/// Removes segments whose making was cut off.
///
/// # Errors
/// When the folder cannot be read or a file not be removed.
pub fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_str().is_some_and(|path| path.ends_with(UNFINISHED)) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes what was created, renamed or deleted in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a segment of `bytes`, durable and empty.
///
/// # Errors
/// A full disk, most likely; nothing is left of the segment then.
pub fn create(folder: &Path, number: u64, bytes: u64) -> io::Result<File> {
    let unfinished = folder.join(format!("{number:016}{UNFINISHED}"));
    let made = fill(&unfinished, number, bytes).and_then(|file| {
        std::fs::rename(&unfinished, path(folder, number))?;
        sync_folder(folder)?;
        Ok(file)
    });
    if made.is_err() {
        // Gives its space back; if even that fails, the next start overwrites it.
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

fn fill(path: &Path, number: u64, bytes: u64) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let words = Words::ours();
    let mut head = vec![0; FIRST_FRAME as usize];
    head[..8].copy_from_slice(SEGMENT_MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..20].copy_from_slice(&u32::try_from(words.len()).unwrap_or(u32::MAX).to_le_bytes());
    head[20..36].copy_from_slice(&head_checksum(number, words.as_bytes()));
    let place = head.get_mut(40..40 + words.len()).ok_or_else(|| io::Error::other("the lists of words are too long"))?;
    place.copy_from_slice(words.as_bytes());
    file.write_all(&head)?;
    let zeros = vec![0; 256 * 1024];
    let mut left = bytes.saturating_sub(FIRST_FRAME);
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..some).unwrap_or_default())?;
        left -= some as u64;
    }
    file.sync_all()?;
    Ok(file)
}

fn short(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    bytes
}

fn head_checksum(number: u64, words: &[u8]) -> [u8; 16] {
    short(blake3::Hasher::new().update(&number.to_le_bytes()).update(words))
}

fn frame_checksum(number: u64, place: u64, records: &[u8]) -> [u8; 16] {
    short(blake3::Hasher::new().update(&number.to_le_bytes()).update(&place.to_le_bytes()).update(records))
}

/// Fills in the head of a frame, whose first [`FRAME_HEAD`] bytes were left free for it.
pub fn seal(frame: &mut [u8], number: u64, place: u64) {
    let Some((head, records)) = frame.split_at_mut_checked(FRAME_HEAD) else { return };
    let count = u32::try_from(records.len() / RECORD).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(FRAME_MAGIC);
    head[4..8].copy_from_slice(&count.to_le_bytes());
    head[8..24].copy_from_slice(&frame_checksum(number, place, records));
    head[24..].fill(0);
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// A group of hits, and where the next begins.
    Frame(Vec<Event>, u64),
    /// Nothing more: zeros, or the end of the file.
    End,
    /// Something that is no frame. What comes after it begins at this place, if anything does.
    Damage(Option<u64>),
}

/// A segment, opened for reading.
pub struct Reader {
    file: File,
    number: u64,
    words: Words,
}

impl Reader {
    /// Opens a segment; the first `Result` is the disk's, the second is `None` when this is no segment of this number, or one of a
    /// later version.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(folder: &Path, number: u64) -> io::Result<Option<Self>> {
        let file = File::open(path(folder, number))?;
        let mut head = vec![0; FIRST_FRAME as usize];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = head.get(16..20).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
        let words = head.get(40..).and_then(|rest| rest.get(..length)).unwrap_or_default();
        let is_ours = head.starts_with(SEGMENT_MAGIC)
            && head.get(8..16) == Some(&number.to_le_bytes()[..])
            && head.get(20..36) == Some(&head_checksum(number, words)[..]);
        let words = std::str::from_utf8(words).ok().and_then(Words::read).filter(|_| is_ours);
        Ok(words.map(|words| Self { file, number, words }))
    }

    /// What stands at `place`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn at(&self, place: u64) -> io::Result<Found> {
        let mut head = [0; FRAME_HEAD];
        let got = self.read_up_to(&mut head, place)?;
        if head.iter().all(|byte| *byte == 0) {
            // Zeros to the end are a clean end; zeros before a frame are a hole.
            return Ok(match self.search(place + STEP as u64)? {
                None => Found::End,
                next => Found::Damage(next),
            });
        }
        let frame = if got == FRAME_HEAD { self.frame(&head, place)? } else { None };
        match frame {
            Some((events, next)) => Ok(Found::Frame(events, next)),
            None => Ok(Found::Damage(self.search(place + STEP as u64)?)),
        }
    }

    /// How many records a frame says to have, and where the next begins, without reading them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn glance(&self, place: u64) -> io::Result<Option<(u64, u64)>> {
        let mut head = [0; FRAME_HEAD];
        self.read_up_to(&mut head, place)?;
        let count = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        Ok(head.starts_with(FRAME_MAGIC).then(|| (count, place + FRAME_HEAD as u64 + count * RECORD as u64)))
    }

    fn frame(&self, head: &[u8; FRAME_HEAD], place: u64) -> io::Result<Option<(Vec<Event>, u64)>> {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize * RECORD;
        let begin = place + FRAME_HEAD as u64;
        if !head.starts_with(FRAME_MAGIC) || begin + length as u64 > self.file.metadata()?.len() {
            return Ok(None);
        }
        let mut records = vec![0; length];
        self.file.read_exact_at(&mut records, begin)?;
        if head.get(8..24) != Some(&frame_checksum(self.number, place, &records)[..]) {
            return Ok(None);
        }
        let events: Option<Vec<Event>> = records.chunks_exact(RECORD).map(|record| decode(record, &self.words)).collect();
        Ok(events.map(|events| (events, begin + length as u64)))
    }

    /// The next place, at or after `from`, with a whole frame.
    fn search(&self, from: u64) -> io::Result<Option<u64>> {
        const WINDOW: usize = 1 << 20;
        let mut window = vec![0; WINDOW];
        let mut base = from;
        loop {
            let got = self.read_up_to(&mut window, base)?;
            for (index, bytes) in window.get(..got).unwrap_or_default().chunks_exact(STEP).enumerate() {
                let place = base + (index * STEP) as u64;
                if bytes.starts_with(FRAME_MAGIC) {
                    let mut head = [0; FRAME_HEAD];
                    if self.read_up_to(&mut head, place)? == FRAME_HEAD && self.frame(&head, place)?.is_some() {
                        return Ok(Some(place));
                    }
                }
            }
            if got < WINDOW {
                return Ok(None);
            }
            base += WINDOW as u64;
        }
    }

    /// Reads until the buffer is full or the file ends; answers how much.
    fn read_up_to(&self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        let mut got = 0;
        while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, place + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::encode;
    use super::super::record::tests::click;
    use super::*;

    fn frame(hits: &[u8], number: u64, place: u64) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEAD];
        for hit in hits {
            assert!(encode(&click(*hit), &mut frame));
        }
        seal(&mut frame, number, place);
        frame
    }

    /// Writes three frames of two hits each, lets `spoil` change the bytes, and reads everything that can be read.
    fn check(spoil: impl Fn(&mut Vec<u8>), expected: &[u8], damaged: usize) {
        let folder = tempfile::tempdir().unwrap();
        let file = create(folder.path(), 9, 16_384).unwrap();
        let mut place = FIRST_FRAME;
        for hits in [[1, 2], [3, 4], [5, 6]] {
            let frame = frame(&hits, 9, place);
            file.write_all_at(&frame, place).unwrap();
            place += frame.len() as u64;
        }
        let mut bytes = std::fs::read(path(folder.path(), 9)).unwrap();
        spoil(&mut bytes);
        std::fs::write(path(folder.path(), 9), bytes).unwrap();
        let reader = Reader::open(folder.path(), 9).unwrap().unwrap();
        let (mut read, mut damage, mut place) = (Vec::new(), 0, FIRST_FRAME);
        loop {
            match reader.at(place).unwrap() {
                Found::Frame(events, next) => {
                    read.extend(events);
                    place = next;
                }
                Found::Damage(next) => {
                    damage += 1;
                    let Some(next) = next else { break };
                    place = next;
                }
                Found::End => break,
            }
        }
        assert_eq!(read, expected.iter().map(|hit| click(*hit)).collect::<Vec<_>>());
        assert_eq!(damage, damaged);
    }

    const FRAME: usize = FRAME_HEAD + 2 * RECORD;

    #[test]
    fn whole_frames_read_back_and_damage_costs_its_own_frame_only() {
        check(|_| {}, &[1, 2, 3, 4, 5, 6], 0);
        let first = FIRST_FRAME as usize;
        // A torn last group: half of it is missing.
        check(|bytes| bytes[first + 2 * FRAME + 100..].fill(0), &[1, 2, 3, 4], 1);
        check(|bytes| bytes.truncate(first + 2 * FRAME + 10), &[1, 2, 3, 4], 1);
        check(|bytes| bytes.truncate(first + 2 * FRAME), &[1, 2, 3, 4], 0);
        // A flipped bit, a head overwritten, a hole.
        check(|bytes| bytes[first + FRAME + 60] ^= 1, &[1, 2, 5, 6], 1);
        check(|bytes| bytes[first..first + 8].fill(255), &[3, 4, 5, 6], 1);
        check(|bytes| bytes[first + FRAME..first + 2 * FRAME].fill(0), &[1, 2, 5, 6], 1);
    }

    #[test]
    fn a_frame_counts_at_its_own_place_in_its_own_segment_only() {
        let folder = tempfile::tempdir().unwrap();
        for (number, place) in [(8, FIRST_FRAME), (9, FIRST_FRAME + 8)] {
            let file = create(folder.path(), 9, 16_384).unwrap();
            file.write_all_at(&frame(&[1], number, place), FIRST_FRAME).unwrap();
            let reader = Reader::open(folder.path(), 9).unwrap().unwrap();
            assert_eq!(reader.at(FIRST_FRAME).unwrap(), Found::Damage(None));
        }
    }

    #[test]
    fn what_is_no_segment_is_told_from_one() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), 1, 16_384).unwrap();
        assert!(Reader::open(folder.path(), 1).unwrap().is_some());
        std::fs::copy(path(folder.path(), 1), path(folder.path(), 2)).unwrap();
        std::fs::write(path(folder.path(), 3), "short").unwrap();
        std::fs::write(path(folder.path(), 4), vec![7; 5000]).unwrap();
        for number in [2, 3, 4] {
            assert!(Reader::open(folder.path(), number).unwrap().is_none(), "{number}");
        }
        set_aside(folder.path(), 3, "unreadable").unwrap();
        assert_eq!(list(folder.path()).unwrap(), (vec![1, 2, 4], 1, 4));
    }
}
