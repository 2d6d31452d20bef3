//! Sources that Windows has and Unix has not: named pipes.
//!
//! Any socket, of whatever crate, is a source in an [`IoSource`](crate::IoSource).

mod named_pipe;

pub use named_pipe::{NamedPipe, NamedPipeOptions};
