//! What the tests of the runtimes have in common.

/// All the descriptors that the hard limit allows, which must be at least `needed`. The limit is
/// that of the whole process: tests run at the same time share it.
#[cfg(unix)]
pub fn want_descriptors(needed: u64) {
    let have = rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be read");
    assert!(
        have >= needed,
        "the hard limit is {have} descriptors, the tests need {needed}"
    );
}

/// Windows has no such limit.
#[cfg(windows)]
pub fn want_descriptors(_: u64) {}

/// Bytes that tell connections, and places in a connection, apart.
pub fn pattern(connection: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (connection * 31 + at * 7 + at / 251) as u8)
        .collect()
}
