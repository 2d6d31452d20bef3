//! Thousands of connections at once: an echo server and its clients in one
//! process, which check every byte and measure how long each echo took.
//!
//! ```text
//! cargo run --release -p c10k
//! cargo run --release -p c10k -- --connections 9000 --slow 50
//! cargo run --release -p c10k -- --help
//! ```
//!
//! Three threads, each with a `Poll` of its own:
//!
//! - the acceptor takes connections from the listener and passes them to the server through a
//!   channel, with a `Waker`, because a poll cannot wait for a channel;
//! - the server echoes (`echo.rs`);
//! - the clients connect, a bounded number at a time, and then each sends a
//!   message, waits for the whole of its echo and sends the next one.
//!
//! *Slow* clients send all they can and read nothing until the others are done. That must not
//! affect the others, and must cost the server at most one buffer for each: it stops reading from a
//! client that does not read, whose own socket then fills.
//!
//! The program fails (exit status 1) if a byte is wrong, missing or additional, or if the time
//! limit has passed.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use mio::net::{TcpListener, TcpStream};
use mio::{Backend, Events, Interest, Poll, Registry, Token, Waker};
use socket2::SockRef;

mod echo;
use echo::{Pause, READS_PER_TURN};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// An echo server and thousands of clients, which check every byte
#[derive(Parser)]
struct Options {
    /// Clients that send, wait for the echo, and send again
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Messages that each of them sends
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,

    /// Length of each message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    size: u32,

    /// Further clients, which send and do not read until the others are done
    #[arg(long, value_name = "N", default_value_t = 0)]
    slow: u32,

    /// Event queue to use: epoll, kqueue, event-ports, afd or poll, if this system has it
    #[arg(long, value_name = "NAME", default_value_t)]
    backend: Backend,

    /// Fail if it takes longer
    #[arg(long, value_name = "N", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

impl Options {
    /// Clients of both kinds. The slow ones have the first numbers.
    fn clients(&self) -> usize {
        self.connections as usize + self.slow as usize
    }

    fn all_messages(&self) -> u64 {
        u64::from(self.connections) * u64::from(self.messages)
    }
}

/// The token of each poll's waker, if it has one, and of the listener. Other tokens are numbers of
/// connections, from 0.
const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(0);

/// The clients' interests, registered once: they send and receive at the same time, and events
/// report only changes, so the interests need not change.
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The number of clients that connect at the same time: at most the shortest queue that listeners
/// commonly have. A connect beyond the queue is dropped, and tried again only after a second.
const CONNECTING: usize = 128;

/// The number of ports that one client address commonly has.
const PORTS: usize = 28_000;

/// The process' descriptors in addition to those of the connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// A slow client sends this many bytes, or until no byte has moved for a while.
const SLOW_BYTES: usize = 4 << 20;
const STANDSTILL: Duration = Duration::from_millis(100);

/// The kernel's buffers for the server's connections and for slow clients, in each direction. By
/// default the kernel would use megabytes, into which all bytes of a slow client fit.
const SOCKET_BUFFER: usize = 64 * 1024;

/// How much longer than the clients the server may run.
const GRACE: Duration = Duration::from_secs(1);

/// The progress, which the threads and the progress bar share.
#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    echoed: AtomicU64,
    stop: AtomicBool,
}

struct Wakers {
    acceptor: Waker,
    server: Waker,
    clients: Waker,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("c10k: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    raise_limits(options)?;
    let deadline = Instant::now() + Duration::from_secs(options.seconds);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;

    let acceptor_poll = Poll::with_backend(options.backend)?;
    let server_poll = Poll::with_backend(options.backend)?;
    let clients_poll = Poll::with_backend(options.backend)?;
    // They outlive the threads: dropping a waker would discard its wake-up.
    let wakers = Wakers {
        acceptor: Waker::new(acceptor_poll.registry(), WAKER)?,
        server: Waker::new(server_poll.registry(), WAKER)?,
        clients: Waker::new(clients_poll.registry(), WAKER)?,
    };

    let shared = Shared::default();
    let (sender, receiver) = mpsc::channel();
    let (acceptor, server, clients) = thread::scope(|scope| {
        let acceptor = scope.spawn(|| {
            let outcome = accept(acceptor_poll, listener, &shared, &sender, &wakers);
            // The other threads learn that no more connections come when they are woken.
            shared.stop.store(true, Ordering::Relaxed);
            drop(sender);
            wakers.server.wake()?;
            wakers.clients.wake()?;
            outcome
        });
        // If the time limit has passed, the clients should report it.
        let server = scope.spawn(|| serve(server_poll, receiver, deadline + GRACE));
        let clients =
            scope.spawn(|| Clients::new(clients_poll, options, &shared, deadline).run(address));

        let bar = ProgressBar::new(options.all_messages()).with_style(
            ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len}  {eta}")
                .expect("the template is right"),
        );
        while !clients.is_finished() {
            let accepted = shared.accepted.load(Ordering::Relaxed);
            bar.set_message(format!("{accepted} connected"));
            bar.set_position(shared.echoed.load(Ordering::Relaxed));
            thread::sleep(Duration::from_millis(50));
        }
        bar.finish_and_clear();

        // When the clients are gone, the server has nothing more to do either.
        shared.stop.store(true, Ordering::Relaxed);
        let stopped = wakers.acceptor.wake().map_err(Into::into);
        (
            stopped.and(acceptor.join().expect("the acceptor panicked")),
            server.join().expect("the server panicked"),
            clients.join().expect("the clients panicked"),
        )
    });

