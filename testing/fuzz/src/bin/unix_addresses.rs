//! The address of a peer, which the peer chooses: any bytes of any length, as the kernel might return them,
//! and those that a peer really can bind to. What the crate makes of them is what std does, where both know.

#![no_main]
#![allow(dead_code, unused_imports)] // of the included files only a part is used

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sys::socket::{std_unix_address, unix_accept, unix_address};

/// As much of the crate as the included files use.
#[path = "../../../../src/sys"]
mod sys {
    pub mod error;
    #[path = "calls"]
    pub mod platform {
        pub use libc::accept4;

        pub mod abstract_names;
        #[path = "accept4.rs"]
        pub mod accept;
    }
    #[path = "socket/unix.rs"]
    pub mod socket;
}

const PATH: usize = mem::size_of::<libc::sockaddr_un>() - START;
/// Where the path begins.
const START: usize = mem::offset_of!(libc::sockaddr_un, sun_path);

fuzz_target!(|data: &[u8]| {
    let Some((&[low, high], bytes)) = data.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([low, high]));
    parsed(length, bytes);
    // As if the kernel had returned no more than there is.
    parsed(START + bytes.len(), bytes);
    accepted(bytes);
});

fn address(bytes: &[u8]) -> libc::sockaddr_un {
    // SAFETY: `sockaddr_un` consists of integers, for which all zeros are valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    address
}

/// What an address says: its path, its abstract name, or neither.
fn said(address: &SocketAddr) -> (Option<&[u8]>, Option<&[u8]>) {
    let path = address
        .as_pathname()
        .map(|path| path.as_os_str().as_bytes());
    let name = address.as_abstract_name();
    assert_eq!(
        [path.is_some(), name.is_some(), address.is_unnamed()]
            .iter()
            .filter(|is_so| **is_so)
            .count(),
        1
    );
    (path, name)
}

/// Any bytes, with any length.
fn parsed(length: usize, bytes: &[u8]) {
    let raw = address(bytes);
    let known: Vec<u8> = raw.sun_path.iter().map(|&byte| byte as u8).collect();
    let known = &known[..length.saturating_sub(START).min(PATH)];
    let Some(parsed) = std_unix_address(&raw, length) else {
        // std alone can make that one.
        assert!(known.len() == PATH && !known.contains(&0), "{known:?}");
        return;
    };
    match said(&parsed) {
        (Some(path), _) => {
            assert!(!path.is_empty() && !path.contains(&0));
            assert!(known.starts_with(path));
            assert!(known.get(path.len()).map_or(true, |&next| next == 0));
        }
        (_, Some(name)) => assert_eq!([&[0], name].concat(), known),
        // The empty name is none.
        (None, None) => assert!(known.is_empty() || known == [0]),
    }
    let again = unix_address(&parsed).expect("it is an address");
    // SAFETY: `unix_address` makes a `sockaddr_un`, in the aligned storage of `again`.
    let raw = unsafe { &*again.as_ptr().cast::<libc::sockaddr_un>() };
    let twice = std_unix_address(raw, again.len() as usize);
    assert_eq!(said(&twice.expect("it fits")), said(&parsed));
}

/// A peer binds to the bytes and connects: the address that `accept` returns is the one that std has.
fn accepted(bytes: &[u8]) {
    static LISTENER: OnceLock<(UnixListener, SocketAddr)> = OnceLock::new();
    let (listener, server) = LISTENER.get_or_init(|| {
        // What peers bind to is created here.
        let folder = std::env::temp_dir().join(format!("mio-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::env::set_current_dir(&folder).expect("it is there");
        let name = format!("mio-fuzz-{}", std::process::id());
        let server = SocketAddr::from_abstract_name(name).expect("it is short");
        (UnixListener::bind_addr(&server).expect("a name"), server)
    });
    // A path stays in the folder.
    let mut bytes = bytes.to_vec();
    if bytes.first().is_some_and(|&first| first != 0) {
        for byte in &mut bytes {
            if *byte == b'/' || *byte == b'.' {
                *byte = b'_';
            }
        }
    }
    let raw = address(&bytes);
    let length = START + bytes.len().min(PATH);
    // SAFETY: the call has no memory-safety preconditions.
    let peer = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(peer >= 0);
    // SAFETY: the call has just opened the descriptor, and nothing else owns it.
    let peer = unsafe { OwnedFd::from_raw_fd(peer) };
    // SAFETY: the kernel reads `length` bytes of `raw`, which has as many.
    let bound = unsafe {
        let raw: *const libc::sockaddr_un = &raw;
        libc::bind(peer.as_raw_fd(), raw.cast(), length as libc::socklen_t)
    };
    if bound != 0 {
        return;
    }
    let server = unix_address(server).expect("it is an address");
    socket2::SockRef::from(&peer)
        .connect(&server)
        .expect("it listens");
    let (stream, address) = unix_accept(listener).expect("a peer is there");
    let std = stream.peer_addr().expect("it is connected");
    assert_eq!(said(&address), said(&std));
    if let Some(path) = std.as_pathname() {
        std::fs::remove_file(path).expect("the peer's path");
    }
    drop(UnixStream::from(peer));
}
