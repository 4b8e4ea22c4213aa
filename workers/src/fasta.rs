//! FASTA in, contig by contig; and FASTA out, for libraries that want a file of their own kind.
//!
//! Plain, gzip and BGZF input are told apart by their bytes, not their names. Every letter is checked: a reference with
//! a stray byte would give every later file a wrong checksum.

use crate::gzip::{GzipError, Reader};
use jobs::failure::{Class, Classified};
use jobs::genome::{Contig, Contigs};
use kernels::reference::Reference;
use md5::{Digest, Md5};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use storage::atomic::{AtomicFile, AtomicFileError};
use storage::disk::DiskError;

/// Longest contig that SAM and the indexes can address.
const CONTIG_BASES_MAX: usize = i32::MAX as usize - 1;

/// Longest header of a contig in a FASTA whose `.fai` is trusted.
const BETWEEN_BYTES_MAX: u64 = 1 << 16;

/// Bases per line of a written FASTA.
const LINE_BASES: usize = 1 << 16;

/// A FASTA file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FastaError {
    /// It cannot be read or decompressed.
    #[error(transparent)]
    Gzip(#[from] GzipError),
    /// A line is not what a FASTA line should be.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// There is nothing in it.
    #[error("{}: holds no sequence, expected FASTA", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Classified for FastaError {
    fn class(&self) -> Class {
        match self {
            FastaError::Gzip(error) => error.class(),
            FastaError::Line { .. } | FastaError::Empty { .. } => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FastaError::Gzip(error) => error.hint(),
            FastaError::Line { .. } | FastaError::Empty { .. } => {
                Some("give the reference as FASTA, plain or compressed with gzip or bgzip".to_owned())
            }
        }
    }
}

/// Gives `visit` each contig with its letters in upper case. Stops at the first error of `visit` and returns it.
pub fn read<E>(
    path: &Path,
    mut visit: impl FnMut(Contig, &[u8]) -> Result<(), E>,
) -> Result<Result<(), E>, FastaError> {
    let mut input = Reader::open(path)?;
    let mut names = HashSet::new();
    let mut name: Option<String> = None;
    let mut letters = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let ended = !read_line(&mut input, &mut line)?;
        let text = line.trim_ascii_end();
        let bad = |what: String| FastaError::Line { path: path.to_owned(), line: number, what };
        if ended || text.first() == Some(&b'>') {
            if let Some(name) = name.take() {
                if letters.is_empty() {
                    return Err(bad(format!("contig '{name}' ends without a base")));
                }
                if let Err(error) = visit(contig(name, &letters), &letters) {
                    return Ok(Err(error));
                }
                letters.clear();
            }
            if ended {
                break;
            }
            let word = text[1..].split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let new =
                std::str::from_utf8(word).map_err(|_| bad("the contig's name is not text".to_owned()))?;
            if !is_sam_name(word) {
                return Err(bad(format!("'{new}' cannot name a contig in SAM and VCF")));
            }
            if !names.insert(new.to_owned()) {
                return Err(bad(format!("contig '{new}' appears a second time")));
            }
            name = Some(new.to_owned());
        } else if !text.is_empty() {
            if name.is_none() {
                return Err(bad("expected '>' and a contig's name".to_owned()));
            }
            if let Some(&byte) = text.iter().find(|byte| !is_base(**byte)) {
                let shown = char::from(byte).escape_default();
                return Err(bad(format!("'{shown}' is no base; expected the letters of IUPAC")));
            }
            if letters.len() + text.len() > CONTIG_BASES_MAX {
                return Err(bad(format!("the contig is longer than {CONTIG_BASES_MAX} bases")));
            }
            letters.extend(text.iter().map(u8::to_ascii_uppercase));
        }
    }
    if names.is_empty() {
        return Err(FastaError::Empty { path: path.to_owned() });
    }
    Ok(Ok(()))
}

/// Appends the next line with its line feed; false at the end.
fn read_line(input: &mut Reader, line: &mut Vec<u8>) -> Result<bool, GzipError> {
    loop {
        let bytes = input.buffer();
        if let Some(at) = memchr::memchr(b'\n', bytes) {
            line.extend_from_slice(&bytes[..=at]);
            input.consume(at + 1);
            return Ok(true);
        }
        line.extend_from_slice(bytes);
        let used = bytes.len();
        input.consume(used);
        if !input.fill()? {
            return Ok(!line.is_empty());
        }
    }
}

fn contig(name: String, letters: &[u8]) -> Contig {
    Contig { name, length: letters.len() as u32, m5: Md5::digest(letters).into() }
}

fn is_base(byte: u8) -> bool {
    b"ACGTNRYSWKMBDHVU".contains(&byte.to_ascii_uppercase())
}

