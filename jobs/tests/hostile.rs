//! Damaged files of every kind people write: whatever the bytes, an answer and never a panic; what is found wrong lies
//! within the file.

use jobs::cohort;
use jobs::config::{Machine, Sources, resolve};
use jobs::diagnostic::Diagnostic;
use std::collections::BTreeMap;
use std::path::Path;

const TOML: &str = "[cohort]\nid = \"C1\"\ntitle = \"題\"\nreference = { path = \"ref.fa\" }\nsamples = \"s.csv\"\n\
                    deadline = 2026-06-30T17:00:00+09:00\n[parameters]\nmin_qual = 2_0\n[governance]\nx = 1.5\n";
const INLINE: &str =
    "[cohort]\nid = \"C1\"\nreference = \"r\"\n[[sample]]\nsample = \"S1\"\nfastq_1 = \"a\"\n";
const SHEET: &str = "participant,specimen,sample,role,family,relation,sex_declared,rgid,fastq_1,fastq_2,sha256_1\r\n\
                     P1,,S1,germline,F,mother,F,1,\"a\"\"b\",c,00\r\nP2,患,S2,tumor,,,,1,d,,\r\n";
const CONFIG: &str =
    "[limits]\nmemory = \"8G\"\nthreads = 4\n[site.a]\nlevel = 3\n[engine.slurm]\nqos = \"x\"\n";

/// Pieces that mean something to one of the parsers.
const PIECES: [&[u8]; 16] = [
    b"\"",
    b"\"\"\"",
    b"[",
    b"]]",
    b"{",
    b",",
    b"\n",
    b"\r",
    b"\xef\xbb\xbf",
    b"\x83\x65",
    b"\0",
    b"=",
    b"99999999999999999999",
    b"inf",
    b"\xe3\x80",
    b".",
];

/// A generator good enough to spread damage: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// The text with one to four pieces cut out, doubled, flipped or put in.
    fn damage(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(12)).min(bytes.len());
            match self.below(4) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].to_vec())),
            }
        }
        bytes
    }
}

fn check(found: Vec<Diagnostic>, bytes: &[u8]) {
    let breaks = bytes.iter().filter(|&&byte| byte == b'\n').count() as u32;
    for diagnostic in found {
        let place = &diagnostic.place;
        assert!((1..=breaks + 1).contains(&place.line) && place.column >= 1, "{diagnostic}");
        assert!(!diagnostic.message.is_empty() && !diagnostic.message.contains('\n'), "{diagnostic}");
    }
}

#[test]
fn damaged_cohorts_and_sheets_are_answered() {
    let mut dice = Dice(7);
    for round in 0..20_000 {
        let (toml, sheet) = match round % 3 {
            0 => (dice.damage(TOML), SHEET.as_bytes().to_vec()),
            1 => (TOML.as_bytes().to_vec(), dice.damage(SHEET)),
            _ => (dice.damage(INLINE), Vec::new()),
        };
        let reading = cohort::read(Path::new("c.toml"), &toml, |_| Ok(sheet.clone()));
        let (in_toml, in_sheet) =
            reading.diagnostics.into_iter().partition(|found| found.place.file == "c.toml");
        check(in_toml, &toml);
        check(in_sheet, &sheet);
    }
}

#[test]
fn damaged_configurations_are_answered() {
    let mut dice = Dice(11);
    let (flags, env) = (BTreeMap::new(), BTreeMap::new());
    let machine = Machine { cores: 2, memory_bytes: 1 << 33 };
    for _ in 0..10_000 {
        let files = [("w.toml".to_owned(), dice.damage(CONFIG))];
        if let Err(found) = resolve(&Sources { flags: &flags, env: &env, files: &files, machine }) {
            check(found, &files[0].1);
        }
    }
}
