//! What does mapping cost, how right is it, and what does the rest cost up to a sorted, marked file?
//!
//! Ours and every mapper on PATH, turn by turn, on the same simulated pairs of 2x150, on one thread: mapping, its
//! accuracy and calibration, what a caller finds after it, the index, two threads, and FASTQ.gz to CRAM and BAM beside
//! the usual chain.
//!
//! Without options the genome is small and synthetic, so that any clone can run it; what counts is measured on real and
//! large ones: `cargo bench --bench align -- --ref REF.fa [--genome-mb 3100] --pairs 500000 --seeds 3 --folder DIR`.

mod mappers;
mod measure;
mod multiplicity;
mod placement;
mod variants;

use mappers::{Cost, MAPPERS, Mapper, Run, drain};
use measure::{absent, head, is_full, median, spread, version};
use multiplicity::{CLASSES, multiplicity};
use placement::{MAPQ_MAX, Score, upper_bound};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use variants::{CALLER, DEPTH, Piece};
use workers::assess::VariantAccuracy;
use workers::simulate::{self, Options};

/// Lengths of the k-mers that are counted.
const KMERS: [usize; 3] = [19, 21, 31];
/// Pairs whose mapping costs next to nothing beside loading the index.
const LOADING_PAIRS: usize = 1_000;
/// Bins of MAPQ in the table of calibration: first and last.
const BINS: [(usize, usize); 8] =
    [(0, 0), (1, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, MAPQ_MAX)];
const GROUP: &str = r"@RG\tID:1\tSM:S\tLB:1\tPL:ILLUMINA";

fn main() {
    placement::check();
    let data = Data::new(Plan::of_arguments());
    let (mut absentees, mut mappers) = (Vec::new(), Vec::new());
    for mapper in MAPPERS {
        match mapper.is_absent() {
            true => absentees.push(mapper.name.to_owned()),
            false => mappers.push(mapper),
        }
    }
    let mut unfit: Vec<String> = mappers.iter().filter_map(|mapper| mapper.unfit(data.bases)).collect();
    mappers.retain(|mapper| mapper.unfit(data.bases).is_none() && data.plan.takes(mapper));
    absentees.append(&mut unfit);
    if is_full() {
        let versions: Vec<String> =
            mappers.iter().filter(|mapper| !mapper.is_ours()).map(Mapper::version).collect();
        let absentees: Vec<&str> = absentees.iter().map(String::as_str).collect();
        head("Alignment", "align", &data.description(), &versions, &absentees);
        data.print_multiplicity();
    }
    let builds: Vec<Cost> =
        mappers.iter().map(|mapper| mapper.index(&data.folder, &data.reference, data.bases)).collect();
    if is_full() {
        print_indexes(&data, &mappers, &builds);
    }
    let mapped = map(&data, &mappers);
    let ours = &mapped[0].score;
    let [right, _] = ours.at_least(0);
    assert!(right as f64 > 0.95 * ours.reads() as f64, "{right} of {} are right", ours.reads());
    for (mapper, mapped) in mappers.iter().zip(&mapped) {
        assert_eq!(mapped.score.records, 2 * data.pairs(), "{} keeps every read", mapper.name);
    }
    if is_full() {
        print_mapping(&mappers, &mapped);
        print_accuracy(&mappers, &mapped);
        print_calibration(&mappers, &mapped);
    }
    let piece = Piece::simulate(&data, data.plan.piece_bases);
    let can_call = absent(&CALLER).is_empty();
    let called: Vec<VariantAccuracy> =
        mappers.iter().filter(|_| can_call).map(|mapper| piece.call(&data, mapper)).collect();
    if is_full() {
        print_variants(&data, &mappers, &called);
        print_scaling(&data, &mappers);
    }
    let whole = Whole::measure(&data, &mappers, &piece);
    if is_full() {
        whole.print(&mapped[0].loading);
    }
}

/// What to measure on.
struct Plan {
    reference: Option<PathBuf>,
    genome_mb: Option<f64>,
    pairs: u64,
    seeds: u64,
    turns: usize,
    /// Bases of the piece in which variants are called.
    piece_bases: usize,
    folder: Option<PathBuf>,
    only: Option<String>,
}