    // One failure causes others: print all of them.
    let (served, measured) = match (acceptor, server, clients) {
        (Ok(()), Ok(served), Ok(measured)) => (served, measured),
        (acceptor, server, clients) => {
            let errors: Vec<String> = [
                clients.err().map(|error| format!("clients: {error}")),
                server.err().map(|error| format!("server: {error}")),
                acceptor.err().map(|error| format!("acceptor: {error}")),
            ]
            .into_iter()
            .flatten()
            .collect();
            return Err(errors.join("; ").into());
        }
    };
    print_table(options, &served, &measured);

    if let Some(error) = served.lost {
        return Err(format!("the server lost a connection: {error}").into());
    }
    if served.peak_one > echo::CAPACITY {
        return Err("the server held more for a connection than it may".into());
    }
    Ok(())
}

/// Raises the limit of descriptors. Each connection takes two, because both of its ends are here.
fn raise_limits(options: &Options) -> Result<()> {
    let clients = options.clients();
    if clients > PORTS {
        let error = format!("{clients} connections: one address has ports for {PORTS} at most");
        return Err(error.into());
    }
    let needed = 2 * clients as u64 + OTHER_DESCRIPTORS;
    let limit = rlimit::increase_nofile_limit(needed)?;
    if limit < needed {
        let possible = limit.saturating_sub(OTHER_DESCRIPTORS) / 2;
        return Err(format!(
            "{clients} connections take {needed} descriptors, and the hard limit (ulimit -Hn) \
             is {limit}: enough for {possible} connections, slow ones included"
        )
        .into());
    }
    Ok(())
}

fn print_table(options: &Options, served: &Served, measured: &Measured) {
    let Options {
        backend,
        connections,
        slow,
        ..
    } = options;
    let (connecting, echoing) = (measured.connecting, measured.echoing);
    let messages = options.all_messages();
    let rate = messages as f64 / echoing.as_secs_f64();
    let latency = |quantile| Duration::from_nanos(measured.latency.value_at_quantile(quantile));
    let slow_clients = match u64::from(*slow) {
        0 => "none".to_string(),
        slow => format!(
            "{} of {slow} stopped by back-pressure, after {} on average",
            measured.stopped,
            HumanBytes(measured.slow_bytes / slow)
        ),
    };
    println!(
        "\
backend          {backend}
connections      {connections} fast, {slow} slow; connected in {connecting:.1?}
messages         {} of {} in {echoing:.1?}: {}/s
bytes            {} echoed and checked
latency          p50 {:.1?}, p99 {:.1?}, max {:.1?}
slow clients     {slow_clients}
server polls     {}, {:.1} events each
server wake-ups  {} for {} hand-overs
server buffers   at most {} of one client (bound {}), {} of all",
        HumanCount(messages),
        HumanBytes(options.size.into()),
        HumanCount(rate as u64),
        HumanBytes(measured.bytes),
        latency(0.5),
        latency(0.99),
        latency(1.0),
        HumanCount(served.polls),
        served.events as f64 / served.polls as f64,
        served.wake_ups,
        served.handed_over,
        HumanBytes(served.peak_one as u64),
        HumanBytes(echo::CAPACITY as u64),
        HumanBytes(served.peak_all as u64),
    );
}

// The acceptor.

/// Passes connections on until `stop` is set.
fn accept(
    mut poll: Poll,
    mut listener: TcpListener,
    shared: &Shared,
    streams: &Sender<TcpStream>,
    wakers: &Wakers,
) -> Result<()> {
    let mut events = Events::with_capacity(8);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    while !shared.stop.load(Ordering::Relaxed) {
        poll.poll_until(&mut events, None)?;
        // Whatever the event was, checking costs little.
        loop {
            match listener.accept() {
                Ok((stream, _address)) => {
                    streams.send(stream)?;
                    wakers.server.wake()?; // mostly without a system call: wake-ups coalesce
                    shared.accepted.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => continue,
                    // A server would try again later. Here the descriptors were counted, so this is
                    // a failure.
                    _ => return Err(error.into()),
                },
            }
        }
        wakers.clients.wake()?; // more of them may connect now
    }
    Ok(())
}

