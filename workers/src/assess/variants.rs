//! Were the right variants called with the right genotypes?
//!
//! Alternates are taken apart, brought to normal form and compared with their number of copies: a lower bound, since
//! different ways to write one haplotype are not matched. Only records that passed count; symbolic alleles, spanning
//! deletions and records whose REF is not the reference's are left out.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use super::normal_form::Variant;

/// A VCF and the sample in it.
#[derive(Clone, Copy, Debug)]
pub struct Callset<'a> {
    /// VCF, plain or gzip or BGZF.
    pub path: &'a Path,
    /// The sample, or the file's first one.
    pub sample: Option<&'a str>,
}

/// Gives the upper-case letters of a contig, if there is one of this name.
pub type ContigBases<'a> = dyn Fn(&str) -> Option<Cow<'a, [u8]>> + 'a;

/// Genotype-exact counts of one class of variants; a wrong genotype is one false negative and one false positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// In truth and calls with the same genotype.
    pub true_positives: u64,
    /// In the truth only.
    pub false_negatives: u64,
    /// In the calls only.
    pub false_positives: u64,
}

impl Counts {
    /// Harmonic mean of precision and recall; 0 where there is nothing.
    pub fn f1(&self) -> f64 {
        ratio(2 * self.true_positives, 2 * self.true_positives + self.false_negatives + self.false_positives)
    }

    /// Share of the truth that was called right.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the calls that are right.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }
}

/// Counts by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VariantAccuracy {
    /// REF and ALT of equal length.
    pub snv: Counts,
    /// All others.
    pub indel: Counts,
}

/// A VCF could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum VariantAssessError {
    /// The file cannot be read or its gzip stream is damaged.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is not VCF.
    #[error("{}:{line}: expected {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: u64,
        /// What was expected there.
        expected: &'static str,
    },
    /// The sample is not in the file.
    #[error("{}: no sample {sample} in its header", path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// The sample.
        sample: String,
    },
    /// A contig is not in the reference.
    #[error("{}: contig {contig} is not in the reference", path.display())]
    Contig {
        /// The file.
        path: PathBuf,
        /// The contig.
        contig: String,
    },
}

impl Classified for VariantAssessError {
    fn class(&self) -> Class {
        Class::Input
    }
}

/// Compares the calls with the truth.
pub fn assess_variants(
    truth: &Callset<'_>,
    called: &Callset<'_>,
    reference: &ContigBases<'_>,
) -> Result<VariantAccuracy, VariantAssessError> {
    let truth = read(truth, reference)?;
    let called = read(called, reference)?;
    let mut accuracy = VariantAccuracy::default();
    for (place, copies) in &truth {
        let counts = accuracy.class(&place.1);
        match called.get(place) {
            Some(found) if found == copies => counts.true_positives += 1,
            _ => counts.false_negatives += 1,
        }
    }
    for (place, copies) in &called {
        accuracy.class(&place.1).false_positives += u64::from(truth.get(place) != Some(copies));
    }
    Ok(accuracy)
}

impl VariantAccuracy {
    fn class(&mut self, variant: &Variant) -> &mut Counts {
        if variant.is_substitution() { &mut self.snv } else { &mut self.indel }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Contig and variant in normal form, with the number of copies the sample has.
type Genotypes = HashMap<(String, Variant), u32>;

fn read(callset: &Callset<'_>, reference: &ContigBases<'_>) -> Result<Genotypes, VariantAssessError> {
    let mut genotypes = Genotypes::new();
    for (contig, variants) in read_records(callset)? {
        let unknown = || VariantAssessError::Contig { path: callset.path.to_owned(), contig: contig.clone() };
        let bases = reference(&contig).ok_or_else(unknown)?;
        for (mut variant, copies) in variants {
            let start = variant.position as usize;
            if bases.get(start..start + variant.reference.len()) == Some(&variant.reference) {
                variant.normalise(&bases);
                genotypes.insert((contig.clone(), variant), copies);
            }
        }
    }
    Ok(genotypes)
}

/// The sample's alternates by contig, as the file writes them.
fn read_records(callset: &Callset<'_>) -> Result<BTreeMap<String, Vec<(Variant, u32)>>, VariantAssessError> {
    let path = callset.path;
    let read_error = |source| VariantAssessError::Read { path: path.to_owned(), source };
    let mut lines = open_maybe_gz(path).map_err(read_error)?;
    let mut records: BTreeMap<String, Vec<(Variant, u32)>> = BTreeMap::new();
    let mut column = None;
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        if lines.read_line(&mut text).map_err(read_error)? == 0 {
            break;
        }
        let expected = |expected| VariantAssessError::Line { path: path.to_owned(), line, expected };
        let content = text.trim_end_matches(['\r', '\n']);
        if content.starts_with("##") || content.is_empty() {
            continue;
        }
        let fields: Vec<&str> = content.split('\t').collect();
        if fields[0] == "#CHROM" {
            column = Some(sample_column(callset, &fields)?);
            continue;
        }
        let column = column.ok_or_else(|| expected("the #CHROM line before the first record"))?;
        if fields.len() < 8 {
            return Err(expected("at least 8 tab-separated columns"));
        }
        let position = fields[1].parse::<u32>().ok().and_then(|position| position.checked_sub(1));
        let position = position.ok_or_else(|| expected("a position from 1 on in column 2"))?;
        if !matches!(fields[6], "PASS" | ".") {
            continue;
        }
        let genotype = column.and_then(|column| genotype(fields.get(8)?, fields.get(column)?));
        for (index, alternate) in (1..).zip(fields[4].split(',')) {
            let copies = match (column, genotype) {
                (None, _) => 1,
                (Some(_), None) => 0,
                (Some(_), Some(genotype)) => copies_of(index, genotype),
            };
            if copies > 0 && is_sequence(alternate) {
                let reference = fields[3].to_ascii_uppercase().into_bytes();
                let alternate = alternate.to_ascii_uppercase().into_bytes();
                let variant = Variant { position, reference, alternate };
                records.entry(fields[0].to_owned()).or_default().push((variant, copies));
            }
        }
    }
    if column.is_none() {
        return Err(VariantAssessError::Line { path: path.to_owned(), line: 1, expected: "a VCF header" });
    }
    Ok(records)
}

/// The column of the sample: `None` in a file without samples, when none is asked for.
fn sample_column(callset: &Callset<'_>, header: &[&str]) -> Result<Option<usize>, VariantAssessError> {
    let samples = header.get(9..).unwrap_or_default();
    match callset.sample {
        None => Ok((!samples.is_empty()).then_some(9)),
        Some(wanted) => match samples.iter().position(|&sample| sample == wanted) {
            Some(index) => Ok(Some(9 + index)),
            None => {
                Err(VariantAssessError::Sample { path: callset.path.to_owned(), sample: wanted.to_owned() })
            }
        },
    }
}

/// The GT text of a sample.
fn genotype<'a>(format: &str, sample: &'a str) -> Option<&'a str> {
    let index = format.split(':').position(|key| key == "GT")?;
    sample.split(':').nth(index)
}

