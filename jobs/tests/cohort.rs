//! Cohort files and sheets, right and wrong: every mistake is found, at its line and column.

use jobs::cohort::{self, Cohort, Relation, Role, Sex};
use jobs::diagnostic::Diagnostic;
use jobs::policy::{DataClass, OnDenied, Purpose};
use std::path::{Path, PathBuf};

const HEADER: &str =
    "participant,specimen,sample,role,family,relation,sex_declared,rgid,fastq_1,fastq_2,sha256_1,sha256_2";
const TOML: &str = "[cohort]\nid = \"C1\"\nreference = \"ref.fa\"\nsamples = \"s.csv\"\n";

fn parse(toml: &[u8], sheet: &[u8]) -> Result<Cohort, Vec<Diagnostic>> {
    cohort::parse(Path::new("in/cohort.toml"), toml, |path| match path == Path::new("in/s.csv") {
        true => Ok(sheet.to_vec()),
        false => Err("no such file".to_owned()),
    })
}

fn whole(toml: &str, sheet: &str) -> Cohort {
    parse(toml.as_bytes(), sheet.as_bytes()).unwrap_or_else(|found| panic!("{sheet}\n{found:#?}"))
}

/// Rows below the usual header must give exactly these findings: line, column, part of message or hint.
fn check_rows(rows: &str, expect: &[(u32, u32, &str)]) {
    check(TOML, format!("{HEADER}\n{rows}").as_bytes(), "in/s.csv", expect);
}

fn check(toml: &str, sheet: &[u8], file: &str, expect: &[(u32, u32, &str)]) {
    let found = match parse(toml.as_bytes(), sheet) {
        Ok(cohort) => cohort.warnings,
        Err(found) => found,
    };
    let context = format!("{toml}\n{}\n{found:#?}", String::from_utf8_lossy(sheet));
    assert_eq!(found.len(), expect.len(), "{context}");
    for (found, (line, column, part)) in found.iter().zip(expect) {
        assert_eq!(
            (&*found.place.file, found.place.line, found.place.column),
            (file, *line, *column),
            "{context}"
        );
        assert!(found.to_string().contains(part), "{part:?} in {context}");
    }
}

#[test]
fn a_sheet_becomes_samples_sorted_by_name_with_lanes_sorted_by_read_group() {
    let digest = "ab".repeat(32);
    let rows = format!(
        "P2,,S2,tumor,,,,RG1,t.fq,,,\nP1,SP1,S1,germline,F1,proband,M,L2,b_1.fq,b_2.fq,,\n\
         P1,SP1,S1,germline,F1,proband,M,L1,a_1.fq,\"a,2.fq\",{digest},\n"
    );
    let cohort = whole(TOML, &format!("\u{feff}{HEADER}\n{rows}").replace('\n', "\r\n"));
    let names: Vec<_> = cohort.samples.iter().map(|sample| sample.sample.as_str()).collect();
    assert_eq!(names, ["S1", "S2"]);
    let [first, second] = &cohort.samples[..] else { panic!() };
    assert_eq!((first.role, second.role), (Role::Germline, Role::Tumor));
    assert_eq!((first.sex, second.sex), (Sex::Male, Sex::Unknown));
    assert_eq!((first.relation, first.specimen.as_deref()), (Some(Relation::Proband), Some("SP1")));
    assert_eq!(first.lanes.iter().map(|lane| lane.rgid.as_str()).collect::<Vec<_>>(), ["L1", "L2"]);
    assert_eq!(first.lanes[0].fastq_1.sha256, Some([0xab; 32]));
    assert_eq!(cohort.reads_path(first.lanes[0].fastq_2.as_ref().unwrap()), PathBuf::from("in/a,2.fq"));
    assert_eq!(cohort.reference_path(), PathBuf::from("in/ref.fa"));
    assert_eq!(second.lanes[0].fastq_2, None);
    assert_eq!(first.read_group(&first.lanes[0]), "@RG\tID:S1:L1\tSM:S1\tLB:S1\tPL:ILLUMINA");
    assert_eq!(cohort.joined().count(), 1);
}

