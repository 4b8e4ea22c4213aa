//! CRAM 3.0 containers of records: by our own encoder where it can, by htslib where not; and read back by htslib.
//!
//! Invariant: the bytes of a container are a function of header, reference and records: htslib's choice of codecs learns
//! from one container to the next, so every call starts a fresh encoder, on the calling thread. Whoever wrote it, htslib
//! reads it back and all of it is compared before anyone may rely on it; what of ours does not come back, htslib writes.
//! Knows nothing of the file the containers will stand in; see [`super::renumber`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jobs::failure::{Class, Classified};

use super::container::{CRAM_EOF, ContainerError, cram_file_header, widen};
use super::handle::{self, Alignment, AlignmentFile, Header, Next, References};
use crate::cram::ContainerEncoder;
use crate::record::{Record, flag};
use kernels::reference::Reference;

/// Why records could not be turned into CRAM.
#[derive(Debug, thiserror::Error)]
pub enum CramError {
    /// The header text is no SAM header.
    #[error("the SAM header for CRAM output does not parse")]
    Header,
    /// The FASTA or its index cannot be used.
    #[error("reference {}: cannot be read with its index", path.display())]
    Reference {
        /// The FASTA.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The FASTA lacks a contig of the header, or has it at another length.
    #[error("reference {}: contig {contig} of {bases} bases is not in it", path.display())]
    Contig {
        /// The FASTA.
        path: PathBuf,
        /// The contig of the header.
        contig: String,
        /// Its length there.
        bases: u64,
    },
    /// A record is no BAM record, or htslib refuses it.
    #[error("record {ordinal} of a CRAM container is refused")]
    Record {
        /// Its place among the records given, from 0.
        ordinal: usize,
    },
    /// htslib fails to encode the container, or its memory file fails.
    #[error("a CRAM container of {records} records cannot be encoded")]
    Encode {
        /// How many records it was to hold.
        records: usize,
        /// Why, where known.
        #[source]
        source: Option<std::io::Error>,
    },
    /// What was read back is not what was written.
    #[error("record {ordinal} of a CRAM container reads back with another {field}")]
    Differs {
        /// Its place among the records given, from 0.
        ordinal: usize,
        /// The field or tag.
        field: String,
    },
    /// The bytes are no containers.
    #[error(transparent)]
    Container(#[from] ContainerError),
}

impl Classified for CramError {
    fn class(&self) -> Class {
        match self {
            CramError::Reference { .. } | CramError::Contig { .. } => Class::Input,
            CramError::Header | CramError::Record { .. } | CramError::Encode { .. } => Class::Internal,
            CramError::Differs { .. } | CramError::Container(_) => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CramError::Reference { path, .. } => Some(format!("wakachi index {}", path.display())),
            CramError::Contig { .. } => Some("give the reference that the reads were aligned to".to_owned()),
            _ => None,
        }
    }
}

/// Encodes containers against one reference. Shared by threads; each call works alone.
///
/// Holds the sequence of each contig in use as bytes, once for all threads, and that of the last one used.
pub struct CramEncoder {
    header: Mutex<Header>,
    file_header: Vec<u8>,
    references: References,
    /// Ids of the header's read groups.
    groups: Vec<Vec<u8>>,
    /// Idle ones, with their buffers.
    own: Mutex<Vec<ContainerEncoder>>,
}

impl CramEncoder {
    /// Opens the FASTA (plain or BGZF, with `.fai` and `.gzi` beside it), which must hold every contig of the header.
    pub fn open(header_text: &str, fasta: &Path) -> Result<CramEncoder, CramError> {
        let header = Header::parse(header_text).ok_or(CramError::Header)?;
        let failed = |source| CramError::Reference { path: fasta.to_owned(), source };
        let known = super::index::fasta_contigs(fasta).map_err(failed)?;
        for (contig, bases) in header.contigs() {
            if known.get(&contig) != Some(&bases) {
                return Err(CramError::Contig { path: fasta.to_owned(), contig, bases });
            }
        }
        let references = References::load(fasta, &header).map_err(failed)?;
        let group = |line: &str| {
            let fields = line.strip_prefix("@RG\t")?.split('\t');
            fields.into_iter().find_map(|field| Some(field.strip_prefix("ID:")?.as_bytes().to_vec()))
        };
        Ok(CramEncoder {
            header: Mutex::new(header),
            file_header: cram_file_header(header_text),
            references,
            groups: header_text.lines().filter_map(group).collect(),
            own: Mutex::default(),
        })
    }

    /// The containers of up to 10,000 records (htslib starts another container beyond, or where the contig changes),
    /// numbered from 0, without anything before or after them. Checked by [`CramEncoder::verify`] before they return.
    pub fn containers<'a, R>(&self, reference: &Reference<'_>, records: R) -> Result<Vec<u8>, CramError>
    where
        R: IntoIterator<Item = &'a [u8], IntoIter: Clone + ExactSizeIterator>,
    {
        let records = records.into_iter();
        let idle = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = idle().pop().unwrap_or_default();
        let container = own.container(reference, &self.groups, records.clone());
        idle().push(own);
        if let Some(container) = container
            && self.verify(&container, records.clone()).is_ok()
        {
            return Ok(container);
        }
        let containers = self.by_htslib(records.clone())?;
        self.verify(&containers, records)?;
        Ok(containers)
    }

    /// Containers of any records, as htslib encodes them.
    fn by_htslib<'a>(
        &self,
        records: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Vec<u8>, CramError> {
        let failed = |source| CramError::Encode { records: records.len(), source };
        let mut memory = handle::memory_file(&[]).map_err(|error| failed(Some(error)))?;
        let clone = memory.try_clone().map_err(|error| failed(Some(error)))?;
        let header = self.header.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut file = AlignmentFile::create_cram(clone, &header).map_err(|error| failed(Some(error)))?;
        drop(header);
        file.share_references(&self.references).map_err(|error| failed(Some(error)))?;
        let mut alignment = Alignment::new();
        for (ordinal, record) in records.clone().enumerate() {
            let refused = CramError::Record { ordinal };
            let loaded = alignment.load(record);
            loaded.and_then(|()| file.write_cram(&alignment)).ok_or(refused)?;
        }
        file.flush_containers().ok_or_else(|| failed(None))?;
        let containers = handle::memory_bytes(&mut memory).map_err(|error| failed(Some(error)))?;
        drop(file);
        Ok(widen(&containers)?)
    }

    /// Decodes containers and compares them with the records they were made from, field by field and tag by tag.
    ///
    /// CRAM drops the MD and NM of placed reads that the reference gives back, and gives them back behind the other
    /// tags; so tags are compared by name, and MD and NM of a record that had none are let pass.
    pub fn verify<'a>(
        &self,
        containers: &[u8],
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), CramError> {
        let unreadable = |ordinal| CramError::Differs { ordinal, field: "encoding".to_owned() };
        let bytes = [&self.file_header, containers, &CRAM_EOF].concat();
        let memory = handle::memory_file(&bytes).map_err(|_| unreadable(0))?;
        let (mut file, _) = AlignmentFile::open(memory, c"cram").map_err(|_| unreadable(0))?;
        file.share_references(&self.references).map_err(|_| unreadable(0))?;
        let mut header = file.header().ok_or_else(|| unreadable(0))?;
        let mut alignment = Alignment::new();
        let mut decoded = Vec::new();
        let mut ordinal = 0;
        for record in records {
            if file.read(&mut header, &mut alignment) != Next::Record
                || alignment.store(&mut decoded).is_none()
            {
                return Err(unreadable(ordinal));
            }
            match difference(record, &decoded) {
                Some(field) => return Err(CramError::Differs { ordinal, field }),
                None => ordinal += 1,
            }
        }
        match file.read(&mut header, &mut alignment) {
            Next::End => Ok(()),
            _ => Err(unreadable(ordinal)),
        }
    }
}

