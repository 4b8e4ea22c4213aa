//! The rANS 4x8 coder of CRAM 3.0 (CRAM codecs §2), whichever of orders 0 and 1 is shorter: compression only.
//!
//! Cost: two passes of counting, one table, then one multiplication a byte; four states that do not wait for each other.
//! Bytes are coded from the last to the first and so come out backwards.
//! Invariant: what is written is a function of the bytes alone. Knows nothing of CRAM.

/// Frequencies of a context are parts of this power of two.
const SCALE_BITS: u32 = 12;
const SCALE: u32 = 1 << SCALE_BITS;
/// What they add up to: one less, which the specification recommends and some readers insist on.
const SUM: u32 = SCALE - 1;
/// A state is never below this between bytes.
const STATE_MIN: u32 = 1 << 23;
/// Order, compressed length, length.
const HEAD_BYTES: usize = 9;

/// How one byte changes a state: sixteen bytes, so that four lie in a line of the cache.
#[derive(Clone, Copy, Default)]
struct Symbol {
    /// Division by the frequency: the upper half of a product with this.
    reciprocal: u64,
    /// From this state on, bytes leave it first.
    max: u32,
    bias: u16,
    /// What of the scale the symbol leaves to others.
    rest: u16,
}

impl Symbol {
    fn new(start: u32, frequency: u32) -> Self {
        let max = ((STATE_MIN >> SCALE_BITS) << 8) * frequency;
        let rest = (SCALE - frequency) as u16;
        if frequency < 2 {
            // The quotient is the state less one, which the bias makes good.
            return Symbol { reciprocal: u64::MAX, max, bias: (start + SCALE - 1) as u16, rest };
        }
        // Too much by less than one in 2^64, so by less than a state has to its next multiple.
        let reciprocal = u64::MAX / u64::from(frequency) + 1;
        Symbol { reciprocal, max, bias: start as u16, rest }
    }
}

/// Bytes as they leave the states: the last comes first.
struct Backwards<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

/// More than four symbols leave, two bytes each at most: from any place below eight two bytes fit, so no bounds are checked.
const FOUR_BYTES: usize = 16;

impl<'a> Backwards<'a> {
    /// In a buffer that has or gets room for as many symbols as there are.
    fn new(symbols: usize, buffer: &'a mut Vec<u8>) -> Self {
        let bytes = 2 * symbols + 2 * FOUR_BYTES;
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        Backwards { bytes: buffer, length: 0 }
    }

    /// Codes four symbols, that of the last state first.
    #[inline(always)]
    fn put_four(&mut self, symbols: [&Symbol; 4], states: &mut [u32; 4]) {
        let room = self.bytes[self.length..].first_chunk_mut().expect("room for all that leaves");
        let mut length = 0;
        // One by one: a loop would keep the states in memory.
        put(symbols[3], &mut states[3], room, &mut length);
        put(symbols[2], &mut states[2], room, &mut length);
        put(symbols[1], &mut states[1], room, &mut length);
        put(symbols[0], &mut states[0], room, &mut length);
        self.length += length;
    }

    /// Codes one symbol.
    fn put(&mut self, symbol: &Symbol, state: &mut u32) {
        let room = self.bytes[self.length..].first_chunk_mut().expect("room for all that leaves");
        let mut length = 0;
        put(symbol, state, room, &mut length);
        self.length += length;
    }
}

/// No branch says how many bytes leave the state, since nothing could foresee it. At most three symbols came before.
#[inline(always)]
fn put(symbol: &Symbol, state: &mut u32, room: &mut [u8; FOUR_BYTES], length: &mut usize) {
    let x = *state;
    room[*length & 7..][..2].copy_from_slice(&(x as u16).to_le_bytes());
    let (one, two) = (x >= symbol.max, x >> 8 >= symbol.max);
    *length += usize::from(one) + usize::from(two);
    let x = if one { x >> 8 } else { x };
    let x = if two { x >> 8 } else { x };
    let quotient = ((u128::from(x) * u128::from(symbol.reciprocal)) >> 64) as u32;
    *state = x + u32::from(symbol.bias) + quotient * u32::from(symbol.rest);
}

/// Buffers kept from stream to stream.
#[derive(Default)]
pub struct Buffers {
    coded: Vec<u8>,
    pairs: Vec<u16>,
}