// The server.

/// The server's counts.
#[derive(Default)]
struct Served {
    polls: u64,
    events: u64,
    wake_ups: u64,
    handed_over: u64,
    /// The maximum of owed bytes, for any one client and for all together.
    peak_one: usize,
    peak_all: usize,
    /// The first failure of a connection, if there was one.
    lost: Option<io::Error>,
}

/// Echoes until no connection is open and none can come.
fn serve(mut poll: Poll, streams: Receiver<TcpStream>, deadline: Instant) -> Result<Served> {
    let mut events = Events::with_capacity(1024);
    let mut connections = echo::Connections::new(Token(0));
    let mut owed: Vec<usize> = Vec::new(); // to each, by its token: they count up from 0
    let mut owed_to_all = 0;
    let mut served = Served::default();
    let mut more_may_come = true;
    while more_may_come || connections.len() > 0 {
        poll.poll_until(&mut events, Some(deadline))?;
        if Instant::now() >= deadline {
            return Err(format!("{} connections at the time limit", connections.len()).into());
        }
        served.polls += 1;
        served.events += events.iter().count() as u64;

        for event in &events {
            let token = event.token();
            if token == WAKER {
                served.wake_ups += 1;
                // One event stands for any number of wake-ups: take all connections.
                more_may_come = loop {
                    match streams.try_recv() {
                        Ok(stream) => {
                            served.handed_over += 1;
                            stream.set_nodelay(true)?;
                            SockRef::from(&stream).set_send_buffer_size(SOCKET_BUFFER)?;
                            connections.add(poll.registry(), stream)?;
                            owed.push(0);
                        }
                        Err(TryRecvError::Empty) => break true,
                        Err(TryRecvError::Disconnected) => break false,
                    }
                };
                continue;
            }
            let still_owed = connections
                .advance(poll.registry(), token)
                .unwrap_or_else(|error| {
                    served.lost.get_or_insert(error);
                    0
                });
            owed_to_all = owed_to_all - owed[token.0] + still_owed;
            owed[token.0] = still_owed;
            served.peak_one = served.peak_one.max(still_owed);
            served.peak_all = served.peak_all.max(owed_to_all);
        }
    }
    Ok(served)
}

// The clients.

/// The clients' measurements.
struct Measured {
    connecting: Duration,
    echoing: Duration,
    /// For each message, from its first byte sent to the last byte of its echo, in nanoseconds.
    latency: Histogram<u64>,
    bytes: u64,
    slow_bytes: u64,
    /// Slow clients that could not send all their bytes.
    stopped: usize,
}

/// All clients: the index is the number and the token, and `None` is a client that is done.
struct Clients<'a> {
    poll: Poll,
    options: &'a Options,
    shared: &'a Shared,
    deadline: Instant,
    clients: Vec<Option<Client>>,
    desk: Desk,
}

/// Shared by the clients: buffers for a piece of a message as received, and as expected, and the
/// record of the latencies.
struct Desk {
    received: Vec<u8>,
    expected: Vec<u8>,
    latency: Histogram<u64>,
}

struct Client {
    number: usize,
    stream: TcpStream,
    connected: bool,
    /// Reads nothing before the fast clients have ended.
    slow: bool,
    /// Its current message, the length of each message, the progress of sending and receiving, and
    /// when the first byte was sent.
    message: u32,
    length: usize,
    sent: usize,
    received: usize,
    begun: Instant,
    /// It sends nothing more, and has shut down writing.
    ended: bool,
}

