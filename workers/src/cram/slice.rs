//! The records of one slice as streams of data series (CRAMv3 §8.4, §10).
//!
//! Per record: its bases are unpacked and compared with the reference sixteen at a time, since most are equal; what
//! differs becomes features, and on the way the NM and MD that a reader will restore. Mates of one slice are linked where a
//! reader finds their mate fields by the specification alone; other records carry theirs.
//! Invariant: see [`super`]. Refuses rather than approximates.

use super::series::{Series, SeriesStreams};
use super::stream::{Coded, Coding, Compressors, Form, Stream, put_constant, put_itf8};
use crate::hashed::HashedMap;
use crate::record::{Record, cigar, flag};
use kernels::reference::Reference;
use md5::{Digest, Md5};

/// Bits of CF (CRAMv3 §10.2).
mod compression_flag {
    pub const QUALITIES: i32 = 1;
    pub const DETACHED: i32 = 2;
    pub const MATE_DOWNSTREAM: i32 = 4;
}

/// Codes of the other bases, in order, for each of A C G T N in the reference (CRAMv3 §10.6): 0 to 3.
const SUBSTITUTIONS: [u8; 5] = [0b00_01_10_11; 5];
const LETTERS: &[u8; 5] = b"ACGTN";
/// Bases compared at once.
const BLOCK_BASES: usize = 16;

/// How a record finds its mate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// By fields of its own.
    Detached,
    /// So many records lie between.
    Downstream(u32),
    /// By the mate that comes before.
    Upstream,
}

/// The reference under a slice.
#[derive(Default)]
struct Under {
    start: u32,
    letters: Vec<u8>,
    codes: Vec<u8>,
    /// Whether it is A, C, G and T only.
    plain: bool,
}

/// What the reference says of an alignment: NM and MD (SAM tags §1.1).
#[derive(Default)]
struct Restored {
    /// Whether any reader restores the same: the reference is known everywhere.
    certain: bool,
    edits: u32,
    matches: u32,
    text: Vec<u8>,
}

/// A slice in streams; buffers are kept from slice to slice.
pub struct SliceStreams {
    series: SeriesStreams,
    tags: Vec<Stream>,
    /// The lists of tags, each ended by a zero; and where they begin.
    dictionary: Vec<u8>,
    lists: Vec<usize>,
    contig: i32,
    span: [u32; 2],
    records: u32,
    bases: u64,
    under: Under,
    restored: Restored,
    links: Vec<Link>,
    waiting: HashedMap<u32>,
    sequence: Vec<u8>,
    list: Vec<u8>,
}

impl Default for SliceStreams {
    fn default() -> Self {
        SliceStreams {
            series: SeriesStreams::default(),
            tags: Vec::new(),
            dictionary: Vec::new(),
            lists: Vec::new(),
            contig: -1,
            span: [0; 2],
            records: 0,
            bases: 0,
            under: Under::default(),
            restored: Restored::default(),
            links: Vec::new(),
            waiting: HashedMap::default(),
            sequence: Vec::new(),
            list: Vec::new(),
        }
    }
}

