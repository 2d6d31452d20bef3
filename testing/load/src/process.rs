//! What the process has: descriptors and memory.

use std::fs;

/// Sets the limit of descriptors, as far as the system allows it. Returns it.
pub fn limit_descriptors(wanted: u64) -> u64 {
    let (_, most) = rlimit::getrlimit(rlimit::Resource::NOFILE).expect("a limit");
    let limit = wanted.min(most);
    rlimit::setrlimit(rlimit::Resource::NOFILE, limit, limit).expect("sets the limit");
    limit
}

pub fn open_descriptors() -> usize {
    // One of them is that of the folder.
    fs::read_dir("/proc/self/fd")
        .expect("lists descriptors")
        .count()
        - 1
}

/// The bytes that the program has allocated and not freed.
///
/// Not the memory that it occupies: ten threads leave holes in it, more of them the busier the machine is.
#[cfg(target_env = "gnu")]
pub fn allocated() -> usize {
    // SAFETY: it has no memory-safety preconditions.
    let info = unsafe { libc::mallinfo2() };
    // Large allocations are mapped, and counted apart.
    info.uordblks + info.hblkhd
}

/// Another C library does not say: the bytes in memory.
#[cfg(not(target_env = "gnu"))]
pub fn allocated() -> usize {
    resident()
}

/// The bytes in memory.
pub fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("reads the status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib
        .and_then(|kib| kib.trim().parse().ok())
        .expect("VmRSS in kB");
    kib << 10
}
