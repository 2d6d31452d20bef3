//! Sources that only Unix has: any file descriptor, and pipes.

mod child_exit;
pub mod pipe;
mod source_fd;

pub use child_exit::ChildExit;
pub use source_fd::SourceFd;
