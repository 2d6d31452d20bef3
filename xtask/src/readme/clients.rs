//! Clients for the README's echo server. Each tests one way in which a server may lose bytes, queue
//! too many, or let one client harm the others.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

/// The time limit of each wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// More bytes than the sockets' buffers hold, in both directions.
const LARGE: usize = 16 << 20;

/// The maximum memory of a server without a queue, for a client that does not read.
const MEMORY: u64 = 8 << 20;

/// How long no byte must move before a client takes the server to have stopped.
const STILL: Duration = Duration::from_millis(300);

type Client = fn(SocketAddr) -> Result<()>;

const CLIENTS: &[(&str, Client)] = &[
    ("a message comes back, and then the end", message),
    ("a message with its end comes back", sent_at_once),
    ("single bytes come back", single_bytes),
    ("16 MiB come back while they are sent", large),
    ("many clients at once get their bytes", many),
    ("a client that resets harms no other", reset),
];

/// Runs all clients against the server at an address, which is `server`.
pub fn run(
    server: &mut Child,
    address: SocketAddr,
    mut each: impl FnMut(&str, Result<()>),
) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        ensure!(start.elapsed() < PATIENCE, "no server: {error}");
        thread::sleep(Duration::from_millis(10));
    }
    for (name, client) in CLIENTS {
        each(name, client(address));
    }
    let name = "a client that does not read is stopped, at no cost for others";
    each(name, not_reading(address, Some(server.id()), STILL));
    let alive = match server.try_wait()? {
        None => Ok(()),
        Some(status) => Err(anyhow::anyhow!("it ended with {status}")),
    };
    each("the server still runs", alive);
    Ok(())
}

/// The bytes that a client sends: they do not repeat for a long stretch.
fn bytes(client: usize, length: usize) -> Vec<u8> {
    let byte = |position: usize| {
        let mixed = (position as u32 ^ (client as u32) << 24).wrapping_mul(0x9E37_79B1);
        ((mixed ^ (mixed >> 15)).wrapping_mul(0x85EB_CA6B) >> 24) as u8
    };
    (0..length).map(byte).collect()
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads exactly these bytes.
fn expect(stream: &mut TcpStream, expected: &[u8]) -> Result<()> {
    let mut received = vec![0; expected.len()];
    let mut length = 0;
    while length < received.len() {
        let read = stream.read(&mut received[length..]);
        match read.with_context(|| format!("after {length} of {} bytes", expected.len()))? {
            0 => bail!("the end after {length} of {} bytes", expected.len()),
            more => length += more,
        }
    }
    let wrong = received.iter().zip(expected).position(|(is, be)| is != be);
    match wrong {
        None => Ok(()),
        Some(at) => bail!("byte {at} is wrong"),
    }
}

/// Reads the end of the stream.
fn expect_end(stream: &mut TcpStream) -> Result<()> {
    let length = stream.read(&mut [0; 64]).context("instead of the end")?;
    ensure!(length == 0, "{length} bytes after the expected ones");
    Ok(())
}

fn message(address: SocketAddr) -> Result<()> {
    let mut stream = connect(address)?;
    for turn in 0..3 {
        let message = bytes(turn, 1000);
        stream.write_all(&message)?;
        expect(&mut stream, &message)?;
    }
    stream.shutdown(Shutdown::Write)?;
    expect_end(&mut stream)
}

fn sent_at_once(address: SocketAddr) -> Result<()> {
    // Several clients, so that one event of the listener stands for some of them.
    let mut streams = Vec::new();
    for number in 0..20 {
        let mut stream = connect(address)?;
        stream.write_all(&bytes(number, 20_000))?;
        stream.shutdown(Shutdown::Write)?;
        streams.push(stream);
    }
    for (number, mut stream) in streams.into_iter().enumerate() {
        expect(&mut stream, &bytes(number, 20_000))?;
        expect_end(&mut stream)?;
    }
    Ok(())
}

fn single_bytes(address: SocketAddr) -> Result<()> {
    let mut stream = connect(address)?;
    let message = bytes(1, 300);
    for byte in &message {
        stream.write_all(&[*byte])?;
    }
    expect(&mut stream, &message)?;
    stream.shutdown(Shutdown::Write)?;
    expect_end(&mut stream)
}

fn large(address: SocketAddr) -> Result<()> {
    let mut stream = connect(address)?;
    let mut sending = stream.try_clone()?;
    let sender = thread::spawn(move || -> Result<()> {
        sending.write_all(&bytes(2, LARGE))?;
        Ok(sending.shutdown(Shutdown::Write)?)
    });
    let received = expect(&mut stream, &bytes(2, LARGE)).and_then(|()| expect_end(&mut stream));
    // Without a reader the sender would block.
    let _ = stream.shutdown(Shutdown::Both);
    let sent = sender.join().expect("the sender panicked");
    received.and(sent)
}

fn many(address: SocketAddr) -> Result<()> {
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(connect(address)?);
    }
    for turn in 0..3 {
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&bytes(number + turn, 5000))?;
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            expect(stream, &bytes(number + turn, 5000))?;
        }
    }
    Ok(())
}

