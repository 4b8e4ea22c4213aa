//! Decompression of what [`compress`](crate::cram::rans::compress) makes (CRAM codecs §2).
//!
//! Cost: one look-up and one multiplication a byte; four states that do not wait for each other. Invariant: no bytes can
//! make it panic, or give out more than the length they state.

const SCALE_BITS: u32 = 12;
const SCALE: usize = 1 << SCALE_BITS;
const STATE_MIN: u32 = 1 << 23;
/// Longest output believed.
const BYTES_MAX: usize = 1 << 30;

/// Bytes being read.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn word(&mut self) -> Option<u32> {
        let (&word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(word))
    }

    /// Calls `each` for every symbol of a table: an ascending list in which the second of neighbours is followed by the
    /// number of those that come after it and are left out.
    fn symbols(&mut self, mut each: impl FnMut(&mut Self, u8) -> Option<()>) -> Option<()> {
        let (mut symbol, mut run) = (self.byte()?, 0);
        loop {
            each(self, symbol)?;
            if run > 0 {
                (symbol, run) = (symbol.checked_add(1)?, run - 1);
                continue;
            }
            let last = symbol;
            symbol = self.byte()?;
            if symbol == 0 {
                return Some(());
            }
            if Some(symbol) == last.checked_add(1) {
                run = self.byte()?;
            }
        }
    }

    /// The frequencies of a context, as what each part of the scale stands for.
    fn table(&mut self, slots: &mut [Slot]) -> Option<()> {
        let mut start = 0;
        self.symbols(|source, symbol| {
            let first = u32::from(source.byte()?);
            let frequency =
                if first < 0x80 { first } else { (first & 0x7f) << 8 | u32::from(source.byte()?) };
            let end = start + frequency as usize;
            for (offset, slot) in (0..).zip(slots.get_mut(start..end)?) {
                *slot = Slot { frequency: frequency as u16, offset, symbol };
            }
            start = end;
            Some(())
        })
    }
}

/// A part of the scale: whose it is, how many that one has, and which of them it is.
#[derive(Clone, Copy, Default)]
struct Slot {
    frequency: u16,
    offset: u16,
    symbol: u8,
}

/// Takes the next symbol out of a state.
#[inline(always)]
fn take(state: &mut u32, slots: &[Slot], source: &mut Source<'_>) -> Option<u8> {
    let slot = slots[*state as usize & (SCALE - 1)];
    *state = u32::from(slot.frequency) * (*state >> SCALE_BITS) + u32::from(slot.offset);
    while *state < STATE_MIN {
        *state = *state << 8 | u32::from(source.byte()?);
    }
    Some(slot.symbol)
}

/// Appends the bytes that were compressed; `None` for what is nothing compressed.
pub fn decompress(stored: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut source = Source(stored);
    let order = source.byte()?;
    let (bytes, length) = (source.word()? as usize, source.word()? as usize);
    if bytes != source.0.len() || length > BYTES_MAX {
        return None;
    }
    if length == 0 {
        return Some(());
    }
    let start = out.len();
    out.resize(start + length, 0);
    match order {
        0 => order_0(source, &mut out[start..]),
        1 => order_1(source, &mut out[start..]),
        _ => None,
    }
}

fn order_0(mut source: Source<'_>, out: &mut [u8]) -> Option<()> {
    let mut slots = vec![Slot::default(); SCALE];
    source.table(&mut slots)?;
    let mut states = [source.word()?, source.word()?, source.word()?, source.word()?];
    for bytes in out.chunks_mut(4) {
        for (byte, state) in bytes.iter_mut().zip(&mut states) {
            *byte = take(state, &slots, &mut source)?;
        }
    }
    Some(())
}

fn order_1(mut source: Source<'_>, out: &mut [u8]) -> Option<()> {
    // Contexts that never occur share the first, empty, table.
    let (mut of_context, mut slots) = ([0usize; 256], vec![Slot::default(); SCALE]);
    source.symbols(|source, context| {
        of_context[usize::from(context)] = slots.len();
        slots.resize(slots.len() + SCALE, Slot::default());
        source.table(&mut slots[of_context[usize::from(context)]..])
    })?;
    let [mut a, mut b, mut c, mut d] = [source.word()?, source.word()?, source.word()?, source.word()?];
    let quarter = out.len() / 4;
    let (first, second) = out.split_at_mut(2 * quarter);
    let ((of_a, of_b), (of_c, of_d)) = (first.split_at_mut(quarter), second.split_at_mut(quarter));
    let (of_d, tail) = of_d.split_at_mut(quarter);
    let table = |last: u8| {
        let from = of_context[usize::from(last)];
        &slots[from..from + SCALE]
    };
    let [mut at_a, mut at_b, mut at_c, mut at_d] = [0u8; 4];
    for (((to_a, to_b), to_c), to_d) in of_a.iter_mut().zip(of_b).zip(of_c).zip(of_d) {
        at_a = take(&mut a, table(at_a), &mut source)?;
        at_b = take(&mut b, table(at_b), &mut source)?;
        at_c = take(&mut c, table(at_c), &mut source)?;
        at_d = take(&mut d, table(at_d), &mut source)?;
        (*to_a, *to_b, *to_c, *to_d) = (at_a, at_b, at_c, at_d);
    }
    for to_d in tail {
        at_d = take(&mut d, table(at_d), &mut source)?;
        *to_d = at_d;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cram::rans::compress_once;

    #[test]
    fn what_was_compressed_comes_back_and_damage_is_no_panic() {
        let mut seed = 7u64;
        for (length, alphabet) in [(0, 1), (1, 1), (3, 2), (1000, 1), (5000, 4), (30_001, 41), (40_003, 256)]
        {
            let bytes: Vec<u8> = (0..length)
                .map(|at| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let value = (seed >> 33) % alphabet;
                    // Runs, so that what follows what says something.
                    (if at % 7 < 5 { value / 3 } else { value }) as u8
                })
                .collect();
            let stored = compress_once(&bytes);
            let mut out = Vec::new();
            decompress(&stored, &mut out).unwrap();
            assert!(out == bytes, "{length} of {alphabet}");
            for at in (0..stored.len()).step_by(1 + stored.len() / 200) {
                let mut damaged = stored.clone();
                damaged[at] ^= 0x55;
                let _ = decompress(&damaged, &mut Vec::new());
                let _ = decompress(&stored[..at], &mut Vec::new());
            }
        }
    }
}
