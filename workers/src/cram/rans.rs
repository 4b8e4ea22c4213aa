//! The rANS 4x8 coder of CRAM 3.0 (CRAM codecs §2), orders 0 and 1: compression only.
//!
//! Cost: two passes of counting, one table, then one multiplication a byte; four states that do not wait for each other.
//! Bytes are coded from the last to the first and so come out backwards.
//! Invariant: what is written is a function of the bytes and the order alone. Knows nothing of CRAM.

/// Frequencies of a context add up to this power of two.
const SCALE_BITS: u32 = 12;
const SCALE: u32 = 1 << SCALE_BITS;
/// A state is never below this between bytes.
const STATE_MIN: u32 = 1 << 23;
/// Order, compressed length, length.
const HEAD_BYTES: usize = 9;

/// How one byte changes a state.
#[derive(Clone, Copy, Default)]
struct Symbol {
    /// From this state on, bytes leave it first.
    max: u32,
    /// Division by the frequency as a multiplication.
    reciprocal: u32,
    shift: u32,
    bias: u32,
    /// What of the scale the symbol leaves to others.
    rest: u32,
}

impl Symbol {
    fn new(start: u32, frequency: u32) -> Self {
        let max = ((STATE_MIN >> SCALE_BITS) << 8) * frequency;
        let rest = SCALE - frequency;
        if frequency < 2 {
            // The quotient is the state less one, which the bias makes good.
            return Symbol { max, reciprocal: u32::MAX, shift: 0, bias: start + SCALE - 1, rest };
        }
        let shift = (frequency - 1).ilog2();
        let reciprocal = ((1u64 << (shift + 32)).div_ceil(u64::from(frequency))) as u32;
        Symbol { max, reciprocal, shift, bias: start, rest }
    }

    #[inline(always)]
    fn put(&self, state: &mut u32, out: &mut Vec<u8>) {
        let mut x = *state;
        while x >= self.max {
            out.push(x as u8);
            x >>= 8;
        }
        let quotient = ((u64::from(x) * u64::from(self.reciprocal)) >> 32) as u32 >> self.shift;
        *state = x + self.bias + quotient * self.rest;
    }
}

/// Compresses with frequencies of bytes.
pub fn order_0(bytes: &[u8]) -> Vec<u8> {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    let mut table = Vec::with_capacity(256 * 3);
    let mut symbols = [Symbol::default(); 256];
    let all: Vec<u8> = (0..=255).collect();
    scale(&mut counts);
    put_frequencies(&all, &counts, &mut table, &mut symbols);
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut states = [STATE_MIN; 4];
    let (fours, tail) = bytes.as_chunks::<4>();
    for (at, &byte) in tail.iter().enumerate().rev() {
        symbols[usize::from(byte)].put(&mut states[at], &mut out);
    }
    for four in fours.iter().rev() {
        for at in (0..4).rev() {
            symbols[usize::from(four[at])].put(&mut states[at], &mut out);
        }
    }
    finish(0, bytes.len(), &table, states, out)
}

