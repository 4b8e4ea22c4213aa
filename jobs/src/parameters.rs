//! What decides the bytes of the results, beside reads, reference and program version.
//!
//! Invariant: everything here is in [`Parameters::canonical`], and nothing here is about speed or space: threads,
//! memory, shard length and chunk size live in [`crate::config`] and cannot change a result.

use crate::document::Section;
use std::fmt::Write;

/// The `[parameters]` table of a cohort file. Every key may be left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Parameters {
    /// Reads over a place that are used for calling; beyond it they are chosen by the hash of their name. The CRAM
    /// keeps all. Default: 250.
    pub max_depth: u32,
    /// Least mapping quality (Phred) of a read used for calling. Default: 10.
    pub min_mapq: u8,
    /// Least base quality (Phred) used for calling. Default: 6.
    pub min_base_quality: u8,
    /// QUAL (Phred) below which a site of a sample's gVCF is `LowQual`. Default: 15.
    pub min_qual: u8,
    /// QUAL (Phred) below which a site of the joint VCF is `LowQual`. Default: 20.
    pub min_qual_joint: u8,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters { max_depth: 250, min_mapq: 10, min_base_quality: 6, min_qual: 15, min_qual_joint: 20 }
    }
}

impl Parameters {
    /// The parameters a cohort file sets; a file without the table leaves every default. Errors go to the document.
    pub fn read(section: Option<Section<'_>>) -> Self {
        let mut parameters = Parameters::default();
        let Some(mut section) = section else { return parameters };
        let Parameters { max_depth, min_mapq, min_base_quality, min_qual, min_qual_joint } = &mut parameters;
        if let Some(depth) = section.integer("max_depth", 10..=100_000) {
            *max_depth = depth.into_inner() as u32;
        }
        let qualities = [
            ("min_mapq", 60, min_mapq),
            ("min_base_quality", 93, min_base_quality),
            ("min_qual", 255, min_qual),
            ("min_qual_joint", 255, min_qual_joint),
        ];
        for (key, most, value) in qualities {
            if let Some(quality) = section.integer(key, 0..=most) {
                *value = quality.into_inner() as u8;
            }
        }
        section.finish();
        parameters
    }

    /// One line `key=value` for each parameter, sorted by key: equal texts mean equal parameters. Its digest stands in
    /// the headers of joint calls.
    pub fn canonical(&self) -> String {
        let mut text = self.canonical_of_samples();
        let _ = writeln!(text, "min_qual_joint={}", self.min_qual_joint);
        text
    }

    /// The same of those parameters alone that decide the files of one sample; its digest stands in their headers.
    pub fn canonical_of_samples(&self) -> String {
        let Parameters { max_depth, min_mapq, min_base_quality, min_qual, min_qual_joint: _ } = *self;
        let mut text = format!("max_depth={max_depth}\n");
        for (key, value) in
            [("min_base_quality", min_base_quality), ("min_mapq", min_mapq), ("min_qual", min_qual)]
        {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }
}
