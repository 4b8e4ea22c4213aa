//! What the cohort sheet says of how two samples are related, to be held against what their genotypes say.
//!
//! Invariant: says nothing where the sheet says nothing; words it does not know are no statement.

use serde::{Deserialize, Serialize};

use super::relatedness::Relation;

/// What the sheet says of one sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Code of the person.
    pub participant: String,
    /// Code of the family.
    pub family: Option<String>,
    /// Role in the family: proband, child, sibling, father, mother and their kind.
    pub relation: Option<String>,
    /// `male`, `female` or another word.
    pub sex: Option<String>,
}

/// The relation the sheet implies; none where it implies nothing.
pub fn expected(a: &Declared, b: &Declared) -> Option<Relation> {
    if a.participant == b.participant {
        return Some(Relation::Identical);
    }
    let (family_a, family_b) = (a.family.as_deref()?, b.family.as_deref()?);
    if family_a != family_b {
        return Some(Relation::Unrelated);
    }
    match (role(a.relation.as_deref()?)?, role(b.relation.as_deref()?)?) {
        (Role::Parent, Role::Parent) => Some(Relation::Unrelated),
        (Role::Parent, Role::Child) | (Role::Child, Role::Parent) => Some(Relation::ParentChild),
        (Role::Child, Role::Child) => Some(Relation::FullSiblings),
    }
}

/// Whether what was found contradicts what is expected. Strangers may turn out to be distant relatives; two people may
/// not turn out to be one, nor relatives strangers.
pub fn contradicts(expected: Option<Relation>, found: Relation) -> bool {
    let first_degree = matches!(found, Relation::ParentChild | Relation::FullSiblings);
    match expected {
        None => found == Relation::Identical,
        Some(Relation::Unrelated) => first_degree || found == Relation::Identical,
        Some(relation) => relation != found,
    }
}

enum Role {
    Parent,
    Child,
}

fn role(word: &str) -> Option<Role> {
    match word.trim().to_ascii_lowercase().as_str() {
        "father" | "mother" | "parent" => Some(Role::Parent),
        "proband" | "index" | "patient" | "child" | "son" | "daughter" | "sibling" | "brother" | "sister" => {
            Some(Role::Child)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_implies_what_its_families_say() {
        use Relation::{FullSiblings, Identical, ParentChild, Unrelated};
        let declared = |participant: &str, family: &str, relation: &str| Declared {
            participant: participant.into(),
            family: (!family.is_empty()).then(|| family.into()),
            relation: (!relation.is_empty()).then(|| relation.into()),
            sex: None,
        };
        let check = |a: [&str; 3], b: [&str; 3], expect| {
            let (a, b) = (declared(a[0], a[1], a[2]), declared(b[0], b[1], b[2]));
            assert_eq!(expected(&a, &b), expect, "{a:?} {b:?}");
            assert_eq!(expected(&b, &a), expect, "{b:?} {a:?}");
        };
        check(["P1", "", ""], ["P1", "F", "proband"], Some(Identical));
        check(["P1", "F", "proband"], ["P2", "F", "Mother"], Some(ParentChild));
        check(["P1", "F", "father"], ["P2", "F", "mother"], Some(Unrelated));
        check(["P1", "F", "proband"], ["P2", "F", "sister"], Some(FullSiblings));
        check(["P1", "F", "proband"], ["P2", "G", "mother"], Some(Unrelated));
        check(["P1", "F", "proband"], ["P2", "F", "cousin"], None);
        check(["P1", "", "proband"], ["P2", "F", "mother"], None);
    }
}