/// Compresses with frequencies of bytes that follow each byte.
pub fn order_1(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() < 4 {
        return order_0(bytes);
    }
    // Each quarter is coded by one state and begins behind a zero; the last has the rest.
    let quarter = bytes.len() / 4;
    let starts = [0, quarter, 2 * quarter, 3 * quarter];
    // The alphabet, and each byte's place in it: tables stay as small as the bytes are few.
    let mut alphabet = Vec::new();
    let mut rank = [0u8; 256];
    let mut seen = [false; 256];
    seen[0] = true;
    bytes.iter().for_each(|&byte| seen[usize::from(byte)] = true);
    for byte in (0..=255u8).filter(|&byte| seen[usize::from(byte)]) {
        rank[usize::from(byte)] = alphabet.len() as u8;
        alphabet.push(byte);
    }
    let size = alphabet.len();
    let ranks: Vec<u8> = bytes.iter().map(|&byte| rank[usize::from(byte)]).collect();
    let quarters: [&[u8]; 4] = starts.map(|start| &ranks[start..start + quarter]);
    // A table for each quarter: else runs of one byte would wait for their own count.
    let mut counts = vec![0u32; 4 * size * size];
    let mut last = [0; 4];
    for at in 0..quarter {
        for which in 0..4 {
            let next = usize::from(quarters[which][at]);
            counts[(which * size + last[which]) * size + next] += 1;
            last[which] = next;
        }
    }
    let (counts, others) = counts.split_at_mut(size * size);
    for others in others.chunks(size * size) {
        counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
    }
    for pair in ranks[4 * quarter - 1..].windows(2) {
        counts[usize::from(pair[0]) * size + usize::from(pair[1])] += 1;
    }
    let mut table = Vec::with_capacity(size * size);
    let mut symbols = vec![Symbol::default(); size * size];
    let used: Vec<bool> = counts.chunks(size).map(|row| row.iter().any(|&count| count > 0)).collect();
    let mut run = 0;
    for (context, row) in counts.chunks_mut(size).enumerate().filter(|&(context, _)| used[context]) {
        put_symbol(&alphabet, context, |at| used[at], &mut run, &mut table);
        scale(row);
        put_frequencies(&alphabet, row, &mut table, &mut symbols[context * size..][..size]);
    }
    table.push(0);
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut states = [STATE_MIN; 4];
    let symbol = |at: usize| &symbols[usize::from(ranks[at - 1]) * size + usize::from(ranks[at])];
    for at in (4 * quarter..bytes.len()).rev() {
        symbol(at).put(&mut states[3], &mut out);
    }
    let mut after = quarters.map(|quarter| usize::from(quarter[quarter.len() - 1]));
    for at in (0..quarter - 1).rev() {
        for which in (0..4).rev() {
            let context = usize::from(quarters[which][at]);
            symbols[context * size + after[which]].put(&mut states[which], &mut out);
            after[which] = context;
        }
    }
    for which in (0..4).rev() {
        symbols[after[which]].put(&mut states[which], &mut out);
    }
    finish(1, bytes.len(), &table, states, out)
}

/// Puts head, table and states before the bytes, which were gathered backwards.
fn finish(order: u8, length: usize, table: &[u8], states: [u32; 4], mut backwards: Vec<u8>) -> Vec<u8> {
    for state in states.into_iter().rev() {
        backwards.extend(state.to_be_bytes());
    }
    let mut out = Vec::with_capacity(HEAD_BYTES + table.len() + backwards.len());
    out.push(order);
    out.extend(((table.len() + backwards.len()) as u32).to_le_bytes());
    out.extend((length as u32).to_le_bytes());
    out.extend_from_slice(table);
    out.extend(backwards.iter().rev());
    out
}

/// Scales counts so that they add up to [`SCALE`] and none that is there becomes zero.
fn scale(counts: &mut [u32]) {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if total == 0 {
        return;
    }
    let (mut sum, mut most) = (0, 0);
    for at in 0..counts.len() {
        if counts[at] > 0 {
            let scaled = u64::from(counts[at]) * u64::from(SCALE) / total;
            most = if counts[at] > counts[most] || counts[most] == 0 { at } else { most };
            sum += scaled.max(1) as u32;
        }
    }
    for count in counts.iter_mut().filter(|count| **count > 0) {
        *count = (u64::from(*count) * u64::from(SCALE) / total).max(1) as u32;
    }
    // The most frequent one has at least 16 of 4,096, and at most 255 others were rounded up.
    if counts[most] + SCALE > sum {
        counts[most] = counts[most] + SCALE - sum;
        return;
    }
    let mut over = sum - SCALE;
    while over > 0 {
        for count in counts.iter_mut().filter(|count| **count > 1) {
            let less = u32::from(over > 0);
            *count -= less;
            over -= less;
        }
    }
}

/// The frequencies that are not zero (codecs §2.1), then a zero; and how each symbol is coded.
fn put_frequencies(alphabet: &[u8], frequencies: &[u32], table: &mut Vec<u8>, symbols: &mut [Symbol]) {
    let (mut run, mut start) = (0, 0);
    for (at, &frequency) in frequencies.iter().enumerate().filter(|&(_, &frequency)| frequency > 0) {
        put_symbol(alphabet, at, |at| frequencies[at] > 0, &mut run, table);
        if frequency < 0x80 {
            table.push(frequency as u8);
        } else {
            table.extend_from_slice(&[0x80 | (frequency >> 8) as u8, frequency as u8]);
        }
        symbols[at] = Symbol::new(start, frequency);
        start += frequency;
    }
    table.push(0);
}