impl SliceStreams {
    /// Replaces what is there by these records; `None` if one of them has no code here.
    pub fn fill<'a>(
        &mut self,
        reference: &Reference<'_>,
        groups: &[Vec<u8>],
        records: impl Iterator<Item = &'a [u8]>,
    ) -> Option<()> {
        let records: Vec<Record<'a>> = records.map(Record::new).collect::<Result<_, _>>().ok()?;
        self.series.clear();
        self.tags.clear();
        self.dictionary.clear();
        self.lists.clear();
        self.records = u32::try_from(records.len()).ok()?;
        self.bases = records.iter().map(|record| record.bases() as u64).sum();
        self.stand(reference, &records)?;
        self.link(&records);
        let mut before = records.first()?.position();
        for (at, record) in records.iter().enumerate() {
            let step = record.position().checked_sub(before).filter(|&step| step >= 0)?;
            self.series[Series::AP].integer(step);
            before = record.position();
            self.record(record, self.links[at], groups)?;
        }
        Some(())
    }

    /// Contig, start (from 1) and span, as CRAM has them.
    pub fn place(&self) -> [u32; 3] {
        [self.contig.cast_unsigned(), self.span[0], self.span[1]]
    }

    pub fn records(&self) -> u32 {
        self.records
    }

    pub fn bases(&self) -> u64 {
        self.bases
    }

    pub fn raw_bytes(&self) -> usize {
        self.streams().map(|stream| stream.bytes.len()).sum()
    }

    pub fn reference_md5(&self) -> [u8; 16] {
        if self.contig < 0 { [0; 16] } else { Md5::digest(&self.under.letters).into() }
    }

    /// Every stream that has a block.
    pub fn coded(&self, compressors: &mut Compressors) -> Vec<Coded> {
        let coded = self.streams().filter(|stream| self.constant(stream).is_none());
        coded.map(|stream| stream.coded(compressors)).collect()
    }

    /// CRAMv3 §8.4: what is preserved, then how each series and tag is encoded.
    pub fn compression_header(&self) -> Vec<u8> {
        let mut preserved = Vec::new();
        put_itf8(5, &mut preserved);
        // Names are kept, positions are differences, and the reference is needed.
        preserved.extend_from_slice(b"RN\x01AP\x01RR\x01SM");
        preserved.extend_from_slice(&SUBSTITUTIONS);
        preserved.extend_from_slice(b"TD");
        put_itf8(self.dictionary.len() as u32, &mut preserved);
        preserved.extend_from_slice(&self.dictionary);
        let mut series = Vec::new();
        put_itf8(self.series.used().count() as u32, &mut series);
        for (name, stream) in self.series.used() {
            series.extend_from_slice(name.as_bytes());
            match self.constant(stream) {
                Some(value) => put_constant(value, &mut series),
                None => stream.put_encoding(&mut series),
            }
        }
        let mut tags = Vec::new();
        put_itf8(self.tags.len() as u32, &mut tags);
        for stream in &self.tags {
            put_itf8(stream.id, &mut tags);
            stream.put_encoding(&mut tags);
        }
        let mut out = Vec::new();
        for map in [preserved, series, tags] {
            put_itf8(map.len() as u32, &mut out);
            out.extend_from_slice(&map);
        }
        out
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.series.used().map(|(_, stream)| stream).chain(&self.tags)
    }

    /// The value of a series that every record has, if it is one and the same.
    fn constant(&self, stream: &Stream) -> Option<u32> {
        let is_one = [Series::RL, Series::RG].iter().any(|&series| stream.id == series.id());
        let width = stream.bytes.len() / self.records as usize;
        let first = stream.bytes.get(..width)?;
        if !is_one || width == 0 || stream.bytes.chunks(width).any(|value| value != first) {
            return None;
        }
        match *first {
            [value @ 0..0x80] => Some(u32::from(value)),
            [high @ 0x80..0xc0, low] => Some(u32::from(high & 0x3f) << 8 | u32::from(low)),
            [0xff, 0xff, 0xff, 0xff, 0x0f] => Some(u32::MAX),
            _ => None,
        }
    }

    /// Where the slice lies, and the reference under it.
    fn stand(&mut self, reference: &Reference<'_>, records: &[Record<'_>]) -> Option<()> {
        let first = records.first()?;
        self.contig = first.contig();
        if records.iter().any(|record| record.contig() != self.contig) {
            return None;
        }
        if self.contig < 0 {
            self.span = [0, 0];
            let is_placed =
                |record: &Record<'_>| record.position() >= 0 || record.flag() & flag::UNMAPPED == 0;
            return (!records.iter().any(is_placed)).then_some(());
        }
        let (contig, start) = (self.contig.cast_unsigned(), u32::try_from(first.position()).ok()?);
        let end_of = |record: &Record<'_>| {
            let along =
                record.cigar().filter(|&op| cigar::consumes_reference(op)).map(|op| u64::from(op >> 4));
            u64::from(record.position().max(0) as u32) + along.sum::<u64>().max(1)
        };
        let end = records.iter().map(end_of).max()?;
        if contig as usize >= reference.contigs() || end > u64::from(reference.length(contig)) {
            return None;
        }
        let under = &mut self.under;
        reference.letters(contig, start, end as u32, &mut under.letters);
        under.codes.clear();
        under.codes.extend(under.letters.iter().map(|&letter| code_of(letter)));
        under.plain = !under.codes.contains(&4);
        under.start = start;
        self.span = [start + 1, end as u32 - start];
        Some(())
    }

    /// Finds the mates that need no mate fields.
    fn link(&mut self, records: &[Record<'_>]) {
        self.links.clear();
        self.links.resize(records.len(), Link::Detached);
        self.waiting.clear();
        for (at, record) in records.iter().enumerate() {
            const ASKED: u16 =
                flag::PAIRED | flag::UNMAPPED | flag::MATE_UNMAPPED | flag::SECONDARY | flag::SUPPLEMENTARY;
            if record.flag() & ASKED != flag::PAIRED || record.mate_contig() != record.contig() {
                continue;
            }
            let (own, mate) = (record.position(), record.mate_position());
            // Of two that start together no rule says whose TLEN is positive.
            if own < mate {
                self.waiting.entry(key(record.name(), own)).or_insert(at as u32);
            } else if own > mate
                && let Some(before) = self.waiting.remove(&key(record.name(), mate))
                && are_mates(&records[before as usize], record)
            {
                self.links[before as usize] = Link::Downstream(at as u32 - before - 1);
                self.links[at] = Link::Upstream;
            }
        }
    }

    fn record(&mut self, record: &Record<'_>, link: Link, groups: &[Vec<u8>]) -> Option<()> {
        let flags = record.flag();
        let has_mate = record.mate_contig() >= 0;
        if has_mate != (record.mate_position() >= 0) || has_mate && flags & flag::PAIRED == 0 {
            // Readers set such mate fields right.
            return None;
        }
        let qualities = record.qualities();
        let known = qualities.iter().any(|&quality| quality != 0xff);
        let mated = match link {
            Link::Detached => compression_flag::DETACHED,
            Link::Downstream(_) => compression_flag::MATE_DOWNSTREAM,
            Link::Upstream => 0,
        };
        let series = &mut self.series;
        series[Series::BF].integer(flags.into());
        series[Series::CF].integer(mated | if known { compression_flag::QUALITIES } else { 0 });
        series[Series::RL].integer(i32::try_from(record.bases()).ok()?);
        series[Series::RN].ended(record.name());
        match link {
            Link::Detached => {
                let reverse = i32::from(flags & flag::MATE_REVERSE != 0);
                let unmapped = i32::from(flags & flag::MATE_UNMAPPED != 0);
                series[Series::MF].integer(reverse | unmapped << 1);
                series[Series::NS].integer(record.mate_contig());
                series[Series::NP].integer(record.mate_position().checked_add(1)?);
                series[Series::TS].integer(record.template_length());
            }
            Link::Downstream(between) => series[Series::NF].integer(between as i32),
            Link::Upstream => {}
        }
        self.sequence.clear();
        record.sequence(&mut self.sequence);
        if flags & flag::UNMAPPED == 0 {
            self.features(record)?;
            self.series[Series::MQ].integer(record.mapq().into());
        } else if record.cigar().len() == 0 && record.mapq() == 0 {
            self.restored.certain = false;
            let letters = self.sequence.iter().map(|&code| LETTERS[usize::from(code)]);
            self.series[Series::BA].bytes.extend(letters);
        } else {
            return None;
        }
        if known {
            self.series[Series::QS].bytes.extend_from_slice(qualities);
        }
        self.tag_values(record, groups)
    }

    /// How the bases of a placed record differ from the reference.
    fn features(&mut self, record: &Record<'_>) -> Option<()> {
        let SliceStreams { series, under, restored, sequence, .. } = self;
        restored.begin();
        let (mut read, mut place) = (0, (record.position() as u32 - under.start) as usize);
        let (mut count, mut last) = (0, 0);
        let mut feature = |series: &mut SeriesStreams, code: u8, at: usize| {
            series[Series::FC].bytes.push(code);
            series[Series::FP].integer((at + 1 - last) as i32);
            last = at + 1;
            count += 1;
        };
        for packed in record.cigar() {
            let length = (packed >> 4) as usize;
            match packed & 15 {
                // Of = and X a reader would make M, so they have no code here.
                0 => {
                    let bases = sequence.get(read..read + length)?;
                    let codes = &under.codes[place..place + length];
                    let blocks = bases.chunks(BLOCK_BASES).zip(codes.chunks(BLOCK_BASES)).enumerate();
                    for (block, (bases, codes)) in blocks {
                        if bases == codes && under.plain {
                            restored.matches += bases.len() as u32;
                            continue;
                        }
                        for (offset, (&base, &code)) in bases.iter().zip(codes).enumerate() {
                            let at = block * BLOCK_BASES + offset;
                            let letter = under.letters[place + at];
                            restored.base(base, code, letter);
                            if base != code {
                                feature(series, b'X', read + at);
                                series[Series::BS].bytes.push(base - u8::from(base > code));
                            } else if code == 4 && letter != b'N' {
                                // A reader would take the letter itself.
                                return None;
                            }
                        }
                    }
                }
                1 if length == 1 => {
                    feature(series, b'i', read);
                    series[Series::BA].bytes.push(LETTERS[usize::from(*sequence.get(read)?)]);
                    restored.edits += 1;
                }
                op @ (1 | 4) => {
                    let (code, stream) = if op == 1 { (b'I', Series::IN) } else { (b'S', Series::SC) };
                    feature(series, code, read);
                    let letters = sequence.get(read..read + length)?;
                    series[stream].bytes.extend(letters.iter().map(|&code| LETTERS[usize::from(code)]));
                    series[stream].bytes.push(0);
                    restored.edits += if op == 1 { length as u32 } else { 0 };
                }
                2 => {
                    feature(series, b'D', read);
                    series[Series::DL].integer(length as i32);
                    restored
                        .deletion(&under.letters[place..place + length], &under.codes[place..place + length]);
                }
                op @ (3 | 5 | 6) => {
                    let (code, stream) = match op {
                        3 => (b'N', Series::RS),
                        5 => (b'H', Series::HC),
                        _ => (b'P', Series::PD),
                    };
                    feature(series, code, read);
                    series[stream].integer(length as i32);
                    restored.certain &= op != 3;
                }
                _ => return None,
            }
            read += if cigar::consumes_read(packed) { length } else { 0 };
            place += if cigar::consumes_reference(packed) { length } else { 0 };
        }
        restored.end();
        series[Series::FN].integer(count);
        (read == sequence.len() && record.cigar().len() > 0).then_some(())
    }

    /// The record's tags but those that a reader restores.
    fn tag_values(&mut self, record: &Record<'_>, groups: &[Vec<u8>]) -> Option<()> {
        let SliceStreams { series, tags, restored, list, .. } = self;
        let (mut group, mut bytes) = (None, 0);
        list.clear();
        for (tag, value) in record.tag_values() {
            bytes += 2 + value.len();
            let (&kind, data) = value.split_first()?;
            if &tag == b"RG" && kind == b'Z' && group.is_none() {
                // To htslib a group of this name is none.
                let is_it = |group: &Vec<u8>| group != b"UNKNOWN" && data.strip_suffix(b"\0") == Some(group);
                group = groups.iter().position(is_it);
                if group.is_some() {
                    continue;
                }
            }
            let given_back = match &tag {
                b"MD" => kind == b'Z' && data.strip_suffix(b"\0") == Some(&restored.text),
                b"NM" => kind == b'C' && restored.edits < 256 && data == [restored.edits as u8],
                _ => false,
            };
            if restored.certain && given_back {
                continue;
            }
            let (form, coding) = match kind {
                b'A' | b'c' | b'C' => (Form::Fixed(1), Coding::Repeated),
                b's' | b'S' => (Form::Fixed(2), Coding::Repeated),
                b'i' | b'I' | b'f' => (Form::Fixed(4), Coding::Repeated),
                b'Z' if !data.contains(&b'\t') => (Form::Ended(b'\t'), Coding::Text),
                _ => return None,
            };
            let id = u32::from_be_bytes([0, tag[0], tag[1], kind]);
            let at = tags.iter().position(|stream| stream.id == id).unwrap_or_else(|| {
                tags.push(Stream::new(id, form, coding));
                tags.len() - 1
            });
            tags[at].ended(data);
            list.extend_from_slice(&[tag[0], tag[1], kind]);
        }
        series[Series::RG].integer(group.map_or(-1, |group| group as i32));
        list.push(0);
        let at = self.list_of_tags();
        self.series[Series::TL].integer(at as i32);
        (bytes == record.tags().len()).then_some(())
    }

    /// The ordinal of the list of tags in the dictionary.
    fn list_of_tags(&mut self) -> usize {
        let dictionary = &self.dictionary;
        let known = self.lists.iter().position(|&start| dictionary[start..].starts_with(&self.list));
        known.unwrap_or_else(|| {
            self.lists.push(self.dictionary.len());
            self.dictionary.extend_from_slice(&self.list);
            self.lists.len() - 1
        })
    }
}

