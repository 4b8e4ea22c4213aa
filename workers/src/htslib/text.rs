//! Records as lines of SAM text.

use super::handle::{Alignment, Header};

/// Formats records under one header.
pub struct SamText {
    header: Header,
    alignment: Alignment,
}

impl SamText {
    /// `None` if the text is no SAM header.
    pub fn new(header_text: &str) -> Option<SamText> {
        Some(SamText { header: Header::parse(header_text)?, alignment: Alignment::new() })
    }

    /// Appends the record's line, with its line feed, to `out`. `None`, and nothing appended, if it is no record of
    /// this header.
    pub fn line(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        self.alignment.load(record)?;
        self.alignment.format(&self.header, out)?;
        out.push(b'\n');
        Some(())
    }
}
