//! Read pairs in a sealed record: how a chunk's reads travel to a place that does not see the lane's files.
//!
//! Invariant: what is read back is what [`crate::fastq`] read, pair for pair; a block that says anything else is refused.

use crate::fastq::{NAME_BYTES_MAX, Pairs, QUALITY_MAX, Reads};
use crate::intake::{ChunkReader, IntakeError};
use crate::map::BATCH_PAIRS;
use jobs::failure::{Class, Classified};
use storage::{BlockEntry, PackError, RecordBuilder, RecordReader};

/// Kind of a block of pairs in an intake's record; `first` and `last` are ordinals in the lane, `last` one past the end.
pub const BLOCK: u8 = 1;

/// Highest code of a base: N.
const BASE_MAX: u8 = 4;

/// Pairs could not be re-sealed or read back.
#[derive(Debug, thiserror::Error)]
pub enum PairsError {
    /// The record.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The files that they were read from.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// An authenticated block holds no pairs.
    #[error("a block of read pairs is not in the form this version writes")]
    Form,
}

impl Classified for PairsError {
    fn class(&self) -> Class {
        match self {
            PairsError::Pack(error) => error.class(),
            PairsError::Intake(error) => error.class(),
            PairsError::Form => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PairsError::Pack(error) => error.hint(),
            PairsError::Intake(error) => error.hint(),
            PairsError::Form => None,
        }
    }
}

/// Writes everything that `reader` gives, from pair `first` of the lane on, as blocks of `record`.
pub fn write(reader: &mut ChunkReader, first: u64, record: &mut RecordBuilder) -> Result<(), PairsError> {
    let (mut pairs, mut bytes, mut ordinal) = (Pairs::default(), Vec::new(), first);
    loop {
        pairs.clear();
        let read = reader.read(BATCH_PAIRS, &mut pairs)?;
        if read == 0 {
            return Ok(());
        }
        bytes.clear();
        for pair in 0..read {
            for reads in [&pairs.first, &pairs.second] {
                encode(reads, pair, &mut bytes);
            }
        }
        let last = ordinal + read as u64;
        record.block(BlockEntry { kind: BLOCK, first: ordinal, last, count: read as u32 }, &bytes)?;
        ordinal = last;
    }
}

/// Length of the name (a byte; 0: there is no such read), of the read (u32, little endian), name, bases, qualities.
fn encode(reads: &Reads, pair: usize, out: &mut Vec<u8>) {
    if pair >= reads.len() {
        return out.push(0);
    }
    let (name, sequence) = (reads.name(pair), reads.sequence(pair));
    out.push(name.len() as u8);
    out.extend_from_slice(&(sequence.len() as u32).to_le_bytes());
    [name, sequence, reads.qualities(pair)].into_iter().for_each(|part| out.extend_from_slice(part));
}

fn decode<'b>(bytes: &'b [u8], reads: &mut Reads) -> Option<&'b [u8]> {
    let (&name, rest) = bytes.split_first()?;
    if name == 0 {
        return Some(rest);
    }
    let (length, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (name, rest) = rest.split_at_checked(name.into())?;
    let (sequence, rest) = rest.split_at_checked(length)?;
    let (qualities, rest) = rest.split_at_checked(length)?;
    let sound = name.len() <= NAME_BYTES_MAX
        && sequence.iter().all(|&code| code <= BASE_MAX)
        && qualities.iter().all(|&quality| quality <= QUALITY_MAX);
    sound.then(|| reads.push(name, sequence, qualities))?;
    Some(rest)
}

/// Reads a record of pairs from its start.
#[derive(Debug)]
pub struct PairsReader<'a> {
    record: &'a RecordReader,
    next: usize,
}

impl<'a> PairsReader<'a> {
    /// Of a record whose blocks are all pairs.
    pub fn new(record: &'a RecordReader) -> Result<Self, PairsError> {
        let entries = record.entries();
        let in_step = entries.windows(2).all(|pair| pair[0].last == pair[1].first);
        match in_step && entries.iter().all(|entry| entry.kind == BLOCK && entry.first < entry.last) {
            true => Ok(PairsReader { record, next: 0 }),
            false => Err(PairsError::Form),
        }
    }

    /// Adds the pairs of the next block and returns how many; 0 at the end.
    pub fn read(&mut self, pairs: &mut Pairs) -> Result<usize, PairsError> {
        let Some(entry) = self.record.entries().get(self.next) else { return Ok(0) };
        let count = (entry.last - entry.first) as usize;
        let mut bytes = Vec::new();
        self.record.read_block(self.next, &mut bytes)?;
        self.next += 1;
        let mut rest = &bytes[..];
        let before = (pairs.first.len(), pairs.second.len());
        for _ in 0..count {
            rest = decode(rest, &mut pairs.first).ok_or(PairsError::Form)?;
            rest = decode(rest, &mut pairs.second).ok_or(PairsError::Form)?;
        }
        let added = (pairs.first.len() - before.0, pairs.second.len() - before.1);
        match rest.is_empty() && added.0 == count && [0, count].contains(&added.1) {
            true => Ok(count),
            false => Err(PairsError::Form),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::{Packs, SampleKey};

    #[test]
    fn pairs_and_single_reads_come_back_as_they_were_or_are_refused() {
        for paired in [true, false] {
            let mut pairs = Pairs::default();
            for read in 0..5u8 {
                pairs.first.push(&[b'a' + read], &[read % 5, 4], &[read, QUALITY_MAX]);
                if paired {
                    pairs.second.push(&[b'a' + read], &[0; 3], &[7; 3]);
                }
            }
            let mut bytes = Vec::new();
            for pair in 0..5 {
                encode(&pairs.first, pair, &mut bytes);
                encode(&pairs.second, pair, &mut bytes);
            }
            let read = |bytes: &[u8]| {
                let (key, dir) = (SampleKey::fleeting(), tempfile::tempdir().unwrap());
                let mut record = RecordBuilder::new(&key, "c");
                let entry = BlockEntry { kind: BLOCK, first: 10, last: 15, count: 5 };
                record.block(entry, bytes).unwrap();
                let packs = Packs::new(dir.path());
                let piece = packs.append("p", 0).unwrap().append(&record.finish()).unwrap();
                let record = packs.record(&piece, &key, "c").unwrap();
                let mut reader = PairsReader::new(&record).unwrap();
                let mut found = Pairs::default();
                reader.read(&mut found).map(|_| found)
            };
            assert_eq!(read(&bytes).unwrap(), pairs);
            for cut in 0..bytes.len() {
                assert!(matches!(read(&bytes[..cut]), Err(PairsError::Form)), "{cut}");
            }
            let base = bytes.iter().position(|&byte| byte == b'a').unwrap() + 1;
            bytes[base] = 5;
            assert!(matches!(read(&bytes), Err(PairsError::Form)));
        }
    }
}