impl Clients<'_> {
    fn new<'a>(
        poll: Poll,
        options: &'a Options,
        shared: &'a Shared,
        deadline: Instant,
    ) -> Clients<'a> {
        const PIECE: usize = 64 * 1024;
        let desk = Desk {
            received: vec![0; PIECE],
            expected: vec![0; PIECE],
            latency: Histogram::new(3).expect("3 digits are possible"),
        };
        let clients = Vec::with_capacity(options.clients());
        Clients {
            poll,
            options,
            shared,
            deadline,
            clients,
            desk,
        }
    }

    fn run(mut self, address: SocketAddr) -> Result<Measured> {
        let mut events = Events::with_capacity(1024);

        let start = Instant::now();
        self.connect(&mut events, address)?;
        let connecting = start.elapsed();

        let start = Instant::now();
        self.echo(&mut events)?;
        let echoing = start.elapsed();

        let (slow_bytes, stopped) = self.read_back(&mut events)?;
        let fast_bytes = self.options.all_messages() * u64::from(self.options.size);
        Ok(Measured {
            connecting,
            echoing,
            latency: self.desk.latency,
            bytes: fast_bytes + slow_bytes,
            slow_bytes,
            stopped,
        })
    }

    /// Connects all clients, at most `CONNECTING` of them at the same time.
    fn connect(&mut self, events: &mut Events, address: SocketAddr) -> Result<()> {
        let total = self.options.clients();
        let mut connected = 0;
        loop {
            // If more are accepted after this, then the acceptor's wake-up follows.
            let accepted = self.shared.accepted.load(Ordering::Relaxed);
            if connected == total && accepted == total {
                return Ok(());
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err("nobody accepts connections any more".into());
            }
            while self.clients.len() < total.min(accepted + CONNECTING) {
                let number = self.clients.len();
                let client = Client::connect(self.poll.registry(), address, number, self.options)
                    .map_err(|error| format!("client {number} cannot connect: {error}"))?;
                self.clients.push(Some(client));
            }
            self.wait(events, self.deadline)?;
            for event in &*events {
                // The waker's token is no client's number.
                let Some(Some(client)) = self.clients.get_mut(event.token().0) else {
                    continue;
                };
                if !client.connected {
                    client.connected = client.is_connected().map_err(|error| {
                        format!("client {} cannot connect: {error}", client.number)
                    })?;
                    connected += usize::from(client.connected);
                }
            }
        }
    }

    /// Runs the fast clients to their end, while the slow ones send.
    fn echo(&mut self, events: &mut Events) -> Result<()> {
        let mut open = self.options.connections as usize;
        // The first step needs no event: the events of connecting were already handled.
        for number in 0..self.clients.len() {
            open -= self.advance(number)?;
        }
        while open > 0 {
            open -= self.turn(events, self.deadline)?;
        }
        Ok(())
    }

    /// Waits until no slow client can send any more, and lets them read their echoes. Returns the
    /// number of bytes they sent, and how many clients were stopped before they had sent
    /// everything.
    fn read_back(&mut self, events: &mut Events) -> Result<(u64, usize)> {
        let slow = self.options.slow as usize;
        let mut open = slow;
        while open > 0 && !events.is_empty() {
            let standstill = Instant::now() + STANDSTILL;
            self.turn(events, standstill.min(self.deadline))?;
        }

        let (mut bytes, mut stopped) = (0, 0);
        for number in 0..slow {
            let client = self.clients[number].as_mut().expect("it has not ended yet");
            bytes += client.sent as u64;
            stopped += usize::from(client.sent < client.length);
            client.length = client.sent;
            client.end()?;
            open -= self.advance(number)?;
        }
        while open > 0 {
            open -= self.turn(events, self.deadline)?;
        }
        Ok((bytes, stopped))
    }

    /// Waits for events and continues with their clients. Returns how many have ended.
    fn turn(&mut self, events: &mut Events, until: Instant) -> Result<usize> {
        self.wait(events, until)?;
        let mut done = 0;
        for event in &*events {
            done += self.advance(event.token().0)?;
        }
        Ok(done)
    }

    /// Waits for events, which may be none if `until` is before the time limit.
    fn wait(&mut self, events: &mut Events, until: Instant) -> Result<()> {
        self.poll.poll_until(events, Some(until))?;
        if Instant::now() < self.deadline {
            return Ok(());
        }
        let mut open = self.clients.iter().flatten();
        Err(format!(
            "not done after {} s: {} of {} connected, {} of {} messages echoed; waiting for {}",
            self.options.seconds,
            self.shared.accepted.load(Ordering::Relaxed),
            self.options.clients(),
            self.shared.echoed.load(Ordering::Relaxed),
            self.options.all_messages(),
            open.next().map_or("nobody".into(), Client::state),
        )
        .into())
    }

    /// Continues with a client. Returns 1 if it has ended.
    fn advance(&mut self, number: usize) -> Result<usize> {
        let Some(Some(client)) = self.clients.get_mut(number) else {
            return Ok(0); // the waker's event, or one from before the end
        };
        match client.advance(&mut self.desk, self.options.messages, self.shared) {
            Ok(Pause::WouldBlock) => Ok(0),
            Ok(Pause::EndOfTurn) => {
                // Requests another event, behind those of the others.
                let (registry, token) = (self.poll.registry(), Token(number));
                registry.reregister(&mut client.stream, token, BOTH)?;
                Ok(0)
            }
            Ok(Pause::Done) => {
                self.clients[number] = None; // closes it
                Ok(1)
            }
            Err(error) => Err(format!("{}: {error}", client.state()).into()),
        }
    }
}

