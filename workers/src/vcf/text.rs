//! Record lines of one cell.
//!
//! Invariant: integers in, bytes out; equal values are equal bytes, and the reader gives a gVCF line's values back.

use jobs::genome::Contigs;
use kernels::joint::JointSite;
use kernels::variant::{Answer, CellCalls, Filter, RefBlock, SiteCall};

use super::line::{NON_REF, no_data_name};

/// Appends the gVCF text of a cell of one sample. `base_at` gives the reference's upper-case letter at a 0-based
/// position of `contig`; blocks need it for REF.
pub fn write_gvcf(
    contigs: &Contigs,
    contig: u32,
    calls: &CellCalls,
    base_at: impl Fn(u32) -> u8,
    out: &mut Vec<u8>,
) {
    let name = contigs.get(contig).name.as_bytes();
    let mut blocks = calls.blocks.iter().peekable();
    for site in &calls.sites {
        while let Some(block) = blocks.next_if(|block| block.start <= site.position) {
            push_block(name, block, base_at(block.start), out);
        }
        push_site(name, site, Detail::Gvcf, out);
    }
    blocks.for_each(|block| push_block(name, block, base_at(block.start), out));
}

/// Appends the plain VCF text of a cell of one sample: the sites whose genotype has an alternate.
pub fn write_calls(contigs: &Contigs, contig: u32, sites: &[SiteCall], out: &mut Vec<u8>) {
    let name = contigs.get(contig).name.as_bytes();
    for site in sites.iter().filter(|site| site.genotype.is_some_and(|alleles| alleles != [0, 0])) {
        push_site(name, site, Detail::Calls, out);
    }
}

/// Appends the text of a cell of a cohort.
pub fn write_joint(contigs: &Contigs, contig: u32, sites: &[JointSite], out: &mut Vec<u8>) {
    let name = contigs.get(contig).name.as_bytes();
    sites.iter().for_each(|site| push_joint(name, site, out));
}

#[derive(Clone, Copy, PartialEq)]
enum Detail {
    Gvcf,
    Calls,
}

fn push_block(contig: &[u8], block: &RefBlock, base: u8, out: &mut Vec<u8>) {
    push_place(contig, block.start, &[base], out);
    out.push(b'<');
    out.extend_from_slice(NON_REF);
    out.extend_from_slice(b">\t.\t.\tEND=");
    push_number(block.end, out);
    if let Some(reason) = no_data_name(block.answer) {
        out.extend_from_slice(b";NODATA=");
        out.extend_from_slice(reason.as_bytes());
    }
    out.extend_from_slice(b"\tGT:DP:GQ:MIN_DP:PL\t");
    out.extend_from_slice(if block.answer == Answer::Reference { b"0/0:" } else { b"./.:" });
    let values = [block.depth, u32::from(block.genotype_quality), block.depth_min];
    push_list(&values, b':', out);
    out.push(b':');
    push_list(&block.likelihoods, b',', out);
    out.push(b'\n');
}

fn push_site(contig: &[u8], site: &SiteCall, detail: Detail, out: &mut Vec<u8>) {
    push_place(contig, site.position, &site.reference, out);
    push_joined(&site.alternates, b',', out);
    if detail == Detail::Gvcf {
        out.extend_from_slice(if site.alternates.is_empty() { b"<" } else { b",<" });
        out.extend_from_slice(NON_REF);
        out.push(b'>');
    }
    push_quality_and_filters(site.quality_tenths, &site.filters, out);
    out.extend_from_slice(b"\tMQ=");
    push_tenths(site.mapq_rms_tenths, out);
    let phase_set = site.phase_set.filter(|_| site.genotype.is_some());
    out.extend_from_slice(b"\tGT:AD:DP:GQ:PL");
    out.extend_from_slice(if detail == Detail::Gvcf { b":SB" } else { b"" });
    out.extend_from_slice(if phase_set.is_some() { b":PS\t" } else { b"\t" });
    push_genotype(site.genotype, phase_set.is_some(), out);
    out.push(b':');
    let alleles = site.alternates.len() + if detail == Detail::Gvcf { 2 } else { 1 };
    push_list(&site.allele_depths[..alleles.min(site.allele_depths.len())], b',', out);
    out.push(b':');
    push_list(&[site.depth, u32::from(site.genotype_quality)], b':', out);
    out.push(b':');
    // `<NON_REF>` is the last allele, so the genotypes without it come first.
    let genotypes = (alleles * (alleles + 1) / 2).min(site.likelihoods.len());
    push_list(&site.likelihoods[..genotypes], b',', out);
    if detail == Detail::Gvcf {
        out.push(b':');
        push_list(&site.strand_counts, b',', out);
    }
    if let Some(phase_set) = phase_set {
        out.push(b':');
        push_number(phase_set + 1, out);
    }
    out.push(b'\n');
}

