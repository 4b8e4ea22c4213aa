//! One record line of a single-sample gVCF as values.
//!
//! Invariant: strict where a guess could be wrong, lenient where the specification is: what other callers leave out
//! (PL, MIN_DP, SB, `<NON_REF>`) is filled in conservatively, what contradicts itself is refused. Reads one line,
//! knows nothing of order or cells.

use jobs::genome::{CELL_BASES, Contigs};
use kernels::variant::{Answer, Filter, RefBlock, SiteCall};

/// Name of the symbolic allele of gVCF.
pub const NON_REF: &[u8] = b"NON_REF";
/// Most alternates a record may name.
const ALTERNATES_MAX: usize = 100;
/// Most records of one cell: a site, a block and as many again for each base.
pub const CELL_RECORDS_MAX: usize = 4 * CELL_BASES as usize;
/// GQ is capped here.
const QUALITY_MAX: u32 = 99;

/// A record line as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A site with at least one alternate.
    Site(SiteCall),
    /// A reference block, not yet cut at grid lines.
    Block(RefBlock),
}

impl Call {
    /// First base, 0-based.
    pub fn start(&self) -> u32 {
        match self {
            Call::Site(site) => site.position,
            Call::Block(block) => block.start,
        }
    }
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Too few or too many columns.
    #[error("{found} columns, expected 10: gVCF with one sample")]
    Columns {
        /// How many there are.
        found: usize,
    },
    /// The reference has no such contig.
    #[error("contig '{name}' is not in the reference")]
    UnknownContig {
        /// CHROM.
        name: String,
    },
    /// The record does not lie on its contig.
    #[error("POS or END lies outside the contig, or END before POS")]
    Place,
    /// REF or an ALT is no allele we can use.
    #[error("allele '{allele}': expected bases ACGTN, '*' or <NON_REF>, each once")]
    Allele {
        /// As given.
        allele: String,
    },
    /// More alternates than [`ALTERNATES_MAX`].
    #[error("{found} alternates, expected at most {ALTERNATES_MAX}")]
    Alternates {
        /// How many there are.
        found: usize,
    },
    /// A field's text is not what the field holds.
    #[error("{field} '{text}': {expected}")]
    Field {
        /// Name of column or key.
        field: &'static str,
        /// As given.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A list has the wrong length.
    #[error("{field} has {found} values, expected {expected}")]
    Length {
        /// Name of the key.
        field: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The record starts before the one above it.
    #[error(
        "not sorted: this record starts before the one above it, or its contig comes earlier in the reference"
    )]
    Unsorted,
    /// More records in a cell than bases could need.
    #[error("more than {CELL_RECORDS_MAX} records from one grid line to the next")]
    Crowded,
    /// The record lies outside the cell it was stored for.
    #[error("the record lies outside its cell")]
    OutsideCell,
}

/// The reason's name in INFO; `None` if there is data.
pub fn no_data_name(answer: Answer) -> Option<&'static str> {
    match answer {
        Answer::Reference => None,
        Answer::NoReads => Some("NO_READS"),
        Answer::NoUsableReads => Some("NO_USABLE_READS"),
        Answer::ReferenceUnknown => Some("REFERENCE_UNKNOWN"),
    }
}

/// Reads one record line.
pub fn parse_line(line: &[u8], contigs: &Contigs) -> Result<(u32, Call), LineProblem> {
    let mut columns = [&b""[..]; 10];
    let mut found = 0;
    for column in line.split(|&byte| byte == b'\t') {
        if let Some(slot) = columns.get_mut(found) {
            *slot = column;
        }
        found += 1;
    }
    if found != columns.len() {
        return Err(LineProblem::Columns { found });
    }
    let [chrom, pos, _, reference, alternates, quality, filters, info, keys, values] = columns;
    let contig = std::str::from_utf8(chrom).ok().and_then(|name| contigs.id(name));
    let contig = contig.ok_or_else(|| LineProblem::UnknownContig { name: lossy(chrom) })?;
    let start = number("POS", pos)?.checked_sub(1).ok_or(LineProblem::Place)?;
    let reference = bases(reference)?;
    let (alternates, has_non_ref) = alternate_list(alternates, &reference)?;
    let info = Info::parse(info);
    let sample = SampleFields::parse(keys, values);
    let end = match info.end {
        Some(end) if alternates.is_empty() => number("END", end)?,
        _ => start.checked_add(reference.len() as u32).ok_or(LineProblem::Place)?,
    };
    if end <= start || end > contigs.get(contig).length {
        return Err(LineProblem::Place);
    }
    let call = if alternates.is_empty() {
        Call::Block(block(start, end, &info, &sample)?)
    } else {
        let site = Site { start, reference, alternates, has_non_ref };
        Call::Site(site.call(quality, filters, &info, &sample)?)
    };
    Ok((contig, call))
}