#[test]
fn the_order_of_rows_and_columns_and_the_place_of_files_do_not_matter() {
    let one =
        format!("{HEADER}\nP1,,A,germline,,,,1,a,,,\nP2,,B,normal,,,,1,b,,,\nP1,,A,germline,,,,2,c,,,\n");
    let other = "fastq_1,rgid,role,sample,participant,fastq_2,pu\nx/c,2,germline,A,P1,,\nx/b,1,normal,B,P2,,\nx/a,1,germline,A,P1,,\n";
    assert_eq!(whole(TOML, &one).canonical(), whole(TOML, other).canonical());
    let more = one.replace("A,germline", "A,tumor");
    assert_ne!(whole(TOML, &one).canonical(), whole(TOML, &more).canonical());
    let parameters = format!("{TOML}[parameters]\nmin_mapq = 5\n");
    assert_ne!(whole(TOML, &one).canonical(), whole(&parameters, &one).canonical());
}

#[test]
fn optional_columns_reach_the_read_group_or_are_carried() {
    let sheet = "participant,sample,role,rgid,fastq_1,lb,PL,platform_unit,center,received_from,weather_report\n\
                 P1,S1,germline,1,a,lib 7,dnbseq,FC1.2,名大,lab-a,sunny\n";
    let cohort = whole(TOML, sheet);
    let sample = &cohort.samples[0];
    let expect = "@RG\tID:S1:1\tSM:S1\tLB:lib 7\tPL:DNBSEQ\tPU:FC1.2\tCN:名大";
    assert_eq!(sample.read_group(&sample.lanes[0]), expect);
    assert_eq!(sample.lanes[0].carried["received_from"], "lab-a");
    assert_eq!(sample.lanes[0].carried["weather_report"], "sunny");
    assert_eq!(cohort.warnings.len(), 1);
}

#[test]
fn participants_are_compared_who_have_a_tumour_and_another_sample() {
    let check = |rows: &[(&str, &str)], expect: &[&str]| {
        let row = |(at, (participant, role)): (usize, &(&str, &str))| {
            format!("{participant},,S{at},{role},,,,L,{at}.fq,,,\n")
        };
        let rows: String = rows.iter().enumerate().map(row).collect();
        let cohort = whole(TOML, &format!("{HEADER}\n{rows}"));
        assert_eq!(cohort.compared().into_iter().collect::<Vec<_>>(), expect, "{rows}");
    };
    check(&[("P1", "germline"), ("P2", "tumor")], &[]);
    check(&[("P1", "germline"), ("P1", "germline")], &[]);
    check(&[("P2", "normal"), ("P1", "germline"), ("P2", "tumor")], &["P2"]);
    check(&[("P1", "tumor"), ("P1", "tumor"), ("P2", "tumor"), ("P3", "germline")], &["P1"]);
}

#[test]
fn inline_samples_mean_the_same_as_a_sheet() {
    let sheet = format!("{HEADER}\nS1,,S1,germline,,,F,1,a,b,,\n");
    let head = "[cohort]\nid = \"C1\"\nreference = { path = \"ref.fa\" }\n";
    let table = "sample = \"S1\"\nsex_declared = \"F\"\nfastq_1 = \"a\"\nfastq_2 = \"b\"\n";
    for toml in [
        format!("{head}samples = [{{ {} }}]\n", table.trim().replace('\n', ", ")),
        format!("{head}[[sample]]\n{table}"),
        format!("{head}[[cohort.samples]]\n{table}"),
    ] {
        assert_eq!(whole(&toml, "").canonical(), whole(TOML, &sheet).canonical(), "{toml}");
    }
}

