//! Outcomes: what a carried attempt leaves in the store, output and word of how it ended in one object.
//!
//! Layout: the records of the output one after the other, the sealed [`Ended`](crate::Ended), and the offset of the
//! latter (u64, little endian). Invariant: pieces of an outcome that was opened lie within its records; who sealed
//! them is shown when they are opened, not here.

use super::carried::ended_context;
use super::{BundleError, parse, ticket::BundleKey, to_json};
use crate::engine::{Ended, Output};
use scheduler::AttemptId;
use storage::PieceRef;

const OFFSET_BYTES: usize = 8;

/// The name under which the pieces of an outcome name their pack.
pub fn pack_name(attempt: AttemptId) -> String {
    format!("out-{}.pack", attempt.0)
}

/// The object of an attempt. `read` gives the bytes of a piece as the worker stored it.
pub fn join<E>(
    bundle: &str,
    key: &BundleKey,
    mut ended: Ended,
    mut read: impl FnMut(&PieceRef) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut object = Vec::new();
    if let Ok(Output { pieces, .. }) = &mut ended.result {
        for piece in pieces {
            let offset = object.len() as u64;
            object.extend_from_slice(&read(piece)?);
            *piece = PieceRef { pack: pack_name(ended.attempt), offset, ..piece.clone() };
        }
    }
    let offset = object.len() as u64;
    object.extend_from_slice(&key.seal(&ended_context(bundle, ended.attempt), &to_json(&ended)));
    object.extend_from_slice(&offset.to_le_bytes());
    Ok(object)
}

/// How the attempt ended, by its object; the pieces of its output are known to lie within it.
pub fn open(
    name: &str,
    bundle: &str,
    key: &BundleKey,
    attempt: AttemptId,
    object: &[u8],
) -> Result<Ended, BundleError> {
    let sealed = || BundleError::Sealed { name: name.to_owned() };
    let (rest, offset) = object.split_last_chunk::<OFFSET_BYTES>().ok_or_else(sealed)?;
    let offset = u64::from_le_bytes(*offset);
    let word = usize::try_from(offset).ok().and_then(|offset| rest.get(offset..)).ok_or_else(sealed)?;
    let json = key.open(name, &ended_context(bundle, attempt), word)?;
    let ended: Ended = parse(name, super::RECEIPT_SCHEMA, &json)?;
    let within = |piece: &PieceRef| piece.end() <= offset && piece.pack == pack_name(attempt);
    let whole = ended.result.iter().flat_map(|output| &output.pieces).all(within);
    if whole && ended.attempt == attempt { Ok(ended) } else { Err(sealed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Cell;
    use jobs::task::{Shard, Task};
    use scheduler::Usage;

    fn ended(pieces: Vec<PieceRef>) -> Ended {
        Ended {
            attempt: AttemptId(7),
            task: Task::Region(0, Shard::Cells { first: Cell(0), end: Cell(2) }),
            result: Ok(Output { pieces, ..Output::default() }),
            usage: Usage::default(),
        }
    }

    #[test]
    fn an_outcome_opens_for_its_attempt_and_holds_what_it_names() {
        let key = BundleKey::random();
        let piece = |offset| PieceRef { pack: "w.pack".to_owned(), offset, length: 3, blake3: [0; 32] };
        let object = join("b", &key, ended(vec![piece(10), piece(20)]), |piece| {
            Ok::<_, ()>(vec![piece.offset as u8; 3])
        });
        let object = object.unwrap();
        let opened = open("x", "b", &key, AttemptId(7), &object).unwrap();
        let pieces = opened.result.unwrap().pieces;
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
            let word = key.seal(&ended_context("b", AttemptId(7)), &to_json(&ended(pieces)));
            let object = [&word[..], &0u64.to_le_bytes()].concat();
            assert!(open("x", "b", &key, AttemptId(7), &object).is_err(), "{pack} {offset}");
        }
    }
}