/// SAMv1 §1.2.1: `[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*`.
fn is_sam_name(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&*+./:;=?@^_|~-".contains(byte);
    name.iter().all(allowed) && name.first().is_some_and(|first| !b"*=".contains(first))
}

/// A FASTA file for htslib, with its `.fai`: the reference itself if it has an index beside it that agrees, otherwise a
/// plain copy `reference.fa` in `scratch`, made once, as for plain gzip and lines of uneven length. Nothing is written
/// beside the reference.
pub fn for_htslib(
    fasta: &Path,
    contigs: &Contigs,
    reference: &Reference<'_>,
    scratch: &Path,
) -> Result<PathBuf, AtomicFileError> {
    if has_fai(fasta, contigs) {
        return Ok(fasta.to_owned());
    }
    let copy = scratch.join("reference.fa");
    let fai = scratch.join("reference.fa.fai");
    // The .fai is written last; where it is, the copy is whole.
    if fai.exists() && copy.exists() {
        return Ok(copy);
    }
    let mut file = AtomicFile::create(&copy)?;
    let mut lines = String::new();
    let mut offset = 0;
    let mut letters = Vec::new();
    let failed = DiskError::on("write", &copy);
    let written: io::Result<()> = (|| {
        for (id, contig) in contigs.iter().enumerate() {
            let header = format!(">{}\n", contig.name);
            file.write_all(header.as_bytes())?;
            offset += header.len() as u64;
            lines +=
                &format!("{}\t{}\t{offset}\t{LINE_BASES}\t{}\n", contig.name, contig.length, LINE_BASES + 1);
            for start in (0..contig.length).step_by(LINE_BASES) {
                let end = contig.length.min(start + LINE_BASES as u32);
                letters.clear();
                reference.letters(id as u32, start, end, &mut letters);
                letters.push(b'\n');
                file.write_all(&letters)?;
                offset += letters.len() as u64;
            }
        }
        Ok(())
    })();
    written.map_err(failed)?;
    file.commit()?;
    let mut file = AtomicFile::create(&fai)?;
    file.write_all(lines.as_bytes()).map_err(DiskError::on("write", &fai))?;
    file.commit()?;
    Ok(copy)
}

/// Whether a usable `.fai` (and `.gzi` for BGZF) lies beside the reference.
fn has_fai(fasta: &Path, contigs: &Contigs) -> bool {
    let beside = |extension: &str| {
        let mut name = fasta.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let Ok(text) = std::fs::read_to_string(beside(".fai")) else { return false };
    let Some(rows) = text.lines().map(Row::parse).collect::<Option<Vec<_>>>() else { return false };
    let listed = rows.iter().map(|row| (row.name, row.length));
    listed.eq(contigs.iter().map(|contig| (contig.name.as_str(), u64::from(contig.length))))
        && if is_plain(fasta) { lie_so(fasta, &rows).unwrap_or(false) } else { beside(".gzi").exists() }
}

/// A line of a `.fai`.
struct Row<'a> {
    name: &'a str,
    length: u64,
    /// Of the first base.
    offset: u64,
    line_bases: u64,
    /// With the line's end.
    line_width: u64,
}

impl Row<'_> {
    fn parse(line: &str) -> Option<Row<'_>> {
        let (name, numbers) = line.split_once('\t')?;
        let numbers: Result<Vec<u64>, _> = numbers.split('\t').map(str::parse).collect();
        let &[length, offset, line_bases, line_width] = numbers.ok()?.as_slice() else { return None };
        let sound = length > 0 && line_bases > 0 && line_bases <= line_width;
        sound.then_some(Row { name, length, offset, line_bases, line_width })
    }

    /// Where a base lies.
    fn place(&self, base: u64) -> Option<u64> {
        let lines = (base / self.line_bases).checked_mul(self.line_width)?;
        self.offset.checked_add(lines)?.checked_add(base % self.line_bases)
    }
}

/// Whether the contigs of a plain FASTA begin, break their first line and end where the rows say; between the ends
/// every line is taken to be as the first.
fn lie_so(fasta: &Path, rows: &[Row<'_>]) -> io::Result<bool> {
    let file = File::open(fasta)?;
    let length = file.metadata()?.len();
    // What lies between two contigs, or a line's end: longer than any real one is wrong.
    let between = |from: u64, to: u64| {
        let mut bytes = vec![0; to.checked_sub(from).filter(|&bytes| bytes <= BETWEEN_BYTES_MAX)? as usize];
        file.read_exact_at(&mut bytes, from).ok()?;
        Some(bytes)
    };
    let blank = |bytes: &[u8]| bytes.trim_ascii().is_empty();
    let mut end = 0;
    for row in rows {
        let header = between(end, row.offset).unwrap_or_default();
        let named = header
            .trim_ascii_start()
            .strip_prefix(b">")
            .and_then(|line| line.strip_prefix(row.name.as_bytes()));
        let one_line = |rest: &[u8]| rest.iter().position(|&byte| byte == b'\n') == Some(rest.len() - 1);
        let begins =
            named.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_whitespace) && one_line(rest));
        let line = |bytes: u64| row.offset.checked_add(bytes);
        let breaks = row.length <= row.line_bases
            || line(row.line_bases)
                .and_then(|end| between(end, line(row.line_width)?))
                .is_some_and(|end| blank(&end));
        let Some(last) = row.place(row.length - 1).filter(|_| begins && breaks) else { return Ok(false) };
        end = last + 1;
    }
    Ok(between(end, length).is_some_and(|rest| blank(&rest)))
}