fn copies_of(allele: u32, genotype: &str) -> u32 {
    genotype.split(['/', '|']).filter(|text| text.parse() == Ok(allele)).count() as u32
}

fn is_sequence(alternate: &str) -> bool {
    !alternate.is_empty() && alternate.bytes().all(|letter| letter.is_ascii_alphabetic())
}

/// Opens a file for reading by lines, inflating it where it begins as gzip does.
fn open_maybe_gz(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    Ok(if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(1 << 18, flate2::bufread::MultiGzDecoder::new(file))) as _
    } else {
        Box::new(file) as _
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTIG: &[u8] = b"GATTACACACAGGGTTTTAC";

    fn assess(truth: &str, called: &str, sample: Option<&str>) -> Result<[Counts; 2], String> {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let header =
                "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tx\ty\n";
            let path = directory.path().join(name);
            std::fs::write(&path, format!("{header}{}", text.replace(' ', "\t"))).unwrap();
            path
        };
        let (truth, called) = (write("truth", truth), write("called", called));
        let reference = |name: &str| (name == "c").then_some(Cow::Borrowed(CONTIG));
        let callset = |path| Callset { path, sample };
        match assess_variants(&callset(&truth), &callset(&called), &reference) {
            Ok(accuracy) => Ok([accuracy.snv, accuracy.indel]),
            Err(error) => Err(error.to_string().rsplit('/').next().unwrap_or_default().to_owned()),
        }
    }

    fn counts(true_positives: u64, false_negatives: u64, false_positives: u64) -> Counts {
        Counts { true_positives, false_negatives, false_positives }
    }

    #[test]
    fn genotypes_are_compared_in_normal_form() {
        let check = |truth: &str, called: &str, snv, indel| {
            assert_eq!(assess(truth, called, Some("y")), Ok([snv, indel]), "{truth} {called}");
        };
        let none = Counts::default();
        check("c 2 . A G . . . GT 0/0 0|1\n", "c 2 . A G 9 PASS . GT:DP 0/0 1/0:3\n", counts(1, 0, 0), none);
        check("c 2 . A G . . . GT 0/0 0|1\n", "c 2 . A G 9 PASS . GT 0/1 1/1\n", counts(0, 1, 1), none);
        check("c 2 . A G . . . GT 0/0 0|1\n", "c 2 . A G 9 LowQual . GT 0/1 0/1\n", counts(0, 1, 0), none);
        check("c 4 . TAC T . . . GT 0/0 0|1\n", "c 9 . ACA A . . . GT . 0/1\n", none, counts(1, 0, 0));
        check(
            "c 14 . G GT . . . GT 0|0 0|1\nc 14 . GT G . . . GT 0|0 1|0\n",
            "c 14 . GT G,GTT,<X>,* . . . GT 0/0 1/2\n",
            none,
            counts(2, 0, 0),
        );
        check("c 2 . C G . . . GT 0/0 0|1\n", "c 2 . A G . . . GT 0/0 ./.\n", none, none);
    }

    #[test]
    fn without_a_name_the_first_sample_counts() {
        let got = assess("c 2 . A G . . . GT 0/1 0/0\n", "c 2 . A G . . . GT 0/1 1/1\n", None);
        assert_eq!(got.unwrap()[0], counts(1, 0, 0));
    }

    #[test]
    fn what_is_not_vcf_is_refused_with_its_line() {
        let good = "c 2 . A G . . . GT 0/0 0|1\n";
        for (bad, message) in [
            ("c 2 . A\n", "called:3: expected at least 8 tab-separated columns"),
            ("c 0 . A G . . . GT 0 0\n", "called:3: expected a position from 1 on in column 2"),
            ("d 2 . A G . . . GT 0 1\n", "called: contig d is not in the reference"),
        ] {
            assert_eq!(assess(good, bad, Some("y")).unwrap_err(), message);
        }
        assert_eq!(assess(good, good, Some("z")).unwrap_err(), "truth: no sample z in its header");
    }
}
