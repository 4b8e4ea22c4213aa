//! The digest of a file from the digests of its stretches, which are taken apart, in any order.
//!
//! BLAKE3 is a tree over chunks of 1,024 bytes (BLAKE3 §2.1): of whole subtrees a chaining value is enough. A stretch keeps
//! those of its largest subtrees, and as they are the bytes before the first and after the last of them.
//! Invariant: however a file is cut, its joined stretches give [`blake3::hash`] of it; a stretch is a function of its
//! bytes and its place alone. Knows nothing of what the file holds.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{Hash, Hasher};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

/// Bytes of the smallest subtree kept as its chaining value: wide enough for every vector unit.
const GROUP_BYTES: usize = 16 << 10;
const GROUP: u64 = GROUP_BYTES as u64;
/// Bytes read at once.
const READ_BYTES: u64 = 1 << 18;
const VALUE_BYTES: usize = size_of::<ChainingValue>();

/// The bytes of a file from one place to another, as far as its digest needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    start: u64,
    end: u64,
    /// The bytes before the first group that begins in it.
    head: Vec<u8>,
    /// Whole groups behind which there are more bytes, left to right.
    trees: Vec<Tree>,
    /// The bytes of the last group that begins in it: whether it is the last of the file, only others know.
    tail: Vec<u8>,
}

/// A subtree over groups of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tree {
    first: u64,
    /// A power of two that divides `first`.
    groups: u64,
    value: ChainingValue,
}

impl Tree {
    fn of_group(first: u64, bytes: &[u8]) -> Self {
        let value = Hasher::new().set_input_offset(first * GROUP).update(bytes).finalize_non_root();
        Tree { first, groups: 1, value }
    }
}

impl Stretch {
    /// Nothing yet, from `offset` on.
    pub fn at(offset: u64) -> Self {
        Stretch { start: offset, end: offset, head: Vec::new(), trees: Vec::new(), tail: Vec::new() }
    }

    /// The bytes of a file from `start` to before `end`.
    pub fn read(file: &File, start: u64, end: u64) -> io::Result<Self> {
        let mut stretch = Stretch::at(start);
        let mut buffer = vec![0; READ_BYTES.min(end.saturating_sub(start)) as usize];
        while stretch.end < end {
            let bytes = &mut buffer[..READ_BYTES.min(end - stretch.end) as usize];
            file.read_exact_at(bytes, stretch.end)?;
            stretch.update(bytes);
        }
        Ok(stretch)
    }

