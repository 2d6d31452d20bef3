//! What the sources of [`net`](crate::net) and `unix::pipe`
//! have in common: each is a struct with one field, `inner: IoSource<_>`.

/// `Source`, by the methods of its `IoSource`, and `Debug`: as the inner object has it, and with what is
/// known of the registration.
#[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
macro_rules! impl_source {
    ($Type:ident) => {
        impl crate::event::Source for $Type {
            #[inline]
            fn register(
                &mut self,
                registry: &crate::Registry,
                token: crate::Token,
                interests: crate::Interest,
            ) -> std::io::Result<()> {
                self.inner.register(registry, token, interests)
            }

            #[inline]
            fn reregister(
                &mut self,
                registry: &crate::Registry,
                token: crate::Token,
                interests: crate::Interest,
            ) -> std::io::Result<()> {
                self.inner.reregister(registry, token, interests)
            }

            #[inline]
            fn deregister(&mut self, registry: &crate::Registry) -> std::io::Result<()> {
                self.inner.deregister(registry)
            }
        }

        impl std::fmt::Debug for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.inner.fmt_as(stringify!($Type), f)
            }
        }
    };
}

/// `try_io` and `try_io_with`; to be used inside an `impl` block.
#[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
macro_rules! try_io_methods {
    () => {
        /// Calls `io`, an operation on this source's descriptor that this crate does not have, and
        /// passes its outcome to the event queue.
        ///
        /// `io` makes one non-blocking call, on this source and no other, and returns its result
        /// unchanged: an error of the kind [`WouldBlock`](std::io::ErrorKind::WouldBlock) reports
        /// that readiness has ended. If `io` turns that error into `Ok(None)`, the next event may
        /// never come.
        ///
        /// On epoll and kqueue, which see drained sources themselves, this costs nothing. If you
        /// know the direction, use [`try_io_with`](Self::try_io_with): the other directions then
        /// get no spurious events.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::io::{self, Read};
        ///
        /// use mio::net::UdpSocket;
        ///
        /// # fn main() -> io::Result<()> {
        /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
        /// let mut buffer = [0; 16];
        /// let received = socket.try_io(|| {
        ///     // By another crate, which does not know about polls.
        ///     (&*socket2::SockRef::from(&socket)).read(&mut buffer)
        /// });
        /// // Nothing was sent.
        /// assert_eq!(received.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        /// # Ok(())
        /// # }
        /// ```
        #[inline]
        pub fn try_io<F, R>(&self, io: F) -> std::io::Result<R>
        where
            F: FnOnce() -> std::io::Result<R>,
        {
            self.inner.try_io(|_| io())
        }

        /// [`try_io`](Self::try_io) for an operation whose direction is known: `io` reads
        /// ([`READABLE`](crate::Interest::READABLE)), writes
        /// ([`WRITABLE`](crate::Interest::WRITABLE)) or does both.
        ///
        /// # Examples
        ///
        /// ```
        /// use mio::net::UdpSocket;
        /// use mio::Interest;
        ///
        /// # fn main() -> std::io::Result<()> {
        /// let any = "127.0.0.1:0".parse().unwrap();
        /// let (sender, receiver) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
        /// let to = receiver.local_addr()?;
        ///
        /// let sent = sender.try_io_with(Interest::WRITABLE, || sender.send_to(b"ping", to))?;
        /// assert_eq!(sent, 4);
        /// # Ok(())
        /// # }
        /// ```
        #[inline]
        pub fn try_io_with<F, R>(&self, direction: crate::Interest, io: F) -> std::io::Result<R>
        where
            F: FnOnce() -> std::io::Result<R>,
        {
            self.inner.do_io(direction, |_| io())
        }
    };
}

/// `Read` for a type and for references to it, with vectored I/O. `end_is_last` is false if more
/// data may follow after a read that returned 0.
#[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
macro_rules! impl_read {
    (end_is_last: $end_is_last:literal, $($Type:ty),+) => {$(
        impl std::io::Read for $Type {
            #[inline]
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let wanted = buffer.len();
                self.inner
                    .do_stream_io(crate::Interest::READABLE, wanted, $end_is_last, |mut inner| {
                        std::io::Read::read(&mut inner, buffer)
                    })
            }

            #[inline]
            fn read_vectored(
                &mut self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
                self.inner
                    .do_stream_io(crate::Interest::READABLE, wanted, $end_is_last, |mut inner| {
                        std::io::Read::read_vectored(&mut inner, buffers)
                    })
            }
        }
    )+};
}

/// `Write` for a type and for references to it, with vectored I/O. It has no buffer, so there is
/// nothing to flush.
#[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
macro_rules! impl_write {
    ($($Type:ty),+) => {$(
        impl std::io::Write for $Type {
            #[inline]
            fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
                self.inner
                    .do_stream_io(crate::Interest::WRITABLE, buffer.len(), true, |mut inner| {
                        std::io::Write::write(&mut inner, buffer)
                    })
            }

            #[inline]
            fn write_vectored(
                &mut self,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
                self.inner
                    .do_stream_io(crate::Interest::WRITABLE, wanted, true, |mut inner| {
                        std::io::Write::write_vectored(&mut inner, buffers)
                    })
            }

            #[inline]
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    )+};
}