fn reset(address: SocketAddr) -> Result<()> {
    let mut other = connect(address)?;
    for _ in 0..10 {
        let mut stream = connect(address)?;
        stream.write_all(&bytes(3, 100_000))?;
        expect(&mut stream, &bytes(3, 1))?;
        // Dropped with unread data, which resets the connection.
    }
    other.write_all(b"still there?")?;
    expect(&mut other, b"still there?")
}

/// Sends without reading until no byte moves for the time `still`, and then reads everything.
fn not_reading(address: SocketAddr, server: Option<u32>, still: Duration) -> Result<()> {
    let memory_before = server.and_then(memory);
    let mut stream = connect(address)?;
    stream.set_write_timeout(Some(still))?;
    let message = bytes(4, 3 * LARGE);
    let mut sent = 0;
    while sent < message.len() {
        match stream.write(&message[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(sent < message.len(), "it could send {sent} bytes");
    // Meanwhile the server must serve other clients, queue little, and not run for this client.
    self::message(address).context("beside a client that does not read")?;
    if let (Some(before), Some(now)) = (memory_before, server.and_then(memory)) {
        let more = now.saturating_sub(before);
        ensure!(more < MEMORY, "the server took {more} bytes more of memory");
    }
    if let Some(before) = server.and_then(cpu_ticks) {
        thread::sleep(STILL);
        let ticks = server.and_then(cpu_ticks).unwrap_or(before) - before;
        ensure!(
            ticks < 15,
            "the server uses processor time while no byte moves"
        );
    }
    // Reads while it sends the end. Otherwise there is no capacity for the end.
    stream.shutdown(Shutdown::Write)?;
    expect(&mut stream, &message[..sent])?;
    expect_end(&mut stream)
}

/// The bytes of memory of a process, if the system has them.
fn memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes = line.trim().strip_suffix(" kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? << 10)
}

/// The processor time of a process in hundredths of a second, if the system has it.
fn cpu_ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Begins after the name, which may contain any character.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server with a thread for each client, until the test ends.
    fn server(serve: fn(TcpStream)) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        address
    }

    #[test]
    fn all_clients_are_content_with_a_server_that_echoes() {
        let address = server(|mut stream| {
            let mut reader = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut reader, &mut stream);
        });
        for (name, client) in CLIENTS {
            client(address).context(*name).unwrap();
        }
        not_reading(address, None, STILL).unwrap();
    }

    #[test]
    fn a_server_that_answers_once_fails() {
        let address = server(|mut stream| {
            // One byte: a client's bytes may arrive together.
            let mut first = [0];
            if stream.read_exact(&mut first).is_ok() {
                let _ = stream.write_all(&first);
            }
        });
        for (name, client) in &CLIENTS[..4] {
            assert!(client(address).is_err(), "{name}");
        }
    }

    #[test]
    fn a_server_that_reads_without_bounds_is_found_out() {
        let address = server(|mut stream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let _ = stream.write_all(&all);
        });
        // The server may wait long for a processor, and for memory.
        let error = not_reading(address, None, PATIENCE).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("it could send"), "{error}");
    }
}
