//! Sources that Unix has and Windows has not: any file descriptor, and pipes.

pub mod pipe;
mod source_fd;

pub use source_fd::SourceFd;