fn is_plain(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start != [0x1f, 0x8b]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.fa");
        std::fs::write(&path, text).unwrap();
        let mut contigs = Vec::new();
        let result = read(&path, |contig, letters| {
            contigs.push((contig.name, letters.to_vec()));
            Ok::<(), ()>(())
        });
        result.map_err(|error| error.to_string().rsplit('/').next().unwrap().to_owned())?.unwrap();
        Ok(contigs)
    }

    /// What htslib is given for a reference with a `.fai` of another.
    fn served(text: &[u8], indexed: &[u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.fa");
        std::fs::write(&path, indexed).unwrap();
        crate::htslib::index_fasta(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        let bases = crate::index_file::Bases::open(&path).unwrap();
        let given = for_htslib(&path, bases.contigs(), &bases.reference(), dir.path()).unwrap();
        let copied = given == dir.path().join("reference.fa");
        assert_ne!(copied, given == path);
        !copied
    }

    #[test]
    fn a_reference_is_copied_only_where_its_index_does_not_fit() {
        let texts: [&[u8]; 8] = [
            b">a first\nACGTAC\nacgtnn\nAC\n>b\nAC\n>c d\nACGT",
            b">a first\nACGTACacgtnnAC\n>b\nAC\n>c d\nACGT",
            b">a first\nACGTAC\nacgtnn\nAC\n\n>b\nAC\n>c d\nACGT\n\n",
            b">a first\r\nACGTAC\r\nacgtnn\r\nAC\r\n>b\r\nAC\r\n>c d\r\nACGT\r\n",
            b">a first\nACGTA\nCacgt\nnnAC\n>b\nAC\n>c d\nACGT\n",
            b">a first\nACGTACacg\ntnnAC\n>b\nAC\n>c d\nACGT\n",
            b">a\nACGTAC\nacgtnn\nAC\n>b\nAC\n>c d\nACGT\n",
            b">ab\nACGTAC\nacgtnn\nAC\n>b\nAC\n>c d\nACGT\n",
        ];
        for (at, text) in texts.iter().enumerate() {
            for (other, indexed) in texts.iter().enumerate() {
                assert_eq!(served(text, indexed), at == other, "{at} with the index of {other}");
            }
        }
        assert!(!served(b">a\nAC\nACGT\n", b">a\nACACGT\n"), "lines of uneven length");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.fa");
        std::fs::write(&path, ">a\nACG\nACG\n").unwrap();
        let contigs = crate::index_file::Bases::open(&path).unwrap().contigs().clone();
        for (row, fits) in [
            ("a\t6\t3\t3\t4", true),
            ("a\t6\t3\t3\t18446744073709551615", false),
            ("a\t6\t18446744073709551615\t3\t4", false),
        ] {
            std::fs::write(dir.path().join("r.fa.fai"), row).unwrap();
            assert_eq!(has_fai(&path, &contigs), fits, "{row}");
        }
    }

    #[test]
    fn sequences_are_read_whatever_their_line_ends_and_case() {
        let expect = vec![("c1".to_owned(), b"ACGTNR".to_vec()), ("c2".to_owned(), b"A".to_vec())];
        assert_eq!(check(b">c1 first\nACg\r\ntnr\n\n>c2\na").unwrap(), expect);
    }

    #[test]
    fn what_is_no_fasta_is_refused_with_its_line() {
        for (text, expect) in [
            (&b""[..], "r.fa: holds no sequence, expected FASTA"),
            (b"ACGT\n", "r.fa:1: expected '>' and a contig's name"),
            (b">c\nAC-T\n", "r.fa:2: '-' is no base; expected the letters of IUPAC"),
            (b">c\n>d\nA\n", "r.fa:2: contig 'c' ends without a base"),
            (b">c\nA\n>c\nA\n", "r.fa:3: contig 'c' appears a second time"),
            (b">\nA\n", "r.fa:1: '' cannot name a contig in SAM and VCF"),
            (b">=c\nA\n", "r.fa:1: '=c' cannot name a contig in SAM and VCF"),
        ] {
            assert_eq!(check(text).unwrap_err(), expect);
        }
    }
}
