//! Reads a fragment from its site, believing nothing: header, share, tree and blocks each against the seal.
//!
//! Invariant: a block that is handed out is the one that was sealed in that place. A damaged header costs the share and not
//! the body; a damaged tree is made again from the body if the body is whole; a damaged block costs its row one block.

use super::finding::{Damage, Finding, Part, Place};
use super::object::Object;
use super::{Vault, fragment_name};
use crate::fragment::{FragmentHeader, HEADER_BYTES, VALUE_BYTES};
use crate::shamir::{Kind, Share};
use crate::site::Blob;
use crate::tree::{self, BLOCK_BYTES};

/// What is left of a fragment.
pub(super) struct StoredFragment {
    pub index: u8,
    /// Its share of S_s, if it is the one that was sealed.
    pub share: Option<Share>,
    /// Its blocks, if there is a way to tell right ones from wrong ones.
    pub body: Option<Body>,
    report: Report,
}

/// The blocks of a fragment.
pub(super) struct Body {
    blob: Box<dyn Blob>,
    /// The value of each block; they merge to the root in the seal.
    values: Vec<[u8; VALUE_BYTES]>,
    bytes: u64,
}

/// Names what is wrong with one fragment.
struct Report {
    base: Finding,
}

impl Report {
    fn finding(&self, part: Part, what: Damage) -> Finding {
        Finding { part, what, ..self.base.clone() }
    }
}

impl Vault {
    /// Opens fragment `index` of an object: reads its header and its tree, not its blocks.
    pub(super) fn fragment(&self, object: &Object, index: u8, findings: &mut Vec<Finding>) -> StoredFragment {
        let entry = &object.seal.fragments[usize::from(index)];
        let base = Finding {
            place: Place::Site(entry.site.clone()),
            object: Some(object.id),
            fragment: Some(index),
            part: Part::File,
            what: Damage::Missing,
        };
        let mut fragment = StoredFragment { index, share: None, body: None, report: Report { base } };
        let opened = match self.site(&entry.site) {
            Some(site) => site.store.open(&fragment_name(object.id, index)),
            None => Ok(None),
        };
        match opened {
            Ok(Some(blob)) => fragment.read(object, blob, findings),
            Ok(None) => findings.push(fragment.report.base.clone()),
            Err(error) => findings.push(fragment.report.finding(Part::File, Damage::unreadable(&error))),
        }
        fragment
    }
}

impl StoredFragment {
    /// Reads block `row` into `block`; says whether it is the one that was sealed. A fragment whose site fails while it is
    /// read is given up.
    pub fn block(&mut self, row: u64, block: &mut Vec<u8>, findings: &mut Vec<Finding>) -> bool {
        let Some(body) = &self.body else { return false };
        match body.block(row, block) {
            Ok(true) => true,
            Ok(false) => {
                let what = Damage::Altered("its hash is not that in the tree".to_owned());
                findings.push(self.report.finding(Part::Block(row), what));
                false
            }
            Err(error) => {
                findings.push(self.report.finding(Part::Block(row), Damage::unreadable(&error)));
                self.body = None;
                false
            }
        }
    }

