//! A cohort file and its sheet, separated by the first NUL: whatever they hold, an answer and no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let (toml, sheet) = bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    let _ = jobs::cohort::parse(Path::new("c.toml"), toml, |_| Ok(sheet.to_vec()));
    // Most inputs never name a sheet; so the sheet is also read below a sound cohort file.
    let sound = b"[cohort]\nid = \"C\"\nreference = \"r\"\nsamples = \"s\"\n";
    if let Ok(cohort) = jobs::cohort::parse(Path::new("c.toml"), sound, |_| Ok(bytes.to_vec())) {
        assert!(cohort.samples.iter().all(|sample| !sample.lanes.is_empty()));
        assert!(cohort.samples.is_sorted_by(|a, b| a.sample < b.sample));
    }
});
