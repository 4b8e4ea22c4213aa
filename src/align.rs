//! `wakachi align`: reads to sorted, duplicate-marked, indexed alignments and their quality control in one go; or to a
//! stream.

use crate::allocator;
use crate::config;
use crate::output::{duration, note};
use crate::plain::{keep_off_inputs, keep_out, on_threads, scratch_beside};
use crate::progress::bar;
use crate::run::books::blake3_text;
use jobs::failure::{Class, Classified, Failure};
use jobs::parameters::Parameters;
use jobs::quantity::parse_bytes;
use kernels::align::READ_BASES_MAX;
use kernels::simd::Level;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;
use storage::{AtomicFile, Writer};
use workers::access::Access;
use workers::align::{self, AlignError};
use workers::context::{AlignmentFormat, Context, Lane, Sample, Settings};
use workers::fastq::Files;
use workers::index_file::{ReferenceIndex, path_of};
use workers::intake::LaneInput;
use workers::qc::SampleCounters;
use workers::qc::exchange::{self, ExchangeFile};
use workers::qc::metrics::SampleQc;

/// Maps reads: sorted, mate-fixed, duplicate-marked, indexed and counted in one go, or as a stream
#[derive(Debug, clap::Args)]
#[command(after_help = r"Examples:
  wakachi align REF.fa R1.fq.gz R2.fq.gz -o OUT.cram -R '@RG\tID:1\tSM:NA12878\tLB:lib1\tPL:ILLUMINA'
  wakachi align REF.fa R1.fq.gz R2.fq.gz -o OUT.bam -t 8
  wakachi align REF.fa READS.fq.gz -o OUT.cram             single reads
  wakachi align REF.fa R1.fq.gz R2.fq.gz -o - | less       SAM in input order
  wakachi align REF.fa - -p -o - -f bam < PAIRS.fq | samtools sort -o OUT.bam

Beside OUT.cram stands OUT.qc with quality control: a JSON document, and files that MultiQC reads.
Reads of over 1,024 bases are kept and not placed; U becomes T, IUPAC's other letters N.
The reference needs an index: wakachi index REF.fa")]
pub struct Args {
    /// The reference (FASTA)
    reference: PathBuf,
    /// First reads, or single reads: FASTQ, plain, gzip or bgzip; - for standard input
    reads_1: PathBuf,
    /// Second reads
    reads_2: Option<PathBuf>,
    /// The one file holds pairs, the reads of each one after the other
    #[arg(short = 'p', long, conflicts_with = "reads_2")]
    interleaved: bool,
    /// OUT.bam, OUT.cram, OUT.sam, or - for a stream of SAM in input order
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Read group line, with \t between its fields
    #[arg(short = 'R', long, value_name = "@RG..")]
    read_group: Option<String>,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(..=4096))]
    threads: u32,
    /// Writes in input order while reading: no sorting, no duplicate marking, no index
    #[arg(long)]
    unsorted: bool,
    /// Form of the output, where its name does not say
    #[arg(short, long, value_enum)]
    format: Option<Form>,
    /// Vectors that kernels use: auto, scalar, avx2, avx512 or neon, of those that the CPU has; never changes a result
    #[arg(long, value_name = "LEVEL", default_value = "auto", hide_short_help = true)]
    simd: Level,
    /// Memory for alignments, such as 8G: those beyond it wait compressed beside the output. Mapping takes its own, and less than
    /// 64M and 6M a thread is not kept to [default: half of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Most read pairs sorted together; never changes a result
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide = true)]
    chunk_pairs: u64,
}

/// Forms of alignment files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Sam,
    Bam,
    Cram,
}

/// What was asked for makes no sense together.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{}: cannot tell the format; expected a name ending in .bam, .cram or .sam", path.display())]
    Name { path: PathBuf },
    #[error("CRAM is written sorted to a file only")]
    StreamedCram,
    #[error("standard input is one file, and cannot be both files of reads")]
    TwiceStdin,
    #[error("{}: both files of reads are this one", path.display())]
    TwiceOne { path: PathBuf },
    #[error("read group '{text}': {what}")]
    ReadGroup { text: String, what: &'static str },
    #[error("{}: cannot be written", path.display())]
    Output { path: PathBuf, source: std::io::Error },
}

