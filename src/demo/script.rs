//! What the demo does: the lines that a user would type, in order, and the exit code that each ends with.
//!
//! Invariant: a folder always has the same lines, but that its vault is made only once. Each may be given again after an
//! interruption: it goes on, keeps what is there, or does the same once more.

use super::folder::{self, CUSTODIANS, Folder, SITES};
use crate::output::shell_word;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Data fragments of each object, and parity fragments: one of them at each site.
const DATA: usize = 3;
const PARITY: usize = SITES - DATA;
const QUORUM: usize = 2;

/// What is destroyed, counted from 1: a site with a data fragment of everything and one with a parity fragment, and a ledger.
const LOST_SITES: [usize; PARITY] = [2, 5];
const LOST_LEDGER: usize = 2;

/// Whose keys restore: a quorum of the custodians that are left, and one too few.
const ENOUGH: [usize; QUORUM] = [1, 3];
const TOO_FEW: [usize; QUORUM - 1] = [1];

/// One line of the demo.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it shows, where it does not speak for itself.
    pub about: &'static str,
    pub act: Act,
    /// The exit code it must end with.
    pub exit: u8,
    /// What it shows to have come back, or not.
    pub trial: Option<Trial>,
}

/// Who does it.
#[derive(Clone, Debug)]
pub enum Act {
    /// This program, with these words.
    Wakachi(Vec<OsString>),
    /// The shell.
    Shell(String),
}

/// An attempt to restore an object.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Name of the object.
    pub object: String,
    /// The custodians whose keys are used, by name.
    pub custodians: Vec<String>,
}

impl Line {
    fn wakachi(words: &[&dyn AsRef<OsStr>]) -> Self {
        let words = words.iter().map(|word| word.as_ref().to_owned());
        Line { about: "", act: Act::Wakachi(words.collect()), exit: 0, trial: None }
    }

    fn shell(line: String) -> Self {
        Line { about: "", act: Act::Shell(line), exit: 0, trial: None }
    }

    fn and(mut self, more: impl IntoIterator<Item = OsString>) -> Self {
        if let Act::Wakachi(words) = &mut self.act {
            words.extend(more);
        }
        self
    }

    fn about(self, about: &'static str) -> Self {
        Line { about, ..self }
    }

    fn ends_with(self, exit: u8) -> Self {
        Line { exit, ..self }
    }

    fn tries(self, object: &str, custodians: &[usize]) -> Self {
        let custodians = custodians.iter().map(|&at| folder::custodian(at)).collect();
        Line { trial: Some(Trial { object: object.to_owned(), custodians }), ..self }
    }

