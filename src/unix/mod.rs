//! Sources that only Unix has: any file descriptor, and pipes.

pub mod pipe;
mod source_fd;

pub use source_fd::SourceFd;
