//! The threads that use the server, and disturb it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::Interest;
use socket2::{Domain, SockRef, Socket, Type};

use crate::world::{byte, Count, Phase, Random, World, BUFFER};
use crate::WORKERS;

/// How many connections are begun at once.
const BURST: usize = 100;

/// How many connections a thread has too many, when it does. The listener's queue has room for them.
const MORE: usize = 30;

/// For a client that waited so long for what it must get, the kernel is asked whether its peer is ready.
const SUSPICIOUS: Duration = Duration::from_secs(3);
/// A peer that is ready for so long, and not served, has lost its event.
const LOST: Duration = Duration::from_secs(10);

/// The kernel itself may take seconds to connect again.
const NOT_ACCEPTED: Duration = Duration::from_secs(40);

/// Of a segment: those of the loopback device are larger than the buffers.
const SEGMENT: u32 = 1400;

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The client's end of a connection.
struct Client {
    stream: TcpStream,
    /// None while it is being connected.
    address: Option<SocketAddr>,
    goal: u64,
    sent: u64,
    received: u64,
    /// How much it reads at a time.
    pace: usize,
    has_shut: bool,
    /// Since when nothing went on.
    since: Instant,
    /// The turns that the peer has had when it was found to be ready, and since when.
    ready: Option<(u64, Instant)>,
}

enum Visited {
    GoesOn,
    Closed,
}

pub fn run(world: &World, number: usize) {
    let mut random = Random::new(number);
    let mut addresses = Addresses::of(number);
    let mut clients: Vec<Client> = Vec::new();
    let mut phase = Phase::Draining;
    let share = world.connections_wanted / WORKERS;
    while world.phase() != Phase::Over {
        let start = Instant::now();
        if phase != world.phase() {
            phase = world.phase();
            // Who could not be accepted starts to wait now.
            for client in &mut clients {
                client.since = Instant::now();
            }
        }
        let wanted = match phase {
            Phase::Full => share * 95 / 100,
            Phase::TooMany => share + MORE,
            Phase::Draining | Phase::Over => 0,
        };
        if clients.len() < wanted {
            burst(world, &mut random, &mut addresses, &mut clients);
        }
        let resets = phase == Phase::Full;
        clients.retain_mut(|client| {
            let visited = client.visit(world, phase);
            let is_closed = matches!(visited, Visited::Closed)
                || resets && random.one_in(3000) && client.reset(world);
            if is_closed {
                world.client_closed();
            }
            !is_closed
        });
        if phase == Phase::Full && clients.len() > wanted {
            // What was too much: the newest were never accepted.
            for _ in clients.drain(wanted..) {
                world.client_closed();
            }
        }
        for _ in 0..4 {
            disturb(world, &mut random, phase);
        }
        // The polling threads need the processors more.
        let pause = Duration::from_micros(500 + random.below(2000) as u64);
        thread::sleep(pause.max(start.elapsed() * 4));
    }
}

/// Addresses of the loopback network, one after the other: no two connections of a run have the same.
/// (A connection that was reset has no port any more, while its client still reads what it got.)
struct Addresses {
    worker: u8,
    taken: usize,
}

impl Addresses {
    /// The ports that are used of each.
    const FIRST: u16 = 10_000;
    const EACH: usize = 20_000;

    fn of(worker: usize) -> Addresses {
        Addresses {
            worker: worker as u8,
            taken: 0,
        }
    }

    fn next(&mut self) -> SocketAddr {
        let index = self.taken / Addresses::EACH;
        let port = Addresses::FIRST + (self.taken % Addresses::EACH) as u16;
        self.taken += 1;
        let [high, low] = [index / 250, index % 250].map(|part| part as u8 + 1);
        SocketAddr::from(([127, 10 + self.worker, high, low], port))
    }
}

