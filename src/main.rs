//! The command line of wakachi.
fn main() {}
