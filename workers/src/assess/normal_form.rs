//! The one way to write a variant: as few bases as can be, as far left as can be (Tan, Abecasis & Kang 2015).
//!
//! Invariant: two descriptions of the same change of the reference come out equal.

/// One allele against the reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// First reference base of `reference`, 0-based.
    pub position: u32,
    /// REF, upper-case letters.
    pub reference: Vec<u8>,
    /// ALT, upper-case letters.
    pub alternate: Vec<u8>,
}

impl Variant {
    /// Moves the variant to its normal form on `contig`, the letters of the whole contig, on which it must lie. Does
    /// nothing where REF and ALT are equal.
    pub fn normalise(&mut self, contig: &[u8]) {
        if self.reference == self.alternate {
            return;
        }
        let backwards = self.reference.iter().rev().zip(self.alternate.iter().rev());
        let suffix = backwards.take_while(|(a, b)| a == b).count();
        self.reference.truncate(self.reference.len() - suffix);
        self.alternate.truncate(self.alternate.len() - suffix);
        if self.reference.is_empty() || self.alternate.is_empty() {
            self.roll_left(contig);
        }
        let shorter = self.reference.len().min(self.alternate.len());
        let prefix = self.reference.iter().zip(&self.alternate).take_while(|(a, b)| a == b).count();
        let prefix = prefix.min(shorter.saturating_sub(1));
        self.reference.drain(..prefix);
        self.alternate.drain(..prefix);
        self.position += prefix as u32;
    }

    /// Moves bases that are only inserted or only deleted to the left while they stay the same change, then puts the
    /// base before them in front; at the contig's first base the one after them follows instead.
    fn roll_left(&mut self, contig: &[u8]) {
        let moved = if self.reference.is_empty() { &mut self.alternate } else { &mut self.reference };
        let before = &contig[..self.position as usize];
        let steps = before.iter().rev().zip(moved.iter().rev().cycle()).take_while(|(a, b)| a == b).count();
        let length = moved.len();
        moved.rotate_right(steps % length);
        self.position -= steps as u32;
        if self.position > 0 {
            self.position -= 1;
            let anchor = contig[self.position as usize];
            self.reference.insert(0, anchor);
            self.alternate.insert(0, anchor);
        } else if let Some(&anchor) = contig.get(self.reference.len()) {
            self.reference.push(anchor);
            self.alternate.push(anchor);
        }
    }

    /// Whether both alleles have the same length.
    pub fn is_substitution(&self) -> bool {
        self.reference.len() == self.alternate.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_changes_get_one_form() {
        let contig = b"GGGCACACACAGGG";
        let check = |position: u32, reference: &str, alternate: &str, expect: (u32, &str, &str)| {
            let mut variant = Variant { position, reference: reference.into(), alternate: alternate.into() };
            variant.normalise(contig);
            let text = |bases: &[u8]| String::from_utf8(bases.to_vec()).unwrap();
            let got = (variant.position, text(&variant.reference), text(&variant.alternate));
            assert_eq!((got.0, got.1.as_str(), got.2.as_str()), expect);
        };
        check(7, "CA", "", (2, "GCA", "G"));
        check(3, "CAC", "C", (2, "GCA", "G"));
        check(2, "GCACA", "GCA", (2, "GCA", "G"));
        check(1, "GGCA", "GG", (2, "GCA", "G"));
        check(10, "A", "ACA", (2, "G", "GCA"));
        check(0, "G", "", (0, "GG", "G"));
        check(2, "", "G", (0, "G", "GG"));
        check(4, "ACA", "ATA", (5, "C", "T"));
        check(4, "A", "A", (4, "A", "A"));
    }
}