/// Conversions from and into descriptors. `$Inner` is what the `IoSource` holds.
#[cfg(all(unix, any(feature = "net", feature = "os-ext")))]
macro_rules! impl_descriptor {
    ($Type:ident, $Inner:ty) => {
        #[cfg_attr(docsrs, doc(cfg(unix)))]
        impl std::os::fd::AsFd for $Type {
            #[inline]
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&*self.inner)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(unix)))]
        impl std::os::fd::AsRawFd for $Type {
            #[inline]
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&*self.inner)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(unix)))]
        impl std::os::fd::IntoRawFd for $Type {
            #[inline]
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(self.inner.into_inner())
            }
        }

        #[cfg_attr(docsrs, doc(cfg(unix)))]
        impl std::os::fd::FromRawFd for $Type {
            /// Takes over a descriptor of the same kind. It must be in non-blocking mode: this does
            /// not set it.
            ///
            /// # Safety
            ///
            /// The descriptor must be open, and nothing else may own it.
            #[inline]
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> $Type {
                // SAFETY: the caller guarantees that the descriptor is open and that nothing else
                // owns it.
                let owned = unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) };
                $Type::from(owned)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(unix)))]
        impl From<std::os::fd::OwnedFd> for $Type {
            /// Takes over a descriptor of the same kind. It must be in non-blocking mode: this does
            /// not set it.
            #[inline]
            fn from(fd: std::os::fd::OwnedFd) -> $Type {
                $Type {
                    inner: crate::IoSource::new(<$Inner>::from(fd)),
                }
            }
        }

        #[cfg_attr(docsrs, doc(cfg(unix)))]
        impl From<$Type> for std::os::fd::OwnedFd {
            #[inline]
            fn from(source: $Type) -> std::os::fd::OwnedFd {
                source.inner.into_inner().into()
            }
        }
    };
}

/// Conversions from and into sockets. `$Inner` is what the `IoSource` holds.
#[cfg(all(windows, feature = "net"))]
macro_rules! impl_socket {
    ($Type:ident, $Inner:ty) => {
        #[cfg_attr(docsrs, doc(cfg(windows)))]
        impl std::os::windows::io::AsSocket for $Type {
            #[inline]
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                std::os::windows::io::AsSocket::as_socket(&*self.inner)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(windows)))]
        impl std::os::windows::io::AsRawSocket for $Type {
            #[inline]
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                std::os::windows::io::AsRawSocket::as_raw_socket(&*self.inner)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(windows)))]
        impl std::os::windows::io::IntoRawSocket for $Type {
            #[inline]
            fn into_raw_socket(self) -> std::os::windows::io::RawSocket {
                std::os::windows::io::IntoRawSocket::into_raw_socket(self.inner.into_inner())
            }
        }

        #[cfg_attr(docsrs, doc(cfg(windows)))]
        impl std::os::windows::io::FromRawSocket for $Type {
            /// Takes over a socket of the same kind. It must be in non-blocking mode: this does not
            /// set it.
            ///
            /// # Safety
            ///
            /// The socket must be open, and nothing else may own it.
            #[inline]
            unsafe fn from_raw_socket(socket: std::os::windows::io::RawSocket) -> $Type {
                // SAFETY: the caller guarantees that the socket is open and that nothing else owns
                // it.
                let owned = unsafe { std::os::windows::io::OwnedSocket::from_raw_socket(socket) };
                $Type::from(owned)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(windows)))]
        impl From<std::os::windows::io::OwnedSocket> for $Type {
            /// Takes over a socket of the same kind. It must be in non-blocking mode: this does not
            /// set it.
            #[inline]
            fn from(socket: std::os::windows::io::OwnedSocket) -> $Type {
                $Type {
                    inner: crate::IoSource::new(<$Inner>::from(socket)),
                }
            }
        }

        #[cfg_attr(docsrs, doc(cfg(windows)))]
        impl From<$Type> for std::os::windows::io::OwnedSocket {
            #[inline]
            fn from(source: $Type) -> std::os::windows::io::OwnedSocket {
                source.inner.into_inner().into()
            }
        }
    };
}

/// Conversions from and into the standard library's type. `$example` is an example of `from_std`.
#[cfg(feature = "net")]
macro_rules! impl_std {
    ($Type:ident, $Std:ty, $example:literal) => {
        impl From<$Type> for $Std {
            /// The same socket, still non-blocking. On epoll and kqueue it stays registered.
            #[inline]
            fn from(source: $Type) -> $Std {
                source.inner.into_inner()
            }
        }

        impl $Type {
            /// Takes over a socket of the standard library.
            ///
            /// This neither changes nor checks the socket. Set it to non-blocking first
            /// (`set_nonblocking(true)`): otherwise its I/O blocks the thread.
            ///
            /// ```
            #[doc = $example]
            /// ```
            #[inline]
            pub fn from_std(socket: $Std) -> $Type {
                $Type {
                    inner: crate::IoSource::new(socket),
                }
            }
        }
    };
}