/// The INFO values that matter.
#[derive(Default)]
struct Info<'a> {
    end: Option<&'a [u8]>,
    depth: Option<&'a [u8]>,
    mapq: Option<&'a [u8]>,
    no_data: Option<&'a [u8]>,
}

impl<'a> Info<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let mut info = Info::default();
        for entry in text.split(|&byte| byte == b';') {
            let Some(equals) = memchr::memchr(b'=', entry) else { continue };
            let value = Some(&entry[equals + 1..]);
            match &entry[..equals] {
                b"END" => info.end = value,
                b"DP" => info.depth = value,
                b"MQ" => info.mapq = value,
                b"NODATA" => info.no_data = value,
                _ => {}
            }
        }
        info
    }
}

/// The sample's values that matter; `None` where missing or `.`.
#[derive(Default)]
struct SampleFields<'a> {
    genotype: &'a [u8],
    allele_depths: Option<&'a [u8]>,
    depth: Option<&'a [u8]>,
    depth_min: Option<&'a [u8]>,
    genotype_quality: Option<&'a [u8]>,
    likelihoods: Option<&'a [u8]>,
    strand_counts: Option<&'a [u8]>,
    phase_set: Option<&'a [u8]>,
}

impl<'a> SampleFields<'a> {
    fn parse(keys: &'a [u8], values: &'a [u8]) -> Self {
        let mut fields = SampleFields::default();
        let split = |text| <[u8]>::split(text, |&byte: &u8| byte == b':');
        for (key, value) in split(keys).zip(split(values)) {
            let known = (!value.iter().all(|&byte| byte == b'.' || byte == b',')).then_some(value);
            match key {
                b"GT" => fields.genotype = value,
                b"AD" => fields.allele_depths = known,
                b"DP" => fields.depth = known,
                b"MIN_DP" => fields.depth_min = known,
                b"GQ" => fields.genotype_quality = known,
                // Strelka states its blocks' confidence in GQX alone.
                b"GQX" => fields.genotype_quality = fields.genotype_quality.or(known),
                b"PL" => fields.likelihoods = known,
                b"SB" => fields.strand_counts = known,
                b"PS" => fields.phase_set = known,
                _ => {}
            }
        }
        fields
    }

    /// Zeros where there is none; others write a score under the same name.
    fn strand_counts(&self) -> Result<[u32; 4], LineProblem> {
        let counts = self.strand_counts.filter(|text| memchr::memchr(b',', text).is_some());
        let Some(counts) = counts.map(|text| list("SB", text)).transpose()? else { return Ok([0; 4]) };
        let length = |counts: Vec<u32>| LineProblem::Length { field: "SB", found: counts.len(), expected: 4 };
        counts.try_into().map_err(length)
    }

    fn quality(&self) -> Result<Option<u8>, LineProblem> {
        let quality = self.genotype_quality.map(|text| decimal_tenths("GQ", text)).transpose()?;
        Ok(quality.map(|tenths| (tenths / 10).min(QUALITY_MAX) as u8))
    }
}

fn block(start: u32, end: u32, info: &Info<'_>, sample: &SampleFields<'_>) -> Result<RefBlock, LineProblem> {
    let depth_min = sample.depth_min.map(|text| number("MIN_DP", text)).transpose()?;
    let depth = match sample.depth.or(info.depth) {
        Some(text) => number("DP", text)?,
        None => depth_min.unwrap_or(0),
    };
    // A block called otherwise (within a deletion, say) has no confidence in the reference to state.
    let called = genotype(sample.genotype, 2)? == Some([0, 0]);
    let answer = match info.no_data {
        None if called => Answer::Reference,
        None if depth == 0 => Answer::NoReads,
        None => Answer::NoUsableReads,
        Some(name) => [Answer::NoReads, Answer::NoUsableReads, Answer::ReferenceUnknown]
            .into_iter()
            .find(|&answer| no_data_name(answer).is_some_and(|known| known.as_bytes() == name))
            .ok_or_else(|| {
                problem("NODATA", name, "expected NO_READS, NO_USABLE_READS or REFERENCE_UNKNOWN")
            })?,
    };
    let quality = sample.quality()?;
    let likelihoods = match sample.likelihoods {
        Some(text) => list("PL", text)?,
        None => vec![],
    };
    let stated = quality.map_or(0, u32::from);
    let likelihoods = match likelihoods[..] {
        [reference, het, alternate] => [reference, het, alternate],
        // One allele, or none stated: the confidence is GQ.
        [] | [_] => [0, stated, stated],
        [reference, alternate] => [reference, alternate, alternate],
        _ => return Err(LineProblem::Length { field: "PL", found: likelihoods.len(), expected: 3 }),
    };
    let by_likelihood = likelihoods[1].min(likelihoods[2]).min(QUALITY_MAX) as u8;
    let genotype_quality = quality.unwrap_or(by_likelihood);
    Ok(RefBlock {
        start,
        end,
        answer,
        depth,
        depth_min: depth_min.unwrap_or(depth),
        genotype_quality,
        likelihoods,
    })
}

