//! Header lines (VCFv4.2 §1.2) of the three kinds of file.
//!
//! Invariant: a pure function of contigs, samples, program version and parameters; no path, date, host or command.

use jobs::genome::Contigs;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sites and reference blocks of one sample.
    Gvcf,
    /// Sites of one sample.
    Calls,
    /// Sites of a cohort.
    Joint,
}

const FILTERS: [(&str, &str); 6] = [
    ("PASS", "All filters passed"),
    ("LowQual", "QUAL below the threshold"),
    ("LowDepth", "Fewer usable reads than the threshold"),
    ("StrandBias", "Alternate reads come from one strand only"),
    ("LowMapq", "Reads that support the alternate map elsewhere nearly as well"),
    ("Complex", "Alternate reads carry many further mismatches or the place has too many candidates"),
];

/// ID, Number, Type, Description, and the kinds of file that have it.
type Field = (&'static str, &'static str, &'static str, &'static str, &'static [Kind]);

const ALL: &[Kind] = &[Kind::Gvcf, Kind::Calls, Kind::Joint];

const INFO: [Field; 7] = [
    ("END", "1", "Integer", "Last position of the block", &[Kind::Gvcf]),
    (
        "NODATA",
        "1",
        "String",
        "Why the block has no reference confidence: NO_READS, NO_USABLE_READS or REFERENCE_UNKNOWN",
        &[Kind::Gvcf],
    ),
    ("AC", "A", "Integer", "Copies of each alternate allele in the genotypes", &[Kind::Joint]),
    ("AF", "A", "Float", "Frequency of each alternate allele in the genotypes", &[Kind::Joint]),
    ("AN", "1", "Integer", "Alleles in the genotypes", &[Kind::Joint]),
    ("DP", "1", "Integer", "Usable reads of all samples", &[Kind::Joint]),
    ("MQ", "1", "Float", "Root mean square mapping quality of usable reads", ALL),
];

const FORMAT: [Field; 8] = [
    ("GT", "1", "String", "Genotype", ALL),
    ("AD", "R", "Integer", "Usable reads of each allele", ALL),
    ("DP", "1", "Integer", "Usable reads; the median in a block", ALL),
    ("GQ", "1", "Integer", "Phred of the probability that the genotype is another one", ALL),
    ("MIN_DP", "1", "Integer", "Fewest usable reads in the block", &[Kind::Gvcf]),
    ("PL", "G", "Integer", "Phred-scaled genotype likelihoods, the smallest 0", ALL),
    (
        "SB",
        "4",
        "Integer",
        "Reads by strand: REF forward, REF reverse, ALT forward, ALT reverse",
        &[Kind::Gvcf],
    ),
    ("PS", "1", "Integer", "Phase set of the genotype: the position of its first site", ALL),
];

/// All header lines with the column line. `parameters` is the digest of what the caller may change in the results.
pub fn header_text(kind: Kind, contigs: &Contigs, samples: &[&str], parameters: &str) -> String {
    let mut text = String::from("##fileformat=VCFv4.2\n");
    let lines =
        FILTERS.iter().map(|(id, description)| format!("##FILTER=<ID={id},Description=\"{description}\">\n"));
    text.extend(lines);
    if kind == Kind::Gvcf {
        text.push_str("##ALT=<ID=NON_REF,Description=\"Any possible alternate allele at this place\">\n");
    }
    for (column, fields) in [("INFO", &INFO[..]), ("FORMAT", &FORMAT[..])] {
        for (id, number, kind_of_value, description, _) in
            fields.iter().filter(|field| field.4.contains(&kind))
        {
            text.push_str(&format!(
                "##{column}=<ID={id},Number={number},Type={kind_of_value},Description=\"{description}\">\n"
            ));
        }
    }
    for contig in contigs.iter() {
        let m5: String = contig.m5.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("##contig=<ID={},length={},md5={m5}>\n", contig.name, contig.length));
    }
    text.push_str(concat!("##source=wakachi ", env!("CARGO_PKG_VERSION"), "\n"));
    text.push_str(&format!("##wakachi_parameters={parameters}\n"));
    text.push_str("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO");
    // Without samples there is no FORMAT either (VCFv4.2 §1.3); bcftools takes no header with one.
    for sample in samples.first().map(|_| "FORMAT").iter().chain(samples) {
        text.push('\t');
        text.push_str(sample);
    }
    text.push('\n');
    text
}