impl Plan {
    fn of_arguments() -> Plan {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} wants a value")).clone())
        };
        let number = |name: &str, usual: u64| {
            value(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
        };
        let (pairs, seeds, megabases) = if is_full() { (50_000, 3, 10.0) } else { (1_500, 1, 0.2) };
        let piece_bases = if is_full() { 500_000 } else { 20_000 };
        let seeds = number("--seeds", seeds);
        let reference = value("--ref").map(PathBuf::from);
        let genome_mb = value("--genome-mb").map(|text| text.parse().expect("megabases"));
        Plan {
            genome_mb: genome_mb.or(reference.is_none().then_some(megabases)),
            reference,
            pairs: number("--pairs", pairs),
            seeds,
            turns: number("--turns", seeds) as usize,
            piece_bases: number("--piece-bases", piece_bases) as usize,
            folder: value("--folder").map(PathBuf::from),
            only: value("--only"),
        }
    }

    fn takes(&self, mapper: &Mapper) -> bool {
        let named = |names: &String| names.split(',').any(|name| name == mapper.name);
        mapper.is_ours() || self.only.as_ref().is_none_or(named)
    }
}

/// A reference and simulated reads on it.
struct Data {
    plan: Plan,
    folder: PathBuf,
    reference: PathBuf,
    bases: u64,
    /// Of each seed: the reads, plain.
    reads: Vec<[PathBuf; 2]>,
    /// Keeps the folder there, if nobody asked for one.
    _temporary: Option<tempfile::TempDir>,
}

impl Data {
    /// Makes what is not in the folder yet.
    fn new(plan: Plan) -> Data {
        let temporary = plan.folder.is_none().then(|| tempfile::tempdir().expect("a temporary folder"));
        let folder = plan.folder.clone().or(temporary.as_ref().map(|folder| folder.path().to_owned()));
        let folder = folder.expect("one of the two");
        std::fs::create_dir_all(&folder).expect("a folder");
        let folder = folder.canonicalize().expect("a folder");
        let reference = folder.join("reference.fa");
        let mut data = Data { plan, reference, bases: 0, reads: Vec::new(), _temporary: temporary, folder };
        for seed in 1..=data.plan.seeds {
            data.simulate(seed);
            data.reads.push(["1", "2"].map(|mate| data.folder.join(format!("reads.{seed}.{mate}.fq"))));
        }
        data.bases = fasta_bases(&data.reference);
        data
    }

