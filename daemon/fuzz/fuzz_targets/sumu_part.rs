//! `shoebox::fuzzing::sumu_part` on whatever libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoebox::fuzzing::sumu_part(bytes));