#[test]
fn governance_is_carried_untouched_and_read() {
    let table = "[governance]\nany = { thing = [1, 2.5, 2026-01-01] }\nsite = \"here\"\nsites = \"s/sites.toml\"\n\
                 [[governance.x]]\ny = 1\n";
    let keys = "title = \"題\"\npurpose = \"qa\"\nconsent = \"c.json\"\nsites = [\"here\", \"there\"]\n\
                disease = \"MONDO:0005192\"\non_denied_sample = \"exclude\"\n";
    let sheet = format!("{HEADER}\nP,,S,germline,,,,1,a,,,\n");
    let cohort = whole(&format!("{TOML}{keys}{table}"), &sheet);
    let table: toml::Table = toml::from_str(table).unwrap();
    let governance = &cohort.governance;
    assert_eq!(Some(&governance.written), table["governance"].as_table());
    let json = |value: &toml::Value| serde_json::to_value(value).unwrap();
    assert_eq!(serde_json::to_value(governance).unwrap(), json(&table["governance"]));
    assert_eq!(cohort.carried["title"].as_str(), Some("題"));
    assert_eq!(governance.purpose, Some(Purpose::Qa));
    assert_eq!(governance.on_denied_sample, Some(OnDenied::Exclude));
    assert_eq!(governance.disease.as_ref().unwrap().text, "MONDO:0005192");
    let site = governance.site.as_ref().unwrap();
    assert_eq!((site.text.as_str(), site.place.line, site.place.column), ("here", 13, 8));
    let sites: Vec<_> = governance.sites.iter().map(|site| site.text.as_str()).collect();
    assert_eq!(sites, ["here", "there"]);
    assert_eq!(cohort.consent_path(), Some(PathBuf::from("in/c.json")));
    assert_eq!(cohort.policy_path(), PathBuf::from("in/policy.toml"));
    assert_eq!(cohort.sites_path(), PathBuf::from("in/s/sites.toml"));
    assert_eq!(cohort.archive, None);
}

#[test]
fn an_archive_says_where_and_what() {
    use DataClass::{Cram, Fastq, Gvcf, Joint, Report, Vcf};
    let sheet = format!("{HEADER}\nP,,S,germline,,,,1,a,,,\n");
    let check = |keys: &str, classes: &[DataClass], fastq: Option<&str>| {
        let cohort = whole(&format!("{TOML}[archive]\nvault = \"v\"\n{keys}"), &sheet);
        let archive = cohort.archive.unwrap();
        assert_eq!(archive.vault.text, "v");
        assert_eq!(archive.fastq_vault.as_ref().map(|vault| vault.text.as_str()), fastq);
        assert_eq!(archive.classes.into_iter().collect::<Vec<_>>(), classes, "{keys}");
    };
    check("", &[Cram, Gvcf, Vcf, Joint], None);
    check("classes = [\"FASTQ\", \"REPORT\"]\nfastq_vault = \"cold\"\n", &[Fastq, Report], Some("cold"));
    check("classes = [\"JOINT\"]\npassphrase_file = \"p\"\n", &[Joint], None);
}

