//! Outcomes: what a carried attempt leaves in the store, output and word of how it ended in one object.
//!
//! Layout: the records of the output one after the other, the sealed [`Outcome`], and the offset of the latter (u64,
//! little endian). Invariant: pieces of an outcome that was opened lie within its records; who sealed
//! them is shown when they are opened, not here.

use super::carried::ended_context;
use super::{BundleError, parse, ticket::BundleKey, to_json};
use crate::engine::{Ended, Output};
use jobs::time::Timestamp;
use scheduler::AttemptId;
use serde::{Deserialize, Serialize};
use storage::PieceRef;

const OFFSET_BYTES: usize = 8;

/// What a worker says of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What the gate said there, in order.
    pub readings: Vec<Reading>,
}

/// What the gate said at a worker of the data of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// When, by the worker's clock.
    pub at: Timestamp,
    /// Epoch of the consents that it knew.
    pub epoch: u64,
    /// The decision.
    pub word: Word,
}

/// A decision of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It may be read until then.
    Permitted {
        /// When the permit ends.
        expires: Timestamp,
    },
    /// It may be read on until then.
    Renewed {
        /// When the permit ends.
        expires: Timestamp,
    },
    /// It must not be read, or not any more.
    Refused {
        /// The reasons.
        reasons: Vec<String>,
    },
}

/// The name under which the pieces of an outcome name their pack.
pub fn pack_name(attempt: AttemptId) -> String {
    format!("out-{}.pack", attempt.0)
}

/// The object of an attempt. `read` gives the bytes of a piece as the worker stored it.
pub fn join<E>(
    bundle: &str,
    key: &BundleKey,
    mut outcome: Outcome,
    mut read: impl FnMut(&PieceRef) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut object = Vec::new();
    let attempt = outcome.ended.attempt;
    if let Ok(Output { pieces, .. }) = &mut outcome.ended.result {
        for piece in pieces {
            let offset = object.len() as u64;
            object.extend_from_slice(&read(piece)?);
            *piece = PieceRef { pack: pack_name(attempt), offset, ..piece.clone() };
        }
    }
    let offset = object.len() as u64;
    object.extend_from_slice(&key.seal(&ended_context(bundle, attempt), &to_json(&outcome)));
    object.extend_from_slice(&offset.to_le_bytes());
    Ok(object)
}

/// What the worker says, by its object; the pieces of its output are known to lie within it.
pub fn open(
    name: &str,
    bundle: &str,
    key: &BundleKey,
    attempt: AttemptId,
    object: &[u8],
) -> Result<Outcome, BundleError> {
    let sealed = || BundleError::Sealed { name: name.to_owned() };
    let (rest, offset) = object.split_last_chunk::<OFFSET_BYTES>().ok_or_else(sealed)?;
    let offset = u64::from_le_bytes(*offset);
    let word = usize::try_from(offset).ok().and_then(|offset| rest.get(offset..)).ok_or_else(sealed)?;
    let json = key.open(name, &ended_context(bundle, attempt), word)?;
    let outcome: Outcome = parse(name, super::RECEIPT_SCHEMA, &json)?;
    let within = |piece: &PieceRef| piece.end() <= offset && piece.pack == pack_name(attempt);
    let ended = &outcome.ended;
    let whole = ended.result.iter().flat_map(|output| &output.pieces).all(within);
    if whole && ended.attempt == attempt { Ok(outcome) } else { Err(sealed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Cell;
    use jobs::task::{Shard, Task};
    use scheduler::Usage;

    fn said(pieces: Vec<PieceRef>) -> Outcome {
        let ended = Ended {
            attempt: AttemptId(7),
            task: Task::Region(0, Shard::Cells { first: Cell(0), end: Cell(2) }),
            result: Ok(Output { pieces, ..Output::default() }),
            usage: Usage::default(),
        };
        let word = Word::Refused { reasons: vec!["r".to_owned()] };
        let readings = vec![Reading { at: Timestamp::from_micros(1), epoch: 2, word }];
        Outcome { ended, readings }
    }

    #[test]
    fn an_outcome_opens_for_its_attempt_and_holds_what_it_names() {
        let key = BundleKey::random();
        let piece = |offset| PieceRef { pack: "w.pack".to_owned(), offset, length: 3, blake3: [0; 32] };
        let object = join("b", &key, said(vec![piece(10), piece(20)]), |piece| {
            Ok::<_, ()>(vec![piece.offset as u8; 3])
        });
        let object = object.unwrap();
        let opened = open("x", "b", &key, AttemptId(7), &object).unwrap();
        assert_eq!(opened.readings, said(Vec::new()).readings);
        let pieces = opened.ended.result.unwrap().pieces;
        let found: Vec<&[u8]> = pieces.iter().map(|p| &object[p.offset as usize..p.end() as usize]).collect();
        assert_eq!(found, [[10; 3], [20; 3]]);
        assert!(open("x", "b", &key, AttemptId(8), &object).is_err());
        assert!(open("x", "c", &key, AttemptId(7), &object).is_err());
        for cut in [0, 5, object.len() - 1] {
            assert!(open("x", "b", &key, AttemptId(7), &object[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_lying_worker_cannot_name_what_it_did_not_send() {
        let key = BundleKey::random();
        for (pack, offset, length) in
            [("../keys/x", 0, 1), ("out-7.pack", 0, 1), ("out-7.pack", u64::MAX, 1), ("out-8.pack", 0, 0)]
        {
            let pieces = vec![PieceRef { pack: pack.to_owned(), offset, length, blake3: [0; 32] }];
            let word = key.seal(&ended_context("b", AttemptId(7)), &to_json(&said(pieces)));
            let object = [&word[..], &0u64.to_le_bytes()].concat();
            assert!(open("x", "b", &key, AttemptId(7), &object).is_err(), "{pack} {offset}");
        }
    }
}
