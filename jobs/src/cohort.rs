//! The cohort: whose reads, against which reference, under which parameters.
//!
//! Invariant: a [`Cohort`] is consistent in itself (names unique, families possible, digests well-formed) or it is not
//! built; what is wrong is said all at once with its place. Samples are sorted by name and lanes by read group, so the
//! order of a sheet's rows cannot be seen in any result. This module opens no file: the caller hands it the texts and
//! looks whether the files exist.

mod governance;
mod samples;
mod sheet;

use crate::diagnostic::{Diagnostic, Place, Source};
use crate::document::{Document, Kind, Section};
use crate::parameters::Parameters;
pub use governance::{Archive, Governance, Written};
pub(crate) use samples::{name_problem, sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeValue;

/// Everything a cohort file says.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Cohort {
    /// Name of the cohort; joint results are named after it.
    pub id: String,
    /// The reference to align to.
    pub reference: Reference,
    /// Samples sorted by name.
    pub samples: Vec<Sample>,
    /// What decides the bytes of the results.
    pub parameters: Parameters,
    /// The other keys of `[cohort]`, by name: title, purpose, sites and what else the governance of the job needs.
    pub carried: toml::Table,
    /// The rules its data is used under.
    pub governance: Governance,
    /// Where results are sealed; absent: nowhere.
    pub archive: Option<Archive>,
    /// What a person should look at, though nothing stands in the way.
    pub warnings: Vec<Diagnostic>,
    /// Folder of the cohort file, to which the reference is relative.
    pub folder: PathBuf,
    /// Folder of the sheet (of the cohort file, where samples stand inline), to which reads are relative.
    pub reads_folder: PathBuf,
}

/// The reference as the cohort names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reference {
    /// FASTA file, relative to [`Cohort::folder`].
    pub path: String,
    /// Digest to hold it against: `sha256:` and 64 hexadecimal digits of the file as it lies.
    pub digest: Option<String>,
    /// Where the path is written.
    pub place: Place,
}

/// One sequenced sample: SAM's `SM`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sample {
    /// The sample's name; result files are named after it.
    pub sample: String,
    /// Code of the person.
    pub participant: String,
    /// Code of the material.
    pub specimen: Option<String>,
    /// What the sample is for.
    pub role: Role,
    /// Code of the family.
    pub family: Option<String>,
    /// Place in the family.
    pub relation: Option<Relation>,
    /// Sex as declared; the report holds it against the data.
    pub sex: Sex,
    /// Lanes sorted by read group, one or more.
    pub lanes: Vec<Lane>,
}

/// One read group: a pair of files (or one file of single reads) of one lane.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lane {
    /// Name of the read group, unique within its sample.
    pub rgid: String,
    /// Library (`LB`), within which duplicates are sought; the sample's name if not given.
    pub library: String,
    /// Sequencing technology (`PL`) as SAM spells it; ILLUMINA if not given.
    pub platform: String,
    /// Flow cell, lane and barcode (`PU`).
    pub platform_unit: Option<String>,
    /// Sequencing centre (`CN`).
    pub center: Option<String>,
    /// First reads of the pairs, or single reads.
    pub fastq_1: Fastq,
    /// Second reads of the pairs.
    pub fastq_2: Option<Fastq>,
    /// Other columns of the row, by name.
    pub carried: BTreeMap<String, String>,
}

/// One file of reads.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fastq {
    /// Path as written, relative to [`Cohort::reads_folder`].
    pub path: String,
    /// SHA-256 of the file as sent.
    pub sha256: Option<[u8; 32]>,
    /// Where the path is written.
    pub place: Place,
}

/// What a sample is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person's inherited genome.
    Germline,
    /// The normal of a tumour, which is a germline sample too.
    Normal,
    /// A tumour: aligned, checked and reported, and left out of the joint call.
    Tumor,
}

impl Role {
    /// Whether samples of this role take part in the joint call.
    pub fn joins(self) -> bool {
        self != Role::Tumor
    }
}

/// Place in a family, as seen from the proband.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// The person the family is studied for.
    Proband,
    /// The proband's mother.
    Mother,
    /// The proband's father.
    Father,
    /// A sister or brother.
    Sibling,
    /// A daughter or son.
    Child,
    /// Any other member.
    Other,
}

/// Sex as declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Sex {
    /// Female.
    #[serde(rename = "F")]
    Female,
    /// Male.
    #[serde(rename = "M")]
    Male,
    /// Not known, or not said.
    #[default]
    #[serde(rename = "U")]
    Unknown,
}

impl Cohort {
    /// Where the reference lies.
    pub fn reference_path(&self) -> PathBuf {
        self.folder.join(&self.reference.path)
    }

    /// Where a file of reads lies.
    pub fn reads_path(&self, fastq: &Fastq) -> PathBuf {
        self.reads_folder.join(&fastq.path)
    }

    /// Where the consent register lies, if the cohort names one.
    pub fn consent_path(&self) -> Option<PathBuf> {
        self.governance.consent.as_ref().map(|consent| self.folder.join(&consent.text))
    }

