//! From the mappings of one template to its records: flags, mate fields, tags, and what duplicate marking will ask.
//!
//! Tags follow bwa's habits (NM MD MC AS XS RG SA XA); supplementary records are hard-clipped; an unmapped read takes
//! the place of its placed mate (SAMv1 §2.4).

use crate::context::Context;
use crate::entry::{Entry, Order, Place};
use crate::fastq::Reads;
use crate::record::{self, Fields, Record, cigar, flag};
use jobs::genome::Contigs;
use jobs::task::LaneId;
use kernels::align::{Hit, ReadMapping};
use kernels::duplicates::{End, Fragment, REACH_BASES, quality_score};
use kernels::reference::Reference;
use kernels::sequence::reverse_complement;
use std::array::from_fn;

/// One read of a template as sequenced: base codes and qualities (empty if unknown).
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Codes 0 to 4.
    pub sequence: &'a [u8],
    /// Phred without offset.
    pub qualities: &'a [u8],
}

impl<'a> Read<'a> {
    /// One of `reads`.
    pub fn of(reads: &'a Reads, at: usize) -> Self {
        Read { sequence: reads.sequence(at), qualities: reads.qualities(at) }
    }
}

/// What all templates of a lane share.
#[derive(Clone, Copy, Debug)]
pub struct LaneContext<'a> {
    /// The reference's sequences.
    pub contigs: &'a Contigs,
    /// Their bases.
    pub reference: Reference<'a>,
    /// Lane's ordinal in the sample.
    pub lane: u32,
    /// Library's ordinal in the sample.
    pub library: u16,
    /// Read group id; empty for none.
    pub read_group: &'a [u8],
}

impl<'a> LaneContext<'a> {
    /// Of a lane of the job.
    pub fn of(context: &'a Context, lane: LaneId) -> Self {
        let spec = context.lane(lane);
        LaneContext {
            contigs: context.index.contigs(),
            reference: context.index.reference(),
            lane: lane.lane,
            library: spec.library,
            read_group: spec.read_group.as_bytes(),
        }
    }
}

/// A template as mapped: one read, or the two of a pair, each with its mapping.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Counts the templates of the lane.
    pub ordinal: u64,
    /// QNAME.
    pub name: &'a [u8],
    /// One or two reads.
    pub reads: &'a [Read<'a>],
    /// As many mappings.
    pub mappings: &'a [ReadMapping],
    /// Whether the mates stand as the insert-size model expects.
    pub proper: bool,
}

/// Writes the records of templates; keeps buffers between them.
#[derive(Debug, Default)]
pub struct TemplateWriter {
    sequence: Vec<u8>,
    qualities: Vec<u8>,
    letters: Vec<u8>,
    tags: Vec<u8>,
    record: Vec<u8>,
}

/// Where a read of the template stands, as its mate and its other parts need to know.
#[derive(Clone, Copy)]
struct Standing<'a> {
    hit: Option<&'a Hit>,
    place: Option<(u32, u32)>,
}

