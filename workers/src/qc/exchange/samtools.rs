//! The form of `samtools stats`: its summary numbers, qualities and bases by cycle, insert sizes and read lengths.

use std::fmt::Write as _;

use super::{Subject, WRITER};
use crate::qc::alignment::AlignmentCounters;
use crate::qc::histogram::Histogram;

/// The file; what it has not are the sections that need what we do not count (CHK, MPC, GCF, GCL, GCC, FBC, LBC, MAPQ, ID,
/// IC, COV, GCD).
pub(super) fn stats(subject: &Subject<'_>) -> Option<String> {
    let counters = &subject.qc.counters.alignment;
    let mut text = format!(
        "# {WRITER} counted what follows; the next line is what programs look for.\n\
         # This file was produced by samtools stats\n\
         # This file contains statistics for all reads.\n\
         # Summary Numbers. Use `grep ^SN | cut -f 2-` to extract this part.\n"
    );
    for (name, value, comment) in summary(counters) {
        let comment = if comment.is_empty() { String::new() } else { format!("\t# {comment}") };
        put(&mut text, format_args!("SN\t{name}:\t{value}{comment}"));
    }
    qualities(&mut text, counters);
    bases(&mut text, counters);
    let inserts = &counters.inserts;
    let (_, _, bulk) = inserts.main_bulk();
    put(
        &mut text,
        format_args!(
            "# Insert sizes. Use `grep ^IS | cut -f 2-` to extract this part. The columns are: insert size, pairs \
             total, inward oriented pairs, outward oriented pairs, other pairs"
        ),
    );
    for (size, all) in bulk.counts().iter().enumerate() {
        let [inward, outward, other] =
            [&inserts.inward, &inserts.outward, &inserts.other].map(|of| of.count(size));
        put(&mut text, format_args!("IS\t{size}\t{all}\t{inward}\t{outward}\t{other}"));
    }
    let [first, last] = &counters.mates;
    let lengths = [
        ("RL", "Read lengths", &counters.read_lengths()),
        ("FRL", "Read lengths - first fragments", &first.length),
        ("LRL", "Read lengths - last fragments", &last.length),
    ];
    for (key, title, lengths) in lengths {
        let columns = "The columns are: read length, count";
        put(
            &mut text,
            format_args!("# {title}. Use `grep ^{key} | cut -f 2-` to extract this part. {columns}"),
        );
        for (length, &count) in lengths.counts().iter().enumerate().filter(|(_, count)| **count > 0) {
            put(&mut text, format_args!("{key}\t{length}\t{count}"));
        }
    }
    Some(text)
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}