impl Restored {
    fn begin(&mut self) {
        self.certain = true;
        (self.edits, self.matches) = (0, 0);
        self.text.clear();
    }

    #[inline]
    fn base(&mut self, base: u8, code: u8, letter: u8) {
        self.certain &= code < 4;
        if base == code {
            self.matches += 1;
        } else {
            self.count();
            self.text.push(letter);
            self.edits += 1;
        }
    }

    fn deletion(&mut self, letters: &[u8], codes: &[u8]) {
        self.certain &= !codes.contains(&4);
        self.count();
        self.text.push(b'^');
        self.text.extend_from_slice(letters);
        self.edits += letters.len() as u32;
    }

    fn count(&mut self) {
        self.text.extend_from_slice(itoa::Buffer::new().format(self.matches).as_bytes());
        self.matches = 0;
    }

    fn end(&mut self) {
        self.count();
    }
}

/// The code of a reference letter; whatever is no A, C, G or T is N to a reader too.
fn code_of(letter: u8) -> u8 {
    match letter {
        b'A' => 0,
        b'C' => 1,
        b'G' => 2,
        b'T' => 3,
        _ => 4,
    }
}

/// What the mates of a template share: its name and where the first of them begins.
fn key(name: &[u8], first: i32) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |key: u64, word: u64| (key ^ word).wrapping_mul(ODD).rotate_left(29);
    let (words, rest) = name.as_chunks::<8>();
    let key =
        words.iter().fold(u64::from(first.cast_unsigned()), |key, word| mix(key, u64::from_le_bytes(*word)));
    let key = rest.iter().fold(key, |key, &byte| key << 8 ^ key >> 56 ^ u64::from(byte));
    mix(key, name.len() as u64)
}

/// Whether any reader that knows both records finds the mate fields of each. Of TLEN there are two rules: htslib and the
/// specification take the outermost bases of both, htsjdk the first base of each as it was sequenced.
fn are_mates(first: &Record<'_>, last: &Record<'_>) -> bool {
    let is_reverse = |record: &Record<'_>| record.flag() & flag::REVERSE != 0;
    let reversed =
        |own: &Record<'_>, mate: &Record<'_>| (own.flag() & flag::MATE_REVERSE != 0) == is_reverse(mate);
    let end = |record: &Record<'_>| i64::from(record.position()) + i64::from(record.reference_bases());
    let length = end(first).max(end(last)) - i64::from(first.position());
    let is_outermost = !is_reverse(first) && is_reverse(last) && end(last) >= end(first);
    first.name() == last.name()
        && first.mate_position() == last.position()
        && last.mate_position() == first.position()
        && reversed(first, last)
        && reversed(last, first)
        && is_outermost
        && i64::from(first.template_length()) == length
        && i64::from(last.template_length()) == -length
}
