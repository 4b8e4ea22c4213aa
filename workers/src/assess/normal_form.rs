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
    /// Moves the variant to its normal form on `contig`, the letters of the whole contig. Does nothing where REF and
    /// ALT are equal.
    pub fn normalise(&mut self, contig: &[u8]) {
        let Variant { position, reference, alternate } = self;
        if reference == alternate {
            return;
        }
        loop {
            if !reference.is_empty() && !alternate.is_empty() && reference.last() == alternate.last() {
                reference.pop();
                alternate.pop();
            } else if (reference.is_empty() || alternate.is_empty()) && *position > 0 {
                *position -= 1;
                reference.insert(0, contig[*position as usize]);
                alternate.insert(0, contig[*position as usize]);
            } else {
                break;
            }
        }
        if reference.is_empty() || alternate.is_empty() {
            // At the contig's first base the anchor follows instead.
            if let Some(&anchor) = contig.get(reference.len()) {
                reference.push(anchor);
                alternate.push(anchor);
            }
        }
        let shorter = reference.len().min(alternate.len());
        let shared = (0..shorter.saturating_sub(1)).take_while(|&i| reference[i] == alternate[i]).count();
        reference.drain(..shared);
        alternate.drain(..shared);
        *position += shared as u32;
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