/// A symbol of a table: the second of neighbours says how many more follow, which then are not written.
fn put_symbol(alphabet: &[u8], at: usize, used: impl Fn(usize) -> bool, run: &mut usize, table: &mut Vec<u8>) {
    if *run > 0 {
        *run -= 1;
        return;
    }
    table.push(alphabet[at]);
    let follows = |at: usize| at > 0 && alphabet[at] == alphabet[at - 1].wrapping_add(1) && used(at - 1);
    if follows(at) {
        *run = (at + 1..alphabet.len()).take_while(|&next| used(next) && follows(next)).count();
        table.push(*run as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the specification's decoder (codecs §2.2) makes of it, as slow and plain as it stands there.
    fn decode(stored: &[u8]) -> Vec<u8> {
        let word = |at: usize| u32::from_le_bytes(stored[at..at + 4].try_into().unwrap());
        assert_eq!(word(1) as usize, stored.len() - HEAD_BYTES);
        let (length, mut at) = (word(5) as usize, HEAD_BYTES);
        let mut next = || {
            at += 1;
            stored[at - 1]
        };
        let read_table = |next: &mut dyn FnMut() -> u8| {
            let mut frequencies = [0u32; 256];
            let (mut symbol, mut run) = (next(), 0);
            loop {
                let first = u32::from(next());
                frequencies[usize::from(symbol)] =
                    if first < 0x80 { first } else { (first & 0x7f) << 8 | u32::from(next()) };
                if run > 0 {
                    run -= 1;
                    symbol += 1;
                    continue;
                }
                let last = symbol;
                symbol = next();
                if symbol == 0 {
                    return frequencies;
                }
                if symbol == last.wrapping_add(1) {
                    run = next();
                }
            }
        };
        let mut tables = vec![[0u32; 256]; 256];
        if stored[0] == 0 {
            tables[0] = read_table(&mut next);
        } else {
            let (mut context, mut run) = (next(), 0);
            loop {
                tables[usize::from(context)] = read_table(&mut next);
                if run > 0 {
                    run -= 1;
                    context += 1;
                    continue;
                }
                let last = context;
                context = next();
                if context == 0 {
                    break;
                }
                if context == last.wrapping_add(1) {
                    run = next();
                }
            }
        }
        let mut states = [0; 4].map(|_: u32| u32::from_le_bytes([next(), next(), next(), next()]));
        let mut out = vec![0; length];
        let mut take = |state: &mut u32, table: &[u32; 256]| {
            let (mut start, place) = (0, *state & (SCALE - 1));
            let symbol = table
                .iter()
                .position(|&frequency| {
                    start += frequency;
                    start > place
                })
                .unwrap();
            start -= table[symbol];
            *state = table[symbol] * (*state >> SCALE_BITS) + place - start;
            while *state < STATE_MIN {
                *state = *state << 8 | u32::from(next());
            }
            symbol as u8
        };
        if stored[0] == 0 {
            for (at, byte) in out.iter_mut().enumerate() {
                *byte = take(&mut states[at % 4], &tables[0]);
            }
            return out;
        }
        let quarter = length / 4;
        let mut last = [0u8; 4];
        for at in 0..quarter {
            for which in 0..4 {
                last[which] = take(&mut states[which], &tables[usize::from(last[which])]);
                out[which * quarter + at] = last[which];
            }
        }
        for byte in &mut out[4 * quarter..] {
            last[3] = take(&mut states[3], &tables[usize::from(last[3])]);
            *byte = last[3];
        }
        out
    }

    #[test]
    fn what_is_coded_comes_back() {
        let mut seed = 9u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut check = |bytes: &[u8]| {
            for coded in [order_0(bytes), order_1(bytes)] {
                assert_eq!(decode(&coded), bytes);
            }
        };
        for length in (1..40).chain([4095, 4096, 4097, 100_003]) {
            check(&vec![0; length]);
            check(&vec![255; length]);
            check(&(0..length).map(|at| at as u8).collect::<Vec<_>>());
            check(&(0..length).map(|_| random(256) as u8).collect::<Vec<_>>());
            check(&(0..length).map(|_| 30 + random(12) as u8).collect::<Vec<_>>());
            // One that fills nearly all, and 255 that are hardly there.
            check(&(0..length).map(|at| if at % 97 == 0 { random(256) as u8 } else { 7 }).collect::<Vec<_>>());
        }
    }

    #[test]
    fn scaled_counts_add_up_and_none_is_lost() {
        for counts in [vec![1; 256], vec![1_000_000, 1], vec![u32::MAX; 256], vec![0, 3, 0], {
            let mut counts = vec![1; 256];
            counts[9] = 1 << 30;
            counts
        }] {
            let mut scaled = counts.clone();
            scale(&mut scaled);
            assert_eq!(scaled.iter().sum::<u32>(), SCALE, "{counts:?}");
            assert!(counts.iter().zip(&scaled).all(|(&count, &scaled)| (count == 0) == (scaled == 0)));
        }
    }
}