impl TemplateWriter {
    /// Gives out the records of one template: mates first, then supplementary ones.
    pub fn write(
        &mut self,
        lane: &LaneContext<'_>,
        template: &Template<'_>,
        emit: &mut impl FnMut(Entry<'_>),
    ) {
        let &Template { ordinal, name, reads, mappings, proper } = template;
        let standings = standings(mappings);
        let scores: [u32; 2] =
            from_fn(|which| reads.get(which).map_or(0, |read| quality_score(read.qualities)));
        let name_hash = name_hash(name);
        let mut segment = 0;
        for (which, (read, mapping)) in reads.iter().zip(mappings).enumerate() {
            let mate = (reads.len() == 2).then(|| standings[1 - which]);
            let flags = template_flags(which, mate, proper);
            let hit = standings[which].hit;
            self.orient(read, hit.is_some_and(|hit| hit.reverse));
            self.tags.clear();
            self.primary_tags(lane, mapping, mate);
            let fields = Fields {
                name,
                flag: flags | hit.map_or(flag::UNMAPPED, strand),
                ..self.place_fields(&standings[which], mate.as_ref(), which)
            };
            // A mate without a place says nothing of the fragment (Picard's MarkDuplicates, samtools markdup).
            let paired = mate.is_some_and(|mate| mate.hit.is_some());
            let score = if paired { scores.iter().sum() } else { scores[which] };
            let fragment = fragment(lane, hit, mate, score, name_hash, ordinal);
            self.give(lane, ordinal, segment, &fields, hit.map_or(&[], |hit| &hit.cigar), fragment, emit);
            segment += 1;
        }
        for (which, (read, mapping)) in reads.iter().zip(mappings).enumerate() {
            let mate = (reads.len() == 2).then(|| standings[1 - which]);
            for (part, hit) in mapping.supplementary.iter().enumerate() {
                let standing = Standing { hit: Some(hit), place: Some((hit.contig, hit.position)) };
                self.orient(read, hit.reverse);
                self.tags.clear();
                self.alignment_tags(lane, hit);
                self.text_tag(b"RG", lane.read_group);
                self.sa_tag(lane, mapping, Some(part));
                let fields = Fields {
                    name,
                    flag: template_flags(which, mate, proper) | strand(hit) | flag::SUPPLEMENTARY,
                    ..self.place_fields(&standing, mate.as_ref(), which)
                };
                let (hard, clips) = hard_clipped(&hit.cigar);
                self.clip(clips);
                self.give(lane, ordinal, segment, &fields, &hard, None, emit);
                segment = segment.saturating_add(1);
            }
        }
    }

    /// Position, mapping quality and mate fields.
    fn place_fields(&self, own: &Standing<'_>, mate: Option<&Standing<'_>>, which: usize) -> Fields<'static> {
        let (contig, position) = split(own.place);
        let (mate_contig, mate_position) = split(mate.and_then(|mate| mate.place));
        let hits = (own.hit, mate.and_then(|mate| mate.hit));
        Fields {
            name: b"",
            flag: 0,
            contig,
            position,
            mapq: own.hit.map_or(0, |hit| hit.mapq),
            cigar: &[],
            mate_contig,
            mate_position,
            template_length: if let (Some(a), Some(b)) = hits { template_length(a, b, which) } else { 0 },
            sequence: &[],
            qualities: &[],
            tags: &[],
        }
    }

    /// The read in reference orientation.
    fn orient(&mut self, read: &Read<'_>, reverse: bool) {
        self.sequence.clear();
        self.qualities.clear();
        if reverse {
            reverse_complement(read.sequence, &mut self.sequence);
            self.qualities.extend(read.qualities.iter().rev());
        } else {
            self.sequence.extend_from_slice(read.sequence);
            self.qualities.extend_from_slice(read.qualities);
        }
    }

