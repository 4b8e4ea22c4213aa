//! What does sealing cost, part by part and whole?
//!
//! All on the same pseudo-random bytes, one thread; ours and a peer turn by turn. The parts work block by block as the
//! vault does, without files; the whole is a file in a temporary folder sealed 3+2 over five sites, and restored.

mod measure;
mod programme;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use measure::{absent, cpu_seconds, head, is_full, median, quoted, shell, spread, spread_to, version};
use programme::Programme;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;
use storage::erasure::Code;
use storage::floe::{DataKey, Decryptor, Encryptor, PLAIN_BYTES, SEGMENT_BYTES};
use storage::shamir;
use storage::tree::{BLOCK_BYTES, TreeBuilder};

const PEERS: [&str; 3] = ["age", "zfec", "zunfec"];

/// Blocks of which rows of three and of ten are made without rest.
const UNIT_BYTES: usize = 30 * BLOCK_BYTES;

fn main() {
    let (units, secrets, turns) = if is_full() { (64, 20_000, 7) } else { (1, 10, 1) };
    let mut data = vec![0; units * UNIT_BYTES];
    blake3::Hasher::new().update(b"wakachi bench vault").finalize_xof().fill(&mut data);
    let bench = Bench { data, turns };
    let missing = absent(&PEERS);
    if is_full() {
        let programs =
            ["age --version | sed 's/^/age /'", "zfec -V | sed 's/library version: *//'"].map(version);
        let crates = "crates aws-lc-rs, blahaj, blake3, reed-solomon-simd as in Cargo.lock".to_owned();
        let peers: Vec<String> =
            programs.into_iter().filter(|_| missing.is_empty()).chain([crates]).collect();
        let input = format!("{} bytes of BLAKE3's output for `wakachi bench vault`", bench.data.len());
        head("Sealing", "vault", &input, &peers, &missing);
        println!(
            "Median (smallest to largest) of {turns} turns; GB are 10^9 bytes of the file. The clock counts what other \
             work on the machine took, CPU seconds do not."
        );
    }
    bench.parts();
    bench.objects(secrets);
    bench.whole(missing.is_empty());
}

struct Bench {
    data: Vec<u8>,
    turns: usize,
}

/// Seconds by turn.
#[derive(Default)]
struct Cost {
    cpu: Vec<f64>,
    clock: Vec<f64>,
}

impl Cost {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (cpu, clock) = (cpu_seconds(), Instant::now());
        let done = work();
        self.clock.push(clock.elapsed().as_secs_f64());
        self.cpu.push(cpu_seconds() - cpu);
        done
    }
}

/// One of several ways to do the same: whose, and the work.
type Way<'a> = (&'a str, &'a mut dyn FnMut());

impl Bench {
    fn parts(&self) {
        table(["part", "whose", "CPU s per GB", "GB per CPU s", "GB/s by the clock"]);
        let mut copy = vec![0; self.data.len()];
        self.compare("copying", &mut [("memcpy", &mut || copy.copy_from_slice(black_box(&self.data)))]);
        assert!(copy == self.data);
        drop(copy);
        self.encryption();
        for (k, m) in [(3, 2), (10, 4)] {
            self.erasure(k, m);
        }
        self.hashes();
    }

