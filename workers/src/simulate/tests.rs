//! A simulation is a pure function of its options, and keeps what it has.

use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn tiny(out: &Path) -> Options {
    Options { out: out.to_owned(), samples: 3, genome_mb: Some(0.05), depth: 10.0, ..Options::default() }
}

fn simulate(options: &Options) -> Summary {
    run(options, &mut |_| ()).unwrap()
}

/// Every file below a directory with its bytes.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_seed_decides_every_byte_and_threads_none() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let options = tiny(directories[0].path());
    let summary = simulate(&options);
    simulate(&Options { threads: 3, ..tiny(directories[1].path()) });
    simulate(&Options { seed: 2, ..tiny(directories[2].path()) });
    let [first, threaded, other] = [0, 1, 2].map(|index| files(directories[index].path()));
    assert!(first == threaded);
    let made = |path: &&PathBuf| path.starts_with("reads") || path.ends_with("reference.fa");
    assert!(first.keys().filter(made).all(|path| first[path] != other[path]));
    // Reference, index, consents, policy, sites, sheet, cohort file and manifest; per sample reads and two truths with their indexes; one
    // somatic truth.
    assert_eq!(first.len(), 8 + 4 * (2 + 4) + 2);
    assert!(first.keys().all(|path| path.extension().is_none_or(|extension| extension != "partial")));
    assert_eq!(summary.samples.len(), 4);
}

#[test]
fn an_interrupted_simulation_goes_on_and_ends_the_same() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expect = simulate(&tiny(whole.path()));
    simulate(&tiny(cut.path()));
    fs::remove_file(cut.path().join("reads/S-000002_R2.fastq.gz")).unwrap();
    fs::write(cut.path().join("truth/S-000001.vcf.gz"), b"torn").unwrap();
    fs::write(cut.path().join("reads/S-000002_R2.fastq.gz.partial"), b"torn").unwrap();
    let mut made = Vec::new();
    let mut note = |step: Step<'_>| {
        if let Step::File { path, kept: false } = step {
            made.push(path.to_owned());
        }
    };
    let summary = run(&tiny(cut.path()), &mut note).unwrap();
    made.sort();
    let reads = ["reads/S-000002_R1.fastq.gz", "reads/S-000002_R2.fastq.gz"];
    assert_eq!(made, ["consent.json", reads[0], reads[1], "truth/S-000001.vcf.gz"]);
    assert!(files(whole.path()) == files(cut.path()));
    assert_eq!(summary.samples[0].truth_variants, expect.samples[0].truth_variants);
}

#[test]
fn consents_alone_are_confirmed_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = Options { tumor: false, ..tiny(directory.path()) };
    simulate(&first);
    let before = files(directory.path());
    let mut made = Vec::new();
    let again = Options { as_of: first.as_of.plus_hours(48), withdrawn: 1, ..first };
    let mut note = |step: Step<'_>| {
        if let Step::File { path, kept: false } = step {
            made.push(path.to_owned());
        }
    };
    run(&again, &mut note).unwrap();
    assert_eq!(made, ["consent.json"]);
    let after = files(directory.path());
    let changed: Vec<_> = after.iter().filter(|(path, bytes)| before[*path] != **bytes).collect();
    let names: Vec<_> = changed.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(names, [".simulate.json", "consent.json"]);
}

#[test]
fn the_tumour_is_of_the_last_who_has_not_withdrawn() {
    let check = |samples, withdrawn, tumor, expect| {
        assert_eq!(Options { samples, withdrawn, tumor, ..Options::default() }.bearer(), expect);
    };
    check(9, 0, true, Some(8));
    check(9, 1, true, Some(7));
    check(2, 2, true, Some(1));
    check(9, 1, false, None);
}

#[test]
fn other_options_keep_nothing_of_an_earlier_simulation() {
    let (reused, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    simulate(&tiny(reused.path()));
    let other = |out: &Path| Options { depth: 5.0, ..tiny(out) };
    let sheet = reused.path().join("samples.csv");
    let mut first = true;
    run(&other(reused.path()), &mut |_| {
        assert!(!first || !sheet.exists());
        first = false;
    })
    .unwrap();
    simulate(&other(fresh.path()));
    assert!(files(reused.path()) == files(fresh.path()));
}

#[test]
fn a_real_reference_is_taken_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let fasta = directory.path().join("in.fa");
    let sequences = synthesis::synthesise(8, 30_000);
    let mut text = Vec::new();
    genome::write_fasta(&sequences, &mut text).unwrap();
    fs::write(&fasta, text.to_ascii_lowercase()).unwrap();
    let out = directory.path().join("out");
    let options = Options { reference: Some(fasta), genome_mb: None, samples: 1, tumor: false, ..tiny(&out) };
    simulate(&options);
    assert!(fs::read(out.join("reference.fa")).unwrap().eq_ignore_ascii_case(&text));
}

#[test]
fn a_real_reference_is_grown_and_its_reads_say_where_they_are() {
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let fasta = directories[0].path().join("in.fa");
    let sequences = synthesis::synthesise(8, 30_000);
    let mut text = Vec::new();
    genome::write_fasta(&sequences, &mut text).unwrap();
    fs::write(&fasta, &text).unwrap();
    let out = |index: usize, threads| {
        let out = directories[index].path().join("out");
        let genome_mb = Some(0.2);
        let reference = Some(fasta.clone());
        simulate(&Options { reference, genome_mb, samples: 1, tumor: false, threads, ..tiny(&out) });
        files(&out)
    };
    let grown = out(0, 1);
    assert!(grown == out(1, 3));
    assert!(grown[Path::new("reference.fa")].starts_with(&text));
    let index = String::from_utf8(grown[Path::new("reference.fa.fai")].clone()).unwrap();
    let bases: usize =
        index.lines().map(|line| line.split('\t').nth(1).unwrap().parse::<usize>().unwrap()).sum();
    assert!((199_000..=200_000).contains(&bases), "{bases}");
    let small =
        Options { reference: Some(fasta), genome_mb: Some(0.02), ..tiny(&directories[0].path().join("no")) };
    assert_eq!(run(&small, &mut |_| ()).unwrap_err().class(), Class::Usage);
}

#[test]
fn wrong_options_are_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let good = tiny(&out);
    let missing = Some(directory.path().join("missing.fa"));
    for (bad, class) in [
        (Options { samples: 0, ..good.clone() }, Class::Usage),
        (Options { withdrawn: 4, ..good.clone() }, Class::Usage),
        (Options { genome_mb: Some(0.001), ..good.clone() }, Class::Usage),
        (Options { genome_mb: Some(f64::NAN), ..good.clone() }, Class::Usage),
        (Options { depth: -1.0, ..good.clone() }, Class::Usage),
        (Options { threads: 0, ..good.clone() }, Class::Usage),
        (Options { reference: missing, ..good.clone() }, Class::Input),
    ] {
        assert_eq!(run(&bad, &mut |_| ()).unwrap_err().class(), class, "{bad:?}");
    }
    assert!(!out.exists());
}

#[test]
fn a_directory_of_other_files_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "mine").unwrap();
    let error = run(&tiny(directory.path()), &mut |_| ()).unwrap_err();
    assert!(matches!(error, SimulateError::Occupied { .. }));
    assert_eq!(files(directory.path()).len(), 1);
}