/// A site's alleles while its values are read.
struct Site {
    start: u32,
    reference: Vec<u8>,
    alternates: Vec<Vec<u8>>,
    has_non_ref: bool,
}

impl Site {
    /// Alleles the record names, REF and `<NON_REF>` included.
    fn stated_alleles(&self) -> usize {
        self.alternates.len() + 1 + usize::from(self.has_non_ref)
    }

    fn call(
        self,
        quality: &[u8],
        filters: &[u8],
        info: &Info<'_>,
        sample: &SampleFields<'_>,
    ) -> Result<SiteCall, LineProblem> {
        let called = genotype(sample.genotype, self.stated_alleles())?;
        let allele_depths = self.allele_depths(sample)?;
        let depth = match sample.depth.or(info.depth) {
            Some(text) => number("DP", text)?,
            None => allele_depths.iter().fold(0, |sum, depth| depth.saturating_add(sum)),
        };
        let quality_stated = sample.quality()?;
        let likelihoods = self.likelihoods(sample, called, quality_stated.unwrap_or(0))?;
        let phased = sample.genotype.contains(&b'|');
        let phase_set = sample.phase_set.filter(|_| phased && called.is_some());
        Ok(SiteCall {
            position: self.start,
            quality_tenths: if quality == b"." { 0 } else { decimal_tenths("QUAL", quality)? },
            // A filter of another caller means nothing to ours.
            filters: filters
                .split(|&byte| byte == b';')
                .filter_map(|name| Filter::from_name(std::str::from_utf8(name).ok()?))
                .collect(),
            genotype: called,
            phase_set: phase_set
                .map(|text| number("PS", text))
                .transpose()?
                .and_then(|set| set.checked_sub(1)),
            allele_depths,
            depth,
            genotype_quality: quality_stated.unwrap_or_else(|| second_smallest(&likelihoods)),
            likelihoods,
            strand_counts: sample.strand_counts()?,
            mapq_rms_tenths: match info.mapq {
                None | Some(b".") => 0,
                Some(text) => decimal_tenths("MQ", text)?,
            },
            reference: self.reference,
            alternates: self.alternates,
        })
    }

    fn allele_depths(&self, sample: &SampleFields<'_>) -> Result<Vec<u32>, LineProblem> {
        let mut depths = match sample.allele_depths {
            None => vec![0; self.stated_alleles()],
            Some(text) => list_with_gaps("AD", text)?,
        };
        if depths.len() != self.stated_alleles() {
            let (found, expected) = (depths.len(), self.stated_alleles());
            return Err(LineProblem::Length { field: "AD", found, expected });
        }
        depths.resize(self.alternates.len() + 2, 0);
        Ok(depths)
    }

    /// PL over REF, alternates and `<NON_REF>`. Without PL the called genotype is GQ better than all others; genotypes
    /// of an allele the record does not name are as unlikely as its unlikeliest.
    fn likelihoods(
        &self,
        sample: &SampleFields<'_>,
        called: Option<[u8; 2]>,
        quality: u8,
    ) -> Result<Vec<u32>, LineProblem> {
        let alleles = self.stated_alleles();
        let diploid = genotypes(alleles);
        let mut likelihoods = match sample.likelihoods {
            Some(text) => list("PL", text)?,
            None => {
                let called = called.map(|[a, b]| {
                    let (low, high) = (usize::from(a.min(b)), usize::from(a.max(b)));
                    high * (high + 1) / 2 + low
                });
                let other = called.map_or(0, |_| u32::from(quality));
                (0..diploid).map(|genotype| if Some(genotype) == called { 0 } else { other }).collect()
            }
        };
        let worst = likelihoods.iter().copied().max().unwrap_or(0);
        if likelihoods.len() == alleles && !sample.genotype.iter().any(|byte| b"/|".contains(byte)) {
            // One copy of the contig: heterozygotes are as unlikely as anything.
            let haploid = likelihoods;
            let pairs = (0..alleles).flat_map(|second| (0..=second).map(move |first| (first, second)));
            likelihoods = pairs.map(|(a, b)| if a == b { haploid[a] } else { worst }).collect();
        }
        if likelihoods.len() != diploid {
            return Err(LineProblem::Length { field: "PL", found: likelihoods.len(), expected: diploid });
        }
        likelihoods.resize(genotypes(self.alternates.len() + 2), worst);
        Ok(likelihoods)
    }
}

fn genotypes(alleles: usize) -> usize {
    alleles * (alleles + 1) / 2
}

