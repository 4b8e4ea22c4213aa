//! A configuration file and the value of a flag: whatever they hold, an answer and no panic.
#![no_main]

use jobs::config::{Machine, Sources, resolve};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    let flags = BTreeMap::from([("memory", String::from_utf8_lossy(bytes).into_owned())]);
    let files = [("w.toml".to_owned(), bytes.to_vec())];
    let (none, env, machine) =
        (BTreeMap::new(), BTreeMap::new(), Machine { cores: 2, memory_bytes: 1 << 33 });
    let _ = resolve(&Sources { flags: &flags, env: &env, files: &[], machine });
    let _ = resolve(&Sources { flags: &none, env: &env, files: &files, machine });
});
