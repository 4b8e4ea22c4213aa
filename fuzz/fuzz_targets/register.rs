//! A consent register, a policy and a registry of sites: whatever they hold, an answer and no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(register) = jobs::consent::read_register("r", bytes) {
        assert!(register.records.iter().all(|(participant, record)| *participant == record.participant));
    }
    let _ = jobs::policy::document::read_policy("p", bytes, String::new());
    let _ = jobs::site::read_sites("s", bytes);
});