    /// As it is typed.
    pub fn typed(&self) -> String {
        match &self.act {
            Act::Wakachi(words) => {
                let words = words.iter().map(|word| shell_word(&word.to_string_lossy()));
                std::iter::once("wakachi".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
            }
            Act::Shell(line) => line.clone(),
        }
    }
}

/// All of it. `cohort` are the words that say which cohort, `threads` those that say how many.
pub fn lines(folder: &Folder, seed: u64, cohort: &[String], threads: &[OsString]) -> Vec<Line> {
    let simulate = Line::wakachi(&[&"simulate", &"--out", &folder.simulation()])
        .and(cohort.iter().map(OsString::from))
        .and(["--samples", "9", "--tumor", "--withdrawn", "1"].map(OsString::from))
        .and(threads.to_vec());
    let index = Line::wakachi(&[&"index", &folder.reference()]).and(threads.to_vec());
    let mut lines = vec![simulate, index];
    if !folder.has_vault() {
        lines.extend(vault(folder));
    }
    lines.push(archive(folder));
    lines.extend(job(folder, threads));
    lines.extend(loss(folder, seed));
    lines
}

/// Custodians and a vault.
fn vault(folder: &Folder) -> Vec<Line> {
    let custodian = |at: usize| {
        let name = folder::custodian(at);
        let ledger = folder.url(&folder.ledger(at));
        let keys = folder.keys(at);
        Line::wakachi(&[&"custodian", &"keygen", &name, &"--ledger", &ledger, &"--out", &keys])
            .and(passphrase(&folder.custodian_passphrase(at)))
    };
    let init = Line::wakachi(&[&"vault", &"init", &"--vault", &folder.vault()])
        .and(["--data".into(), DATA.to_string().into(), "--parity".into(), PARITY.to_string().into()])
        .and(["--quorum".into(), QUORUM.to_string().into()])
        .and(["--survive-sites".into(), LOST_SITES.len().to_string().into()])
        .and((1..=SITES).flat_map(|at| ["--site".into(), folder.url(&folder.site(at)).into()]))
        .and((1..=CUSTODIANS).flat_map(|at| ["--custodian".into(), folder.public_key(at).into()]))
        .and(["--cohort".into(), folder.cohort().into()])
        .and(passphrase(&folder.vault_passphrase()))
        .about("3+2 fragments over 5 sites, 2 of 3 custodians; all on one machine, which is no quorum");
    let mut lines = Vec::new();
    // What an interruption left half made holds nothing yet.
    let half_made = folder.parts_of_vault();
    lines.extend((!half_made.is_empty()).then(|| remove(half_made)));
    lines.push(
        passphrases(folder).about("random passphrases, for their owners alone; a person would choose one"),
    );
    lines.extend((1..=CUSTODIANS).map(custodian));
    lines.push(init);
    lines
}

fn passphrases(folder: &Folder) -> Line {
    let files = (1..=CUSTODIANS).map(|at| folder.custodian_passphrase(at)).chain([folder.vault_passphrase()]);
    let files: Vec<String> = files.map(|path| typed(&path)).collect();
    let folders: Vec<String> = (1..=CUSTODIANS).map(|at| typed(&folder.keys(at))).collect();
    Line::shell(format!(
        "(umask 077; mkdir -p {}; for file in {}; do head -c 18 /dev/urandom | base64 > \"$file\"; done)",
        folders.join(" "),
        files.join(" ")
    ))
}

/// The cohort file names the vault.
fn archive(folder: &Folder) -> Line {
    Line::shell(format!(
        "cat >> {} <<'END'\n\n\
         [archive]\n\
         vault = \"../vault\"\n\
         classes = [\"CRAM\", \"GVCF\", \"VCF\", \"REPORT\"]\n\
         passphrase_file = \"../vault.passphrase\"\n\
         END",
        typed(&folder.cohort())
    ))
    .about("results are sealed as samples finish")
}

/// The main job, between what is asked before it and what is asked after it.
fn job(folder: &Folder, threads: &[OsString]) -> Vec<Line> {
    let (cohort, job) = (folder.cohort(), folder.job());
    vec![
        Line::wakachi(&[&"cohort", &"check", &cohort]),
        Line::wakachi(&[&"policy", &"explain", &cohort])
            .about("one participant has withdrawn; nothing of theirs is read"),
        Line::wakachi(&[&"run", &cohort, &"--out", &job]).and(threads.to_vec()),
        Line::wakachi(&[&"job", &"verify", &job]),
        Line::wakachi(&[&"audit", &"verify", &job, &folder.vault()]),
    ]
}

/// Two sites and a ledger are destroyed; two files come back, and one does not come without a quorum.
fn loss(folder: &Folder, seed: u64) -> Vec<Line> {
    let lost = LOST_SITES.map(|at| folder.site(at)).into_iter().chain([folder.ledger(LOST_LEDGER)]);
    let mut lines = vec![
        remove(lost).about("the loss that was stated: any two sites and a custodian"),
        Line::wakachi(&[&"vault", &"check", &"--vault", &folder.vault()])
            .ends_with(6)
            .about("what is lost is named, and everything can be restored: exit code 6 is expected"),
        Line::shell(format!("mkdir -p {}", typed(&folder.restored()))),
    ];
    for object in ["S-000001.cram".to_owned(), format!("simulated-{seed}.vcf.gz")] {
        let (back, result) = (folder.restored().join(&object), folder.job().join("results").join(&object));
        lines.push(restore(folder, &object, &ENOUGH));
        let compare = format!("cmp {} {} && echo identical", typed(&back), typed(&result));
        lines.push(Line::shell(compare).tries(&object, &ENOUGH));
    }
    let object = "S-000002.cram";
    let refused = restore(folder, object, &TOO_FEW).ends_with(7).tries(object, &TOO_FEW);
    lines.push(refused.about("one custodian alone gets nothing: exit code 7 is expected"));
    lines
}

fn restore(folder: &Folder, object: &str, custodians: &[usize]) -> Line {
    let (vault, out) = (folder.vault(), folder.restored().join(object));
    let keys = custodians.iter().map(|&at| folder.epoch_key(at).into_os_string());
    let passphrases = custodians.iter().map(|&at| folder.custodian_passphrase(at));
    Line::wakachi(&[&"vault", &"restore", &object, &"--vault", &vault, &"--out", &out, &"--force"])
        .and(["--custodian-key".into()])
        .and(keys)
        .and(passphrase(&folder.vault_passphrase()))
        .and(passphrases.flat_map(|path| passphrase(&path)))
}

fn passphrase(file: &Path) -> [OsString; 2] {
    ["--passphrase-file".into(), file.into()]
}

fn remove(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Line {
    let paths: Vec<String> = paths.into_iter().map(|path| typed(path.as_ref())).collect();
    Line::shell(format!("rm -rf {}", paths.join(" ")))
}

/// A path as a shell takes it.
fn typed(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}
