//! The reference a simulation works on: upper-case sequences in memory, read from a FASTA file or synthesised.
//!
//! Invariant: every base is one of A C G T N, names are unique and not empty.

use crate::fasta::{self, FastaError};
use std::convert::Infallible;
use std::io::{self, Write};
use std::path::Path;

/// Bases on a line of the FASTA that is written.
const LINE_BASES: usize = 60;

/// One contig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Name up to the first white space.
    pub name: String,
    /// Upper-case letters A C G T N.
    pub bases: Vec<u8>,
}

/// Reads a FASTA file: plain, gzip or BGZF. Letters other than A C G T become N, as aligners read them.
pub fn read_fasta(path: &Path) -> Result<Vec<Sequence>, FastaError> {
    let mut sequences = Vec::new();
    let read: Result<(), Infallible> = fasta::read(path, |contig, letters| {
        let bases = letters.iter().map(|&letter| known_base(letter)).collect();
        sequences.push(Sequence { name: contig.name, bases });
        Ok(())
    })?;
    let Ok(()) = read;
    Ok(sequences)
}

/// Writes the sequences as FASTA.
pub fn write_fasta(sequences: &[Sequence], out: &mut dyn Write) -> io::Result<()> {
    for sequence in sequences {
        writeln!(out, ">{}", sequence.name)?;
        for line in sequence.bases.chunks(LINE_BASES) {
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Writes the `.fai` index of what [`write_fasta`] writes.
pub fn write_fai(sequences: &[Sequence], out: &mut dyn Write) -> io::Result<()> {
    let mut offset = 0;
    for Sequence { name, bases } in sequences {
        offset += name.len() + 2;
        writeln!(out, "{name}\t{}\t{offset}\t{LINE_BASES}\t{}", bases.len(), LINE_BASES + 1)?;
        offset += bases.len() + bases.len().div_ceil(LINE_BASES);
    }
    Ok(())
}

/// The complement of a letter of A C G T; everything else stays.
pub fn complement(base: u8) -> u8 {
    match base {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        b'T' => b'A',
        other => other,
    }
}

/// The other strand, read in its own direction.
pub fn reverse_complement(bases: &[u8]) -> Vec<u8> {
    bases.iter().rev().map(|&base| complement(base)).collect()
}

fn known_base(letter: u8) -> u8 {
    match letter.to_ascii_uppercase() {
        base @ (b'A' | b'C' | b'G' | b'T') => base,
        _ => b'N',
    }
}

/// BLAKE3 of names and bases: what tells one reference from another.
pub fn digest(sequences: &[Sequence]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for Sequence { name, bases } in sequences {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        hasher.update(&(bases.len() as u64).to_le_bytes()).update(bases);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Sequence>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_fasta(file.path()).map_err(|error| error.to_string().rsplit('/').next().unwrap().to_owned())
    }

    #[test]
    fn fasta_is_read_as_aligners_read_it() {
        let read = read(b">a desc\nACgt\r\nRn\n\n>c\nT").unwrap();
        let got: Vec<_> = read.iter().map(|s| (s.name.as_str(), s.bases.as_slice())).collect();
        assert_eq!(got, [("a", &b"ACGTNN"[..]), ("c", b"T")]);
    }

    #[test]
    fn gzip_is_inflated_and_a_cut_stream_refused() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b">a\nACGT\n").unwrap();
        let gz = gz.finish().unwrap();
        assert_eq!(read(&gz).unwrap()[0].bases, b"ACGT");
        assert!(read(&gz[..gz.len() - 9]).is_err());
    }

    #[test]
    fn what_is_not_fasta_is_refused_with_its_line() {
        for (text, line) in
            [(&b"ACGT\n"[..], ":1:"), (b">a\nAC\n>a\nT\n", ":3:"), (b">a\nA-C\n", ":2:"), (b"> x\n", ":1:")]
        {
            let message = read(text).unwrap_err();
            assert!(message.contains(line), "{message}");
        }
        assert!(read(b"").is_err());
    }

    #[test]
    fn the_index_points_at_the_bases() {
        let sequences = [("a", 130), ("bb", 60), ("c", 1)]
            .map(|(name, bases)| Sequence { name: name.to_owned(), bases: vec![b'A'; bases] });
        let (mut fasta, mut fai) = (Vec::new(), Vec::new());
        write_fasta(&sequences, &mut fasta).unwrap();
        write_fai(&sequences, &mut fai).unwrap();
        for (line, sequence) in String::from_utf8(fai).unwrap().lines().zip(&sequences) {
            let offset: usize = line.split('\t').nth(2).unwrap().parse().unwrap();
            assert_eq!((fasta[offset], fasta[offset - 1]), (b'A', b'\n'));
            assert!(fasta[..offset - 1].ends_with(format!(">{}", sequence.name).as_bytes()));
        }
    }
}