    /// Where its first byte lies in the file.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Where the next byte would lie.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        let before_line = self.start.next_multiple_of(GROUP).saturating_sub(self.end);
        let (head, mut rest) = bytes.split_at(bytes.len().min(before_line as usize));
        self.head.extend_from_slice(head);
        self.end += bytes.len() as u64;
        while !rest.is_empty() {
            self.close_tail();
            if self.tail.is_empty() && rest.len() > GROUP_BYTES {
                let (group, more) = rest.split_at(GROUP_BYTES);
                self.close(group);
                rest = more;
            } else {
                let (some, more) = rest.split_at(rest.len().min(GROUP_BYTES - self.tail.len()));
                self.tail.extend_from_slice(some);
                rest = more;
            }
        }
    }

    /// Goes on with the stretch that follows; `None`, and nothing changed, if `next` does not begin where this one ends.
    #[must_use]
    pub fn join(&mut self, next: &Stretch) -> Option<()> {
        if next.start != self.end {
            return None;
        }
        self.update(&next.head);
        if !next.tail.is_empty() {
            self.close_tail();
            next.trees.iter().for_each(|&tree| self.push(tree));
            self.tail.clone_from(&next.tail);
            self.end = next.end;
        }
        Some(())
    }

    /// The digest of the file, if it is of its first byte.
    pub fn digest(&self) -> Option<Hash> {
        if self.start != 0 {
            return None;
        }
        if self.trees.is_empty() {
            return Some(blake3::hash(&self.tail));
        }
        let mut open: Vec<Tree> = Vec::new();
        for &tree in &self.trees {
            merge(&mut open, 0);
            open.push(tree);
        }
        merge(&mut open, 0);
        let mut right = Tree::of_group(self.next(), &self.tail).value;
        let root = open.remove(0).value;
        while let Some(left) = open.pop() {
            right = merge_subtrees_non_root(&left.value, &right, Mode::Hash);
        }
        Some(merge_subtrees_root(&root, &right, Mode::Hash))
    }

    /// Whether its first and its last bytes lie at their place in a file: not, if the file was cut or never written there.
    pub fn ends_lie_in(&self, file: &File) -> io::Result<bool> {
        let lies = |bytes: &[u8], offset: u64| {
            let mut found = vec![0; bytes.len()];
            match file.read_exact_at(&mut found, offset) {
                Ok(()) => Ok(found == bytes),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
                Err(error) => Err(error),
            }
        };
        Ok(lies(&self.head, self.start)? && lies(&self.tail, self.end - self.tail.len() as u64)?)
    }

    /// Start, end (u64, little endian), the head, the chaining values, the tail: how many there are follows from the places.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.start.to_le_bytes(), self.end.to_le_bytes()].concat();
        bytes.extend_from_slice(&self.head);
        self.trees.iter().for_each(|tree| bytes.extend_from_slice(&tree.value));
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    /// A stretch from [`Stretch::to_bytes`]; `None` if they are not of one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let (start, end) = (u64::from_le_bytes(*start), u64::from_le_bytes(*end));
        let line = start.checked_next_multiple_of(GROUP)?.min(end);
        let (head, mut rest) = rest.split_at_checked(usize::try_from(line.checked_sub(start)?).ok()?)?;
        let last = end.saturating_sub(1) / GROUP;
        let mut trees = Vec::new();
        let mut first = line / GROUP;
        // What lies before the first line alone has neither trees nor tail.
        while line < end && first < last {
            let groups = (0..first.trailing_zeros().min(63)).map(|level| 2u64 << level);
            let groups =
                groups.take_while(|&groups| first != 0 && groups <= last - first).last().unwrap_or(1);
            let (value, more) = rest.split_first_chunk::<VALUE_BYTES>()?;
            trees.push(Tree { first, groups, value: *value });
            (first, rest) = (first + groups, more);
        }
        let tail_bytes = if line < end { end - first * GROUP } else { 0 };
        let tail = (rest.len() as u64 == tail_bytes).then(|| rest.to_vec())?;
        Some(Stretch { start, end, head: head.to_vec(), trees, tail })
    }

    /// The group that the tail is of.
    fn next(&self) -> u64 {
        let line = self.start.div_ceil(GROUP);
        self.trees.last().map_or(line, |tree| tree.first + tree.groups)
    }

    /// Closes the tail if it is a whole group: more bytes follow.
    fn close_tail(&mut self) {
        if self.tail.len() == GROUP_BYTES {
            let tail = std::mem::take(&mut self.tail);
            self.close(&tail);
        }
    }

    fn close(&mut self, group: &[u8]) {
        self.push(Tree::of_group(self.next(), group));
    }

    fn push(&mut self, tree: Tree) {
        self.trees.push(tree);
        // A subtree that begins the file may be all of it, and then its root is made in another way.
        merge(&mut self.trees, 1);
    }
}