/// The first field or tag in which two records differ.
fn difference(written: &[u8], read: &[u8]) -> Option<String> {
    let (Ok(a), Ok(b)) = (Record::new(written), Record::new(read)) else {
        return Some("layout".to_owned());
    };
    // What is stored alike is alike; only where it is not, the fields are asked which of them it is.
    if before_tags(&a) == before_tags(&b) {
        return named(tag_difference(&a, &b));
    }
    let fixed = [
        ("FLAG", a.flag() != b.flag()),
        ("RNAME", a.contig() != b.contig()),
        ("POS", a.position() != b.position()),
        ("MAPQ", a.mapq() != b.mapq()),
        ("CIGAR", !a.cigar().eq(b.cigar())),
        ("RNEXT", a.mate_contig() != b.mate_contig()),
        ("PNEXT", a.mate_position() != b.mate_position()),
        ("TLEN", a.template_length() != b.template_length()),
        ("QNAME", a.name() != b.name()),
        ("SEQ", a.packed_sequence() != b.packed_sequence()),
        ("QUAL", a.qualities() != b.qualities()),
    ];
    if let Some((field, _)) = fixed.into_iter().find(|(_, differs)| *differs) {
        return Some(field.to_owned());
    }
    named(tag_difference(&a, &b))
}

fn named(tag: Option<[u8; 2]>) -> Option<String> {
    tag.map(|tag| String::from_utf8_lossy(&tag).into_owned())
}

