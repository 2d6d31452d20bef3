//! Links the two C libraries, in the versions that the system has.

fn main() {
    for library in ["libuv", "libevent_core", "libevent_pthreads"] {
        if let Err(error) = pkg_config::probe_library(library) {
            panic!("{library} (Debian: libuv1-dev, libevent-dev): {error}");
        }
    }
}
