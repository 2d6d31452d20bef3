//! A small program that calls every operation of the API of mio 1.2.5 once. It measures what a
//! client pays for building with a crate, in addition to the crate itself. It is built, and never
//! run.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{pipe, SourceFd};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

fn all_of_a_source<S: Source>(registry: &Registry, mut source: S) -> io::Result<()> {
    registry.register(&mut source, Token(0), Interest::READABLE)?;
    registry.reregister(&mut source, Token(1), Interest::READABLE | Interest::WRITABLE)?;
    registry.deregister(&mut source)
}

fn all_of_a_stream(mut stream: impl Read + Write) -> io::Result<usize> {
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer)?;
    let length = stream.write(&buffer[..length])?;
    stream.flush()?;
    Ok(length)
}

fn tcp(registry: &Registry) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (peer, address) = listener.accept()?;
    println!("{address} {:?} {:?}", listener.ttl()?, listener.take_error()?);
    listener.set_ttl(1)?;
    stream.set_nodelay(true)?;
    stream.set_ttl(1)?;
    println!("{:?} {:?} {:?}", stream.peer_addr()?, stream.nodelay()?, stream.ttl()?);
    println!("{:?} {:?}", stream.peek(&mut [0; 8])?, stream.take_error()?);
    stream.try_io(|| Ok(()))?;
    all_of_a_stream(&stream)?;
    stream.shutdown(Shutdown::Both)?;
    all_of_a_source(registry, listener)?;
    all_of_a_source(registry, stream)?;
    all_of_a_source(registry, peer)
}

fn udp(registry: &Registry) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    let address = socket.local_addr()?;
    let mut buffer = [0; 64];
    println!("{:?} {:?}", socket.send_to(b"x", address)?, socket.recv_from(&mut buffer)?);
    println!("{:?}", socket.peek_from(&mut buffer)?);
    socket.connect(address)?;
    println!("{:?} {:?}", socket.send(b"x")?, socket.recv(&mut buffer)?);
    println!("{:?} {:?}", socket.peek(&mut buffer)?, socket.peer_addr()?);
    socket.set_broadcast(true)?;
    socket.set_ttl(1)?;
    println!("{:?} {:?} {:?}", socket.broadcast()?, socket.ttl()?, socket.take_error()?);
    socket.try_io(|| Ok(()))?;
    all_of_a_source(registry, socket)
}

fn unix(registry: &Registry) -> io::Result<()> {
    let listener = UnixListener::bind("path")?;
    let (accepted, address) = listener.accept()?;
    println!("{address:?} {:?} {:?}", listener.local_addr()?, listener.take_error()?);
    let stream = UnixStream::connect("path")?;
    let (one, other) = UnixStream::pair()?;
    println!("{:?} {:?} {:?}", stream.local_addr()?, stream.peer_addr()?, stream.take_error()?);
    stream.try_io(|| Ok(()))?;
    all_of_a_stream(&stream)?;
    stream.shutdown(Shutdown::Both)?;
    all_of_a_source(registry, listener)?;
    for stream in [accepted, stream, one, other] {
        all_of_a_source(registry, stream)?;
    }
    let datagram = UnixDatagram::bind("path")?;
    let (one, other) = UnixDatagram::pair()?;
    let unbound = UnixDatagram::unbound()?;
    let mut buffer = [0; 64];
    datagram.connect("path")?;
    println!("{:?} {:?}", datagram.send(b"x")?, datagram.send_to(b"x", "path")?);
    println!("{:?} {:?}", datagram.recv(&mut buffer)?, datagram.recv_from(&mut buffer)?);
    println!("{:?} {:?}", datagram.local_addr()?, datagram.peer_addr()?);
    datagram.try_io(|| Ok(()))?;
    println!("{:?}", datagram.take_error()?);
    datagram.shutdown(Shutdown::Both)?;
    for datagram in [datagram, one, other, unbound] {
        all_of_a_source(registry, datagram)?;
    }
    Ok(())
}

fn pipes(registry: &Registry) -> io::Result<()> {
    let (mut sender, mut receiver) = pipe::new()?;
    println!("{:?} {:?}", sender.write(b"x")?, receiver.read(&mut [0; 8])?);
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    receiver.try_io(|| Ok(()))?;
    sender.try_io(|| Ok(()))?;
    let fd = receiver.as_raw_fd();
    all_of_a_source(registry, SourceFd(&fd))?;
    all_of_a_source(registry, sender)?;
    all_of_a_source(registry, receiver)
}

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let registry = poll.registry().try_clone()?;
    let waker = Waker::new(&registry, Token(9))?;
    waker.wake()?;
    tcp(&registry)?;
    udp(&registry)?;
    unix(&registry)?;
    pipes(&registry)?;
    poll.poll(&mut events, Some(Duration::from_millis(1)))?;
    for event in &events {
        println!("{event:?} {:?}", event.token());
        println!("{} {}", event.is_readable(), event.is_writable());
        println!("{} {}", event.is_read_closed(), event.is_write_closed());
        println!("{} {}", event.is_error(), event.is_priority());
    }
    Ok(())
}