fn before_tags<'a>(record: &Record<'a>) -> &'a [u8] {
    let bytes = record.bytes();
    &bytes[..bytes.len() - record.tags().len()]
}

/// Tags of a record that are told apart at once; of more, each is looked for.
const TAGS_AT_ONCE: usize = 32;

/// The first tag that differs, if there is one: those that do not, nearly all, are told without looking for each.
fn tag_difference(written: &Record<'_>, read: &Record<'_>) -> Option<[u8; 2]> {
    if are_paired(written, read) { None } else { first_tag_difference(written, read) }
}

/// Whether each tag written comes back, and nothing else does but what may. May say no where it is so.
fn are_paired(written: &Record<'_>, read: &Record<'_>) -> bool {
    let mut found = [(*b"  ", &[][..]); TAGS_AT_ONCE];
    let mut count = 0;
    for tag in read.tag_values() {
        let Some(slot) = found.get_mut(count) else { return false };
        *slot = tag;
        count += 1;
    }
    let (found, mut paired) = (&found[..count], 0u32);
    for (tag, value) in written.tag_values() {
        match found.iter().position(|(other, _)| *other == tag) {
            Some(at) if same(&tag, value, found[at].1) => paired |= 1 << at,
            _ => return false,
        }
    }
    let mut others = (0..).zip(found).filter(|(at, _)| paired >> at & 1 == 0);
    others.all(|(_, (tag, _))| is_restored(tag, written))
}

fn first_tag_difference(written: &Record<'_>, read: &Record<'_>) -> Option<[u8; 2]> {
    for (tag, value) in written.tag_values() {
        match read.tag(&tag) {
            Some(other) if same(&tag, value, other) => {}
            _ => return Some(tag),
        }
    }
    read.tag_values().map(|(tag, _)| tag).find(|tag| written.tag(tag).is_none() && !is_restored(tag, written))
}

/// Whether a reader may add the tag on its own.
fn is_restored(tag: &[u8; 2], written: &Record<'_>) -> bool {
    matches!(tag, b"MD" | b"NM") && written.flag() & flag::UNMAPPED == 0
}

fn same(tag: &[u8; 2], a: &[u8], b: &[u8]) -> bool {
    a == b || (tag == b"NM" && integer(a).is_some() && integer(a) == integer(b))
}