    /// Where the policy lies: beside the cohort file, unless it says otherwise.
    pub fn policy_path(&self) -> PathBuf {
        self.beside(self.governance.policy_file.as_ref(), "policy.toml")
    }

    /// Where the registry of sites lies: beside the cohort file, unless it says otherwise.
    pub fn sites_path(&self) -> PathBuf {
        self.beside(self.governance.sites_file.as_ref(), "sites.toml")
    }

    fn beside(&self, named: Option<&Written>, default: &str) -> PathBuf {
        self.folder.join(named.map_or(default, |named| &named.text))
    }

    /// The samples of the joint call.
    pub fn joined(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.role.joins())
    }

    /// The participants of whom there is a tumour and another sample. Those are compared with each other where the joint
    /// call has sites, and so it reads such a tumour, too, as a witness.
    pub fn compared(&self) -> BTreeSet<&str> {
        let mut seen = BTreeMap::new();
        for sample in &self.samples {
            let (samples, tumours) = seen.entry(sample.participant.as_str()).or_insert((0, 0));
            (*samples, *tumours) = (*samples + 1, *tumours + u32::from(!sample.role.joins()));
        }
        seen.retain(|_, (samples, tumours)| *samples > 1 && *tumours > 0);
        seen.into_keys().collect()
    }

    /// The text that says which results are asked for: the sample set with its read groups, and the parameters. Two
    /// cohorts with the same reads and the same text have the same results; paths, titles and governance are not in it.
    pub fn canonical(&self) -> String {
        let mut text = format!("cohort={}\n{}", self.id, self.parameters.canonical());
        for sample in &self.samples {
            let joint = if sample.role.joins() { "joint" } else { "apart" };
            text += &format!("sample={}\t{joint}\n", sample.sample);
            for lane in &sample.lanes {
                let mates = if lane.fastq_2.is_some() { "paired" } else { "single" };
                text += &format!("{}\t{mates}\n", sample.read_group(lane));
            }
        }
        text
    }
}

impl Sample {
    /// The id of a lane's read group in SAM headers and `RG` tags: unique over the whole programme, because no name
    /// contains a colon.
    pub fn read_group_id(&self, lane: &Lane) -> String {
        format!("{}:{}", self.sample, lane.rgid)
    }

    /// The `@RG` line of a lane, without line break.
    pub fn read_group(&self, lane: &Lane) -> String {
        let mut line = format!("@RG\tID:{}\tSM:{}", self.read_group_id(lane), self.sample);
        line += &format!("\tLB:{}\tPL:{}", lane.library, lane.platform);
        for (tag, value) in [("PU", &lane.platform_unit), ("CN", &lane.center)] {
            if let Some(value) = value {
                line += &format!("\t{tag}:{value}");
            }
        }
        line
    }
}