/// Makes one subtree of the last two, as long as they are the halves of one that begins with group `from` or behind it.
fn merge(trees: &mut Vec<Tree>, from: u64) {
    while let [.., left, right] = &trees[..]
        && left.groups == right.groups
        && left.first >= from
        && left.first.is_multiple_of(2 * left.groups)
    {
        let value = merge_subtrees_non_root(&left.value, &right.value, Mode::Hash);
        let whole = Tree { first: left.first, groups: 2 * left.groups, value };
        trees.truncate(trees.len() - 2);
        trees.push(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length as u64).map(|i| (i * i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]).collect()
    }

    fn stretch(bytes: &[u8], start: usize, end: usize) -> Stretch {
        let mut stretch = Stretch::at(start as u64);
        stretch.update(&bytes[start..end]);
        stretch
    }

    /// Cuts the bytes at these places, and joins what was taken of the stretches.
    fn check(bytes: &[u8], cuts: &[usize]) {
        let lines: Vec<usize> = [&[0], cuts, &[bytes.len()]].concat();
        let mut whole = Stretch::at(0);
        for ends in lines.windows(2) {
            let part = stretch(bytes, ends[0], ends[1]);
            assert_eq!(Stretch::from_bytes(&part.to_bytes()).as_ref(), Some(&part), "{ends:?}");
            whole.join(&part).unwrap();
        }
        assert_eq!(whole, stretch(bytes, 0, bytes.len()), "{cuts:?}");
        assert_eq!(whole.digest(), Some(blake3::hash(bytes)), "{} {cuts:?}", bytes.len());
    }

    #[test]
    fn a_file_of_every_kind_of_length_has_its_digest() {
        for line in [0, 1024, GROUP_BYTES, 2 * GROUP_BYTES, 3 * GROUP_BYTES, 8 * GROUP_BYTES, 1 << 19] {
            for length in [line.saturating_sub(1), line, line + 1] {
                let bytes = bytes(length);
                check(&bytes, &[]);
                check(&bytes, &[0, length / 3, length / 2, length]);
                check(&bytes, &[length.min(1), length.min(GROUP_BYTES), length]);
            }
        }
    }

    #[test]
    fn cuts_anywhere_cannot_be_seen() {
        let bytes = bytes(40 * GROUP_BYTES + 777);
        let mut state = 1u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        for _ in 0..200 {
            let length = below(bytes.len() + 1);
            let mut cuts: Vec<usize> = (0..below(9)).map(|_| below(length + 1)).collect();
            // On a line of groups as often as beside it.
            cuts.iter_mut().filter(|cut| **cut % 2 == 0).for_each(|cut| *cut -= *cut % GROUP_BYTES);
            cuts.sort_unstable();
            check(&bytes[..length], &cuts);
        }
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let bytes = bytes(5 * GROUP_BYTES + 5);
        for (start, piece) in [(0, 1000), (3, 1000), (GROUP_BYTES, GROUP_BYTES), (9, 3 * GROUP_BYTES + 1)] {
            let mut pieces = Stretch::at(start as u64);
            bytes[start..].chunks(piece).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces, stretch(&bytes, start, bytes.len()), "{start} {piece}");
        }
    }

    #[test]
    fn what_does_not_follow_is_not_joined() {
        let bytes = bytes(100_000);
        let mut first = stretch(&bytes, 0, 40_000);
        let before = first.clone();
        for (start, end) in [(39_999, 50_000), (40_001, 50_000), (0, 40_000)] {
            assert_eq!(first.join(&stretch(&bytes, start, end)), None);
        }
        assert_eq!(first, before);
        assert_eq!(stretch(&bytes, 1, 9).digest(), None);
    }

    #[test]
    fn bytes_of_no_stretch_are_refused() {
        let good = stretch(&bytes(200_000), 20_000, 150_000).to_bytes();
        assert!(Stretch::from_bytes(&good).is_some());
        for wrong in [&good[..good.len() - 1], &good[..15], &[&good[..], &[0]].concat(), &[0xff; 16], &[]] {
            assert_eq!(Stretch::from_bytes(wrong), None, "{}", wrong.len());
        }
        let backwards = [9u64.to_le_bytes(), 8u64.to_le_bytes()].concat();
        assert_eq!(Stretch::from_bytes(&backwards), None);
    }

    #[test]
    fn what_was_cut_or_never_written_is_noticed() {
        let bytes = bytes(200_000);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let part = stretch(&bytes, 20_000, 150_000);
        assert_eq!(Stretch::read(&file, 20_000, 150_000).unwrap(), part);
        assert!(Stretch::read(&file, 20_000, 200_001).is_err());
        assert!(part.ends_lie_in(&file).unwrap());
        file.set_len(149_999).unwrap();
        assert!(!part.ends_lie_in(&file).unwrap());
        file.set_len(200_000).unwrap();
        assert!(!part.ends_lie_in(&file).unwrap());
    }
}