fn push_joint(contig: &[u8], site: &JointSite, out: &mut Vec<u8>) {
    push_place(contig, site.position, &site.reference, out);
    push_joined(&site.alternates, b',', out);
    push_quality_and_filters(site.quality_tenths, &site.filters, out);
    out.extend_from_slice(b"\tAC=");
    push_list(&site.allele_counts, b',', out);
    out.extend_from_slice(b";AF=");
    for (i, &copies) in site.allele_counts.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"" } else { b"," });
        push_frequency(copies, site.allele_number, out);
    }
    out.extend_from_slice(b";AN=");
    push_number(site.allele_number, out);
    out.extend_from_slice(b";DP=");
    push_number(site.depth.min(i32::MAX as u64) as u32, out);
    out.extend_from_slice(b";MQ=");
    push_tenths(site.mapq_rms_tenths, out);
    let phased = site.genotypes.iter().any(|genotype| genotype.phase_set.is_some());
    out.extend_from_slice(if phased { b"\tGT:AD:DP:GQ:PL:PS" } else { b"\tGT:AD:DP:GQ:PL" });
    let alleles = site.alternates.len() + 1;
    let depths = site.allele_depths.chunks_exact(alleles);
    let likelihoods = site.likelihoods.chunks_exact(alleles * (alleles + 1) / 2);
    for ((genotype, depths), likelihoods) in site.genotypes.iter().zip(depths).zip(likelihoods) {
        out.push(b'\t');
        push_genotype(genotype.alleles, genotype.phase_set.is_some(), out);
        out.push(b':');
        push_list(depths, b',', out);
        out.push(b':');
        push_number(genotype.depth, out);
        if genotype.alleles.is_some() {
            out.push(b':');
            push_number(u32::from(genotype.genotype_quality), out);
            out.push(b':');
            push_list(likelihoods, b',', out);
        }
        if let Some(phase_set) = genotype.phase_set {
            out.push(b':');
            push_number(phase_set + 1, out);
        }
    }
    out.push(b'\n');
}

/// CHROM to REF, with the tab after it.
fn push_place(contig: &[u8], position: u32, reference: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(contig);
    out.push(b'\t');
    push_number(position + 1, out);
    out.extend_from_slice(b"\t.\t");
    out.extend_from_slice(reference);
    out.push(b'\t');
}

fn push_quality_and_filters(quality_tenths: u32, filters: &[Filter], out: &mut Vec<u8>) {
    out.push(b'\t');
    push_tenths(quality_tenths, out);
    out.push(b'\t');
    if filters.is_empty() {
        out.extend_from_slice(b"PASS");
    }
    for (i, filter) in filters.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"" } else { b";" });
        out.extend_from_slice(filter.name().as_bytes());
    }
}

fn push_genotype(alleles: Option<[u8; 2]>, phased: bool, out: &mut Vec<u8>) {
    match alleles {
        None => out.extend_from_slice(b"./."),
        Some([first, second]) => {
            push_number(u32::from(first), out);
            out.push(if phased { b'|' } else { b'/' });
            push_number(u32::from(second), out);
        }
    }
}

fn push_joined(alleles: &[Vec<u8>], separator: u8, out: &mut Vec<u8>) {
    for (i, allele) in alleles.iter().enumerate() {
        if i > 0 {
            out.push(separator);
        }
        out.extend_from_slice(allele);
    }
}

fn push_list(values: &[u32], separator: u8, out: &mut Vec<u8>) {
    for (i, &value) in values.iter().enumerate() {
        if i > 0 {
            out.push(separator);
        }
        push_number(value, out);
    }
}

fn push_number(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Tenths as a decimal, without a zero at its end.
fn push_tenths(tenths: u32, out: &mut Vec<u8>) {
    push_number(tenths / 10, out);
    if !tenths.is_multiple_of(10) {
        out.extend_from_slice(&[b'.', b'0' + (tenths % 10) as u8]);
    }
}

/// A fraction with up to six decimals, rounded, without zeros at its end.
fn push_frequency(part: u32, whole: u32, out: &mut Vec<u8>) {
    let millionths = (u64::from(part) * 1_000_000 + u64::from(whole) / 2) / u64::from(whole.max(1));
    push_number((millionths / 1_000_000) as u32, out);
    let decimals = format!(".{:06}", millionths % 1_000_000);
    out.extend_from_slice(decimals.trim_end_matches('0').trim_end_matches('.').as_bytes());
}