    /// Takes so many bases from either end of it.
    fn clip(&mut self, clips: (usize, usize)) {
        for bytes in [&mut self.sequence, &mut self.qualities].into_iter().filter(|bytes| !bytes.is_empty()) {
            bytes.truncate(bytes.len() - clips.1);
            bytes.drain(..clips.0);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the pieces of one record, each from another source")]
    fn give(
        &mut self,
        lane: &LaneContext<'_>,
        ordinal: u64,
        segment: u8,
        fields: &Fields<'_>,
        cigar: &[u32],
        fragment: Option<Fragment>,
        emit: &mut impl FnMut(Entry<'_>),
    ) {
        self.record.clear();
        let (sequence, qualities, tags) = (&self.sequence[..], &self.qualities[..], &self.tags[..]);
        record::encode(&Fields { cigar, sequence, qualities, tags, ..*fields }, &mut self.record);
        let place = match fields.contig {
            -1 => Place::NOWHERE,
            contig => Place::new(contig as u32, fields.position as u32),
        };
        let record = Record::new(&self.record).expect("a record just encoded is whole");
        emit(Entry { place, order: Order::new(lane.lane, ordinal, segment), fragment, record });
    }

    fn primary_tags(&mut self, lane: &LaneContext<'_>, mapping: &ReadMapping, mate: Option<Standing<'_>>) {
        if let Some(hit) = &mapping.primary {
            self.alignment_tags(lane, hit);
        }
        if let Some(mate) = mate.and_then(|mate| mate.hit) {
            self.tags.extend_from_slice(b"MCZ");
            append_cigar(&mate.cigar, &mut self.tags);
            self.tags.push(0);
        }
        if mapping.primary.is_some() {
            self.integer_tag(b"XS", mapping.sub_score);
        }
        self.text_tag(b"RG", lane.read_group);
        self.sa_tag(lane, mapping, None);
        let alternatives: String = mapping
            .alternatives
            .iter()
            .map(|hit| {
                let sign = if hit.reverse { '-' } else { '+' };
                let (name, text) = (&lane.contigs.get(hit.contig).name, cigar_text(&hit.cigar));
                format!("{name},{sign}{},{text},{};", hit.position + 1, hit.edits)
            })
            .collect();
        self.text_tag(b"XA", alternatives.as_bytes());
    }

    /// NM, MD and AS of a hit of the read oriented.
    fn alignment_tags(&mut self, lane: &LaneContext<'_>, hit: &Hit) {
        self.integer_tag(b"NM", hit.edits as i32);
        self.tags.extend_from_slice(b"MDZ");
        if hit.edits == 0 {
            append_number(reference_bases(&hit.cigar), &mut self.tags);
        } else {
            let end = hit.position + reference_bases(&hit.cigar);
            lane.reference.letters(hit.contig, hit.position, end, &mut self.letters);
            append_differences(&hit.cigar, &self.sequence, &self.letters, &mut self.tags);
        }
        self.tags.push(0);
        self.integer_tag(b"AS", hit.score);
    }

    /// The other parts of a chimeric read, the primary first; `part` is this record's index among the supplementary
    /// ones, `None` for the primary.
    fn sa_tag(&mut self, lane: &LaneContext<'_>, mapping: &ReadMapping, part: Option<usize>) {
        let primary = mapping.primary.iter().filter(|_| part.is_some());
        let others = mapping.supplementary.iter().enumerate().filter(|&(i, _)| Some(i) != part);
        let text: String = primary
            .chain(others.map(|(_, hit)| hit))
            .map(|hit| {
                let (name, sign) = (&lane.contigs.get(hit.contig).name, if hit.reverse { '-' } else { '+' });
                let text = cigar_text(&hit.cigar);
                format!("{name},{},{sign},{text},{},{};", hit.position + 1, hit.mapq, hit.edits)
            })
            .collect();
        self.text_tag(b"SA", text.as_bytes());
    }

    /// Appends a text tag unless the text is empty.
    fn text_tag(&mut self, name: &[u8; 2], text: &[u8]) {
        if !text.is_empty() {
            self.tags.extend_from_slice(name);
            self.tags.push(b'Z');
            self.tags.extend_from_slice(text);
            self.tags.push(0);
        }
    }

    /// Appends an integer tag in the smallest type that holds it, as htslib does.
    fn integer_tag(&mut self, name: &[u8; 2], value: i32) {
        self.tags.extend_from_slice(name);
        match value {
            0..=0xff => self.tags.extend_from_slice(&[b'C', value as u8]),
            0x100..=0xffff => {
                self.tags.push(b'S');
                self.tags.extend_from_slice(&(value as u16).to_le_bytes());
            }
            _ => {
                self.tags.push(b'i');
                self.tags.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// An unmapped read stands where its mate stands.
fn standings(mappings: &[ReadMapping]) -> [Standing<'_>; 2] {
    let hit = |which: usize| mappings.get(which).and_then(|mapping| mapping.primary.as_ref());
    let place = |which: usize| hit(which).map(|hit| (hit.contig, hit.position));
    [
        Standing { hit: hit(0), place: place(0).or(place(1)) },
        Standing { hit: hit(1), place: place(1).or(place(0)) },
    ]
}

fn split(place: Option<(u32, u32)>) -> (i32, i32) {
    place.map_or((-1, -1), |(contig, position)| (contig as i32, position as i32))
}

fn strand(hit: &Hit) -> u16 {
    if hit.reverse { flag::REVERSE } else { 0 }
}

fn template_flags(which: usize, mate: Option<Standing<'_>>, proper: bool) -> u16 {
    let Some(mate) = mate else { return 0 };
    let order = if which == 0 { flag::FIRST } else { flag::LAST };
    let mate_state = match mate.hit {
        None => flag::MATE_UNMAPPED,
        Some(hit) if hit.reverse => flag::MATE_REVERSE,
        Some(_) => 0,
    };
    flag::PAIRED | order | mate_state | if proper { flag::PROPER } else { 0 }
}

/// TLEN: from the leftmost to the rightmost mapped base; positive for the mate that starts first. Of two that start
/// together it is positive for the forward one, as after bwa and `samtools fixmate`: so htsjdk sees that they look
/// inward. Of two on one strand it is for the first mate.
fn template_length(own: &Hit, mate: &Hit, which: usize) -> i32 {
    if own.contig != mate.contig {
        return 0;
    }
    let end = |hit: &Hit| hit.position + reference_bases(&hit.cigar);
    let length = (end(own).max(end(mate)) - own.position.min(mate.position)) as i32;
    let leads = (own.position, own.reverse, which) < (mate.position, mate.reverse, 1 - which);
    if leads { length } else { -length }
}

fn fragment(
    lane: &LaneContext<'_>,
    own: Option<&Hit>,
    mate: Option<Standing<'_>>,
    score: u32,
    name_hash: u64,
    ordinal: u64,
) -> Option<Fragment> {
    let own = end_of(own?)?;
    let mate = match mate.and_then(|mate| mate.hit) {
        Some(hit) => Some(end_of(hit)?),
        None => None,
    };
    let template = Order::new(lane.lane, ordinal, 0).template();
    Some(Fragment { library: lane.library, own, mate, score, name_hash, template })
}

/// The unclipped 5' end; `None` for a hit too wide to take part in duplicate marking.
fn end_of(hit: &Hit) -> Option<End> {
    let clip = |op: Option<&u32>| op.filter(|&&op| matches!(op & 15, 4 | 5)).map_or(0, |op| op >> 4);
    let (left, right) = (clip(hit.cigar.first()), clip(hit.cigar.last()));
    let span = reference_bases(&hit.cigar);
    if left + span + right > REACH_BASES {
        return None;
    }
    let position = if hit.reverse {
        (hit.position + span + right) as i32 - 1
    } else {
        hit.position as i32 - left as i32
    };
    Some(End { contig: hit.contig, position, reverse: hit.reverse })
}

/// FNV-1a with a final mix: the hash of a read name that ties and downsampling go by.
pub fn name_hash(name: &[u8]) -> u64 {
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut hash = name.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

fn reference_bases(ops: &[u32]) -> u32 {
    ops.iter().filter(|&&op| cigar::consumes_reference(op)).map(|op| op >> 4).sum()
}

fn cigar_text(ops: &[u32]) -> String {
    let mut text = Vec::new();
    append_cigar(ops, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn append_cigar(ops: &[u32], text: &mut Vec<u8>) {
    for op in ops {
        append_number(op >> 4, text);
        text.push(cigar::LETTERS[(op & 15) as usize]);
    }
}

fn append_number(number: u32, text: &mut Vec<u8>) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The CIGAR with hard instead of soft clips, and how many bases they take from either end.
fn hard_clipped(ops: &[u32]) -> (Vec<u32>, (usize, usize)) {
    let harden = |&op: &u32| if op & 15 == 4 { op & !15 | 5 } else { op };
    let hard: Vec<u32> = ops.iter().map(harden).collect();
    let clip = |op: Option<&u32>| op.filter(|&&op| op & 15 == 5).map_or(0, |op| (op >> 4) as usize);
    let clips = (clip(hard.first()), clip(hard.last()));
    (hard, clips)
}

/// Appends MD (SAM tags §1.1) of an alignment; `letters` are the reference's over it. N matches nothing.
fn append_differences(ops: &[u32], sequence: &[u8], letters: &[u8], text: &mut Vec<u8>) {
    // An unknown base is equal to no letter.
    const LETTERS: [u8; 8] = *b"ACGT\0\0\0\0";
    let (mut read, mut reference, mut matches) = (0, 0, 0);
    for op in ops {
        let length = (op >> 4) as usize;
        let over = || &letters[reference..reference + length];
        match op & 15 {
            0 | 7 | 8 => {
                for (&code, &letter) in sequence[read..read + length].iter().zip(over()) {
                    matches += 1;
                    if LETTERS[usize::from(code & 7)] != letter {
                        append_number(matches - 1, text);
                        text.push(letter);
                        matches = 0;
                    }
                }
            }
            2 => {
                append_number(matches, text);
                text.push(b'^');
                text.extend_from_slice(over());
                matches = 0;
            }
            _ => {}
        }
        read += if cigar::consumes_read(*op) { length } else { 0 };
        reference += if cigar::consumes_reference(*op) { length } else { 0 };
    }
    append_number(matches, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(letters: &[u8]) -> Vec<u8> {
        letters.iter().map(|letter| b"ACGTN".iter().position(|l| l == letter).unwrap() as u8).collect()
    }

    #[test]
    fn differences_are_stated_as_the_specification_does() {
        type Case = (&'static [u32], &'static [u8], &'static [u8], &'static str);
        let cases: &[Case] = &[
            (&[4 << 4], b"ACGT", b"ACGT", "4"),
            (&[4 << 4], b"ACGT", b"TCGA", "0T2A0"),
            (&[2 << 4 | 4, 2 << 4], b"TTGT", b"GN", "1N0"),
            (&[2 << 4, 1 << 4 | 1, 1 << 4], b"ACGT", b"ACT", "3"),
            (&[2 << 4, 2 << 4 | 2, 2 << 4], b"ACGT", b"ACTTAT", "2^TT0A1"),
            (&[1 << 4], b"N", b"N", "0N0"),
        ];
        for (ops, read, reference, expect) in cases {
            let mut text = Vec::new();
            append_differences(ops, &codes(read), reference, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), *expect);
        }
    }

    #[test]
    fn supplementary_records_lose_their_clips() {
        let soft = [5 << 4 | 4, 10 << 4, 3 << 4 | 4];
        assert_eq!(hard_clipped(&soft), (vec![5 << 4 | 5, 10 << 4, 3 << 4 | 5], (5, 3)));
        assert_eq!(hard_clipped(&[10 << 4]), (vec![10 << 4], (0, 0)));
        assert_eq!(cigar_text(&soft), "5S10M3S");
    }

    #[test]
    fn of_two_that_start_together_the_forward_one_leads() {
        let hit = |position, reverse, bases: u32| Hit {
            contig: 0,
            position,
            reverse,
            score: 0,
            mapq: 0,
            cigar: vec![bases << 4],
            edits: 0,
        };
        let check = |first: Hit, second: Hit, expect: i32| {
            assert_eq!(template_length(&first, &second, 0), expect);
            assert_eq!(template_length(&second, &first, 1), -expect);
        };
        check(hit(100, false, 50), hit(200, true, 50), 150);
        check(hit(200, true, 50), hit(100, false, 50), -150);
        check(hit(100, false, 50), hit(100, true, 40), 50);
        check(hit(100, true, 50), hit(100, false, 40), -50);
        check(hit(100, true, 50), hit(100, true, 40), 50);
    }

    #[test]
    fn names_hash_apart() {
        let hashes: std::collections::BTreeSet<u64> =
            (0..10_000).map(|i| name_hash(format!("read{i}").as_bytes())).collect();
        assert_eq!(hashes.len(), 10_000);
    }
}
