//! What decides the bytes of the results, beside reads, reference and program version.
//!
//! Invariant: everything here is in [`Parameters::canonical`], and nothing here is about speed or space: threads,
//! memory, shard length and chunk size live in [`crate::config`] and cannot change a result.

use crate::document::Section;
use std::fmt::Write;

/// The `[parameters]` table of a cohort file. Every key may be left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Parameters {
    /// Reads used per position when calling; beyond it reads are chosen by the hash of their name. The CRAM keeps all.
    pub max_depth: u32,
    /// Least mapping quality (Phred) of a read used for calling.
    pub min_mapq: u8,
    /// Least base quality (Phred) used for calling.
    pub min_base_quality: u8,
    /// Least QUAL (Phred) of a site that passes the filters.
    pub min_qual: u8,
    /// Where bands of gVCF reference blocks begin, in GQ: `[20, 40]` makes bands 0-19, 20-39 and 40-99.
    pub gq_bands: Vec<u8>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            max_depth: 500,
            min_mapq: 20,
            min_base_quality: 10,
            min_qual: 20,
            gq_bands: vec![10, 20, 30, 40, 60],
        }
    }
}

impl Parameters {
    /// The parameters a cohort file sets; a file without the table leaves every default. Errors go to the document.
    pub fn read(section: Option<Section<'_>>) -> Self {
        let mut parameters = Parameters::default();
        let Some(mut section) = section else { return parameters };
        let Parameters { max_depth, min_mapq, min_base_quality, min_qual, gq_bands } = &mut parameters;
        if let Some(depth) = section.integer("max_depth", 10..=100_000) {
            *max_depth = depth.into_inner() as u32;
        }
        for (key, most, value) in [
            ("min_mapq", 60, min_mapq),
            ("min_base_quality", 93, min_base_quality),
            ("min_qual", 255, min_qual),
        ] {
            if let Some(quality) = section.integer(key, 0..=most) {
                *value = quality.into_inner() as u8;
            }
        }
        if let Some(bands) = section.integers("gq_bands", 1..=99) {
            *gq_bands = bands.get_ref().iter().map(|&band| band as u8).collect();
            if !gq_bands.is_sorted_by(|a, b| a < b) {
                section.error(bands.span(), "gq_bands: expected numbers in rising order", None);
            }
        }
        section.finish();
        parameters
    }

    /// One line for each parameter, sorted by key: equal texts mean equal parameters. Its digest stands in headers.
    pub fn canonical(&self) -> String {
        let Parameters { max_depth, min_mapq, min_base_quality, min_qual, gq_bands } = self;
        let bands: Vec<String> = gq_bands.iter().map(u8::to_string).collect();
        let mut text = String::new();
        let lines: [(&str, &dyn std::fmt::Display); 5] = [
            ("gq_bands", &bands.join(",")),
            ("max_depth", max_depth),
            ("min_base_quality", min_base_quality),
            ("min_mapq", min_mapq),
            ("min_qual", min_qual),
        ];
        for (key, value) in lines {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }
}
