//! Which library each read group of a sample is of.

use crate::record::Record;

/// A library without a name, as Picard calls it.
pub const UNKNOWN: &str = "Unknown Library";

/// The libraries of a sample.
#[derive(Clone, Debug)]
pub struct Libraries {
    /// At least one.
    names: Vec<String>,
    /// Read groups, each with the ordinal of its library.
    groups: Vec<(String, usize)>,
}

impl Libraries {
    /// Those (`LB`) of the read groups (`ID`) of a header's `@RG` lines; without any, one that is unknown.
    pub fn of_header<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut names, mut groups) = (Vec::new(), Vec::new());
        for line in lines {
            let field = |tag| line.split('\t').find_map(|field| field.strip_prefix(tag));
            let name = field("LB:").filter(|name| !name.is_empty()).unwrap_or(UNKNOWN);
            let library = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            groups.push((field("ID:").unwrap_or_default().to_owned(), library));
        }
        if names.is_empty() {
            names.push(UNKNOWN.to_owned());
        }
        Libraries { names, groups }
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Ordinal of a record's library; of one of no read group, the first.
    pub fn of(&self, record: &Record<'_>) -> usize {
        if self.names.len() == 1 {
            return 0;
        }
        let group = record.tag(b"RG").and_then(|value| value.strip_prefix(b"Z")).unwrap_or_default();
        let group = group.strip_suffix(b"\0").unwrap_or(group);
        let found = self.groups.iter().find(|(id, _)| id.as_bytes() == group);
        found.map_or(0, |&(_, library)| library)
    }
}
