//! Writes truth VCFs: genotypes of small variants in normal form, structural variants with symbolic alleles, somatic
//! mutations with their allele fractions; BGZF with its tabix index.
//!
//! Invariant: records are in coordinate order; several alternates of a site stand in records of their own.

use std::io::{self, Write};

use noodles_bgzf as bgzf;
use noodles_core::Position;
use noodles_csi::binning_index::index::header::Builder;
use noodles_csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles_tabix as tabix;

use super::genome::Sequence;
use super::population::{Person, Population};
use super::variation::{Edit, Kind};

/// Which truth of a person a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Germline SNVs and indels to 50 bases, phased paternal|maternal.
    Small,
    /// Germline structural variants.
    Structural,
    /// Somatic SNVs and indels.
    Somatic,
}

/// A truth VCF in memory: BGZF text and tabix index.
pub struct TruthVcf {
    /// The BGZF file.
    pub text: Vec<u8>,
    /// The `.tbi` file.
    pub index: Vec<u8>,
    /// Number of records.
    pub records: u64,
}

/// Makes the truth VCF of one class for a person, under the sample's name.
pub fn truth_vcf(
    genome: &[Sequence],
    population: &Population,
    person: &Person,
    sample: &str,
    class: Class,
) -> io::Result<TruthVcf> {
    let mut out = bgzf::io::Writer::new(Vec::new());
    let mut indexer = tabix::index::Indexer::default();
    indexer.set_header(Builder::vcf().build());
    write_header(genome, sample, class, &mut out)?;
    let mut records = 0;
    for (index, contig) in genome.iter().enumerate() {
        let rows = match class {
            Class::Somatic => somatic_rows(person, index),
            _ => germline_rows(population, person, index, class),
        };
        for Row { edit, info, genotype } in rows {
            let begin = out.virtual_position();
            write_record(contig, &edit, &info, genotype, &mut out)?;
            let position = |at: u32| Position::try_from(at as usize).map_err(io::Error::other);
            let (start, end) = (position(edit.position + 1)?, position(edit.end())?);
            indexer.add_record(&contig.name, start, end, Chunk::new(begin, out.virtual_position()))?;
            records += 1;
        }
    }
    let mut index = tabix::io::Writer::new(Vec::new());
    index.write_index(&indexer.build())?;
    let index = index.into_inner().finish()?;
    Ok(TruthVcf { text: out.finish()?, index, records })
}

struct Row {
    edit: Edit,
    info: String,
    genotype: &'static str,
}

fn germline_rows(population: &Population, person: &Person, contig: usize, class: Class) -> Vec<Row> {
    let wanted = |edit: &Edit| (edit.kind == Kind::Small) == (class == Class::Small);
    let [paternal, maternal] = [0, 1].map(|haplotype| population.germline(person, haplotype, contig));
    let mut edits: Vec<(Edit, u8)> = paternal.into_iter().map(|edit| (edit, 1)).collect();
    edits.extend(maternal.into_iter().map(|edit| (edit, 2)));
    edits.sort();
    edits.dedup_by(|next, kept| {
        let equal = next.0 == kept.0;
        kept.1 |= if equal { next.1 } else { 0 };
        equal
    });
    let row = |(edit, haplotypes): (Edit, u8)| {
        let genotype = ["0|0", "1|0", "0|1", "1|1"][haplotypes as usize];
        let info = match class {
            Class::Structural => structural_info(&edit),
            _ if person.is_de_novo(contig, &edit) => "DENOVO".to_owned(),
            _ => ".".to_owned(),
        };
        Row { edit, info, genotype }
    };
    edits.into_iter().filter(|(edit, _)| wanted(edit)).map(row).collect()
}

fn somatic_rows(person: &Person, contig: usize) -> Vec<Row> {
    let somatic = person.somatic(contig).into_iter();
    somatic
        .map(|(edit, fraction)| Row {
            edit: edit.clone(),
            info: format!("AF={fraction:.3}"),
            genotype: "0/1",
        })
        .collect()
}

fn structural_info(edit: &Edit) -> String {
    let (kind, length) = match edit.kind {
        Kind::Deletion => ("DEL", 1 - i64::from(edit.reference_bases)),
        Kind::Insertion => ("INS", edit.alternate.len() as i64 - 1),
        Kind::TandemDuplication => ("DUP", i64::from(edit.reference_bases) - 1),
        Kind::Inversion => ("INV", i64::from(edit.reference_bases) - 1),
        Kind::Small => return ".".to_owned(),
    };
    format!("SVTYPE={kind};END={};SVLEN={length}", edit.end())
}

fn write_record(
    contig: &Sequence,
    edit: &Edit,
    info: &str,
    genotype: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let reference = &contig.bases[edit.position as usize..edit.end() as usize];
    let (reference, alternate): (&[u8], &[u8]) = match edit.kind {
        Kind::Small => (reference, &edit.alternate),
        Kind::Deletion => (&reference[..1], b"<DEL>"),
        Kind::Insertion => (reference, b"<INS>"),
        Kind::TandemDuplication => (&reference[..1], b"<DUP:TANDEM>"),
        Kind::Inversion => (&reference[..1], b"<INV>"),
    };
    write!(out, "{}\t{}\t.\t", contig.name, edit.position + 1)?;
    out.write_all(reference)?;
    out.write_all(b"\t")?;
    out.write_all(alternate)?;
    writeln!(out, "\t.\tPASS\t{info}\tGT\t{genotype}")
}

fn write_header(genome: &[Sequence], sample: &str, class: Class, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "##fileformat=VCFv4.2")?;
    writeln!(out, "##source=wakachi simulate {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "##FILTER=<ID=PASS,Description=\"All filters passed\">")?;
    let info: &[&str] = match class {
        Class::Small => &["ID=DENOVO,Number=0,Type=Flag,Description=\"New mutation of this child\""],
        Class::Somatic => &["ID=AF,Number=A,Type=Float,Description=\"Expected allele fraction\""],
        Class::Structural => &[
            "ID=SVTYPE,Number=1,Type=String,Description=\"Type of structural variant\"",
            "ID=END,Number=1,Type=Integer,Description=\"Last position of the variant\"",
            "ID=SVLEN,Number=A,Type=Integer,Description=\"Difference in length, or length affected\"",
        ],
    };
    info.iter().try_for_each(|definition| writeln!(out, "##INFO=<{definition}>"))?;
    if class == Class::Structural {
        for (id, description) in [
            ("DEL", "Deletion"),
            ("INS", "Insertion"),
            ("DUP:TANDEM", "Tandem duplication"),
            ("INV", "Inversion"),
        ] {
            writeln!(out, "##ALT=<ID={id},Description=\"{description}\">")?;
        }
    }
    writeln!(
        out,
        "##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype, paternal|maternal where phased\">"
    )?;
    for contig in genome {
        writeln!(out, "##contig=<ID={},length={}>", contig.name, contig.bases.len())?;
    }
    writeln!(out, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{sample}")
}