impl Client {
    /// Starts to connect. The slow clients have the first numbers.
    fn connect(
        registry: &Registry,
        address: SocketAddr,
        number: usize,
        options: &Options,
    ) -> io::Result<Client> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, Token(number), BOTH)?;
        let slow = number < options.slow as usize;
        let mut length = options.size as usize;
        if slow {
            SockRef::from(&stream).set_send_buffer_size(SOCKET_BUFFER)?;
            SockRef::from(&stream).set_recv_buffer_size(SOCKET_BUFFER)?;
            length = SLOW_BYTES;
        }
        Ok(Client {
            number,
            stream,
            connected: false,
            slow,
            message: 0,
            length,
            sent: 0,
            received: 0,
            begun: Instant::now(),
            ended: false,
        })
    }

    /// Whether the stream is connected, after an event, which may be spurious.
    fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        }
        self.stream.set_nodelay(true)?;
        Ok(true)
    }

    /// Sends and receives, message after message, until it would block.
    fn advance(&mut self, desk: &mut Desk, messages: u32, shared: &Shared) -> Result<Pause> {
        for _ in 0..READS_PER_TURN {
            self.send(&mut desk.expected)?;
            if self.slow && !self.ended {
                return Ok(Pause::WouldBlock);
            }
            let received = match self.stream.read(&mut desk.received) {
                Ok(0) if self.ended && self.received == self.length => return Ok(Pause::Done),
                Ok(0) => return Err("the server closed the connection too early".into()),
                Ok(length) => &desk.received[..length],
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(Pause::WouldBlock),
                    ErrorKind::Interrupted => continue,
                    _ => return Err(error.into()),
                },
            };
            self.check(received, &mut desk.expected)?;
            self.received += received.len();

            if self.received == self.length && !self.ended {
                let latency = self.begun.elapsed().as_nanos() as u64;
                desk.latency.record(latency)?;
                shared.echoed.fetch_add(1, Ordering::Relaxed);
                self.message += 1;
                if self.message == messages {
                    self.end()?;
                } else {
                    (self.sent, self.received) = (0, 0);
                }
            }
        }
        Ok(Pause::EndOfTurn)
    }

    /// Sends the rest of the message, or until it would block.
    fn send(&mut self, room: &mut [u8]) -> io::Result<()> {
        while self.sent < self.length {
            if self.sent == 0 {
                self.begun = Instant::now();
            }
            let length = room.len().min(self.length - self.sent);
            let piece = &mut room[..length];
            fill(piece, self.number, self.message, self.sent);
            match self.stream.write(piece) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.sent += length,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Whether these bytes continue the echo correctly.
    fn check(&self, received: &[u8], room: &mut [u8]) -> Result<()> {
        let surplus = (self.received + received.len()).saturating_sub(self.sent);
        if surplus > 0 {
            return Err(format!("{surplus} bytes came back that were never sent").into());
        }
        let expected = &mut room[..received.len()];
        fill(expected, self.number, self.message, self.received);
        if received == expected {
            return Ok(());
        }
        let mut pairs = received.iter().zip(&*expected);
        let index = pairs.position(|(is, should)| is != should).unwrap_or(0);
        Err(format!("byte {} of the echo is wrong", self.received + index).into())
    }

    /// Its position, for messages about failures.
    fn state(&self) -> String {
        format!(
            "client {}, message {} ({} of {} bytes sent, {} received)",
            self.number, self.message, self.sent, self.length, self.received
        )
    }

    /// Shuts down writing, so that the server gets the end.
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        self.stream.shutdown(Shutdown::Write)
    }
}

/// The contents of a message from `position` on. Each connection and message has its own contents,
/// and no part looks like another, so wrong, missing, repeated or foreign bytes are noticed.
fn fill(piece: &mut [u8], connection: usize, message: u32, position: usize) {
    const ODD: u32 = 0x9E37_79B1; // 2³² by the golden ratio, which spreads the bits well
    let seed = (connection as u32)
        .wrapping_mul(ODD)
        .wrapping_add(message)
        .wrapping_mul(ODD)
        .rotate_left(16);
    for (byte, position) in piece.iter_mut().zip(position as u32..) {
        let mixed = (position ^ seed).wrapping_mul(ODD);
        *byte = ((mixed ^ (mixed >> 15)).wrapping_mul(ODD) >> 24) as u8;
    }
}