    /// FLOE, and the cipher within it alone.
    fn encryption(&self) {
        let key = DataKey::derive(&[1; 32], &[2; 32], &[3; 32]);
        let (encryptor, header) = Encryptor::start(&key, &[]);
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[4; 32]).expect("a key of 32 bytes"));
        let mut sealed = Vec::with_capacity(SEGMENT_BYTES);
        self.compare(
            "sealing segments",
            &mut [
                ("FLOE", &mut || self.seal(&encryptor, &mut seen)),
                ("AES-256-GCM of aws-lc-rs, bare", &mut || self.seal_bare(&cipher, &mut sealed)),
            ],
        );
        let last = self.data.chunks(PLAIN_BYTES).last().expect("there are data");
        let nonce = nonce(self.data.len().div_ceil(PLAIN_BYTES) - 1);
        assert!(cipher.open_in_place(nonce, Aad::empty(), &mut sealed).expect("sealed so") == last);

        let mut segments = Vec::new();
        self.seal(&encryptor, &mut |segment| segments.extend_from_slice(segment));
        let decryptor = Decryptor::start(&key, &[], &header).expect("its own header");
        let mut opened = Vec::with_capacity(self.data.len());
        let mut open = || {
            opened.clear();
            let count = segments.len().div_ceil(SEGMENT_BYTES) as u64;
            for (position, segment) in (0..).zip(segments.chunks(SEGMENT_BYTES)) {
                let opens = decryptor.segment(position, position + 1 == count, segment, &mut opened);
                opens.expect("a segment just sealed");
            }
        };
        self.compare("opening segments", &mut [("FLOE", &mut open)]);
        assert!(opened == self.data);
    }

    /// Seals each segment into the same memory, as the vault does.
    fn seal(&self, encryptor: &Encryptor, each: &mut dyn FnMut(&[u8])) {
        let count = self.data.len().div_ceil(PLAIN_BYTES) as u64;
        let mut segment = Vec::with_capacity(SEGMENT_BYTES);
        for (position, plain) in (0..).zip(self.data.chunks(PLAIN_BYTES)) {
            segment.clear();
            encryptor.segment(position, position + 1 == count, plain, &mut segment);
            each(&segment);
        }
    }

    fn seal_bare(&self, cipher: &LessSafeKey, sealed: &mut Vec<u8>) {
        for (position, plain) in self.data.chunks(PLAIN_BYTES).enumerate() {
            sealed.clear();
            sealed.extend_from_slice(plain);
            cipher.seal_in_place_append_tag(nonce(position), Aad::empty(), sealed).expect("a short segment");
        }
    }

    /// Parity of every row, and the first m blocks of every row from the others.
    fn erasure(&self, k: u8, m: u8) {
        let rows: Vec<Vec<&[u8]>> = self
            .data
            .chunks_exact(usize::from(k) * BLOCK_BYTES)
            .map(|row| row.chunks_exact(BLOCK_BYTES).collect())
            .collect();
        let (ours, theirs) = (Ours::new(k, m), Theirs::new(k, m));
        let (mut our_parity, mut their_parity) = (Vec::new(), Vec::new());
        ours.encode(&rows, &mut |parity| our_parity.push(parity.map(<[u8]>::to_vec).collect()));
        theirs.encode(&rows, &mut |parity| their_parity.push(parity.map(<[u8]>::to_vec).collect()));
        let check = |row: usize, index: usize, block: &[u8]| assert!(rows[row][index] == block);
        ours.reconstruct(&rows, &our_parity, &mut |row, index, block| check(row, index, block));
        theirs.reconstruct(&rows, &their_parity, &mut |row, index, block| check(row, index, block));
        self.compare(
            &format!("erasure code {k}+{m}, encoding"),
            &mut [
                ("wakachi", &mut || ours.encode(&rows, &mut |parity| parity.for_each(seen))),
                ("reed-solomon-simd", &mut || theirs.encode(&rows, &mut |parity| parity.for_each(seen))),
            ],
        );
        self.compare(
            &format!("erasure code {k}+{m}, {m} of {k} data blocks from the others"),
            &mut [
                ("wakachi", &mut || ours.reconstruct(&rows, &our_parity, &mut |_, _, block| seen(block))),
                ("reed-solomon-simd", &mut || {
                    theirs.reconstruct(&rows, &their_parity, &mut |_, _, block| seen(block));
                }),
            ],
        );
    }

    fn hashes(&self) {
        let (mut tree, mut bare) = (None, None);
        self.compare(
            "hashing",
            &mut [
                ("tree of BLAKE3 values", &mut || {
                    let mut builder = TreeBuilder::default();
                    self.data.chunks(BLOCK_BYTES).for_each(|block| builder.push(block));
                    tree = Some(builder.finish().root);
                }),
                ("blake3, bare", &mut || bare = Some(*blake3::hash(&self.data).as_bytes())),
                ("SHA-256 of aws-lc-rs", &mut || {
                    black_box(digest::digest(&digest::SHA256, &self.data));
                }),
            ],
        );
        assert_eq!(tree, bare);
    }

    /// What an object costs however small it is.
    fn objects(&self, secrets: usize) {
        table(["part", "whose", "CPU µs each", "a CPU second", ""]);
        let secret: [u8; 32] = self.data[..32].try_into().expect("there are data");
        let ours = || {
            let shares = shamir::split(&secret, 3, 5).expect("3 of 5");
            assert!(*shamir::combine(&shares[2..], 3).expect("a quorum") == secret);
        };
        let theirs = || {
            let shares: Vec<_> = blahaj::Sharks(3).dealer(&secret).take(5).collect();
            assert!(blahaj::Sharks(3).recover(&shares[2..]).expect("a quorum") == secret);
        };
        let ways: &mut [Way<'_>] = &mut [
            ("wakachi", &mut || (0..secrets).for_each(|_| ours())),
            ("blahaj", &mut || (0..secrets).for_each(|_| theirs())),
        ];
        let costs = self.costs(ways);
        for ((whose, _), cost) in ways.iter().zip(&costs) {
            each("32 bytes shared 3 of 5 and combined", whose, cost, secrets as f64);
        }

        let folder = tempfile::tempdir().expect("a temporary folder");
        let programme = Programme::new(folder.path());
        let (file, out) = (folder.path().join("file"), folder.path().join("out"));
        let (mut sealing, mut restoring) = (Cost::default(), Cost::default());
        for turn in 0..self.turns {
            std::fs::write(&file, turn.to_le_bytes()).expect("a file");
            let object = sealing.of(|| programme.seal(&file));
            restoring.of(|| programme.restore(object, &out, 0));
            assert!(std::fs::read(&out).expect("restored") == turn.to_le_bytes());
            std::fs::remove_file(&out).expect("restored");
        }
        each("file of 8 bytes sealed", "wakachi", &sealing, 1.0);
        each("file of 8 bytes restored", "wakachi", &restoring, 1.0);
    }

    /// A file sealed, and restored from all sites and from three of five.
    fn whole(&self, has_peers: bool) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, out) = (folder.path().join("file"), folder.path().join("out"));
        let programme = Programme::new(folder.path());
        let pair = has_peers.then(|| Pair::new(folder.path()));
        let mut data = self.data.clone();
        let mut costs: [[Cost; 2]; 3] = Default::default();
        let [[our_sealing, their_sealing], restoring @ ..] = &mut costs;
        for turn in 0..self.turns {
            data[..8].copy_from_slice(&turn.to_le_bytes());
            std::fs::write(&file, &data).expect("a file");
            let object = our_sealing.of(|| programme.seal(&file));
            if let Some(pair) = &pair {
                their_sealing.of(|| pair.seal(&file));
            }
            for ([ours, theirs], lost) in restoring.iter_mut().zip([0, 2]) {
                ours.of(|| programme.restore(object, &out, lost));
                check_restored(&out, &data);
                if let Some(pair) = &pair {
                    theirs.of(|| pair.restore(&out, lost));
                    check_restored(&out, &data);
                }
            }
        }
        table(["whole", "whose", "CPU s per GB", "GB per CPU s", "GB/s by the clock"]);
        let names = ["sealed 3+2", "restored, no site lost", "restored, two of five sites lost"];
        for (name, [ours, theirs]) in names.into_iter().zip(&costs) {
            self.line(name, "wakachi vault", ours);
            if pair.is_some() {
                self.line(name, "age, then zfec", theirs);
            }
        }
        if is_full() {
            println!(
                "\nThe vault also hashes, signs, shares the key, writes a log, syncs, and reads back what it wrote; the pair \
                 encrypts and codes."
            );
        }
    }

    /// Each way by turns, after each was done once unmeasured.
    fn costs(&self, ways: &mut [Way<'_>]) -> Vec<Cost> {
        ways.iter_mut().for_each(|(_, work)| work());
        let mut costs: Vec<Cost> = ways.iter().map(|_| Cost::default()).collect();
        for _ in 0..self.turns {
            costs.iter_mut().zip(&mut *ways).for_each(|(cost, (_, work))| cost.of(work));
        }
        costs
    }

    fn compare(&self, part: &str, ways: &mut [Way<'_>]) {
        let costs = self.costs(ways);
        ways.iter().zip(&costs).for_each(|((whose, _), cost)| self.line(part, whose, cost));
    }

    fn line(&self, part: &str, whose: &str, cost: &Cost) {
        if is_full() {
            let per_gb = |seconds: &[f64]| -> Vec<f64> {
                seconds.iter().map(|seconds| seconds / (self.data.len() as f64 / 1e9)).collect()
            };
            let (cpu, clock) = (per_gb(&cost.cpu), per_gb(&cost.clock));
            let (rate, by_clock) = (1.0 / median(&cpu), 1.0 / median(&clock));
            println!("| {part} | {whose} | {} | {rate:.2} | {by_clock:.2} |", spread_to(&cpu, 3));
        }
    }
}

fn table(columns: [&str; 5]) {
    if is_full() {
        println!("\n| {} |\n|---|---|---|---|---|", columns.join(" | "));
    }
}

fn each(part: &str, whose: &str, cost: &Cost, count: f64) {
    if is_full() {
        let each: Vec<f64> = cost.cpu.iter().map(|seconds| seconds * 1e6 / count).collect();
        println!("| {part} | {whose} | {} | {:.0} | |", spread(&each), 1e6 / median(&each));
    }
}

fn seen(block: &[u8]) {
    black_box(block);
}

fn nonce(position: usize) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&position.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn check_restored(out: &Path, data: &[u8]) {
    assert!(std::fs::read(out).expect("a restored file") == data);
    std::fs::remove_file(out).expect("a restored file");
}

/// Blocks that a row gave.
type Blocks<'a> = &'a mut dyn Iterator<Item = &'a [u8]>;

/// Parity by row.
type Parity = [Vec<Vec<u8>>];

struct Ours {
    code: Code,
}

impl Ours {
    fn new(k: u8, m: u8) -> Self {
        Ours { code: Code::new(k, m).expect("a code") }
    }

    fn encode(&self, rows: &[Vec<&[u8]>], each: &mut dyn FnMut(Blocks<'_>)) {
        let mut parity = vec![Vec::with_capacity(BLOCK_BYTES); self.code.m().into()];
        for row in rows {
            self.code.encode(row, &mut parity);
            each(&mut parity.iter().map(Vec::as_slice));
        }
    }

    fn reconstruct(&self, rows: &[Vec<&[u8]>], parity: &Parity, each: &mut dyn FnMut(usize, usize, &[u8])) {
        let (k, m) = (self.code.k(), self.code.m());
        let lost: Vec<u8> = (0..m).collect();
        for (number, (row, parity)) in rows.iter().zip(parity).enumerate() {
            let blocks = row.iter().copied().chain(parity.iter().map(Vec::as_slice));
            let present: Vec<(u8, &[u8])> = (0..k + m).zip(blocks).skip(m.into()).collect();
            let restored = self.code.reconstruct(&present, &lost, BLOCK_BYTES).expect("k blocks");
            restored.iter().enumerate().for_each(|(index, block)| each(number, index, block));
        }
    }
}

struct Theirs {
    k: usize,
    m: usize,
}

impl Theirs {
    fn new(k: u8, m: u8) -> Self {
        Theirs { k: k.into(), m: m.into() }
    }

    fn encode(&self, rows: &[Vec<&[u8]>], each: &mut dyn FnMut(Blocks<'_>)) {
        let mut encoder = ReedSolomonEncoder::new(self.k, self.m, BLOCK_BYTES).expect("a code");
        for row in rows {
            row.iter().for_each(|block| encoder.add_original_shard(block).expect("a block of the row"));
            each(&mut encoder.encode().expect("a whole row").recovery_iter());
        }
    }

    fn reconstruct(&self, rows: &[Vec<&[u8]>], parity: &Parity, each: &mut dyn FnMut(usize, usize, &[u8])) {
        let mut decoder = ReedSolomonDecoder::new(self.k, self.m, BLOCK_BYTES).expect("a code");
        for (number, (row, parity)) in rows.iter().zip(parity).enumerate() {
            for (index, block) in row.iter().enumerate().skip(self.m) {
                decoder.add_original_shard(index, block).expect("a block of the row");
            }
            for (index, block) in parity.iter().enumerate() {
                decoder.add_recovery_shard(index, block).expect("a block of the row");
            }
            let restored = decoder.decode().expect("k blocks");
            restored.restored_original_iter().for_each(|(index, block)| each(number, index, block));
        }
    }
}

/// The peers of the whole: a file encrypted, then cut into five shares of which three are enough.
struct Pair {
    folder: PathBuf,
}

impl Pair {
    fn new(folder: &Path) -> Self {
        let folder = folder.join("pair");
        std::fs::create_dir(&folder).expect("a folder");
        shell(&format!("cd {} && age-keygen -o key", quoted(&folder)));
        Pair { folder }
    }

    fn seal(&self, file: &Path) {
        let (folder, file) = (quoted(&self.folder), quoted(file));
        shell(&format!(
            "cd {folder} && age -e -i key -o sealed {file} && zfec -q -f -k 3 -m 5 -p share sealed && rm sealed"
        ));
    }

    fn restore(&self, out: &Path, lost: u8) {
        let shares: Vec<String> = (lost..lost + 3).map(|index| format!("share.{index}_5.fec")).collect();
        let (folder, out, shares) = (quoted(&self.folder), quoted(out), shares.join(" "));
        shell(&format!(
            "cd {folder} && zunfec -f -o sealed {shares} && age -d -i key -o {out} sealed && rm sealed"
        ));
    }
}