impl Classified for Wrong {
    fn class(&self) -> Class {
        match self {
            Wrong::Output { .. } => Class::Failed,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Wrong::Name { .. } => "add --format bam, cram or sam".to_owned(),
            Wrong::StreamedCram => "add --format bam or sam, or give a file without --unsorted".to_owned(),
            Wrong::TwiceStdin => "give the second reads as a file or a named pipe".to_owned(),
            Wrong::TwiceOne { .. } => {
                "give the file of the other mates, or -p if this one holds pairs".to_owned()
            }
            Wrong::ReadGroup { .. } => r"give -R '@RG\tID:1\tSM:sample'".to_owned(),
            Wrong::Output { .. } => "choose an output in a folder you may write to".to_owned(),
        })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    allocator::keep_freed_memory();
    let stdout = args.output.as_os_str() == "-";
    let streaming = stdout || args.unsorted;
    let stdin = |path: &Path| path.as_os_str() == "-";
    let reads: Vec<&Path> =
        [Some(&args.reads_1), args.reads_2.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    let files: Vec<&Path> = reads.iter().copied().filter(|path| !stdin(path)).collect();
    keep_out(files.iter().copied().chain((!stdout).then_some(args.output.as_path())))?;
    if !stdout {
        let beside = [".wki", ".fai", ".gzi"].map(|ending| {
            let mut name = args.reference.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        });
        let inputs = reads.iter().copied().chain([args.reference.as_path()]);
        keep_off_inputs(&args.output, inputs.chain(beside.iter().map(PathBuf::as_path)))?;
    }
    let format = format(args, stdout)?;
    if streaming && format == AlignmentFormat::Cram {
        return Err(Wrong::StreamedCram.into());
    }
    if reads.len() - files.len() > 1 {
        return Err(Wrong::TwiceStdin.into());
    }
    let real = files.iter().filter(|path| path.is_file()).filter_map(|path| path.canonicalize().ok());
    let real: Vec<PathBuf> = real.collect();
    if let [first, second] = &real[..]
        && first == second
    {
        return Err(Wrong::TwiceOne { path: args.reads_1.clone() }.into());
    }
    // Before hours of work, not after.
    let folder = quality_folder(&args.output);
    if !streaming && std::fs::metadata(&folder).is_ok_and(|there| !there.is_dir()) {
        return Err(Wrong::Output { path: folder, source: std::io::ErrorKind::NotADirectory.into() }.into());
    }
    let open = || ReferenceIndex::open(&args.reference, &path_of(&args.reference));
    let index = on_threads(args.threads, open)??;
    let scratch = scratch_beside(if stdout { Path::new("./-") } else { &args.output })?;
    let settings = Settings {
        parameters: blake3_text(&Parameters::default().canonical_of_samples()),
        alignments: format,
        simd: args.simd,
        ..Settings::default()
    };
    let sample = sample(args)?;
    let packs = (Writer::Alone { era: 0 }, BTreeMap::new());
    let context = Context::open("align".to_owned(), index, vec![sample], settings, scratch.path(), packs)?;
    let access = Access::of_caller(&context);
    let reads =
        Files { first: &args.reads_1, second: args.reads_2.as_deref(), interleaved: args.interleaved };
    let begun = Instant::now();
    let bar = bar(0, "align");
    let progress = |what: &str, done: u64, total: u64| {
        bar.set_message(what.to_owned());
        bar.set_length(total);
        bar.set_position(done);
    };
    let done = on_threads(args.threads, || {
        if !streaming {
            let memory = args.memory.unwrap_or_else(|| config::own_machine().memory_bytes / 2);
            let counters = align::sorted(&access, &reads, &args.output, memory, &progress)?;
            let long = counters.alignment.read_lengths().at_least(READ_BASES_MAX + 1);
            if long > 0 {
                note(&format!("{long} reads of more than {READ_BASES_MAX} bases were not placed"));
            }
            return write_quality(args, counters).map(|()| true);
        }
        if stdout {
            // What is written is long, and not made of lines.
            let output = std::io::stdout().as_fd().try_clone_to_owned();
            let mut output = std::fs::File::from(output.map_err(AlignError::Stream)?);
            return match align::streamed(&access, &reads, format, &mut output, &progress) {
                Err(AlignError::Stream(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
                streamed => Ok(streamed.map(|()| true)?),
            };
        }
        let failed = |source| Wrong::Output { path: args.output.clone(), source };
        // Into a device or a pipe it flows; a file is whole or absent.
        if std::fs::metadata(&args.output).is_ok_and(|there| !there.is_file()) {
            let mut output = std::fs::File::create(&args.output).map_err(failed)?;
            return Ok(align::streamed(&access, &reads, format, &mut output, &progress).map(|()| true)?);
        }
        let mut output = AtomicFile::create(&args.output)?;
        align::streamed(&access, &reads, format, &mut output, &progress)?;
        Ok(output.commit().map(|()| true)?)
    })?;
    bar.finish_and_clear();
    if !done? {
        // Who reads has seen enough.
        drop(scratch);
        std::process::exit(i32::from(Class::Failed.exit_code()));
    }
    if !stdout {
        note(&format!("{}: {}", args.output.display(), duration(begun.elapsed().as_millis() as u64)));
    }
    Ok(())
}

/// Writes what was counted into the folder beside the alignments that [`quality_folder`] names.
fn write_quality(args: &Args, counters: SampleCounters) -> Result<(), Failure> {
    let folder = quality_folder(&args.output);
    let failed = |source| Wrong::Output { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = args.output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let header = header_line(args);
    let qc = SampleQc::new(header_field(&header, "SM:").unwrap_or(&stem).to_owned(), counters);
    let json = serde_json::to_string_pretty(&qc).expect("metrics always print") + "\n";
    let document = ExchangeFile { name: format!("{stem}.qc.json"), text: json };
    let alignments = name(&args.output);
    for file in exchange::files(&alignments, &[(alignments.as_str(), &qc)]).iter().chain([&document]) {
        let mut out = AtomicFile::create(&folder.join(&file.name))?;
        let path = folder.join(&file.name);
        let written = out.write_all(file.text.as_bytes());
        written.map_err(|source| Wrong::Output { path, source })?;
        out.commit()?;
    }
    Ok(())
}

/// `OUT.qc` for `OUT.bam`, `OUT.cram` and `OUT.sam`.
fn quality_folder(output: &Path) -> PathBuf {
    output.with_extension("qc")
}

fn format(args: &Args, stdout: bool) -> Result<AlignmentFormat, Wrong> {
    let named = match args.format {
        Some(form) => Some(form),
        None if stdout => Some(Form::Sam),
        None => match args.output.extension().and_then(|extension| extension.to_str()) {
            Some("bam") => Some(Form::Bam),
            Some("cram") => Some(Form::Cram),
            Some("sam") => Some(Form::Sam),
            _ => None,
        },
    };
    match named {
        Some(Form::Sam) => Ok(AlignmentFormat::Sam),
        Some(Form::Bam) => Ok(AlignmentFormat::Bam),
        Some(Form::Cram) => Ok(AlignmentFormat::Cram),
        None => Err(Wrong::Name { path: args.output.clone() }),
    }
}

/// The tag of a header field, if it is one (SAMv1 §1.3); htslib takes no header with another.
fn field_tag(field: &str) -> Option<&str> {
    let (tag, value) = field.split_once(':')?;
    let [first, second] = tag.as_bytes() else { return None };
    let named = first.is_ascii_alphabetic() && second.is_ascii_alphanumeric();
    (named && !value.is_empty()).then_some(tag)
}

/// The read group's line, with tabs.
fn header_line(args: &Args) -> String {
    args.read_group.as_deref().unwrap_or_default().replace("\\t", "\t")
}

/// What follows `name` in one of its fields.
fn header_field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split('\t').skip(1).find_map(|field| field.strip_prefix(name))
}

fn sample(args: &Args) -> Result<Sample, Wrong> {
    let line = header_line(args);
    let wrong = |what| Wrong::ReadGroup { text: line.clone(), what };
    let id = header_field(&line, "ID:").unwrap_or_default().to_owned();
    if !line.is_empty() {
        if !line.starts_with("@RG\t") {
            return Err(wrong("expected it to begin with @RG and a tab"));
        }
        if id.is_empty() {
            return Err(wrong("expected an ID"));
        }
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(wrong("expected one line without control characters"));
        }
        let mut tags = BTreeSet::new();
        if !line.split('\t').skip(1).all(|field| field_tag(field).is_some_and(|tag| tags.insert(tag))) {
            return Err(wrong("expected fields of the form TAG:value, each tag once"));
        }
        // Every record bears it.
        if !id.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(wrong("expected an ID of printable ASCII"));
        }
    }
    let input = LaneInput {
        fastq_1: args.reads_1.clone(),
        fastq_2: args.reads_2.clone(),
        sha256_1: None,
        sha256_2: None,
    };
    let lane = Lane {
        input,
        read_group: id,
        header_line: line.clone(),
        library: 0,
        chunk_pairs: args.chunk_pairs.max(1),
    };
    // The name is used for scratch only; records carry the read group.
    Ok(Sample { name: "sample".to_owned(), joint: false, participant: 0, lanes: vec![lane] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_group_is_refused_before_it_breaks_a_header() {
        for (field, expect) in [
            ("ID:1", Some("ID")),
            ("DS:x,y;z w", Some("DS")),
            ("", None),
            ("foo", None),
            ("SM:", None),
            ("SMP:x", None),
            ("1D:x", None),
        ] {
            assert_eq!(field_tag(field), expect, "{field}");
        }
    }
}