    /// The reference, with the first seed, and the reads of a seed.
    fn simulate(&self, seed: u64) {
        let first = self.folder.join(format!("reads.{seed}.1.fq"));
        if first.exists() && self.reference.exists() {
            return;
        }
        let out = self.folder.join("simulated");
        let given =
            if self.reference.exists() { Some(&self.reference) } else { self.plan.reference.as_ref() };
        let grown = self.plan.genome_mb.filter(|_| !self.reference.exists());
        let known = given.map_or(0.0, |path| fasta_bases(path) as f64).max(grown.unwrap_or(0.0) * 1e6);
        let options = Options {
            out: out.clone(),
            seed,
            samples: 1,
            genome_mb: grown,
            // A fifth more than the pairs wanted, which gaps may use up.
            depth: (1.2 * 300.0 * self.plan.pairs as f64 / known).max(0.01),
            tumor: false,
            reference: given.cloned(),
            threads: 1,
            ..Options::default()
        };
        let summary = simulate::run(&options, &mut |_| ()).expect("a simulation");
        assert!(summary.samples[0].pairs >= self.plan.pairs, "too few pairs: the reference is mostly gaps");
        if !self.reference.exists() {
            std::fs::rename(&summary.reference, &self.reference).expect("a reference");
        }
        for (mate, name) in [("2", "R2"), ("1", "R1")] {
            let reads = out.join(format!("reads/{}_{name}.fastq.gz", summary.samples[0].name));
            let mut run = Run::new(r#"set +o pipefail; gzip -dc "$reads" | head -n "$lines" > "$plain""#);
            run.command.env("reads", reads).env("lines", (4 * self.plan.pairs).to_string());
            run.command.env("plain", self.folder.join(format!("reads.{seed}.{mate}.fq")));
            run.wait(drain);
        }
        std::fs::remove_dir_all(out).expect("its own folder");
    }

    fn pairs(&self) -> u64 {
        self.plan.pairs * self.plan.seeds
    }

    fn description(&self) -> String {
        let Plan { reference, genome_mb, pairs, seeds, .. } = &self.plan;
        let source = match (reference, genome_mb) {
            (None, _) => "a synthetic reference".to_owned(),
            (Some(path), None) => name_of(path),
            (Some(path), Some(_)) => format!("{} grown by `wakachi simulate --genome-mb`", name_of(path)),
        };
        let mut hasher = blake3::Hasher::new();
        for path in [&self.reference].into_iter().chain(self.reads.iter().flatten()) {
            hasher.update_mmap(path).expect("a file of the bench");
        }
        format!(
            "{source}, {:.1} Mb; {seeds} x {pairs} simulated pairs 2 x 150; BLAKE3 of reference and reads {}",
            self.bases as f64 / 1e6,
            &hasher.finalize().to_hex()[..16]
        )
    }

    fn print_multiplicity(&self) {
        println!("Positions by how often their k-mer occurs in the genome, on either strand, in %.\n");
        println!("| genome | k | {} |", CLASSES.join(" | "));
        println!("|---|---|{}", "---|".repeat(CLASSES.len()));
        let source = self.plan.reference.as_ref().filter(|_| self.plan.genome_mb.is_some());
        let genomes = [("source", source), ("this", Some(&self.reference))];
        for (name, path) in genomes.into_iter().filter_map(|(name, path)| Some((name, path?))) {
            for (k, shares) in KMERS.iter().zip(multiplicity(path, &KMERS, fasta_bases(path))) {
                let shares = shares.map(|share| format!("{:.2}", 100.0 * share));
                println!("| {name} | {k} | {} |", shares.join(" | "));
            }
        }
        println!("\nOf the human genome 80 to 83% of the 31-mers occur once.\n");
    }
}

/// What the runs of a mapper cost and how right they were.
#[derive(Default)]
struct Mapped {
    runs: Vec<Cost>,
    loading: Vec<Cost>,
    score: Score,
}

impl Mapped {
    fn cpu_seconds(&self) -> Vec<f64> {
        self.runs.iter().map(|cost| cost.cpu_seconds).collect()
    }

