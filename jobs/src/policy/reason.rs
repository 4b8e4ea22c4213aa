//! Reasons against: one code each, as the decision vectors spell it, with the error it is told as and what would help.
//!
//! Invariant: a reason is made by the check and nowhere else; every code has its row in [`Code::row`].

use std::fmt;

/// One reason why not. The order is that of the codes' spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(into = "String")]
pub struct Reason {
    text: String,
    code: Code,
}

impl Reason {
    /// A reason that its code says in full.
    pub(super) fn plain(code: Code) -> Reason {
        Reason { text: code.row().0.to_owned(), code }
    }

    /// A reason with what it is about: `CONSENT_COUNTRY:GB`.
    pub(super) fn about(code: Code, detail: impl fmt::Display) -> Reason {
        Reason { text: format!("{}:{detail}", code.row().0), code }
    }

    /// The reason itself, such as `CONSENT_COUNTRY:GB`.
    pub fn code(&self) -> &str {
        &self.text
    }

    /// The error of the programme's error table under which an operator meets it, such as `E-CONSENT-COUNTRY`.
    pub fn error_code(&self) -> &'static str {
        self.code.row().1
    }

    /// What would have to be otherwise: lower case, no full stop.
    pub fn helps(&self) -> String {
        let detail = self.text.split_once(':').map_or("", |(_, detail)| detail);
        self.code.row().2.replace("{}", detail)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.text
    }
}

/// What a reason is about, whoever or whatever it is about in detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Code {
    NoSubject,
    SubjectConflict,
    PurposeMissing,
    DiseaseInvalid,
    SiteUnknown,
    SiteRole,
    Jurisdiction,
    Level,
    Attest,
    ConsentMissing,
    ConsentDraft,
    ConsentProposed,
    ConsentRejected,
    ConsentInactive,
    ConsentEnteredInError,
    ConsentNotYet,
    ConsentExpired,
    ProxyLapsed,
    ConsentItem,
    ConsentCountry,
    ConsentStale,
    DuoUnknown,
    DuoPermissionCount,
    DuoArgument,
    Purpose,
    Human,
    Nmds,
    Gso,
    Npuncu,
    Pub,
    Col,
    Irb,
    Gs,
    Ts,
    Us,
    Ps,
    Is,
    Rtn,
    Npoa,
    Npu,
    Ncu,
}

