//! The rANS 4x8 coder of CRAM 3.0 (CRAM codecs §2), whichever of orders 0 and 1 is shorter: compression only.
//!
//! Cost: a pass of counting, one table, then two multiplications a byte; four states that do not wait for each other, and are
//! lanes of a vector where there are any. Bytes are coded from the last to the first and so come out backwards.
//! Invariant: what is written is a function of the bytes alone. Knows nothing of CRAM.

mod avx2;

use avx2::Avx2;

/// Frequencies of a context are parts of this power of two.
const SCALE_BITS: u32 = 12;
const SCALE: u32 = 1 << SCALE_BITS;
/// What they add up to: one less, which the specification recommends and some readers insist on.
const SUM: u32 = SCALE - 1;
/// A state is never below this between bytes.
const STATE_MIN: u32 = 1 << 23;
/// Order, compressed length, length.
const HEAD_BYTES: usize = 9;

/// How one byte changes a state: sixteen bytes, so that four lie in a line of the cache. From the lowest bits on, the first
/// word has the reciprocal and the largest state, the second the bias, the rest and the shift.
#[derive(Clone, Copy, Default)]
struct Symbol([u64; 2]);

impl Symbol {
    fn new(start: u32, frequency: u32) -> Self {
        let max = ((STATE_MIN >> SCALE_BITS) << 8) * frequency;
        // Too much by less than one in 2^31, and states are smaller.
        let bits = 32 - (frequency - 1).leading_zeros();
        let (reciprocal, bias, shift) = match frequency {
            // The quotient is the state less one, which the bias makes good.
            1 => (u64::from(u32::MAX), start + SCALE - 1, 32),
            _ => ((1u64 << (bits + 31)).div_ceil(u64::from(frequency)), start, bits + 31),
        };
        let rest = SCALE - frequency;
        Symbol([
            reciprocal | u64::from(max) << 32,
            u64::from(bias) | u64::from(rest) << 16 | u64::from(shift) << 32,
        ])
    }

    /// Division by the frequency: a product with this, without its [`Symbol::shift`] lowest bits.
    fn reciprocal(&self) -> u64 {
        self.0[0] & u64::from(u32::MAX)
    }

    fn shift(&self) -> u64 {
        self.0[1] >> 32
    }

    /// From this state on, bytes leave it first.
    fn max(&self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    fn bias(&self) -> u32 {
        self.0[1] as u32 & 0xffff
    }

    /// What of the scale the symbol leaves to others.
    fn rest(&self) -> u32 {
        self.0[1] as u32 >> 16
    }
}

/// Bytes as they leave the states: the first to leave comes last.
struct Backwards<'a> {
    bytes: &'a mut [u8],
    /// Where what has left begins.
    start: usize,
}

/// Bytes that are written at a time, and as many as leave with four symbols at most: two with each.
const ROOM: usize = 8;

impl<'a> Backwards<'a> {
    /// In a buffer that has or gets room for as many symbols as there are, and [`ROOM`] before them.
    fn new(symbols: usize, buffer: &'a mut Vec<u8>) -> Self {
        let bytes = 2 * symbols + ROOM;
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        Backwards { start: buffer.len(), bytes: buffer }
    }

    /// Puts the last `length` of eight bytes before what has left.
    #[inline(always)]
    fn put_end_of(&mut self, eight: [u8; ROOM], length: usize) {
        let room = self.bytes[..self.start].last_chunk_mut().expect("room for all that leaves");
        *room = eight;
        self.start -= length;
    }

    /// Codes four symbols, that of the last state first.
    #[inline(always)]
    fn put_four(&mut self, symbols: [&Symbol; 4], states: &mut [u32; 4]) {
        // One by one: a loop would keep the states in memory.
        self.put(symbols[3], &mut states[3]);
        self.put(symbols[2], &mut states[2]);
        self.put(symbols[1], &mut states[1]);
        self.put(symbols[0], &mut states[0]);
    }

