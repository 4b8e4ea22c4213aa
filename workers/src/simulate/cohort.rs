//! The sheet and the cohort file of a simulated cohort, ready for `wakachi run`.

use std::fmt::Write as _;

use super::governance;
use super::population::{Person, Relation, Sex};

/// A sequenced sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Index of its participant.
    pub person: usize,
    /// SM.
    pub name: String,
    /// What it is.
    pub role: Role,
}

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The only sample of a participant.
    Germline,
    /// Normal tissue of a participant with a tumour.
    Normal,
    /// The tumour.
    Tumor,
}

impl Sample {
    /// Paths of the two FASTQ files, relative to the sheet.
    pub fn fastqs(&self) -> [String; 2] {
        [1, 2].map(|end| format!("reads/{}_R{end}.fastq.gz", self.name))
    }
}

/// The samples of a cohort in sheet order; the participant at `tumor` has two, a normal and then the tumour.
pub fn samples(people: usize, tumor: Option<usize>) -> Vec<Sample> {
    let samples = (0..people).flat_map(|person| {
        let sample = |end, role| Sample { person, name: format!("S-{:06}{end}", person + 1), role };
        match tumor == Some(person) {
            true => vec![sample("-N", Role::Normal), sample("-T", Role::Tumor)],
            false => vec![sample("", Role::Germline)],
        }
    });
    samples.collect()
}

/// The sheet; `digests` are the SHA-256 of each sample's two files.
pub fn sheet(samples: &[Sample], people: &[Person], digests: &[[String; 2]]) -> String {
    let mut text = String::from(
        "participant,specimen,sample,role,family,relation,sex_declared,rgid,fastq_1,fastq_2,sha256_1,sha256_2\n",
    );
    for (index, (sample, [sha256_1, sha256_2])) in samples.iter().zip(digests).enumerate() {
        let person = &people[sample.person];
        let role = match sample.role {
            Role::Germline => "germline",
            Role::Normal => "normal",
            Role::Tumor => "tumor",
        };
        let (family, relation) = match person.relation {
            Relation::Unrelated => ("", ""),
            Relation::Father => ("FAM-0001", "father"),
            Relation::Mother => ("FAM-0001", "mother"),
            Relation::Proband => ("FAM-0001", "proband"),
        };
        let sex = match person.sex {
            Sex::Female => "F",
            Sex::Male => "M",
        };
        let [fastq_1, fastq_2] = sample.fastqs();
        let (participant, specimen, name) = (governance::participant(sample.person), index + 1, &sample.name);
        let _ = writeln!(
            text,
            "{participant},SP-{specimen:06},{name},{role},{family},{relation},{sex},{name}.L1,\
             {fastq_1},{fastq_2},{sha256_1},{sha256_2}"
        );
    }
    text
}

/// The cohort file.
pub fn cohort_file(seed: u64) -> String {
    format!(
        "# A simulated cohort: nobody's data. The truth is under truth/ and in the read names.\n\
         [cohort]\n\
         id = \"simulated-{seed}\"\n\
         title = \"simulated genomes, no participant behind them\"\n\
         owner_group = \"simulation\"\n\
         purpose = \"qa\"\n\
         samples = \"samples.csv\"\n\
         consent = \"consent.json\"\n\
         reference = {{ path = \"reference.fa\" }}\n\
         sites = [\"here\"]\n\
         on_denied_sample = \"exclude\"\n\
         \n\
         [governance]\n\
         site = \"here\"\n\
         policy = \"policy.toml\"\n\
         sites = \"sites.toml\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tumour_shares_its_participant_with_its_normal() {
        let samples = samples(4, Some(2));
        let names: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names, ["S-000001", "S-000002", "S-000003-N", "S-000003-T", "S-000004"]);
        assert_eq!((samples[2].person, samples[3].person), (2, 2));
        assert_eq!((samples[2].role, samples[3].role), (Role::Normal, Role::Tumor));
    }
}
