//! Finds the object that a user means: by id, by the beginning of an id, or by name.

use jobs::failure::{Class, Classified};
use storage::vault::{ObjectId, ObjectSummary, Vault};

/// Shortest beginning of an id.
const PREFIX_DIGITS_MIN: usize = 4;

/// What is said of several candidates at most.
const CANDIDATES_MAX: usize = 10;

/// Nothing, or too much, is meant.
#[derive(Debug, thiserror::Error)]
pub enum ObjectNameError {
    /// No object is.
    #[error("'{asked}': no object of the vault has this id or name")]
    Unknown {
        /// As given.
        asked: String,
    },
    /// Several are.
    #[error("'{asked}' may be {count} objects: {}", candidates.join(", "))]
    Ambiguous {
        /// As given.
        asked: String,
        /// How many.
        count: usize,
        /// Ids of the first of them, with their names.
        candidates: Vec<String>,
    },
}

impl Classified for ObjectNameError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            ObjectNameError::Unknown { .. } => Some("wakachi vault list shows ids and names".to_owned()),
            ObjectNameError::Ambiguous { .. } => Some("give the whole id".to_owned()),
        }
    }
}

/// The object that `asked` means. A whole id is taken as it is, for there may be no document left that lists it.
pub fn find(vault: &Vault, asked: &str) -> Result<ObjectId, ObjectNameError> {
    match asked.parse() {
        Ok(id) => Ok(id),
        Err(_) => choose(&vault.list().objects, asked),
    }
}

fn choose(objects: &[ObjectSummary], asked: &str) -> Result<ObjectId, ObjectNameError> {
    let is_prefix = asked.len() >= PREFIX_DIGITS_MIN && asked.bytes().all(|byte| byte.is_ascii_hexdigit());
    let by_name: Vec<_> = objects.iter().filter(|object| object.name == asked).collect();
    let by_id = objects.iter().filter(|object| is_prefix && object.id.to_string().starts_with(asked));
    // A name that looks like the beginning of an id is a name.
    let found = if by_name.is_empty() { by_id.collect() } else { by_name };
    match found[..] {
        [] => Err(ObjectNameError::Unknown { asked: asked.to_owned() }),
        [object] => Ok(object.id),
        _ => {
            let candidates = found.iter().take(CANDIDATES_MAX);
            let candidates = candidates.map(|object| format!("{} ({})", object.id, object.name)).collect();
            Err(ObjectNameError::Ambiguous { asked: asked.to_owned(), count: found.len(), candidates })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::policy::DataClass;
    use jobs::time::Timestamp;

    #[test]
    fn an_object_is_meant_by_name_or_the_beginning_of_its_id() {
        let object = |byte: u8, name: &str| ObjectSummary {
            id: format!("{byte:02x}").repeat(16).parse().unwrap(),
            name: name.to_owned(),
            class: DataClass::Cram,
            samples: Vec::new(),
            plaintext_bytes: 0,
            sealed_at: Timestamp::default(),
            lineage: Vec::new(),
        };
        let objects =
            [object(0xab, "S1.cram"), object(0xcd, "S2.cram"), object(0xce, "S2.cram"), object(1, "abab")];
        let check = |asked: &str, expect: &str| {
            let found = choose(&objects, asked).map_or_else(|error| error.to_string(), |id| id.to_string());
            assert!(found.starts_with(expect), "{asked}: {found}");
        };
        check("S1.cram", "abab");
        check("cdcd", "cdcd");
        check("abab", "0101");
        check("ababa", "ababab");
        check("cdc", "'cdc': no object");
        check("S3", "'S3': no object");
        check("S2.cram", "'S2.cram' may be 2 objects: cdcd");
    }
}