    /// Codes one symbol. No branch says how many bytes leave the state, since nothing could foresee it.
    #[inline(always)]
    fn put(&mut self, symbol: &Symbol, state: &mut u32) {
        let x = *state;
        let (one, two) = (x >= symbol.max(), x >> 8 >= symbol.max());
        self.put_end_of((u64::from(x as u16)).to_be_bytes(), usize::from(one) + usize::from(two));
        let x = if one { x >> 8 } else { x };
        let x = if two { x >> 8 } else { x };
        let quotient = ((u64::from(x) * symbol.reciprocal()) >> symbol.shift()) as u32;
        *state = x + symbol.bias() + quotient * symbol.rest();
    }

    /// What has left.
    fn coded(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Buffers kept from stream to stream.
#[derive(Default)]
pub struct Buffers {
    coded: Vec<u8>,
    codes: Vec<u8>,
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
    let alphabet = alphabet(bytes);
    let tables = if alphabet.len() > 64 { PAIRS_BYTES_MIN } else { PAIR_BYTES_MIN * alphabet.len() };
    if bytes.len() < tables {
        return order_0(bytes, &mut buffers.coded);
    }
    let (followed, single_bytes_min) = order_1(bytes, &alphabet, Avx2::new(), buffers);
    if followed.len() <= single_bytes_min {
        return followed;
    }
    let single = order_0(bytes, &mut buffers.coded);
    if single.len() <= followed.len() { single } else { followed }
}

/// Bytes for each that differs, from which on it may pay to count what follows it.
const PAIR_BYTES_MIN: usize = 16;
/// The same of all where more than 64 differ, as tables of counts are large then.
const PAIRS_BYTES_MIN: usize = 1 << 16;
/// From so many bytes on, tables for all of the 64 lowest values cost less than to find out which there are.
const LONG_BYTES_MIN: usize = 1 << 16;

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

/// The bytes that may occur, in order; with zero, which what begins follows.
fn alphabet(bytes: &[u8]) -> Vec<u8> {
    let most = bytes.iter().copied().max().unwrap_or(0);
    if most < 64 && bytes.len() >= LONG_BYTES_MIN {
        return (0..=most).collect();
    }
    let mut occurs = [false; 256];
    bytes.iter().for_each(|&byte| occurs[usize::from(byte)] = true);
    (0..=255).filter(|&byte| byte == 0 || occurs[usize::from(byte)]).collect()
}

/// No coding of order 0 is shorter than the entropy.
fn order_0_bytes_min(counts: &[u32]) -> usize {
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

/// Compresses with frequencies of bytes that follow each byte, all of the alphabet; and how short order 0 might be.
fn order_1(bytes: &[u8], alphabet: &[u8], vectors: Option<Avx2>, buffers: &mut Buffers) -> (Vec<u8>, usize) {
    match alphabet.len() {
        0..=8 => order_1_of::<8>(bytes, alphabet, vectors, buffers),
        9..=64 => order_1_of::<64>(bytes, alphabet, vectors, buffers),
        _ => order_1_of::<256>(bytes, alphabet, vectors, buffers),
    }
}

/// The same of bytes of which at most `SIZE` differ, a power of two: tables are as small as bytes are few.
fn order_1_of<const SIZE: usize>(
    bytes: &[u8],
    alphabet: &[u8],
    vectors: Option<Avx2>,
    buffers: &mut Buffers,
) -> (Vec<u8>, usize) {
    let Buffers { coded, codes } = buffers;
    let is_without_gaps = alphabet.last().is_none_or(|&last| usize::from(last) < alphabet.len());
    let codes = if is_without_gaps { bytes } else { ranks(bytes, alphabet, codes) };
    // Each quarter is coded by one state and begins behind a zero; the last has the rest.
    let quarter = codes.len() / 4;
    let (quarters, tail) = codes.split_at(4 * quarter);
    let quarters: [&[u8]; 4] = std::array::from_fn(|at| &quarters[at * quarter..(at + 1) * quarter]);
    let mut counts = count_pairs::<SIZE>(quarters, tail);
    let of_code = |code| counts.chunks(SIZE).map(|row: &[u32]| row[code]).sum();
    let single_bytes_min = order_0_bytes_min(&(0..SIZE).map(of_code).collect::<Vec<u32>>());
    let mut table = Vec::with_capacity(4096);
    let mut symbols = vec![Symbol::default(); SIZE * SIZE];
    let used: Vec<bool> = counts.chunks(SIZE).map(|row| row.iter().any(|&count| count > 0)).collect();
    let mut run = 0;
    for (context, row) in counts.chunks_mut(SIZE).enumerate().filter(|&(context, _)| used[context]) {
        put_symbol(alphabet, context, |at| used[at], &mut run, &mut table);
        scale(row);
        put_frequencies(alphabet, &row[..alphabet.len()], &mut table, &mut symbols[context * SIZE..]);
    }
    table.push(0);
    let mut out = Backwards::new(bytes.len(), coded);
    let mut states = [STATE_MIN; 4];
    let before = quarters[3].last().copied().unwrap_or(0);
    for (at, &code) in tail.iter().enumerate().rev() {
        let context = if at == 0 { before } else { tail[at - 1] };
        out.put(&symbols[index::<SIZE>(context, code)], &mut states[3]);
    }
    match vectors {
        Some(vectors) => vectors.put_quarters::<SIZE>(quarters, &symbols, &mut states, &mut out),
        None => put_quarters::<SIZE>(quarters, &symbols, &mut states, &mut out),
    }
    (finish(1, bytes.len(), &table, states, out), single_bytes_min)
}

/// Ranks of bytes in their alphabet.
fn ranks<'a>(bytes: &[u8], alphabet: &[u8], room: &'a mut Vec<u8>) -> &'a [u8] {
    let mut rank = [0; 256];
    (0..).zip(alphabet).for_each(|(at, &byte)| rank[usize::from(byte)] = at);
    room.clear();
    room.extend(bytes.iter().map(|&byte| rank[usize::from(byte)]));
    room
}

/// Where a table of pairs has a code behind another.
#[inline(always)]
fn index<const SIZE: usize>(context: u8, code: u8) -> usize {
    (usize::from(context) * SIZE + usize::from(code)) & (SIZE * SIZE - 1)
}

/// How often each code follows each other. The tail follows the last quarter.
fn count_pairs<const SIZE: usize>(quarters: [&[u8]; 4], tail: &[u8]) -> Vec<u32> {
    // A table each: else runs of one pair would wait for their own count.
    let mut counts = vec![0; 4 * SIZE * SIZE];
    let (first, second) = counts.split_at_mut(2 * SIZE * SIZE);
    let ((in_a, in_b), (in_c, in_d)) = (first.split_at_mut(SIZE * SIZE), second.split_at_mut(SIZE * SIZE));
    let [mut last_a, mut last_b, mut last_c, mut last_d] = [0; 4];
    let [of_a, of_b, of_c, of_d] = quarters.map(|quarter| quarter.iter());
    for (((&a, &b), &c), &d) in of_a.zip(of_b).zip(of_c).zip(of_d) {
        in_a[index::<SIZE>(last_a, a)] += 1;
        in_b[index::<SIZE>(last_b, b)] += 1;
        in_c[index::<SIZE>(last_c, c)] += 1;
        in_d[index::<SIZE>(last_d, d)] += 1;
        (last_a, last_b, last_c, last_d) = (a, b, c, d);
    }
    for &code in tail {
        in_d[index::<SIZE>(last_d, code)] += 1;
        last_d = code;
    }
    let (sums, others) = counts.split_at_mut(SIZE * SIZE);
    for others in others.chunks(SIZE * SIZE) {
        sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
    }
    counts.truncate(SIZE * SIZE);
    counts
}

/// Codes quarters of one length from their ends, each by its own state.
fn put_quarters<const SIZE: usize>(
    quarters: [&[u8]; 4],
    symbols: &[Symbol],
    states: &mut [u32; 4],
    out: &mut Backwards,
) {
    let symbols = &symbols[..SIZE * SIZE];
    let [Some((&a, of_a)), Some((&b, of_b)), Some((&c, of_c)), Some((&d, of_d))] =
        quarters.map(|quarter| quarter.split_last())
    else {
        return;
    };
    let mut codes = [a, b, c, d];
    let mut put = |contexts: [u8; 4]| {
        let symbol = |at: usize| &symbols[index::<SIZE>(contexts[at], codes[at])];
        out.put_four([symbol(0), symbol(1), symbol(2), symbol(3)], states);
        codes = contexts;
    };
    for (((&a, &b), &c), &d) in of_a.iter().zip(of_b).zip(of_c).zip(of_d).rev() {
        put([a, b, c, d]);
    }
    put([0; 4]);
}

/// Puts head, table and states before the bytes, which were gathered backwards.
fn finish(order: u8, length: usize, table: &[u8], states: [u32; 4], out: Backwards) -> Vec<u8> {
    let states = states.map(u32::to_le_bytes);
    let coded = out.coded();
    let stored_bytes = table.len() + states.as_flattened().len() + coded.len();
    let mut out = Vec::with_capacity(HEAD_BYTES + stored_bytes);
    out.push(order);
    out.extend((stored_bytes as u32).to_le_bytes());
    out.extend((length as u32).to_le_bytes());
    out.extend_from_slice(table);
    out.extend_from_slice(states.as_flattened());
    out.extend_from_slice(coded);
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
        let every: Vec<u8> = (0..=255).collect();
        // Buffers go on from one to the next, whatever is in them.
        let mut buffers = Buffers::default();
        let mut check = |bytes: &[u8]| {
            let alphabet = alphabet(bytes);
            let single = order_0(bytes, &mut buffers.coded);
            let (followed, single_bytes_min) = order_1(bytes, &alphabet, None, &mut buffers);
            assert!(single_bytes_min <= single.len());
            // With vectors nothing differs, nor does it with every rank told apart.
            for (alphabet, vectors) in [(&alphabet[..], Avx2::new()), (&every, None), (&every, Avx2::new())] {
                assert_eq!(order_1(bytes, alphabet, vectors, &mut buffers).0, followed);
            }
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
                let edge = symbol.max() - 1;
                let multiple = edge / frequency * frequency;
                let any = (0..20).map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    STATE_MIN + (seed >> 33) as u32 % (255 * STATE_MIN)
                });
                let edges = [STATE_MIN, edge, symbol.max(), multiple - 1, multiple, (STATE_MIN << 8) - 1];
                for state in edges.into_iter().filter(|&state| state >= STATE_MIN).chain(any) {
                    let (mut expect, mut leaving) = (state, Vec::new());
                    while expect >= (STATE_MIN >> SCALE_BITS << 8) * frequency {
                        leaving.push(expect as u8);
                        expect >>= 8;
                    }
                    expect = expect / frequency * SCALE + expect % frequency + start;
                    let (mut room, mut found) = (Vec::new(), state);
                    let mut out = Backwards::new(1, &mut room);
                    out.put(&symbol, &mut found);
                    leaving.reverse();
                    assert_eq!((found, out.coded()), (expect, &leaving[..]), "{state} {frequency}");
                }
            }
        }
    }

    #[test]
    fn the_shorter_order_is_taken() {
        let check = |bytes: &[u8], order: u8| {
            let mut buffers = Buffers::default();
            let one = order_1(bytes, &alphabet(bytes), None, &mut buffers).0;
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
