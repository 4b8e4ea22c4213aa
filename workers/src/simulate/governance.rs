//! The consents, the policy and the sites of a simulated cohort, as a programme would send them.
//!
//! Invariant: everybody consents to the return of findings and to academic research, at home, except for those who
//! withdrew. The policy is the programme's default.

use std::io::{self, Write};

use jobs::time::Timestamp;

/// Data of every class may be at this one site.
pub const SITES: &str = "\
# The one site of a simulated cohort: the machine it is on.
[[site]]
id = \"here\"
kind = \"onprem_hpc\"
operator = \"simulation\"
jurisdiction = \"JP\"
levels_max = 4
roles = [\"compute\", \"share_holder\"]
attestation = { scheme = \"simulation\", id = \"1\", expires = 2099-12-31 }
";

/// The built-in policy, written out.
pub const POLICY: &str = "\
# The programme's defaults. A file may change each of them.
[policy]
version = \"simulation-1\"
default_jurisdictions = [\"JP\"]
consent_max_age_hours = 24              # an older consent register is stale, and nothing may be done
lease_ttl_seconds = 900
on_denied_sample = \"refuse\"             # refuse | exclude; the cohort file goes before

[level]                                 # the security level that a class of data needs
FASTQ = 4
CRAM = 4
GVCF = 3
VCF = 3
JOINT = 3
FINGERPRINT = 4
REPORT = 4
QC = 2
AGGREGATE = 1
";

/// When everybody consented, and when those withdrew who did.
const CONSENTED: &str = "2020-01-06T09:00:00+09:00";
const WITHDREW: &str = "2020-02-03T09:00:00+09:00";

/// Code of a participant, counted from 0.
pub fn participant(person: usize) -> String {
    format!("P-{:06}", person + 1)
}

/// Writes the consents of `people` participants as a FHIR R4 Bundle confirmed at `as_of`; the last `withdrawn` of them
/// have withdrawn.
pub fn write_consents(
    people: usize,
    withdrawn: usize,
    as_of: Timestamp,
    out: &mut dyn Write,
) -> io::Result<()> {
    let head = "{\"resourceType\": \"Bundle\", \"type\": \"collection\"";
    write!(out, "{head}, \"timestamp\": \"{as_of}\", \"entry\": [")?;
    for person in 0..people {
        let comma = if person > 0 { "," } else { "" };
        write!(out, "{comma}\n{}", consent(person, person + withdrawn >= people))?;
    }
    writeln!(out, "\n]}}")
}

fn consent(person: usize, withdrawn: bool) -> String {
    let participant = participant(person);
    let (status, version, updated) =
        if withdrawn { ("inactive", 2, WITHDREW) } else { ("active", 1, CONSENTED) };
    let permit = |item: &str| {
        let coding = format!("{{\"system\": \"urn:gmj:consent-item\", \"code\": \"{item}\"}}");
        format!("{{\"type\": \"permit\", \"code\": [{{\"coding\": [{coding}]}}]}}")
    };
    let (clinical, research) = (permit("clinical_return"), permit("research_academia"));
    format!(
        "{{\"resource\": {{
  \"resourceType\": \"Consent\",
  \"id\": \"C-{:06}\",
  \"meta\": {{\"versionId\": \"{version}\", \"lastUpdated\": \"{updated}\"}},
  \"status\": \"{status}\",
  \"scope\": {{\"coding\": [{{\"system\": \"http://terminology.hl7.org/CodeSystem/consentscope\", \"code\": \"research\"}}]}},
  \"category\": [{{\"coding\": [{{\"system\": \"http://loinc.org\", \"code\": \"59284-0\"}}]}}],
  \"patient\": {{\"identifier\": {{\"system\": \"urn:gmj:participant\", \"value\": \"{participant}\"}}}},
  \"dateTime\": \"{CONSENTED}\",
  \"performer\": [{{\"identifier\": {{\"system\": \"urn:gmj:performer-role\", \"value\": \"self\"}}}}],
  \"policy\": [{{\"uri\": \"urn:gmj:icf:simulation:1\"}}],
  \"verification\": [{{\"verified\": true, \"verificationDate\": \"{CONSENTED}\"}}],
  \"provision\": {{\"type\": \"deny\", \"period\": {{\"start\": \"2020-01-06\"}}, \"provision\": [
    {clinical},
    {research}
  ]}}
}}}}",
        person + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::consent::{Status, read_register};
    use jobs::policy::Policy;
    use jobs::policy::document::read_policy;
    use jobs::site::read_sites;

    #[test]
    fn the_programme_reads_what_is_written() {
        let as_of: Timestamp = "2026-05-31T18:00:00+09:00".parse().unwrap();
        let mut bundle = Vec::new();
        write_consents(3, 1, as_of, &mut bundle).unwrap();
        let register = read_register("consent.json", &bundle).unwrap();
        assert_eq!(register.as_of, as_of);
        let statuses: Vec<_> =
            register.records.iter().map(|(who, record)| (who.as_str(), record.status)).collect();
        let expect = [Status::Active, Status::Active, Status::Inactive];
        assert_eq!(statuses, [("P-000001", expect[0]), ("P-000002", expect[1]), ("P-000003", expect[2])]);
        let record = &register.records["P-000001"];
        assert_eq!(record.items.iter().collect::<Vec<_>>(), ["clinical_return", "research_academia"]);
        assert!(record.start.is_some_and(|start| start < as_of));

        let policy = read_policy("policy.toml", POLICY.as_bytes(), Policy::built_in().sha256).unwrap();
        assert_eq!(policy, Policy { version: "simulation-1".to_owned(), ..Policy::built_in() });
        let sites = read_sites("sites.toml", SITES.as_bytes()).unwrap();
        assert!(sites["here"].attested_until.is_some_and(|until| until > as_of));
    }
}
