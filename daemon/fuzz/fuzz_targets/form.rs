//! `shoebox::fuzzing::form` on whatever libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoebox::fuzzing::form(bytes));