/// Name, value, remark, in the order of `samtools stats`. Ratios are of single precision there.
fn summary(counters: &AlignmentCounters) -> Vec<(&'static str, String, &'static str)> {
    let reads = &counters.reads;
    let inserts = &counters.inserts;
    let (insert_mean, insert_deviation, _) = inserts.main_bulk();
    let bases = |lengths: &Histogram| -> u64 {
        lengths.counts().iter().enumerate().map(|(length, count)| length as u64 * count).sum()
    };
    let longest = |lengths: &Histogram| lengths.counts().len().saturating_sub(1).to_string();
    let average = |total: u64, count: u64| match count {
        0 => "0".to_owned(),
        _ => format!("{:.0}", total as f32 / count as f32),
    };
    let [first, last] = counters.mates.each_ref().map(|mate| bases(&mate.length));
    // Single reads count as first ones.
    let first_count = counters.mates[0].length.total();
    let last_count = counters.mates[1].length.total();
    let aligned = counters.aligned_bases + counters.supplementary_aligned_bases;
    let mismatches = counters.edit_distance + counters.supplementary_edit_distance;
    let qualities = bases(&counters.qualities());
    let quality = if first + last == 0 { 0.0 } else { qualities as f64 / (first + last) as f64 };
    let proper =
        if reads.primary == 0 { 0.0 } else { (100 * reads.properly_paired) as f32 / reads.primary as f32 };
    let error_rate = if aligned == 0 { 0.0 } else { mismatches as f32 / aligned as f32 };
    let number = |count: u64| count.to_string();
    vec![
        ("raw total sequences", number(reads.primary), "excluding supplementary and secondary reads"),
        ("filtered sequences", number(0), ""),
        ("sequences", number(reads.primary), ""),
        ("is sorted", number(1), "sorted by coordinate"),
        ("1st fragments", number(first_count), ""),
        ("last fragments", number(last_count), ""),
        ("reads mapped", number(reads.mapped), ""),
        (
            "reads mapped and paired",
            number(reads.both_mapped),
            "paired-end technology bit set + both mates mapped",
        ),
        ("reads unmapped", number(reads.unmapped), ""),
        ("reads properly paired", number(reads.properly_paired), "proper-pair bit set"),
        ("reads paired", number(reads.paired), "paired-end technology bit set"),
        ("reads duplicated", number(reads.duplicate), "PCR or optical duplicate bit set"),
        ("reads MQ0", number(counters.mapq.count(0)), "mapped and MQ=0"),
        ("reads QC failed", number(reads.qc_fail), ""),
        ("non-primary alignments", number(reads.secondary), ""),
        ("supplementary alignments", number(reads.supplementary), ""),
        ("total length", number(first + last), "ignores clipping"),
        ("total first fragment length", number(first), "ignores clipping"),
        ("total last fragment length", number(last), "ignores clipping"),
        ("bases mapped", number(counters.mapped_bases), "ignores clipping"),
        ("bases mapped (cigar)", number(aligned), "more accurate"),
        ("bases trimmed", number(0), ""),
        ("bases duplicated", number(counters.duplicate_bases), ""),
        ("mismatches", number(mismatches), "from NM fields"),
        ("error rate", scientific(f64::from(error_rate)), "mismatches / bases mapped (cigar)"),
        ("average length", average(first + last, reads.primary), ""),
        ("average first fragment length", average(first, first_count), ""),
        ("average last fragment length", average(last, last_count), ""),
        ("maximum length", longest(&counters.read_lengths()), ""),
        ("maximum first fragment length", longest(&counters.mates[0].length), ""),
        ("maximum last fragment length", longest(&counters.mates[1].length), ""),
        ("average quality", format!("{quality:.1}"), ""),
        ("insert size average", format!("{insert_mean:.1}"), ""),
        ("insert size standard deviation", format!("{insert_deviation:.1}"), ""),
        ("inward oriented pairs", number(inserts.inward.total()), ""),
        ("outward oriented pairs", number(inserts.outward.total()), ""),
        ("pairs with other orientation", number(inserts.other.total()), ""),
        ("pairs on different chromosomes", number(reads.mate_on_other_contig / 2), ""),
        ("percentage of properly paired reads (%)", format!("{proper:.1}"), ""),
    ]
}

/// As `%e` of C: six decimals, an exponent of two digits and its sign.
fn scientific(value: f64) -> String {
    let text = format!("{value:.6e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn qualities(text: &mut String, counters: &AlignmentCounters) {
    let rows = counters.mates.iter().flat_map(|mate| mate.quality.rows());
    let largest = rows.filter_map(|row| row.iter().rposition(|&count| count > 0)).max().unwrap_or(0);
    for ((key, title), mate) in [("FFQ", "First"), ("LFQ", "Last")].into_iter().zip(&counters.mates) {
        put(
            text,
            format_args!(
                "# {title} Fragment Qualities. Use `grep ^{key} | cut -f 2-` to extract this part.\n\
                 # Columns correspond to qualities and rows to cycles. First column is the cycle number."
            ),
        );
        for (cycle, row) in mate.quality.rows().iter().enumerate() {
            // One column more than the largest quality needs.
            let counts: String =
                (0..=largest + 1).map(|of| format!("\t{}", row.get(of).unwrap_or(&0))).collect();
            put(text, format_args!("{key}\t{}{counts}", cycle + 1));
        }
    }
}

/// Shares of A, C, G and T by cycle, as the instrument read them, of both mates together.
fn bases(text: &mut String, counters: &AlignmentCounters) {
    put(
        text,
        format_args!(
            "# ACGT content per cycle, read oriented. Use `grep ^GCT | cut -f 2-` to extract this part. The columns \
             are: cycle; A,C,G,T base counts as a percentage of all A/C/G/T bases [%]"
        ),
    );
    let mut both = counters.mates[0].composition.clone();
    both.merge(&counters.mates[1].composition);
    for (cycle, row) in both.rows().iter().enumerate() {
        let known: u64 = row[..4].iter().sum();
        if known > 0 {
            let share = |count: &u64| format!("\t{:.2}", 100.0 * *count as f64 / known as f64);
            put(text, format_args!("GCT\t{}{}", cycle + 1, row[..4].iter().map(share).collect::<String>()));
        }
    }
}