/// [`compress`] with buffers of its own.
pub fn compress_once(bytes: &[u8]) -> Vec<u8> {
    compress(bytes, &mut Buffers::default())
}

/// Compresses in the order that makes it shorter.
///
/// What follows what is counted only where that many frequencies can pay; then it is coded so, and again without if that
/// might be shorter still.
pub fn compress(bytes: &[u8], buffers: &mut Buffers) -> Vec<u8> {
    let counts = count(bytes);
    let alphabet = alphabet(&counts);
    let tables = if alphabet.len() > 64 { PAIRS_BYTES_MIN } else { PAIR_BYTES_MIN * alphabet.len() };
    if bytes.len() < tables {
        return order_0(bytes, &mut buffers.coded);
    }
    let followed = order_1(bytes, &alphabet, buffers);
    if followed.len() <= order_0_bytes_min(&counts) {
        return followed;
    }
    let single = order_0(bytes, &mut buffers.coded);
    if single.len() <= followed.len() { single } else { followed }
}

/// Bytes for each that differs, from which on it may pay to count what follows it.
const PAIR_BYTES_MIN: usize = 16;
/// The same of all where more than 64 differ, as tables of counts are large then.
const PAIRS_BYTES_MIN: usize = 1 << 16;

fn count(bytes: &[u8]) -> [u32; 256] {
    // Four tables in turn: else runs of one byte would wait for their own count.
    let mut counts = [[0; 256]; 4];
    let (fours, tail) = bytes.as_chunks::<4>();
    for four in fours {
        counts.iter_mut().zip(four).for_each(|(counts, &byte)| counts[usize::from(byte)] += 1);
    }
    tail.iter().for_each(|&byte| counts[0][usize::from(byte)] += 1);
    std::array::from_fn(|byte| counts.iter().map(|counts| counts[byte]).sum())
}

/// The bytes that occur; and zero, which what begins follows.
fn alphabet(counts: &[u32; 256]) -> Vec<u8> {
    (0..=255).filter(|&byte| byte == 0 || counts[usize::from(byte)] > 0).collect()
}

/// No coding of order 0 is shorter than the entropy.
fn order_0_bytes_min(counts: &[u32; 256]) -> usize {
    let total: u32 = counts.iter().sum();
    let bits =
        |&count: &u32| f64::from(count) * (libm::log2(f64::from(total)) - libm::log2(f64::from(count)));
    let bits: f64 = counts.iter().filter(|&&count| count > 0).map(bits).sum();
    (bits / 8.0) as usize
}

/// Compresses with frequencies of bytes.
fn order_0(bytes: &[u8], buffer: &mut Vec<u8>) -> Vec<u8> {
    let mut counts = count(bytes);
    let mut table = Vec::with_capacity(256 * 3);
    let mut symbols = [Symbol::default(); 256];
    let all: Vec<u8> = (0..=255).collect();
    scale(&mut counts);
    put_frequencies(&all, &counts, &mut table, &mut symbols);
    let mut out = Backwards::new(bytes.len(), buffer);
    let mut states = [STATE_MIN; 4];
    let (fours, tail) = bytes.as_chunks::<4>();
    for (&byte, state) in tail.iter().zip(&mut states).rev() {
        out.put(&symbols[usize::from(byte)], state);
    }
    for four in fours.iter().rev() {
        let [a, b, c, d] = four.map(usize::from);
        out.put_four([&symbols[a], &symbols[b], &symbols[c], &symbols[d]], &mut states);
    }
    finish(0, bytes.len(), &table, states, out)
}

/// Compresses with frequencies of bytes that follow each byte; the alphabet is of these.
fn order_1(bytes: &[u8], alphabet: &[u8], buffers: &mut Buffers) -> Vec<u8> {
    match (bytes.len(), alphabet.len()) {
        (0..4, _) => order_0(bytes, &mut buffers.coded),
        (_, 0..=8) => order_1_of::<3>(bytes, alphabet, buffers),
        (_, 0..=64) => order_1_of::<6>(bytes, alphabet, buffers),
        _ => order_1_of::<8>(bytes, alphabet, buffers),
    }
}

