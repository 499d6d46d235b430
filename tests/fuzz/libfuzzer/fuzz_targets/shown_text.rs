//! libFuzzer's entry to the target of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(target) = session_fuzz::target("shown_text") {
        target(data);
    }
});
