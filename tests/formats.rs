//! Every output is what other people's programs take it for: samtools, bcftools and tabix. Skipped, with a printed
//! reason, where those are absent.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;
use wakachi::{Cohort, files, folder, present, shell, text, wakachi};

/// A cohort and its job, if the programs are there.
fn small() -> Option<&'static (Cohort, TempDir)> {
    static SMALL: OnceLock<(Cohort, TempDir)> = OnceLock::new();
    let simulate = || {
        let cohort = Cohort::simulate("formats", "--samples 2 --genome-mb 0.4 --depth 10 --seed 41");
        let job = cohort.job("-t 2 --shard-bases 131072");
        (cohort, job)
    };
    present(&["samtools", "bcftools", "tabix", "bgzip"]).then(|| SMALL.get_or_init(simulate))
}

fn results(job: &Path, ending: &str) -> Vec<PathBuf> {
    let found: Vec<PathBuf> =
        files(&job.join("results")).into_iter().filter(|path| text(path).ends_with(ending)).collect();
    assert!(!found.is_empty(), "no {ending}");
    found
}

/// The number that a command prints.
fn count(command: &str) -> u64 {
    let said = shell(command);
    said.trim().parse().unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
}

#[test]
fn samtools_reads_every_cram_whole_and_by_region() {
    let Some((cohort, job)) = small() else { return };
    let reference = cohort.reference();
    let samtools = format!("samtools view --input-fmt-option reference={}", text(&reference));
    for cram in results(job.path(), ".cram") {
        let cram = text(&cram);
        shell(&format!("samtools quickcheck -vvv {cram}"));
        let all = count(&format!("{samtools} -c {cram}"));
        let flagstat = shell(&format!("samtools flagstat {cram}"));
        assert_eq!(flagstat.split(' ').next(), Some(all.to_string().as_str()), "{flagstat}");
        // Each record starts in one half of its contig; the index must lead to all of them.
        for region in ["chr1:1-131072", "chr1:131073-400000", "chr2", "chr3:5000-6000", "chrM"] {
            let indexed = count(&format!("{samtools} -c {cram} {region}"));
            let scanned = format!("{samtools} -b {cram} | samtools view -c -e '{}' -", filter(region));
            assert_eq!(indexed, count(&scanned), "{region}");
        }
        let unplaced = count(&format!("{samtools} -c {cram} '*'"));
        assert_eq!(unplaced, count(&format!("{samtools} -b {cram} | samtools view -c -e 'rname==\"*\"' -")));
        // The order is the one that the header states.
        shell(&format!("{samtools} -b {cram} | samtools index - -o /dev/null"));
        assert!(shell(&format!("samtools head {cram}")).starts_with("@HD\tVN:1.6\tSO:coordinate"));
    }
}

/// A region as a filter that reads records one by one.
fn filter(region: &str) -> String {
    let (contig, range) = region.split_once(':').unwrap_or((region, "1-999999999"));
    let (first, last) = range.split_once('-').unwrap();
    format!("rname==\"{contig}\" && pos<={last} && endpos>={first}")
}

#[test]
fn stated_tags_are_those_that_samtools_computes() {
    let Some((cohort, job)) = small() else { return };
    let reference = cohort.reference();
    let reference = text(&reference);
    for cram in results(job.path(), ".cram") {
        let decoded = format!("samtools view -h -T {reference} {} | cut -f1-11", text(&cram));
        let tags = "grep -v '^@' | grep -o '[NM][MD]:[iZ]:[^[:space:]]*'";
        let computed =
            shell(&format!("{decoded} | samtools calmd - {reference} 2>/dev/null | {tags} | md5sum"));
        let stated = shell(&format!(
            "samtools view -h -T {reference} {} | grep -v '^@' | awk -F'\\t' '{{nm=md=\"\"; \
             for (i=12;i<=NF;i++) {{ if ($i~/^NM:/) nm=$i; if ($i~/^MD:/) md=$i }} if (nm) print nm\"\\n\"md}}' | md5sum",
            text(&cram)
        ));
        assert_eq!(stated, computed, "{}", cram.display());
    }
}