/// The same of bytes of which at most 2^`BITS` differ: tables are as small as bytes are few, and a pair of bytes is an
/// index.
fn order_1_of<const BITS: u32>(bytes: &[u8], alphabet: &[u8], buffers: &mut Buffers) -> Vec<u8> {
    let (size, mask) = (1 << BITS, (1usize << (2 * BITS)) - 1);
    let mut rank = [0u16; 256];
    (0..).zip(alphabet).for_each(|(at, &byte)| rank[usize::from(byte)] = at);
    // Each quarter is coded by one state and begins behind a zero; the last has the rest.
    let quarter = bytes.len() / 4;
    let Buffers { coded, pairs } = buffers;
    if pairs.len() < bytes.len() {
        pairs.resize(bytes.len(), 0);
    }
    let pairs = &mut pairs[..bytes.len()];
    // Four tables in turn here too.
    let mut counts = vec![0u32; 4 << (2 * BITS)];
    let counts = &mut counts[..4 << (2 * BITS)];
    let (whole, tail) = bytes.split_at(4 * quarter);
    let (paired, paired_tail) = pairs.split_at_mut(4 * quarter);
    let mut last = 0;
    if quarter > 0 {
        for (bytes, pairs) in whole.chunks_exact(quarter).zip(paired.chunks_exact_mut(quarter)) {
            last = 0;
            for (at, (&byte, pair)) in bytes.iter().zip(pairs).enumerate() {
                let next = rank[usize::from(byte)];
                *pair = last << BITS | next;
                counts[(at & 3) << (2 * BITS) | usize::from(*pair) & mask] += 1;
                last = next;
            }
        }
    }
    for (&byte, pair) in tail.iter().zip(&mut *paired_tail) {
        let next = rank[usize::from(byte)];
        *pair = last << BITS | next;
        counts[usize::from(*pair)] += 1;
        last = next;
    }
    let (counts, others) = counts.split_at_mut(mask + 1);
    for others in others.chunks(mask + 1) {
        counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
    }
    let mut table = Vec::with_capacity(4096);
    let mut symbols = vec![Symbol::default(); mask + 1];
    let used: Vec<bool> = counts.chunks(size).map(|row| row.iter().any(|&count| count > 0)).collect();
    let mut run = 0;
    for (context, row) in counts.chunks_mut(size).enumerate().filter(|&(context, _)| used[context]) {
        put_symbol(alphabet, context, |at| used[at], &mut run, &mut table);
        scale(row);
        put_frequencies(alphabet, &row[..alphabet.len()], &mut table, &mut symbols[context * size..]);
    }
    table.push(0);
    let symbols = &symbols[..1 << (2 * BITS)];
    let symbol = |pair: u16| &symbols[usize::from(pair) & mask];
    let mut out = Backwards::new(bytes.len(), coded);
    let mut states = [STATE_MIN; 4];
    for &pair in paired_tail.iter().rev() {
        out.put(symbol(pair), &mut states[3]);
    }
    let (first, second) = paired.split_at(2 * quarter);
    let ((of_a, of_b), (of_c, of_d)) = (first.split_at(quarter), second.split_at(quarter));
    for (((&at_a, &at_b), &at_c), &at_d) in of_a.iter().zip(of_b).zip(of_c).zip(of_d).rev() {
        out.put_four([symbol(at_a), symbol(at_b), symbol(at_c), symbol(at_d)], &mut states);
    }
    finish(1, bytes.len(), &table, states, out)
}

/// Puts head, table and states before the bytes, which were gathered backwards.
fn finish(order: u8, length: usize, table: &[u8], states: [u32; 4], out: Backwards) -> Vec<u8> {
    let states = states.map(u32::to_le_bytes);
    let coded = &out.bytes[..out.length];
    let stored_bytes = table.len() + states.as_flattened().len() + coded.len();
    let mut out = Vec::with_capacity(HEAD_BYTES + stored_bytes);
    out.push(order);
    out.extend((stored_bytes as u32).to_le_bytes());
    out.extend((length as u32).to_le_bytes());
    out.extend_from_slice(table);
    out.extend_from_slice(states.as_flattened());
    out.extend(coded.iter().rev());
    out
}

