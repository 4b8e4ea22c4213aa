//! Maps by keys that are hashes already.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by hashes.
pub type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

/// Takes the hash that a key is.
#[derive(Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are of 64 bits");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
