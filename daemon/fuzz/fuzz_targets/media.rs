//! `shoebox::fuzzing::media` on whatever libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoebox::fuzzing::media(bytes));