    /// Without what loading the index cost just before, with the same pages in memory.
    fn mapping_seconds(&self) -> Vec<f64> {
        let turns = self.runs.iter().zip(&self.loading);
        turns.map(|(run, loading)| run.cpu_seconds - loading.cpu_seconds).collect()
    }
}

/// Maps in turns, the reads of one seed a turn; reads are scored the first time.
fn map(data: &Data, mappers: &[Mapper]) -> Vec<Mapped> {
    let mut mapped: Vec<Mapped> = mappers.iter().map(|_| Mapped::default()).collect();
    let few = ["1", "2"].map(|mate| data.folder.join(format!("few.{mate}.fq")));
    for (few, reads) in few.iter().zip(&data.reads[0]) {
        let text = std::fs::read_to_string(reads).expect("simulated reads");
        let lines: String = text.split_inclusive('\n').take(4 * LOADING_PAIRS).collect();
        std::fs::write(few, lines).expect("a few reads");
    }
    for turn in 0..data.plan.turns.max(data.reads.len()) {
        let reads = &data.reads[turn % data.reads.len()];
        for (mapper, mapped) in mappers.iter().zip(&mut mapped) {
            mapped.loading.push(mapper.map(&data.folder, &few, 1, drain).0);
            let (cost, score) = match turn < data.reads.len() {
                true => mapper.map(&data.folder, reads, 1, |sam| Score::of_sam(BufReader::new(sam))),
                false => (mapper.map(&data.folder, reads, 1, drain).0, Score::default()),
            };
            mapped.runs.push(cost);
            mapped.score += &score;
        }
    }
    mapped
}

fn print_indexes(data: &Data, mappers: &[Mapper], builds: &[Cost]) {
    println!("Index, one thread.\n");
    println!("| mapper | CPU s | CPU minutes per Gb | peak memory, MB | on disk, MB | bytes per base |");
    println!("|---|---|---|---|---|---|");
    for (mapper, build) in mappers.iter().zip(builds) {
        let (bytes, bases) = (mapper.index_bytes(&data.folder) as f64, data.bases as f64);
        println!(
            "| {} | {:.1} | {:.1} | {:.0} | {:.0} | {:.2} |",
            mapper.name,
            build.cpu_seconds,
            build.cpu_seconds / 60.0 / (bases / 1e9),
            build.peak_bytes as f64 / 1e6,
            bytes / 1e6,
            bytes / bases
        );
    }
}

fn print_mapping(mappers: &[Mapper], mapped: &[Mapped]) {
    println!(
        "\nMapping plain FASTQ to SAM on a pipe, one thread, CPU seconds: median (smallest to largest) of"
    );
    println!(
        "{} turns; loading is a run on {LOADING_PAIRS} pairs just before, so few pairs make it a poor difference.\n",
        mapped[0].runs.len()
    );
    println!("| mapper | with loading | without | ours over it, without | peak memory, MB |");
    println!("|---|---|---|---|---|");
    let ours = median(&mapped[0].mapping_seconds());
    for (mapper, mapped) in mappers.iter().zip(mapped) {
        let peak = mapped.runs.iter().map(|cost| cost.peak_bytes).max().unwrap_or_default();
        println!(
            "| {} | {} | {} | {:.2} | {:.0} |",
            mapper.name,
            spread(&mapped.cpu_seconds()),
            spread(&mapped.mapping_seconds()),
            ours / median(&mapped.mapping_seconds()),
            peak as f64 / 1e6
        );
    }
}

fn print_accuracy(mappers: &[Mapper], mapped: &[Mapped]) {
    println!(
        "\nPlacement: right within 20 bases; in brackets the upper end of the 95% interval of a count.\n"
    );
    println!(
        "| mapper | right, % | wrong or unmapped | wrong at MAPQ >= 20 | >= 30 | >= 60 | at MAPQ >= 20, % \
         | breakpoint reads by their larger part, % |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let percent = |part: u64, all: u64| 100.0 * part as f64 / all.max(1) as f64;
    let bounded = |count: u64| format!("{count} ({:.0})", upper_bound(count));
    for (mapper, Mapped { score, .. }) in mappers.iter().zip(mapped) {
        let wrong = |mapq| bounded(score.at_least(mapq)[1]);
        let reads = score.reads();
        println!(
            "| {} | {:.4} | {} | {} | {} | {} | {:.3} | {:.2} |",
            mapper.name,
            percent(score.at_least(0)[0], reads),
            bounded(reads - score.at_least(0)[0]),
            wrong(20),
            wrong(30),
            wrong(60),
            percent(score.at_least(20).iter().sum(), reads),
            percent(score.breakpoint[0], score.breakpoint[1])
        );
    }
    let score = &mapped[0].score;
    println!("\nOf {} reads of one place; {} are breakpoint reads.", score.reads(), score.breakpoint[1]);
}

fn print_calibration(mappers: &[Mapper], mapped: &[Mapped]) {
    println!("\nCalibration: wrong of all reads at a stated MAPQ, and the MAPQ that would have been true.\n");
    let names: Vec<&str> = mappers.iter().map(|mapper| mapper.name).collect();
    println!("| MAPQ | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for (first, last) in BINS {
        let cell = |Mapped { score, .. }: &Mapped| {
            let [right, wrong] =
                score.placed[first..=last].iter().fold([0, 0], |sum, at| [sum[0] + at[0], sum[1] + at[1]]);
            let error = (wrong as f64 + 0.5) / ((right + wrong) as f64 + 1.0);
            match right + wrong {
                0 => "-".to_owned(),
                all => format!("{wrong} of {all}: {:.0}", -10.0 * error.log10()),
            }
        };
        let cells: Vec<String> = mapped.iter().map(cell).collect();
        println!("| {first} to {last} | {} |", cells.join(" | "));
    }
}

fn print_variants(data: &Data, mappers: &[Mapper], called: &[VariantAccuracy]) {
    println!(
        "\nVariants that `bcftools mpileup | call` finds in {} bases at {DEPTH}x, mapped to all.\n",
        data.plan.piece_bases
    );
    if called.is_empty() {
        println!("Not measured: samtools or bcftools is not on PATH.");
        return;
    }
    println!(
        "| mapper | SNV F1 | missed | false | indel F1 | missed | false |\n|---|---|---|---|---|---|---|"
    );
    for (mapper, VariantAccuracy { snv, indel, .. }) in mappers.iter().zip(called) {
        let [snv, indel] = [snv, indel].map(|counts| {
            format!("{:.5} | {} | {}", counts.f1(), counts.false_negatives, counts.false_positives)
        });
        println!("| {} | {snv} | {indel} |", mapper.name);
    }
}

/// One thread against two, turn by turn.
fn print_scaling(data: &Data, mappers: &[Mapper]) {
    println!(
        "\nTwo threads against one: how many times faster by the clock, which other work on the machine spoils,"
    );
    println!("and how many times the CPU time; load before: {}.\n", version("cut -d' ' -f1-3 /proc/loadavg"));
    println!("| mapper | faster | CPU time |\n|---|---|---|");
    for mapper in mappers {
        let (mut faster, mut dearer) = (Vec::new(), Vec::new());
        for turn in 0..data.plan.turns.min(if mapper.is_ours() { usize::MAX } else { 1 }) {
            let reads = &data.reads[turn % data.reads.len()];
            let [one, two] = [1, 2].map(|threads| mapper.map(&data.folder, reads, threads, drain).0);
            faster.push(one.wall_seconds / two.wall_seconds);
            dearer.push(two.cpu_seconds / one.cpu_seconds);
        }
        println!("| {} | {} | {} |", mapper.name, spread(&faster), spread(&dearer));
    }
}

/// FASTQ.gz to a sorted, duplicate-marked, indexed file.
struct Whole {
    rows: Vec<Row>,
    /// Of the reads, in billions.
    gigabases: f64,
    /// Bytes of our BAM and CRAM over those that samtools writes from them.
    sizes: Option<[f64; 2]>,
}

struct Row {
    chain: &'static str,
    costs: Vec<Cost>,
    bytes: u64,
}

/// What is run, the format, and whether it is the peers'.
const CHAINS: [(&str, &str, &str); 4] = [
    (
        "wakachi align, mapping only",
        "sam",
        r#""$wakachi" align "$ours" "$first" "$second" -R "$group" -t 1 -o -"#,
    ),
    (
        "wakachi align",
        "cram",
        r#""$wakachi" align "$ours" "$first" "$second" -R "$group" -t 1 -o "$out/out.cram""#,
    ),
    (
        "wakachi align",
        "bam",
        r#""$wakachi" align "$ours" "$first" "$second" -R "$group" -t 1 -o "$out/out.bam""#,
    ),
    (
        "bwa-mem2, samtools fixmate, sort, markdup, stats",
        "cram",
        r#"bwa-mem2 mem -t 1 -R "$group" "$theirs" "$first" "$second" | samtools fixmate -u -m - - |
           samtools sort -u -T "$out/sorting" - |
           samtools markdup --output-fmt CRAM --reference "$theirs" --write-index - "$out/out.cram"
           samtools stats --reference "$theirs" "$out/out.cram""#,
    ),
];

impl Whole {
    fn measure(data: &Data, mappers: &[Mapper], piece: &Piece) -> Whole {
        let has_peers =
            mappers.iter().any(|mapper| mapper.name == "bwa-mem2") && absent(&["samtools"]).is_empty();
        let chains = &CHAINS[..if has_peers { 4 } else { 3 }];
        let mut rows: Vec<Row> =
            chains.iter().map(|&(chain, ..)| Row { chain, costs: Vec::new(), bytes: 0 }).collect();
        let mut sizes = None;
        for turn in 0..data.plan.turns {
            for ((_, format, script), row) in chains.iter().zip(&mut rows) {
                let out = data.folder.join("out");
                std::fs::create_dir_all(&out).expect("a folder");
                let mut run = Run::new(script).watching(&out);
                let index = |name: &str| data.folder.join(name).join("ref.fa");
                run.command.env("ours", index("wakachi")).env("theirs", index("bwa-mem2")).env("out", &out);
                run.command.env("group", GROUP).env("first", &piece.reads[0]).env("second", &piece.reads[1]);
                row.costs.push(run.wait(drain));
                row.bytes = bytes(&out.join(format!("out.{format}")));
                if turn == 0 && row.chain == "wakachi align" && absent(&["samtools"]).is_empty() {
                    let sizes = sizes.get_or_insert([0.0; 2]);
                    sizes[usize::from(*format == "cram")] = size_ratio(data, &out, format);
                }
                std::fs::remove_dir_all(&out).expect("its own folder");
            }
        }
        Whole { rows, gigabases: piece.gigabases, sizes }
    }

    /// `loading` are runs of ours over next to no reads.
    fn print(&self, loading: &[Cost]) {
        println!(
            "\nFASTQ.gz to a sorted, duplicate-marked, indexed file, one thread each program; scratch includes the"
        );
        println!(
            "output and its index. The reads are those of the piece, at {DEPTH}x. Median (smallest to largest) of {} turns.\n",
            self.rows[0].costs.len()
        );
        println!(
            "| chain | format | CPU s | per Gbase | peak scratch, MB | file, MB |\n|---|---|---|---|---|---|"
        );
        let seconds = |row: &Row| row.costs.iter().map(|cost| cost.cpu_seconds).collect::<Vec<_>>();
        let scratch =
            |row: &Row| row.costs.iter().map(|cost| cost.peak_scratch_bytes).max().unwrap_or_default();
        for (row, (_, format, _)) in self.rows.iter().zip(CHAINS) {
            println!(
                "| {} | {format} | {} | {:.0} | {:.0} | {:.1} |",
                row.chain,
                spread(&seconds(row)),
                median(&seconds(row)) / self.gigabases,
                scratch(row) as f64 / 1e6,
                row.bytes as f64 / 1e6
            );
        }
        let costs = |row: usize| median(&seconds(&self.rows[row]));
        let loading_seconds = median(&loading.iter().map(|cost| cost.cpu_seconds).collect::<Vec<_>>());
        let added = |row| 100.0 * (costs(row) - costs(0)) / (costs(0) - loading_seconds);
        println!(
            "\nBeside mapping without loading, all else takes {:+.0}% to CRAM, {:+.0}% to BAM.",
            added(1),
            added(2)
        );
        if let [_, ours, _, theirs] = &self.rows[..] {
            println!(
                "To CRAM, ours takes {:.2} of the CPU time of the chain and {:.2} of its scratch.",
                costs(1) / costs(3),
                scratch(ours) as f64 / scratch(theirs).max(1) as f64
            );
        }
        if let Some([bam, cram]) = self.sizes {
            println!("Ours over what samtools writes from it by default: BAM {bam:.3}, CRAM {cram:.3}.");
        }
    }
}

/// Our file over the one that samtools writes from it.
fn size_ratio(data: &Data, out: &Path, format: &str) -> f64 {
    let mut run = Run::new(r#"samtools view -T "$ref" -O "$format" -o "$out/theirs" "$out/out.$format""#);
    run.command.env("ref", &data.reference).env("format", format).env("out", out);
    run.wait(drain);
    bytes(&out.join(format!("out.{format}"))) as f64 / bytes(&out.join("theirs")) as f64
}

fn bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bases of a FASTA file, gaps included.
fn fasta_bases(path: &Path) -> u64 {
    let mut bases = 0;
    let read: Result<(), std::convert::Infallible> = workers::fasta::read(path, |_, letters| {
        bases += letters.len() as u64;
        Ok(())
    })
    .expect("a FASTA file");
    let Ok(()) = read;
    bases
}
