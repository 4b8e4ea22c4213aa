//! The words of a question to the policy: acts, classes of data, purposes.
//!
//! Invariant: a word is spelled in one way, the same in files, on the command line and in the log.

/// A word the policy does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is no {what}; expected {expected}")]
pub struct WordError {
    what: &'static str,
    word: String,
    expected: String,
}

/// Declares an enum whose values are words, with their spelling both ways.
macro_rules! words {
    ($(#[$about:meta])* $type:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $type {
            /// Every one, in the order of declaration.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// How it is spelled.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = WordError;

            fn from_str(word: &str) -> Result<Self, WordError> {
                $type::ALL.iter().copied().find(|known| known.name() == word).ok_or_else(|| WordError {
                    what: $what,
                    word: word.chars().take(40).collect(),
                    expected: [$($word),+].join(", "),
                })
            }
        }
    };
}

words! {
    /// What is to be done with data.
    Action, "action" {
        /// A cohort is handed in.
        Submit = "submit",
        /// A task is given to a worker.
        Dispatch = "dispatch",
        /// A sample's data is read.
        Read = "read",
        /// A sample's result is kept.
        Commit = "commit",
        /// A file is sealed into a vault.
        Archive = "archive",
        /// A sealed file is brought back.
        Restore = "restore",
        /// Data leaves the programme.
        Export = "export",
        /// A report is issued.
        Report = "report",
    }
}

words! {
    /// Classes of data; each needs a security level.
    DataClass, "class of data" {
        /// Raw reads.
        Fastq = "FASTQ",
        /// Alignments.
        Cram = "CRAM",
        /// Calls of one sample at every base.
        Gvcf = "GVCF",
        /// Variants of one sample.
        Vcf = "VCF",
        /// Variants of a cohort.
        Joint = "JOINT",
        /// What identifies a person among others.
        Fingerprint = "FINGERPRINT",
        /// A report on a person.
        Report = "REPORT",
        /// Quality control.
        Qc = "QC",
        /// Counts over many people.
        Aggregate = "AGGREGATE",
    }
}

words! {
    /// What data is used for.
    Purpose, "purpose" {
        /// Findings go back to the patient.
        ClinicalReturn = "clinical_return",
        /// Academic research.
        Research = "research",
        /// Research with or by industry.
        ResearchIndustry = "research_industry",
        /// Quality assurance of the programme's own analysis.
        Qa = "qa",
    }
}

impl Action {
    /// The role a site needs for the act. No role covers an export: a question cannot name the recipient yet, and
    /// what is missing counts as no.
    pub const fn role(self) -> Option<&'static str> {
        match self {
            Action::Submit
            | Action::Dispatch
            | Action::Read
            | Action::Commit
            | Action::Archive
            | Action::Restore
            | Action::Report => Some("compute"),
            Action::Export => None,
        }
    }
}

impl Purpose {
    /// The consent item without which there is no such use.
    pub const fn item(self) -> &'static str {
        match self {
            // Whoever wants findings back wants them right.
            Purpose::ClinicalReturn | Purpose::Qa => "clinical_return",
            Purpose::Research => "research_academia",
            Purpose::ResearchIndustry => "research_joint_industry",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for action in Action::ALL {
            assert_eq!(action.name().parse(), Ok(*action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.name());
        }
        for class in DataClass::ALL {
            assert_eq!(class.name().parse(), Ok(*class));
        }
        for purpose in Purpose::ALL {
            assert_eq!(serde_json::from_value::<Purpose>(purpose.name().into()).unwrap(), *purpose);
        }
        let error = "Read".parse::<Action>().unwrap_err().to_string();
        assert!(error.starts_with("'Read' is no action; expected submit, dispatch, read"), "{error}");
    }
}
