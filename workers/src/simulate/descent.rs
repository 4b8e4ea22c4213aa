//! How sequence comes from sequence: copies with substitutions and small indels, and arrays of copies.
//!
//! Invariant: what comes out is a function of what goes in and of the stream alone.

use super::rng::Rng;

/// A descendant: substitutions, and a tenth as many small insertions and deletions.
pub fn mutated(rng: &mut Rng, source: &[u8], divergence: f64) -> Vec<u8> {
    let mut copy = Vec::with_capacity(source.len() + 8);
    let mut skip = 0;
    for &base in source {
        if skip > 0 {
            skip -= 1;
        } else if !rng.chance(divergence) {
            copy.push(base);
        } else if rng.chance(0.9) {
            copy.push(rng.other_base(base));
        } else {
            let length = 1 + rng.exponential(1.5).min(12.0) as usize;
            if rng.chance(0.5) {
                skip = length - 1;
            } else {
                copy.push(base);
                copy.extend((0..length).map(|_| rng.base()));
            }
        }
    }
    copy
}

/// `length` bases of copies of `unit`, each mutated on its own.
pub fn tandem(rng: &mut Rng, unit: &[u8], length: usize, divergence: f64) -> Vec<u8> {
    let mut array = Vec::with_capacity(length + unit.len());
    while array.len() < length {
        array.extend(mutated(rng, unit, divergence));
    }
    array.truncate(length);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_differ_as_much_as_was_asked() {
        let mut rng = Rng::new(1, "test", &[]);
        let source: Vec<u8> = (0..20_000).map(|_| rng.base()).collect();
        assert_eq!(mutated(&mut rng, &source, 0.0), source);
        let copy = mutated(&mut rng, &source, 0.1);
        assert!(copy.len().abs_diff(source.len()) < 200);
        // A window of 21 bases is left whole in 0.9^21 of the places.
        let windows: std::collections::HashSet<&[u8]> = source.windows(21).collect();
        let kept = copy.windows(21).filter(|window| windows.contains(window)).count() as f64;
        assert!((0.07..0.15).contains(&(kept / copy.len() as f64)), "{kept}");
    }

    #[test]
    fn an_array_has_its_length() {
        let mut rng = Rng::new(1, "test", &[]);
        assert_eq!(tandem(&mut rng, b"CCCTAA", 8, 0.0), b"CCCTAACC");
        assert!(tandem(&mut rng, b"CCCTAA", 0, 0.1).is_empty());
    }
}