#[test]
fn files_are_no_larger_than_those_of_samtools() {
    let Some((cohort, job)) = small() else { return };
    let reference = cohort.reference();
    let reference = text(&reference);
    for cram in results(job.path(), ".cram") {
        let other = cram.with_extension("other");
        shell(&format!("samtools view -C -T {reference} -o {} {}", text(&other), text(&cram)));
        assert_small(&cram, &other);
        fs::remove_file(other).unwrap();
    }
    let other = folder();
    let bam = other.path().join("aligned.bam");
    let reads = |mate| cohort.dir.join(format!("reads/S-000001_R{mate}.fastq.gz"));
    let group = "@RG\\tID:a\\tSM:S-000001";
    wakachi(&["align", reference, text(&reads(1)), text(&reads(2)), "-o", text(&bam), "-R", group]).ok();
    shell(&format!("samtools quickcheck -v {}", text(&bam)));
    assert!(bam.with_extension("bam.bai").exists() || bam.with_extension("bam.csi").exists());
    for region in ["chr1:1-131072", "chr1:131073-400000", "chr2", "chr3:5000-6000", "chrM"] {
        let indexed = count(&format!("samtools view -c {} {region}", text(&bam)));
        assert_eq!(
            indexed,
            count(&format!("samtools view -c -e '{}' {}", filter(region), text(&bam))),
            "{region}"
        );
    }
    let theirs = other.path().join("theirs.bam");
    fs::copy(&bam, &theirs).unwrap();
    shell(&format!("samtools index {}", text(&theirs)));
    let counted = |bam: &Path| shell(&format!("samtools idxstats {}", text(bam)));
    assert_eq!(counted(&bam), counted(&theirs));
    let other = other.path().join("other.bam");
    shell(&format!("samtools view -b -o {} {}", text(&other), text(&bam)));
    assert_small(&bam, &other);
}

fn assert_small(ours: &Path, theirs: &Path) {
    let bytes = |path: &Path| fs::metadata(path).unwrap().len();
    let (ours_bytes, theirs_bytes) = (bytes(ours), bytes(theirs));
    println!("{}: {ours_bytes} bytes, samtools {theirs_bytes}", ours.display());
    assert!(
        ours_bytes * 100 <= theirs_bytes * 105,
        "{}: {ours_bytes} bytes, samtools {theirs_bytes}",
        ours.display()
    );
}

#[test]
fn bcftools_and_tabix_read_every_vcf_whole_and_by_region() {
    let Some((cohort, job)) = small() else { return };
    let reference = cohort.reference();
    for vcf in results(job.path(), ".vcf.gz") {
        let vcf = text(&vcf);
        let warned = shell(&format!("bcftools view {vcf} 2>&1 >/dev/null"));
        assert_eq!(warned, "");
        let header = shell(&format!("bcftools view -h {vcf}"));
        assert!(header.starts_with("##fileformat=VCFv4."), "{header}");
        for name in ["GT", "AD", "DP", "GQ", "PL"] {
            assert!(header.contains(&format!("##FORMAT=<ID={name},")), "{name}: {header}");
        }
        for contig in ["chr1", "chr2", "chr3"] {
            let indexed = count(&format!("tabix {vcf} {contig} | wc -l"));
            assert_eq!(indexed, count(&format!("bgzip -dc {vcf} | grep -c '^{contig}\t'")), "{vcf} {contig}");
        }
        let part = count(&format!("tabix {vcf} chr1:100000-140000 | wc -l"));
        let streamed = format!("bcftools view -H -t chr1:100000-140000 --targets-overlap 1 {vcf} | wc -l");
        assert_eq!(part, count(&streamed), "{vcf}");
        shell(&format!("bcftools index -f -o /dev/null {vcf}"));
        shell(&format!("bcftools norm -c e -f {} {vcf} -o /dev/null 2>/dev/null", text(&reference)));
        shell(&format!("bgzip -t {vcf}"));
    }
}

#[test]
fn no_result_tells_of_a_place_a_time_or_a_machine() {
    let Some((cohort, job)) = small() else { return };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let year = shell("date +%Y");
    let reference = cohort.reference();
    let mut headers = BTreeMap::new();
    for path in results(job.path(), ".cram") {
        let text = shell(&format!("samtools view --no-PG -H -T {} {}", text(&reference), text(&path)));
        headers.insert(path, text);
    }
    for path in results(job.path(), ".vcf.gz") {
        headers.insert(path.clone(), shell(&format!("bgzip -dc {} | grep '^#'", text(&path))));
    }
    for (path, header) in headers {
        let words = [
            text(job.path()),
            text(&cohort.dir),
            "/tmp",
            host.trim(),
            year.trim(),
            "reference.fa",
            "fileDate",
        ];
        for word in words.into_iter().filter(|word| word.len() > 3) {
            assert!(!header.contains(word), "{}: '{word}' in {header}", path.display());
        }
    }
}
