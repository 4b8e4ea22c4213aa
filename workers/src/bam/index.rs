//! The index of a BAM file (`.bai`, SAMv1 §5.2), made while the file is written.
//!
//! Invariant: every placed record is found by its bin and by the windows that it touches. Records come in the order of the
//! file. Contigs longer than 2^29 bases have no such index; see [`takes`].

use crate::record::{Record, flag};
use jobs::genome::Contigs;
use std::collections::BTreeMap;

/// The longest contig a `.bai` can index.
const CONTIG_BASES_MAX: u32 = 1 << 29;
/// Bases of a window, as a power of two.
const WINDOW_SHIFT: u32 = 14;
/// The bin that holds how many records there are.
const COUNTS_BIN: u32 = 37_450;
/// Header and trailer of a BGZF block: where its length stands, and its text's.
const BLOCK_LENGTH_AT: usize = 16;
const TEXT_LENGTH_BYTES: usize = 4;

/// Whether all contigs are short enough.
pub fn takes(contigs: &Contigs) -> bool {
    contigs.iter().all(|contig| contig.length <= CONTIG_BASES_MAX)
}

/// A record of a run of BGZF blocks.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    contig: i32,
    start: i32,
    /// One past its last base.
    end: i32,
    bin: u16,
    is_mapped: bool,
    /// Where it ends in the run's text.
    text_end: u64,
}

impl Mark {
    /// Of a record that ends there in the text of its run.
    pub fn of(record: &Record<'_>, text_end: u64) -> Self {
        let is_mapped = record.flag() & flag::UNMAPPED == 0;
        // A read without a place of its own takes that of one base.
        let bases = if is_mapped { record.reference_bases().max(1) } else { 1 };
        let (start, bin) = (record.position(), record.bin());
        Mark {
            contig: record.contig(),
            start,
            end: start.saturating_add_unsigned(bases),
            bin,
            is_mapped,
            text_end,
        }
    }
}

/// The index in the making.
#[derive(Debug)]
pub struct BamIndex {
    contigs: Vec<OfContig>,
    without_place: u64,
}

#[derive(Clone, Debug, Default)]
struct OfContig {
    /// Virtual offsets of stretches of the file, by bin.
    bins: BTreeMap<u16, Vec<[u64; 2]>>,
    /// Where the first record begins that touches each window.
    windows: Vec<u64>,
    /// From the first record to the last.
    span: Option<[u64; 2]>,
    mapped: u64,
    unmapped: u64,
}

impl BamIndex {
    /// Of a file of so many contigs.
    pub fn new(contigs: usize) -> Self {
        BamIndex { contigs: vec![OfContig::default(); contigs], without_place: 0 }
    }

    /// Enters the records of a run of BGZF blocks that begins at byte `offset` of the file. `None` if these are no such
    /// blocks.
    pub fn add(&mut self, marks: &[Mark], blocks: &[u8], offset: u64) -> Option<()> {
        // Where each block begins in the file, and where its text ends.
        let (mut places, mut at, mut text) = (Vec::new(), 0, 0u64);
        while at < blocks.len() {
            let length =
                blocks.get(at + BLOCK_LENGTH_AT..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))?;
            let end = at + usize::from(length) + 1;
            let text_bytes = blocks.get(at..end)?.last_chunk::<TEXT_LENGTH_BYTES>()?;
            text += u64::from(u32::from_le_bytes(*text_bytes));
            places.push((offset + at as u64, text));
            at = end;
        }
        let (mut block, mut block_text) = (0, 0);
        // The place of a byte of the text; of its end, the block after the last.
        let mut place = |text: u64| {
            while let Some(&(_, end)) = places.get(block).filter(|&&(_, end)| end <= text) {
                (block, block_text) = (block + 1, end);
            }
            let at = places.get(block).map_or(offset + blocks.len() as u64, |&(at, _)| at);
            at << 16 | (text - block_text)
        };
        let mut begin = place(0);
        for mark in marks {
            let end = place(mark.text_end);
            self.enter(mark, [begin, end]);
            begin = end;
        }
        Some(())
    }

    fn enter(&mut self, mark: &Mark, [begin, end]: [u64; 2]) {
        let contig = usize::try_from(mark.contig).ok().and_then(|contig| self.contigs.get_mut(contig));
        let (Some(contig), Ok(start)) = (contig, u32::try_from(mark.start)) else {
            self.without_place += 1;
            return;
        };
        let stretches = contig.bins.entry(mark.bin).or_default();
        match stretches.last_mut() {
            // One that goes on in the same block is read with it.
            Some([_, last]) if *last >> 16 == begin >> 16 => *last = end,
            _ => stretches.push([begin, end]),
        }
        let last = (mark.end.max(1).cast_unsigned() - 1).max(start) >> WINDOW_SHIFT;
        let known = contig.windows.len() as u32;
        // Windows that nothing touches point where the next record is.
        contig.windows.extend((known..=last).map(|_| begin));
        contig.span = Some([contig.span.map_or(begin, |[first, _]| first), end]);
        *if mark.is_mapped { &mut contig.mapped } else { &mut contig.unmapped } += 1;
    }

    /// The file's bytes.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = b"BAI\x01".to_vec();
        let word = |value: usize, out: &mut Vec<u8>| out.extend_from_slice(&(value as u32).to_le_bytes());
        word(self.contigs.len(), &mut out);
        for contig in &self.contigs {
            word(contig.bins.len() + usize::from(contig.span.is_some()), &mut out);
            let counts = contig.span.map(|span| vec![span, [contig.mapped, contig.unmapped]]);
            let bins = contig.bins.iter().map(|(&bin, stretches)| (u32::from(bin), stretches));
            for (bin, stretches) in bins.chain(counts.iter().map(|counts| (COUNTS_BIN, counts))) {
                word(bin as usize, &mut out);
                word(stretches.len(), &mut out);
                stretches.as_flattened().iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
            }
            word(contig.windows.len(), &mut out);
            contig.windows.iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
        }
        out.extend_from_slice(&self.without_place.to_le_bytes());
        out
    }
}