impl Code {
    /// Spelling, error, and what would help, where `{}` stands for the detail.
    #[rustfmt::skip]
    const fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Code::NoSubject => ("NO_SUBJECT", "E-CONSENT-MISSING", "name the samples"),
            Code::SubjectConflict => ("SUBJECT_CONFLICT", "E-DUP-SAMPLE", "one participant for each sample"),
            Code::PurposeMissing => ("PURPOSE_MISSING", "E-GRANT-PURPOSE", "say the purpose: purpose in [cohort]"),
            Code::DiseaseInvalid => ("DISEASE_INVALID", "E-DUO-ARG", "a disease such as MONDO:0004992"),
            Code::SiteUnknown => ("SITE_UNKNOWN", "E-PLACE-NONE", "a site of the registry, sites.toml"),
            Code::SiteRole => ("SITE_ROLE", "E-PLACE-NONE", "a site with the role for this act"),
            Code::Jurisdiction => ("JUR", "E-PLACE-NONE", "leave out the {} samples that may not go there, or another site"),
            Code::Level => ("LEVEL", "E-PLACE-NONE", "a site of a higher security level"),
            Code::Attest => ("ATTEST", "E-SITE-ATTEST", "renew the site's attestation"),
            Code::ConsentMissing => ("CONSENT_MISSING", "E-CONSENT-MISSING", "a consent record of the participant"),
            Code::ConsentDraft => ("CONSENT_DRAFT", "E-CONSENT-MISSING", "a signed consent; this one is a draft"),
            Code::ConsentProposed => ("CONSENT_PROPOSED", "E-CONSENT-MISSING", "a signed consent; this one was only offered"),
            Code::ConsentRejected => ("CONSENT_REJECTED", "E-CONSENT-MISSING", "nothing: the participant declined"),
            Code::ConsentInactive => ("CONSENT_INACTIVE", "E-CONSENT-WITHDRAWN", "nothing: the consent was withdrawn or ended"),
            Code::ConsentEnteredInError => ("CONSENT_ENTERED_IN_ERROR", "E-CONSENT-MISSING", "a valid record; this one was entered in error"),
            Code::ConsentNotYet => ("CONSENT_NOT_YET", "E-CONSENT-MISSING", "wait until the consent begins, or a start that was never recorded"),
            Code::ConsentExpired => ("CONSENT_EXPIRED", "E-CONSENT-EXPIRED", "a renewed consent"),
            Code::ProxyLapsed => ("PROXY_LAPSED", "E-CONSENT-PROXY-LAPSED", "the participant's own consent"),
            Code::ConsentItem => ("CONSENT_ITEM", "E-CONSENT-ITEM", "consent to the item {}"),
            Code::ConsentCountry => ("CONSENT_COUNTRY", "E-CONSENT-COUNTRY", "consent to the item foreign_use for {}, or a site at home"),
            Code::ConsentStale => ("CONSENT_STALE", "E-CONSENT-STALE", "fetch the consent register again"),
            Code::DuoUnknown => ("DUO_UNKNOWN", "E-DUO-UNKNOWN", "a code of DUO v2021-02-23 in place of {}"),
            Code::DuoPermissionCount => ("DUO_PERMISSION_COUNT", "E-DUO-COUNT", "exactly one permission code: NRES, GRU, HMB, DS or POA"),
            Code::DuoArgument => ("DUO_ARGUMENT", "E-DUO-ARG", "the argument that {} takes"),
            Code::Purpose => ("PURPOSE", "E-GRANT-PURPOSE", "a use the consent covers ({}: covered < asked)"),
            Code::Human => ("HUMAN", "E-GRANT-TERMS", "a person's decision on {}"),
            Code::Nmds => ("NMDS", "E-GRANT-PURPOSE", "a use other than methods development"),
            Code::Gso => ("GSO", "E-GRANT-PURPOSE", "a genetic study"),
            Code::Npuncu => ("NPUNCU", "E-GRANT-ORG", "a non-profit organisation and a non-commercial use"),
            Code::Pub => ("PUB", "E-GRANT-TERMS", "the applicant accepts to publish"),
            Code::Col => ("COL", "E-GRANT-TERMS", "the applicant accepts to collaborate"),
            Code::Irb => ("IRB", "E-GRANT-ETHICS", "an ethics approval"),
            Code::Gs => ("GS", "E-CONSENT-COUNTRY", "a country the consent names"),
            Code::Ts => ("TS", "E-GRANT-TERMS", "a use within the months the consent names"),
            Code::Us => ("US", "E-GRANT-ORG", "a user the consent names"),
            Code::Ps => ("PS", "E-GRANT-PURPOSE", "a project the consent names"),
            Code::Is => ("IS", "E-GRANT-ORG", "an institution the consent names"),
            Code::Rtn => ("RTN", "E-GRANT-TERMS", "the applicant accepts to return results"),
            Code::Npoa => ("NPOA", "E-GRANT-PURPOSE", "a use other than research on origins or ancestry"),
            Code::Npu => ("NPU", "E-GRANT-ORG", "a non-profit organisation"),
            Code::Ncu => ("NCU", "E-GRANT-PURPOSE", "a non-commercial use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_knows_its_error_and_what_would_help() {
        let check = |reason: Reason, expect: [&str; 3]| {
            assert_eq!([reason.code(), reason.error_code(), &reason.helps()], expect);
        };
        let text = "consent to the item foreign_use for GB, or a site at home";
        check(Reason::about(Code::ConsentCountry, "GB"), ["CONSENT_COUNTRY:GB", "E-CONSENT-COUNTRY", text]);
        check(Reason::plain(Code::Attest), ["ATTEST", "E-SITE-ATTEST", "renew the site's attestation"]);
        let text = "a code of DUO v2021-02-23 in place of DUO:0000099";
        check(
            Reason::about(Code::DuoUnknown, "DUO:0000099"),
            ["DUO_UNKNOWN:DUO:0000099", "E-DUO-UNKNOWN", text],
        );
    }
}