/// The two alleles of GT; one allele stands for two, a missing one makes the genotype missing.
fn genotype(text: &[u8], alleles: usize) -> Result<Option<[u8; 2]>, LineProblem> {
    let bad = || problem("GT", text, "expected one or two alleles of the record");
    let mut named = [None; 2];
    let mut ploidy = 0;
    for allele in text.split(|byte| b"/|".contains(byte)) {
        let slot = named.get_mut(ploidy).ok_or_else(bad)?;
        ploidy += 1;
        if allele != b"." && !allele.is_empty() {
            let index = number("GT", allele)?;
            *slot = Some(u8::try_from(index).ok().filter(|&i| usize::from(i) < alleles).ok_or_else(bad)?);
        }
    }
    let [first, second] = named;
    let second = if ploidy == 1 { first } else { second };
    Ok(first.zip(second).map(|(first, second)| [first, second]))
}

/// REF in upper case. Ambiguity codes of the reference become N.
fn bases(text: &[u8]) -> Result<Vec<u8>, LineProblem> {
    let base = |byte: &u8| match byte.to_ascii_uppercase() {
        base @ (b'A' | b'C' | b'G' | b'T' | b'N') => Some(base),
        b'R' | b'Y' | b'S' | b'W' | b'K' | b'M' | b'B' | b'D' | b'H' | b'V' => Some(b'N'),
        _ => None,
    };
    let bases: Option<Vec<u8>> = text.iter().map(base).collect();
    bases.filter(|bases| !bases.is_empty()).ok_or_else(|| LineProblem::Allele { allele: lossy(text) })
}

/// Alternates without `<NON_REF>` (or `<*>`), and whether it was among them; it must be the last.
fn alternate_list(text: &[u8], reference: &[u8]) -> Result<(Vec<Vec<u8>>, bool), LineProblem> {
    let mut alternates: Vec<Vec<u8>> = Vec::new();
    let mut has_non_ref = false;
    if text == b"." {
        return Ok((alternates, false));
    }
    for allele in text.split(|&byte| byte == b',') {
        let refused = || LineProblem::Allele { allele: lossy(allele) };
        if has_non_ref {
            return Err(refused());
        }
        match allele {
            b"<NON_REF>" | b"<*>" => has_non_ref = true,
            b"*" if !alternates.iter().any(|known| known == b"*") => alternates.push(b"*".to_vec()),
            _ => {
                let bases = allele.to_ascii_uppercase();
                let valid = !bases.is_empty() && bases.iter().all(|base| b"ACGTN".contains(base));
                if !valid || bases == reference || alternates.contains(&bases) {
                    return Err(refused());
                }
                alternates.push(bases);
            }
        }
        if alternates.len() > ALTERNATES_MAX {
            let found = text.split(|&byte| byte == b',').count();
            return Err(LineProblem::Alternates { found });
        }
    }
    Ok((alternates, has_non_ref))
}

/// The distance between best and second best likelihood, as GQ.
fn second_smallest(likelihoods: &[u32]) -> u8 {
    let (mut best, mut second) = (u32::MAX, u32::MAX);
    for &likelihood in likelihoods {
        if likelihood < best {
            (best, second) = (likelihood, best);
        } else {
            second = second.min(likelihood);
        }
    }
    (second - best).min(QUALITY_MAX) as u8
}

fn list(field: &'static str, text: &[u8]) -> Result<Vec<u32>, LineProblem> {
    text.split(|&byte| byte == b',').map(|value| number(field, value)).collect()
}

fn list_with_gaps(field: &'static str, text: &[u8]) -> Result<Vec<u32>, LineProblem> {
    let values = text.split(|&byte| byte == b',');
    values.map(|value| if value == b"." { Ok(0) } else { number(field, value) }).collect()
}

/// A count up to VCF's largest integer.
fn number(field: &'static str, text: &[u8]) -> Result<u32, LineProblem> {
    let refused = || problem(field, text, "expected a whole number from 0 to 2147483647");
    if text.is_empty() || text.len() > 10 {
        return Err(refused());
    }
    let mut value = 0u64;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return Err(refused());
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    if value > i32::MAX as u64 { Err(refused()) } else { Ok(value as u32) }
}

/// A decimal, rounded to tenths.
fn decimal_tenths(field: &'static str, text: &[u8]) -> Result<u32, LineProblem> {
    let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    let tenths =
        value.map(|value| value * 10.0 + 0.5).filter(|tenths| (0.5..f64::from(u32::MAX)).contains(tenths));
    tenths
        .map(|tenths| tenths as u32)
        .ok_or_else(|| problem(field, text, "expected a number from 0 to 429496729"))
}

fn problem(field: &'static str, text: &[u8], expected: &'static str) -> LineProblem {
    LineProblem::Field { field, text: lossy(text), expected }
}

/// At most 80 characters of a file's text, for a message.
fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