    fn read(&mut self, object: &Object, blob: Box<dyn Blob>, findings: &mut Vec<Finding>) {
        let (bytes, expected) = (blob.bytes(), object.geometry.fragment_bytes(self.index));
        let length = match bytes.cmp(&expected) {
            std::cmp::Ordering::Less => Some(Damage::Truncated { bytes, expected }),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Damage::Overlong { bytes, expected }),
        };
        findings.extend(length.map(|length| self.report.finding(Part::File, length)));
        let mut header = [0; HEADER_BYTES];
        match blob.read(0, &mut header) {
            Ok(HEADER_BYTES) => {}
            // Shorter than a header, which its length has told.
            Ok(_) => return,
            Err(error) => {
                findings.push(self.report.finding(Part::Header, Damage::unreadable(&error)));
                return;
            }
        }
        match self.share_of(object, &header) {
            Ok(share) => self.share = Some(share),
            Err(damage) => {
                let is_other = !matches!(damage, Damage::Altered(_));
                findings.push(self.report.finding(Part::Header, damage));
                // Another fragment's blocks would all be named, to no use.
                if is_other {
                    return;
                }
            }
        }
        self.body = self.body_of(object, blob, findings);
    }

    /// The share in a header, if the header is that of this fragment.
    fn share_of(&self, object: &Object, header: &[u8; HEADER_BYTES]) -> Result<Share, Damage> {
        let header = FragmentHeader::decode(header).map_err(|error| Damage::altered(&error))?;
        let (k, m) = (object.code.k(), object.code.m());
        let found = super::Hex(header.object);
        if (found, header.k, header.m, header.index) != (object.id, k, m, self.index) {
            let FragmentHeader { k, m, index, .. } = header;
            return Err(Damage::Foreign(format!("fragment {index:02} of {k}+{m} of object {found}")));
        }
        if header.core_hash != object.core_sha256.0 {
            return Err(Damage::Foreign("sealed under another core".to_owned()));
        }
        if header.layout_epoch != object.seal.layout_epoch {
            return Err(Damage::Stale { found: header.layout_epoch, expected: object.seal.layout_epoch });
        }
        let share = Share { index: self.index + 1, bytes: header.share };
        let committed = &object.seal.fragments[usize::from(self.index)].share_sha256.0;
        share
            .verify(&object.id.0, Kind::Fragment, committed)
            .map_err(|_| Damage::Altered("its share is not the one that was sealed".to_owned()))?;
        Ok(share)
    }

    /// The body with values to check its blocks against.
    fn body_of(&self, object: &Object, blob: Box<dyn Blob>, findings: &mut Vec<Finding>) -> Option<Body> {
        let entry = &object.seal.fragments[usize::from(self.index)];
        let root = Some(entry.body_blake3.0);
        let body = Body { values: Vec::new(), bytes: entry.body_bytes, blob };
        let (stored, unreadable) = match body.stored_values() {
            Ok(values) => (values, None),
            Err(error) => (None, Some(Damage::unreadable(&error))),
        };
        let was_cut = stored.is_none() && unreadable.is_none();
        if let Some(values) = stored.filter(|values| tree::root(values, body.bytes) == root) {
            return Some(Body { values, ..body });
        }
        if !was_cut {
            let altered = || Damage::Altered("it does not merge to the body's hash in the seal".to_owned());
            findings.push(self.report.finding(Part::Tree, unreadable.unwrap_or_else(altered)));
        }
        let values = body.computed_values().ok().flatten()?;
        if tree::root(&values, body.bytes) == root {
            return Some(Body { values, ..body });
        }
        if !was_cut {
            let what =
                "the body is not the one that was sealed, and without the tree no block of it can be told";
            findings.push(self.report.finding(Part::File, Damage::Altered(what.to_owned())));
        }
        None
    }
}

impl Body {
    /// Reads block `row`; `false`: it is not the one that was sealed.
    fn block(&self, row: u64, block: &mut Vec<u8>) -> Result<bool, crate::site::StoreError> {
        let offset = row * BLOCK_BYTES as u64;
        let bytes = self.bytes.saturating_sub(offset).min(BLOCK_BYTES as u64) as usize;
        block.resize(bytes, 0);
        let read = self.blob.read(HEADER_BYTES as u64 + offset, block)?;
        Ok(read == bytes && tree::block_value(row, block, self.bytes) == self.values[row as usize])
    }

    /// The tree as it is stored; `None` where the file ends before.
    fn stored_values(&self) -> Result<Option<Vec<[u8; VALUE_BYTES]>>, crate::site::StoreError> {
        let offset = HEADER_BYTES as u64 + self.bytes;
        let tree_bytes = self.bytes.div_ceil(BLOCK_BYTES as u64) * VALUE_BYTES as u64;
        if self.blob.bytes() < offset + tree_bytes {
            return Ok(None);
        }
        let mut stored = vec![0; tree_bytes as usize];
        let read = self.blob.read(offset, &mut stored)?;
        let values = stored.chunks_exact(VALUE_BYTES).map(|value| value.try_into().expect("32 bytes"));
        Ok((read == stored.len()).then(|| values.collect()))
    }

    /// The tree of the body as it lies there; `None` where the file ends before the body does.
    fn computed_values(&self) -> Result<Option<Vec<[u8; VALUE_BYTES]>>, crate::site::StoreError> {
        if self.blob.bytes() < HEADER_BYTES as u64 + self.bytes {
            return Ok(None);
        }
        let mut block = vec![0; BLOCK_BYTES];
        let mut values = Vec::new();
        for row in 0..self.bytes.div_ceil(BLOCK_BYTES as u64) {
            let offset = row * BLOCK_BYTES as u64;
            let bytes = (self.bytes - offset).min(BLOCK_BYTES as u64) as usize;
            if self.blob.read(HEADER_BYTES as u64 + offset, &mut block[..bytes])? < bytes {
                return Ok(None);
            }
            values.push(tree::block_value(row, &block[..bytes], self.bytes));
        }
        Ok(Some(values))
    }
}
