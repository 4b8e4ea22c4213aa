//! Which contigs are autosomes and which are sex chromosomes, by name.
//!
//! Invariant: the answer depends on the list of contigs alone, so every shard gives the same.

use jobs::genome::Contigs;
use serde::{Deserialize, Serialize};

/// What a contig is to quality control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContigClass {
    /// 1 to 22, with or without `chr`; every contig but X, Y and the mitochondrion where none is named so.
    Autosome,
    /// X.
    X,
    /// Y.
    Y,
    /// M or MT.
    Mitochondrion,
    /// Unplaced, alternate and decoy sequences.
    Other,
}

impl ContigClass {
    /// The class of every contig of a reference, by contig id.
    pub fn of_all(contigs: &Contigs) -> Vec<ContigClass> {
        let mut classes: Vec<_> = contigs.iter().map(|contig| by_name(&contig.name)).collect();
        // A reference that does not number its chromosomes (another species, a simulation) would have no autosome.
        if !classes.contains(&ContigClass::Autosome) {
            classes.iter_mut().filter(|class| **class == ContigClass::Other).for_each(|class| {
                *class = ContigClass::Autosome;
            });
        }
        classes
    }
}

fn by_name(name: &str) -> ContigClass {
    match name.strip_prefix("chr").unwrap_or(name) {
        "X" => ContigClass::X,
        "Y" => ContigClass::Y,
        "M" | "MT" => ContigClass::Mitochondrion,
        number if !number.starts_with(['0', '+']) && matches!(number.parse(), Ok(1..=22u8)) => {
            ContigClass::Autosome
        }
        _ => ContigClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Contig;

    #[test]
    fn classes_follow_the_names() {
        use ContigClass::{Autosome, Mitochondrion, Other, X, Y};
        let check = |names: &[&str], expect: &[ContigClass]| {
            let contig = |name: &&str| Contig { name: (*name).to_owned(), length: 1, m5: [0; 16] };
            assert_eq!(
                ContigClass::of_all(&Contigs::new(names.iter().map(contig).collect())),
                expect,
                "{names:?}"
            );
        };
        check(
            &["chr1", "22", "chrX", "Y", "MT", "chrM"],
            &[Autosome, Autosome, X, Y, Mitochondrion, Mitochondrion],
        );
        check(&["20", "23", "01", "chr1_alt", "hs37d5"], &[Autosome, Other, Other, Other, Other]);
        check(&["scaffold_1", "scaffold_2", "X"], &[Autosome, Autosome, X]);
        check(&[], &[]);
    }
}