/// Begins to connect.
fn connect(world: &World, from: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_tcp_mss(SEGMENT)?;
    socket.bind(&from.into())?;
    match socket.connect(&world.address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

fn burst(world: &World, random: &mut Random, addresses: &mut Addresses, clients: &mut Vec<Client>) {
    for _ in 0..BURST {
        if !world.takes_more() {
            return;
        }
        let Ok(stream) = connect(world, addresses.next()) else {
            // No descriptor or no port is left.
            return;
        };
        world.client_opened();
        let goal = match random.below(10) {
            // Those that are too many stay.
            _ if world.phase() == Phase::TooMany => 1 << 20,
            0 => 1 << 20,
            1..=3 => 0,
            _ => random.below(1 << 16),
        };
        let pace = match random.below(4) {
            0 => 200,
            _ => 1 << 16,
        };
        clients.push(Client {
            stream,
            address: None,
            goal: goal as u64,
            sent: 0,
            received: 0,
            pace,
            has_shut: false,
            since: Instant::now(),
            ready: None,
        });
    }
}

/// Does something to the server's end of some connection, or wakes a poll.
fn disturb(world: &World, random: &mut Random, phase: Phase) {
    if random.one_in(4) {
        return world.wake(random.below(2));
    }
    let Some(connection) = world.some(random.next()) else {
        return;
    };
    let mut state = connection.state.lock().unwrap();
    if state.stream.is_none() {
        return;
    }
    match random.below(10) {
        0..=4 => {
            let interest = match state.pending.is_empty() {
                true if random.one_in(2) => Interest::READABLE,
                _ => BOTH,
            };
            world.reregister(connection.token, &mut state, interest);
            world.count(Count::Reregistered, 1);
        }
        5..=8 => {
            let other = 1 - state.queue;
            world.deregister(&mut state);
            world.register(connection.token, &mut state, other);
            world.count(Count::Moved, 1);
        }
        // While there are too many, whoever drops one makes room for the next.
        _ if phase == Phase::TooMany => {}
        _ => {
            world.drops(connection.peer);
            world.close(&connection, &mut state, random.one_in(2));
            world.count(Count::Dropped, 1);
        }
    }
}

impl Client {
    fn visit(&mut self, world: &World, phase: Phase) -> Visited {
        let Some(address) = self.address() else {
            // Only while there is no room need it wait for long.
            if phase != Phase::TooMany && self.since.elapsed() > NOT_ACCEPTED {
                world.problem("a connection was not accepted".to_owned());
            }
            return self.visit_unconnected(world);
        };
        if phase == Phase::Draining {
            self.goal = self.sent;
        }
        let mut buffer = [0; 4096];
        while self.sent < self.goal {
            let len = buffer.len().min((self.goal - self.sent) as usize);
            for (i, place) in buffer[..len].iter_mut().enumerate() {
                *place = byte(address.port(), self.sent + i as u64);
            }
            match self.stream.write(&buffer[..len]) {
                Ok(sent) => {
                    self.sent += sent as u64;
                    self.since = Instant::now();
                    if sent < len {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return self.ended(world, address, &error.to_string()),
            }
        }
        // Not before: the kernel ends a connection that was closed and whose peer reads too slowly.
        if self.received == self.goal && !self.has_shut {
            self.has_shut = true;
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
        let mut left = match phase {
            Phase::Draining => usize::MAX,
            _ => self.pace,
        };
        while left > 0 {
            let len = buffer.len().min(left);
            match self.stream.read(&mut buffer[..len]) {
                Ok(0) => return self.ended(world, address, "an end"),
                Ok(read) => {
                    for (i, got) in buffer[..read].iter().enumerate() {
                        if *got != byte(address.port(), self.received + i as u64) {
                            world.problem(format!("byte {} of {address} differs", self.received));
                            return Visited::Closed;
                        }
                    }
                    self.received += read as u64;
                    world.count(Count::Bytes, read as u64);
                    self.since = Instant::now();
                    left -= read;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if phase != Phase::TooMany && self.is_lost(world, address) {
                        world.problem(format!(
                            "{address} waits: {} of {} bytes sent, {} received",
                            self.sent, self.goal, self.received
                        ));
                    }
                    break;
                }
                Err(error) => return self.ended(world, address, &error.to_string()),
            }
        }
        Visited::GoesOn
    }

    /// Its own address, when it is connected.
    fn address(&mut self) -> Option<SocketAddr> {
        if self.address.is_none() && self.stream.peer_addr().is_ok() {
            self.address = self.stream.local_addr().ok();
        }
        self.address
    }

    fn visit_unconnected(&self, world: &World) -> Visited {
        match self.stream.take_error() {
            Ok(None) => Visited::GoesOn,
            Ok(Some(error)) | Err(error) => {
                // It may have been dropped already.
                let address = self.stream.local_addr();
                if !address.is_ok_and(|address| world.was_dropped(address)) {
                    world.problem(format!("connecting fails: {error}"));
                }
                Visited::Closed
            }
        }
    }

    /// Whether an event of its peer's was lost: the peer is ready, and for long nobody has served it.
    fn is_lost(&mut self, world: &World, address: SocketAddr) -> bool {
        if self.since.elapsed() < SUSPICIOUS {
            return false;
        }
        let now = world.ready(address);
        match self.ready {
            Some((turns, since)) if now == Some(turns) => since.elapsed() > LOST,
            _ => {
                self.ready = now.map(|turns| (turns, Instant::now()));
                // Not at each visit.
                self.since = Instant::now();
                false
            }
        }
    }

    /// The server's end has gone: it must have sent all, or have been dropped.
    fn ended(&self, world: &World, address: SocketAddr, how: &str) -> Visited {
        let was_dropped = world.was_dropped(address);
        let has_all = self.has_shut && self.received == self.goal;
        if !has_all && !was_dropped {
            world.problem(format!(
                "{address} has {how} after {} of {} bytes",
                self.received, self.goal
            ));
        }
        Visited::Closed
    }

    /// Makes its end a reset.
    fn reset(&mut self, world: &World) -> bool {
        if self.address.is_none() {
            return false;
        }
        world.count(Count::Resets, 1);
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        true
    }
}