/// The value of an integer tag of any width.
fn integer(value: &[u8]) -> Option<i64> {
    let (kind, bytes) = value.split_first()?;
    match (kind, bytes) {
        (b'c', &[a]) => Some(i64::from(a as i8)),
        (b'C', &[a]) => Some(i64::from(a)),
        (b's', &[a, b]) => Some(i64::from(i16::from_le_bytes([a, b]))),
        (b'S', &[a, b]) => Some(i64::from(u16::from_le_bytes([a, b]))),
        (b'i', &[a, b, c, d]) => Some(i64::from(i32::from_le_bytes([a, b, c, d]))),
        (b'I', &[a, b, c, d]) => Some(i64::from(u32::from_le_bytes([a, b, c, d]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, encode};

    /// A record of these tags.
    fn record(flag: u16, tags: &[&[u8]]) -> Vec<u8> {
        let fields = Fields {
            name: b"r",
            flag,
            contig: 0,
            position: 9,
            mapq: 9,
            cigar: &[4 << 4],
            mate_contig: -1,
            mate_position: -1,
            template_length: 0,
            sequence: &[1; 4],
            qualities: &[9; 4],
            tags: &tags.concat(),
        };
        let mut record = Vec::new();
        encode(&fields, &mut record);
        record
    }

    #[test]
    fn tags_are_compared_at_once_as_one_by_one() {
        let all: [&[u8]; 9] = [
            b"NMC\x03",
            b"NMs\x03\0",
            b"NMC\x04",
            b"MDZ4\0",
            b"MDZ3A\0",
            b"ASc\x01",
            b"ASc\x02",
            b"RGZa\0",
            b"XAZ\0",
        ];
        let mut seed = 5u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        let mut outcomes = [0; 2];
        for round in 0..20_000 {
            let first: Vec<&[u8]> = (0..random(6)).map(|_| all[random(9)]).collect();
            let mut second = first.clone();
            if !second.is_empty() {
                second.rotate_left(round % first.len());
            }
            match random(3) {
                0 if !second.is_empty() => second[0] = all[random(9)],
                1 => second.push(all[random(9)]),
                _ => {}
            }
            let flag = [0, flag::UNMAPPED][random(2)];
            let (first, second) = (record(flag, &first), record(flag, &second));
            let (first, second) = (Record::new(&first).unwrap(), Record::new(&second).unwrap());
            let plain = first_tag_difference(&first, &second);
            assert_eq!(tag_difference(&first, &second), plain, "{:?} {:?}", first.tags(), second.tags());
            // Of the same tag twice the second is one that the plain way passes over.
            if plain.is_some() {
                assert!(!are_paired(&first, &second));
            }
            outcomes[usize::from(plain.is_some())] += 1;
        }
        assert!(outcomes.iter().all(|&count| count > 1000), "{outcomes:?}");
        let many = record(0, &[&b"ASc\x01"[..]; TAGS_AT_ONCE + 1]);
        assert_eq!(difference(&many, &many), None);
        // Or the plain way would answer for both.
        let (plain, turned) =
            (record(0, &[all[0], all[3], all[5], all[8]]), record(0, &[all[8], all[1], all[3], all[5]]));
        let (plain, turned) = (Record::new(&plain).unwrap(), Record::new(&turned).unwrap());
        assert!(are_paired(&plain, &plain) && are_paired(&plain, &turned));
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let plain = record(0, &[b"ASc\x01"]);
        // Byte of the record: what it belongs to. The bin is none that CRAM holds.
        for (at, field) in [
            (0, Some("RNAME")),
            (4, Some("POS")),
            (9, Some("MAPQ")),
            (10, None),
            (14, Some("FLAG")),
            (20, Some("RNEXT")),
            (24, Some("PNEXT")),
            (28, Some("TLEN")),
            (32, Some("QNAME")),
            (34, Some("CIGAR")),
            (38, Some("SEQ")),
            (40, Some("QUAL")),
            (46, Some("AS")),
            (47, Some("AS")),
        ] {
            let mut other = plain.clone();
            other[at] ^= 0x10;
            assert_eq!(difference(&plain, &other).as_deref(), field, "{at}");
        }
        assert_eq!(difference(&plain, &plain[..20]).as_deref(), Some("layout"));
    }
}