/// Scales counts so that they add up to [`SUM`] and none that is there becomes zero.
fn scale(counts: &mut [u32]) {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if total == 0 {
        return;
    }
    let (mut sum, mut most) = (0, 0);
    for at in 0..counts.len() {
        if counts[at] > 0 {
            let scaled = u64::from(counts[at]) * u64::from(SUM) / total;
            most = if counts[at] > counts[most] || counts[most] == 0 { at } else { most };
            sum += scaled.max(1) as u32;
        }
    }
    for count in counts.iter_mut().filter(|count| **count > 0) {
        *count = (u64::from(*count) * u64::from(SUM) / total).max(1) as u32;
    }
    // The most frequent one has at least 16 of 4,095, and at most 255 others were rounded up.
    if counts[most] + SUM > sum {
        counts[most] = counts[most] + SUM - sum;
        return;
    }
    let mut over = sum - SUM;
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
fn put_symbol(
    alphabet: &[u8],
    at: usize,
    used: impl Fn(usize) -> bool,
    run: &mut usize,
    table: &mut Vec<u8>,
) {
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
        // Buffers go on from one to the next, whatever is in them.
        let mut buffers = Buffers::default();
        let mut check = |bytes: &[u8]| {
            let alphabet = alphabet(&count(bytes));
            let single = order_0(bytes, &mut buffers.coded);
            let followed = order_1(bytes, &alphabet, &mut buffers);
            for coded in [single, followed, compress(bytes, &mut buffers)] {
                assert_eq!(decode(&coded), bytes);
            }
            assert_eq!(compress(bytes, &mut buffers), compress_once(bytes));
        };
        for length in (1..40).chain([4095, 4096, 4097, 100_003]) {
            check(&vec![0; length]);
            check(&vec![255; length]);
            check(&(0..length).map(|at| at as u8).collect::<Vec<_>>());
            check(&(0..length).map(|_| random(256) as u8).collect::<Vec<_>>());
            check(&(0..length).map(|_| 30 + random(12) as u8).collect::<Vec<_>>());
            // One that fills nearly all, and 255 that are hardly there.
            check(
                &(0..length).map(|at| if at % 97 == 0 { random(256) as u8 } else { 7 }).collect::<Vec<_>>(),
            );
        }
    }

    #[test]
    fn symbols_change_states_as_the_specification_says() {
        let mut seed = 3u64;
        for frequency in 1..=SUM {
            for start in [0, SUM - frequency] {
                let symbol = Symbol::new(start, frequency);
                // States at the edges, where a quotient rounded wrong would show, and any others.
                let edge = symbol.max - 1;
                let multiple = edge / frequency * frequency;
                let any = (0..20).map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    STATE_MIN + (seed >> 33) as u32 % (255 * STATE_MIN)
                });
                let edges = [STATE_MIN, edge, symbol.max, multiple - 1, multiple, (STATE_MIN << 8) - 1];
                for state in edges.into_iter().filter(|&state| state >= STATE_MIN).chain(any) {
                    let (mut expect, mut leaving) = (state, Vec::new());
                    while expect >= (STATE_MIN >> SCALE_BITS << 8) * frequency {
                        leaving.push(expect as u8);
                        expect >>= 8;
                    }
                    expect = expect / frequency * SCALE + expect % frequency + start;
                    let (mut room, mut length, mut found) = ([0; FOUR_BYTES], 0, state);
                    put(&symbol, &mut found, &mut room, &mut length);
                    assert_eq!((found, &room[..length]), (expect, &leaving[..]), "{state} {frequency}");
                }
            }
        }
    }

    #[test]
    fn the_shorter_order_is_taken() {
        let check = |bytes: &[u8], order: u8| {
            let mut buffers = Buffers::default();
            let one = order_1(bytes, &alphabet(&count(bytes)), &mut buffers);
            let coded = compress_once(bytes);
            assert_eq!(coded[0], order);
            assert_eq!(coded.len(), order_0(bytes, &mut buffers.coded).len().min(one.len()));
        };
        check(&[0x80, 0x96].repeat(1000), 1);
        let mut seed = 9u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 28) as u8
        };
        check(&(0..2000).map(|_| random()).collect::<Vec<_>>(), 0);
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
            assert_eq!(scaled.iter().sum::<u32>(), SUM, "{counts:?}");
            assert!(counts.iter().zip(&scaled).all(|(&count, &scaled)| (count == 0) == (scaled == 0)));
        }
    }
}
