//! Which class of data a file holds, by the ending of its name.

use jobs::failure::{Class, Classified};
use jobs::policy::DataClass;
use std::path::{Path, PathBuf};

/// Endings and what stands behind them; the first that fits counts. A VCF of several samples is [`DataClass::Joint`].
const ENDINGS: [(&str, DataClass); 13] = [
    (".fastq", DataClass::Fastq),
    (".fq", DataClass::Fastq),
    (".cram", DataClass::Cram),
    (".bam", DataClass::Cram),
    (".g.vcf", DataClass::Gvcf),
    (".gvcf", DataClass::Gvcf),
    (".g.bcf", DataClass::Gvcf),
    (".vcf", DataClass::Vcf),
    (".bcf", DataClass::Vcf),
    (".html", DataClass::Report),
    (".pdf", DataClass::Report),
    (".qc.json", DataClass::Qc),
    (".sam", DataClass::Cram),
];

/// What an index or a compressor adds to a name.
const ADDED: [&str; 8] = [".gz", ".bgz", ".tbi", ".csi", ".crai", ".bai", ".zst", ".bz2"];

/// The name does not say it.
#[derive(Debug, thiserror::Error)]
#[error("{}: its name does not say of which class the data is", path.display())]
pub struct UnclearClass {
    path: PathBuf,
}

impl Classified for UnclearClass {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        let names: Vec<&str> = DataClass::ALL.iter().map(|class| class.name()).collect();
        Some(format!("give --class, one of {}", names.join(", ")))
    }
}

/// The class of a file with data of so many samples.
pub fn of(path: &Path, samples: usize) -> Result<DataClass, UnclearClass> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut name = name.as_str();
    while let Some(shorter) = ADDED.iter().find_map(|added| name.strip_suffix(added)) {
        name = shorter;
    }
    match ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)) {
        Some((_, DataClass::Vcf)) if samples > 1 => Ok(DataClass::Joint),
        Some((_, class)) => Ok(*class),
        None => Err(UnclearClass { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_hold_or_the_user_is_asked() {
        let check = |name: &str, samples, expect| {
            assert_eq!(of(Path::new(name), samples).ok(), expect, "{name}");
        };
        check("a/S1_R1.fastq.gz", 1, Some(DataClass::Fastq));
        check("S1.CRAM", 1, Some(DataClass::Cram));
        check("S1.cram.crai", 1, Some(DataClass::Cram));
        check("S1.g.vcf.gz", 1, Some(DataClass::Gvcf));
        check("S1.g.vcf.gz.tbi", 1, Some(DataClass::Gvcf));
        check("S1.vcf.gz", 1, Some(DataClass::Vcf));
        check("cohort.vcf.gz", 2, Some(DataClass::Joint));
        check("report.html", 1, Some(DataClass::Report));
        check("S1.json", 1, None);
        check("notes", 1, None);
        check("S1.cram.txt", 1, None);
    }
}