#[test]
fn the_programmes_own_examples_are_read() {
    let shared = std::env::var_os("WAKACHI_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let file = shared.join("vectors/governance/examples/cohort.toml");
    let Ok(text) = std::fs::read(&file) else {
        return println!("skipped: {} is absent", file.display());
    };
    let read_sheet = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
    let cohort = cohort::parse(&file, &text, read_sheet).unwrap_or_else(|found| panic!("{found:#?}"));
    assert_eq!((cohort.id.as_str(), cohort.samples.len()), ("GMJ-C-2026-0007", 3));
    assert_eq!(cohort.warnings, []);
    let roles: Vec<_> = cohort.samples.iter().map(|sample| (sample.sample.as_str(), sample.role)).collect();
    assert_eq!(
        roles,
        [("S-000001-N", Role::Normal), ("S-000001-T", Role::Tumor), ("S-000002-G", Role::Germline)]
    );
    assert_eq!(cohort.samples[0].lanes[0].carried["collected_on"], "2026-02-03");
    let governance = &cohort.governance;
    assert_eq!((governance.purpose, governance.sites.len()), (Some(Purpose::ClinicalReturn), 2));
}

#[test]
fn wrong_cells_are_pointed_at() {
    check_rows("P1,,S1,germline,,,,1,a,b,,\n", &[]);
    check_rows("P1,,,germline,,,,1,a,b,,\n", &[(2, 5, "sample is empty")]);
    check_rows(",,S1,germline,,,,1,a,b,,\n", &[(2, 1, "participant is empty")]);
    check_rows("P1,,S 1,germline,,,,1,a,b,,\n", &[(2, 5, "contains ' '")]);
    check_rows("P1,,../S1,germline,,,,1,a,b,,\n", &[(2, 5, "contains '/'")]);
    check_rows("P1,,.S1,germline,,,,1,a,b,,\n", &[(2, 5, "begins with '.'")]);
    check_rows("P1,,-S1,germline,,,,1,a,b,,\n", &[(2, 5, "begins with '-'")]);
    check_rows("P1,,Ｓ－００１,germline,,,,1,a,b,,\n", &[(2, 5, "did you mean 'S-001'?")]);
    check_rows(&format!("P1,,{},germline,,,,1,a,b,,\n", "x".repeat(101)), &[(2, 5, "has 101 characters")]);
    check_rows("P1,,S1,germ,,,,1,a,b,,\n", &[(2, 8, "role 'germ' is unknown")]);
    check_rows("P1,,S1,tumour,,,,1,a,b,,\nP2,,S2,normal,,,,1,c,,,\n", &[(2, 8, "did you mean 'tumor'?")]);
    check_rows("P1,,S1,,,,,1,a,b,,\n", &[(2, 8, "role '' is unknown; expected germline, normal, tumor")]);
    check_rows("P1,,S1,germline,,,female,1,a,b,,\n", &[(2, 19, "expected F, M, U")]);
    check_rows("P1,,S1,germline,,,,,a,b,,\n", &[(2, 20, "rgid is empty")]);
    check_rows("P1,,S1,germline,,,,R:1,a,b,,\n", &[(2, 20, "rgid 'R:1' contains ':'")]);
    check_rows("P1,,S1,germline,,,,1,,b,,\n", &[(2, 22, "fastq_1 is empty")]);
    check_rows("P1,,S1,germline,,,,1,\"a\u{7}\",b,,\n", &[(2, 22, "control character")]);
    check_rows("P1,,S1,germline,,,,1,a,b,abc,\n", &[(2, 26, "'abc' is no SHA-256")]);
    check_rows(&format!("P1,,S1,germline,,,,1,a,b,,{}\n", "g".repeat(64)), &[(2, 27, "is no SHA-256")]);
    check_rows(&format!("P1,,S1,germline,,,,1,a,,,{}\n", "0".repeat(64)), &[(2, 26, "without fastq_2")]);
    check_rows("P1,,S1,germline,,mother,,1,a,b,,\n", &[(2, 18, "relation is given without family")]);
    check_rows("P1,,S1,germline,F,mum,,1,a,b,,\n", &[(2, 19, "relation 'mum' is unknown")]);
    check_rows(
        "P1,,S1,germline,F,mother,M,1,a,b,,\nP2,,S2,germline,F,proband,,1,c,,,\n",
        &[(2, 26, "the mother has")],
    );
    check_rows("患者１,,S1,germline,,,,1,a,b,x,\n", &[(2, 1, "contains '患'"), (2, 27, "is no SHA-256")]);
}

#[test]
fn rows_that_contradict_each_other_are_pointed_at() {
    let one = "P1,SP1,S1,germline,F,proband,F,1,a,b,,\n";
    let with = |second: &str, expect: &[(u32, u32, &str)]| check_rows(&format!("{one}{second}"), expect);
    with("P1,SP1,S1,germline,F,proband,F,2,c,d,,\n", &[]);
    with("P2,SP1,S1,germline,F,proband,F,2,c,d,,\n", &[(3, 1, "participant 'P2' here and 'P1' on line 2")]);
    with("P1,SP1,S1,normal,F,proband,F,2,c,d,,\n", &[(3, 11, "role 'normal' here and 'germline' on line 2")]);
    with("P1,SP1,S1,germline,F,proband,M,2,c,d,,\n", &[(3, 30, "sex_declared 'M' here and 'F' on line 2")]);
    with("P1,SP1,S1,germline,F,proband,F,1,c,d,,\n", &[(3, 32, "read group '1' on line 2 already")]);
    with("P1,SP1,S1,germline,F,proband,F,2,c,./b,,\n", &[(3, 36, "file './b' is named on line 2 already")]);
    with("P1,SP1,S1,germline,F,proband,F,2,c,c,,\n", &[(3, 36, "named on line 3 already")]);
    with("P2,SP2,s1,germline,,,,1,c,d,,\n", &[(3, 8, "'s1' differs only in case from 'S1' on line 2")]);
    with("P1,SP2,S2,tumor,F,proband,M,1,c,d,,\n", &[(3, 27, "participant 'P1' has sex_declared 'M' here")]);
    with("P1,SP2,S2,tumor,G,,,1,c,d,,\n", &[(3, 17, "participant 'P1' has family 'G' here")]);
    with("P1,SP2,S2,tumor,,,,1,c,d,,\n", &[]);
    with("P2,SP1,S2,germline,,,,1,c,d,,\n", &[(3, 1, "specimen 'SP1' has participant 'P2' here and 'P1'")]);
    with(
        "P2,,S2,germline,F,mother,,1,c,d,,\nP3,,S3,germline,F,mother,,1,e,f,,\n",
        &[(4, 19, "has a mother on line 3")],
    );
    let digest = "c".repeat(64);
    let twice = format!("P2,,S2,germline,,,,1,c,d,{digest},{digest}\n");
    with(&twice, &[(3, 91, "warning: file 'd' has the digest of the file on line 3")]);
}

#[test]
fn doubtful_cohorts_are_warned_about() {
    check(
        TOML,
        format!("{HEADER}\nP1,,S1,tumor,,,,1,a,,,\n").as_bytes(),
        "in/cohort.toml",
        &[(1, 1, "warning: no sample is germline")],
    );
    check_rows(
        "P1,,S1,germline,F,mother,,1,a,,,\n",
        &[(2, 19, "warning: family 'F' has a mother and no proband")],
    );
}

#[test]
fn sheets_of_the_wrong_shape_are_refused() {
    let sheet = |text: &str, expect: &[(u32, u32, &str)]| check(TOML, text.as_bytes(), "in/s.csv", expect);
    sheet("", &[(1, 1, "the sheet is empty")]);
    sheet(&format!("{HEADER}\n"), &[(1, 1, "no rows")]);
    sheet(&format!("{HEADER}\nP1,,S1\n"), &[(2, 1, "the row has 3 fields, the header has 12")]);
    sheet(&format!("{HEADER}\nP1,,S1,germline,,,,1,a,b,,,\n"), &[(2, 1, "the row has 13 fields")]);
    sheet("participant,sample,rgid,fastq_1\nP1,S1,1,a\n", &[(1, 1, "column 'role' is missing")]);
    sheet(
        "a;b\n",
        &[
            (1, 1, "separated by semicolons"),
            (1, 1, "separated by semicolons"),
            (1, 1, "separated by semicolons"),
            (1, 1, "separated by semicolons"),
            (1, 1, "separated by semicolons"),
            (1, 1, "only carried"),
        ],
    );
    sheet("participant,sample,role,rgid,fastq1,fastq_2\n", &[(1, 30, "did you mean 'fastq_1'?")]);
    sheet("participant,sample,role,rgid,fastq_1,Sample\n", &[(1, 38, "stands twice; first in column 13")]);
    sheet("participant,sample,role,rgid,fastq_1,\n", &[(1, 38, "has no name")]);
    sheet(
        &format!("{HEADER}\nP1,,\"S1,germline\n"),
        &[(2, 1, "the row has 3 fields"), (2, 5, "no closing quote")],
    );
    let shift_jis = [HEADER.as_bytes(), b"\nP1,,\x8a\xb3\x8e\xd2,germline,,,,1,a,b,,\n"].concat();
    check(TOML, &shift_jis, "in/s.csv", &[(2, 5, "iconv -f CP932")]);
    check(TOML, b"\xff\xfep\0a\0", "in/s.csv", &[(1, 1, "iconv -f UTF-16")]);
}

#[test]
fn wrong_cohort_files_are_pointed_at() {
    let good = format!("{HEADER}\nP1,,S1,germline,,,,1,a,b,,\n");
    let toml =
        |text: &str, expect: &[(u32, u32, &str)]| check(text, good.as_bytes(), "in/cohort.toml", expect);
    let with = |line: &str, expect: &[(u32, u32, &str)]| toml(&format!("{TOML}{line}\n"), expect);
    toml("", &[(1, 1, "lacks 'cohort'")]);
    toml("[cohort\n", &[(1, 8, "")]);
    toml("[cohort]\n", &[(1, 1, "lacks 'id'"), (1, 1, "lacks 'reference'"), (1, 1, "lacks 'samples'")]);
    with("purpos = \"qa\"", &[(5, 1, "did you mean 'purpose'?")]);
    with("purpose = \"fun\"", &[(5, 11, "purpose: 'fun' is unknown")]);
    with("on_denied_sample = \"exclud\"", &[(5, 20, "did you mean 'exclude'?")]);
    with("title = 7", &[(5, 9, "title: expected a string, found 7")]);
    with("sites = \"tokyo\"", &[(5, 9, "sites: expected a list of strings")]);
    with("deadline = \"soon\"", &[(5, 12, "deadline: expected a date")]);
    with("[parameter]", &[(5, 2, "did you mean 'parameters'?")]);
    with("[parameters]\nmax_dept = 3", &[(6, 1, "did you mean 'max_depth'?")]);
    with("[parameters]\nmin_mapq = 61", &[(6, 12, "expected a whole number from 0 to 60, found 61")]);
    with("[parameters]\nmin_mapq = -1\nmax_depth = 1e3", &[(6, 12, "found -1"), (7, 13, "found 1e3")]);
    with("consent = \"\"", &[(5, 11, "consent is empty")]);
    with("sites = []", &[(5, 9, "the list is empty")]);
    with("sites = [\"a\", \"a\"]", &[(5, 15, "'a' stands here twice")]);
    with("sites = [\"a b\"]", &[(5, 10, "contains ' '")]);
    with("[governance]\npolcy = \"x\"", &[(6, 1, "did you mean 'policy'?")]);
    with("[governance]\nsite = 3", &[(6, 8, "site: expected a string")]);
    with("[governance]\npurpose = \"qa\"", &[(6, 1, "warning: purpose decides nothing here")]);
    with("archive = \"v\"", &[(5, 1, "[cohort] has no key 'archive'")]);
    with("[archive]", &[(5, 1, "[archive] lacks 'vault'")]);
    with("[archive]\nvault = \"v\"\nclass = []", &[(7, 1, "did you mean 'classes'?")]);
    with("[archive]\nvault = \"v\"\nclasses = []", &[(7, 11, "the list is empty")]);
    with("[archive]\nvault = \"v\"\nclasses = [\"BAM\"]", &[(7, 12, "'BAM' is unknown; expected CRAM")]);
    with("governance = 1", &[(5, 1, "[cohort] has no key 'governance'")]);
    with("[governance]\nx = 1\n[governance]", &[(7, 2, "duplicate key")]);
    with("[[sample]]\nsample = \"S\"", &[(5, 1, "expected one of the two")]);
    let swap = |from: &str, to: &str, expect: &[(u32, u32, &str)]| toml(&TOML.replace(from, to), expect);
    swap("\"C1\"", "\"C 1\"", &[(2, 6, "id 'C 1' contains ' '")]);
    check(
        &TOML.replace("C1", "s1.G"),
        good.as_bytes(),
        "in/s.csv",
        &[(2, 5, "would overwrite those of cohort 's1.G'")],
    );
    swap("\"s.csv\"", "\"t.csv\"", &[(4, 11, "the sheet in/t.csv cannot be read: no such file")]);
    swap("\"s.csv\"", "[]", &[(4, 11, "expected the path of a sheet, or a list of tables")]);
    swap("\"s.csv\"", "[1]", &[(4, 12, "expected a table")]);
    swap(
        "\"ref.fa\"",
        "{ digest = \"sha256:00\" }",
        &[(3, 13, "lacks 'path'"), (3, 24, "64 hexadecimal digits")],
    );
    swap("\"ref.fa\"", "{ path = \"r\", md5 = \"\" }", &[(3, 27, "has no key 'md5'")]);
    swap("\"ref.fa\"", "\"\"", &[(3, 13, "the path is empty")]);
    let inline = "[cohort]\nid = \"C1\"\nreference = \"r\"\n[[sample]]\nsample = \"a b\"\nfastq_1 = 3\nfastq2 = \"x\"\n";
    toml(
        inline,
        &[
            (4, 1, "fastq_1 is empty"),
            (4, 1, "participant 'a b' contains ' '"),
            (5, 10, "sample 'a b' contains ' '"),
            (6, 11, "fastq_1: expected a string"),
            (7, 1, "did you mean 'fastq_2'?"),
        ],
    );
    check(
        "[cohort]\nid=\"C1\"\nid=\"C2\"\nx=\n",
        b"",
        "in/cohort.toml",
        &[(3, 1, "duplicate key"), (4, 3, "")],
    );
}