/// A cohort as far as it could be read, with everything found wrong, in reading order.
pub struct Reading {
    /// What could be read. Complete and consistent only if no diagnostic is an error.
    pub cohort: Cohort,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// The cohort, or every error (and warning) of the cohort file and its sheet at once.
///
/// `file` is the cohort file's path and `text` its bytes; `read_sheet` is asked once for the bytes of the sheet, where
/// there is one, with its path made relative as `file` is, and says in words why it cannot give them.
pub fn parse(
    file: &Path,
    text: &[u8],
    read_sheet: impl FnOnce(&Path) -> Result<Vec<u8>, String>,
) -> Result<Cohort, Vec<Diagnostic>> {
    let Reading { mut cohort, diagnostics } = read(file, text, read_sheet);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    cohort.warnings = diagnostics;
    Ok(cohort)
}

/// Like [`parse`], for callers that look for still more errors in what could be read.
pub fn read(file: &Path, text: &[u8], read_sheet: impl FnOnce(&Path) -> Result<Vec<u8>, String>) -> Reading {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut cohort = Cohort { reads_folder: folder.clone(), folder, ..Cohort::default() };
    let mut diagnostics = Vec::new();
    match Source::from_bytes(&file.display().to_string(), text) {
        Ok(source) => {
            let document = Document::parse(source);
            if document.is_whole() {
                fill(&mut cohort, &document, &mut diagnostics, read_sheet);
            }
            diagnostics.append(&mut document.into_diagnostics());
        }
        Err(error) => diagnostics.push(error),
    }
    diagnostics.sort();
    Reading { cohort, diagnostics }
}

/// The keys of `[cohort]` that are only carried.
const CARRIED: [(&str, Kind); 5] = [
    ("title", Kind::Text),
    ("owner_group", Kind::Text),
    ("grant", Kind::Text),
    ("pipeline", Kind::Text),
    ("deadline", Kind::Time),
];

fn fill(
    cohort: &mut Cohort,
    document: &Document<'_>,
    found: &mut Vec<Diagnostic>,
    read_sheet: impl FnOnce(&Path) -> Result<Vec<u8>, String>,
) {
    let mut values = document.values();
    let mut root = document.root();
    let inline = root.value("sample");
    if let Some(mut section) = root.section("cohort") {
        match section.text("id") {
            Some(id) => {
                if let Some((message, hint)) = name_problem("id", id.get_ref()) {
                    section.error(id.span(), message, hint);
                }
                cohort.id = id.into_inner().to_owned();
            }
            None => section.missing("id", None),
        }
        cohort.reference = reference(&mut section);
        let rows = rows(cohort, &mut section, inline, found, read_sheet);
        let place = document.place(section.span().start);
        cohort.samples = samples::samples(&rows, place, &cohort.id, found);
        cohort.governance.read_cohort(&mut section);
        section.carry(&CARRIED);
        section.finish();
    } else {
        root.missing("cohort", "start the file with [cohort], id, samples and reference".to_owned());
    }
    cohort.parameters = Parameters::read(root.section("parameters"));
    cohort.governance.read_table(root.section("governance"));
    cohort.archive = Archive::read(root.section("archive"));
    root.finish();
    let mut table = |key: &str| match values.remove(key) {
        Some(toml::Value::Table(table)) => table,
        _ => toml::Table::new(),
    };
    cohort.governance.written = table("governance");
    cohort.carried = table("cohort");
    cohort.carried.retain(|key, _| !["id", "reference", "samples"].contains(&key));
}

/// `reference = "REF.fa"` or `reference = { path = "REF.fa", digest = "sha256:.." }`.
fn reference(section: &mut Section<'_>) -> Reference {
    let Some(value) = section.value("reference") else {
        section.missing("reference", "write reference = { path = \"REF.fa\" }".to_owned());
        return Reference::default();
    };
    let mut digest = None;
    let path = match value.get_ref() {
        DeValue::String(path) => Some(Spanned::new(value.span(), path.as_ref())),
        DeValue::Table(table) => {
            let mut inner = Section::new(section.document(), "reference", table, value.span());
            let path = inner.text("path");
            if path.is_none() {
                inner.missing("path", None);
            }
            digest = inner.text("digest");
            inner.finish();
            path
        }
        _ => {
            section.error(value.span(), "reference: expected a path or { path = .., digest = .. }", None);
            None
        }
    };
    if let Some(path) = path.as_ref().filter(|path| path.get_ref().is_empty()) {
        section.error(path.span(), "reference: the path is empty", None);
    }
    if let Some(digest) = &digest {
        let hexadecimal = digest.get_ref().strip_prefix("sha256:").and_then(sha256);
        if hexadecimal.is_none() {
            let message = "reference: expected a digest of the form sha256: and 64 hexadecimal digits";
            section.error(digest.span(), message, "sha256sum prints it".to_owned());
        }
    }
    let place = section.document().place(path.as_ref().map_or(0, |path| path.span().start));
    let path = path.map_or(String::new(), |path| path.into_inner().to_owned());
    Reference { path, digest: digest.map(|digest| digest.into_inner().to_ascii_lowercase()), place }
}

/// The rows of the sheet that `samples` names, of the tables it holds, or of the `[[sample]]` tables.
fn rows(
    cohort: &mut Cohort,
    section: &mut Section<'_>,
    inline: Option<&Spanned<DeValue<'_>>>,
    found: &mut Vec<Diagnostic>,
    read_sheet: impl FnOnce(&Path) -> Result<Vec<u8>, String>,
) -> Vec<sheet::Row> {
    let (name, value) = match (section.value("samples"), inline) {
        (Some(value), None) => ("samples", value),
        (None, Some(value)) => ("sample", value),
        (Some(_), Some(value)) => {
            let message = "samples stand here and under [cohort] samples; expected one of the two";
            section.error(value.span(), message, None);
            return Vec::new();
        }
        (None, None) => {
            section.missing("samples", "write samples = \"sheet.csv\" or [[sample]] tables".to_owned());
            return Vec::new();
        }
    };
    if let Some(path) = value.get_ref().as_str() {
        let path = cohort.folder.join(path);
        cohort.reads_folder = path.parent().unwrap_or(Path::new("")).to_owned();
        return match read_sheet(&path) {
            Ok(bytes) => sheet::rows(&path.display().to_string(), &bytes, found),
            Err(why) => {
                section.error(
                    value.span(),
                    format!("the sheet {} cannot be read: {why}", path.display()),
                    None,
                );
                Vec::new()
            }
        };
    }
    let tables = value.get_ref().as_array().filter(|list| !list.is_empty());
    let Some(tables) = tables else {
        section.error(
            value.span(),
            format!("{name}: expected the path of a sheet, or a list of tables"),
            None,
        );
        return Vec::new();
    };
    let document = section.document();
    let rows = tables.iter().filter_map(|item| {
        let Some(table) = item.get_ref().as_table() else {
            section.error(
                item.span(),
                format!("{name}: expected a table such as {{ sample = \"S1\", .. }}"),
                None,
            );
            return None;
        };
        let inner = Section::new(document, "the sample", table, item.span());
        Some(sheet::Row::from_table(inner, document.place(item.span().start)))
    });
    rows.collect()
}
