//! One aligned read as the caller sees it, and the walk along its CIGAR.
//!
//! Invariant: a [`Placed`] read was checked against its own CIGAR, so walking it stays within its bases. Hostile
//! records never become one.

use super::CallOptions;

/// An aligned read, borrowed from the record that holds it: primary or supplementary, no duplicate, not failed.
#[derive(Clone, Copy, Debug)]
pub struct CallRead<'a> {
    /// 0-based leftmost aligned base.
    pub position: u32,
    /// CIGAR in BAM's packing (`length << 4 | op`).
    pub cigar: &'a [u32],
    /// Base codes 0 to 4, in the reference's orientation.
    pub sequence: &'a [u8],
    /// Phred qualities, one per base; empty or 255 where there are none.
    pub qualities: &'a [u8],
    /// MAPQ.
    pub mapq: u8,
    /// Whether the read lies on the reverse strand.
    pub reverse: bool,
    /// Hash of the read name, the same for both mates.
    pub name_hash: u64,
}

/// What one CIGAR operation does, hard clips and padding left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Aligned,
    Insertion,
    Deletion,
    Skip,
    Clip,
}

/// One step of the walk: where it begins on reference and read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub operation: Operation,
    pub length: u32,
    pub reference: u32,
    pub read: u32,
}

/// A read that was checked, with what the other reads of its template say about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub read: CallRead<'a>,
    /// One past the last aligned reference base.
    pub end: u32,
    /// Whether mapping quality lets it speak for or against an allele.
    pub usable: bool,
    /// Ordinal of the template's first read among the placed reads.
    pub template: u32,
    /// Reference position up to which an earlier read of the same template has spoken already.
    pub counted_from: u32,
}

impl<'a> CallRead<'a> {
    /// The read with its end, or nothing where CIGAR and bases disagree, nothing is aligned or the end overflows.
    pub(super) fn place(&self, options: &CallOptions) -> Option<Placed<'a>> {
        let (mut bases, mut span, mut aligned) = (0u64, 0u64, false);
        for &packed in self.cigar {
            let length = u64::from(packed >> 4);
            match packed & 15 {
                0 | 7 | 8 => {
                    bases += length;
                    span += length;
                    aligned |= length > 0;
                }
                1 | 4 => bases += length,
                2 | 3 => span += length,
                5 | 6 => {}
                _ => return None,
            }
        }
        let end = u32::try_from(u64::from(self.position) + span).ok()?;
        let whole = bases == self.sequence.len() as u64
            && (self.qualities.is_empty() || self.qualities.len() == self.sequence.len());
        let usable = self.mapq >= options.mapq_min && self.mapq != 255;
        (whole && aligned).then_some(Placed { read: *self, end, usable, template: 0, counted_from: 0 })
    }
}

impl<'a> Placed<'a> {
    /// The operations in order.
    pub fn steps(&self) -> impl Iterator<Item = Step> + use<'a> {
        let (mut reference, mut read) = (self.read.position, 0);
        self.read.cigar.iter().filter_map(move |&packed| {
            let length = packed >> 4;
            let (operation, on_reference, on_read) = match packed & 15 {
                0 | 7 | 8 => (Operation::Aligned, length, length),
                1 => (Operation::Insertion, 0, length),
                2 => (Operation::Deletion, length, 0),
                3 => (Operation::Skip, length, 0),
                4 => (Operation::Clip, 0, length),
                _ => return None,
            };
            let step = Step { operation, length, reference, read };
            reference += on_reference;
            read += on_read;
            (length > 0).then_some(step)
        })
    }

    /// Quality of a base as the models use it: capped, and a stand-in where there is none.
    pub fn quality(&self, at: usize, options: &CallOptions) -> u8 {
        match self.read.qualities.get(at) {
            None | Some(255) => options.quality_missing,
            Some(&quality) => quality.min(options.quality_max),
        }
    }
}

/// Checks all reads, drops those that start too far away to be seen, and ties the reads of one template together.
pub(super) fn place_all<'a>(
    reads: &[CallRead<'a>],
    first_start: u32,
    last_start: u32,
    options: &CallOptions,
) -> Vec<Placed<'a>> {
    let near = reads.iter().filter(|read| (first_start..last_start).contains(&read.position));
    let mut placed: Vec<Placed<'a>> = near.filter_map(|read| read.place(options)).collect();
    // Sums of floating point numbers depend on their order, so reads of one position get a fixed one.
    placed.sort_by_key(|placed| (placed.read.position, placed.read.name_hash, placed.read.reverse));
    let mut by_name: Vec<(u64, u32)> =
        placed.iter().enumerate().map(|(at, placed)| (placed.read.name_hash, at as u32)).collect();
    by_name.sort_unstable();
    for template in by_name.chunk_by(|a, b| a.0 == b.0) {
        let mut counted = 0;
        for &(_, at) in template {
            let read = &mut placed[at as usize];
            read.template = template[0].1;
            read.counted_from = counted;
            if read.usable {
                counted = counted.max(read.end);
            }
        }
    }
    placed
}
