//! tokio on this crate: how tokio uses it, end to end, with every byte checked.

#[cfg(unix)]
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::os::fd::AsRawFd;
#[cfg(unix)]
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
use interop::pty::Pty;
use interop::{one_thread, pattern, run, several_threads, want_descriptors};
#[cfg(unix)]
use tokio::io::unix::AsyncFd;
#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
#[cfg(unix)]
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use tokio::net::{TcpSocket, UnixDatagram, UnixListener, UnixStream};
#[cfg(unix)]
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

/// Wine is slow at connecting.
const CONNECTIONS: usize = if cfg!(windows) { 200 } else { 1_000 };

/// How many connect at the same time: no more than fit into a listener's queue, because the
/// listener drops further attempts.
const CONNECTING: usize = 64;

/// More than a socket's buffers hold, for some connections: writes have to wait for reads.
const LARGE: usize = 1 << 20;

#[test]
fn many_connections_echo_with_several_threads() {
    run(several_threads(), echo_connections());
}

#[test]
fn many_connections_echo_with_one_thread() {
    run(one_thread(), echo_connections());
}

#[cfg(unix)]
#[test]
fn an_async_fd_on_a_pipe_waits_for_data_and_for_its_end() {
    run(one_thread(), async {
        let (reader, mut writer) = io::pipe().unwrap();
        set_nonblocking(&reader);
        // SAFETY: the reader owns its descriptor, which stays open for as long as the reader lives.
        let reader =
            unsafe { AsyncFd::register_with_interest(reader, Interest::READABLE) }.unwrap();
        let read_some = || {
            reader.async_io(Interest::READABLE, |mut reader| {
                let mut buffer = [0; 16];
                reader.read(&mut buffer).map(|n| buffer[..n].to_vec())
            })
        };
        let nothing = tokio::time::timeout(Duration::from_millis(20), read_some()).await;
        assert!(nothing.is_err(), "readable before anything was written");
        for round in 0..100 {
            let sent = pattern(round, 10);
            writer.write_all(&sent).unwrap();
            assert_eq!(read_some().await.unwrap(), sent);
        }
        drop(writer);
        assert_eq!(read_some().await.unwrap(), b"");
    });
}

#[cfg(unix)]
#[test]
fn an_async_fd_on_a_terminal_waits_for_each_line() {
    run(one_thread(), async {
        let pty = Pty::open();
        let terminal = pty.terminal();
        set_nonblocking(&terminal);
        // SAFETY: the file owns its descriptor, which stays open for as long as the file lives.
        let terminal = unsafe { AsyncFd::register(terminal) }.unwrap();
        let mut keyboard = pty.keyboard();
        for n in 0..20 {
            let line = format!("line {n}\n");
            let typing = tokio::task::spawn_blocking({
                let (mut keyboard, line) = (keyboard.try_clone().unwrap(), line.clone());
                move || keyboard.write_all(line.as_bytes()).unwrap()
            });
            let mut buffer = [0; 64];
            let len = loop {
                let mut ready = terminal.readable().await.unwrap();
                match ready.try_io(|terminal| terminal.get_ref().read(&mut buffer)) {
                    Ok(len) => break len.unwrap(),
                    Err(_would_block) => continue,
                }
            };
            assert_eq!(&buffer[..len], line.as_bytes());
            typing.await.unwrap();
            // Reads the terminal's echo, which would fill it up otherwise.
            let _ = keyboard.read(&mut buffer).unwrap();
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_async_fd_waits_for_urgent_data() {
    run(one_thread(), async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        set_nonblocking(&receiver);
        let fd = receiver.as_raw_fd();
        // SAFETY: the stream owns its descriptor, which stays open for as long as the stream lives.
        let receiver =
            unsafe { AsyncFd::register_with_interest(receiver, Interest::PRIORITY) }.unwrap();
        for sent in *b"urgent" {
            // SAFETY: the kernel reads one byte.
            let result =
                unsafe { libc::send(sender.as_raw_fd(), [sent].as_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!(result, 1);
            let mut ready = receiver.ready(Interest::PRIORITY).await.unwrap();
            assert!(ready.ready().is_priority());
            let mut received = [0_u8];
            // SAFETY: the kernel writes one byte to `received`.
            let result = unsafe { libc::recv(fd, received.as_mut_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!((result, received), (1, [sent]));
            ready.clear_ready();
        }
    });
}

#[cfg(unix)]
#[test]
fn a_named_pipe_carries_data_until_its_sender_has_gone() {
    run(several_threads(), async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        for round in 0..10 {
            let mut receiver = pipe::OpenOptions::new().open_receiver(&path).unwrap();
            let mut sender = pipe::OpenOptions::new().open_sender(&path).unwrap();
            let sent = pattern(round, LARGE);
            let expected = sent.clone();
            tokio::spawn(async move { sender.write_all(&sent).await.unwrap() });
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).await.unwrap();
            assert!(received == expected, "other bytes came through");
        }
    });
}

#[cfg(unix)]
#[test]
fn many_child_processes_at_once_are_waited_for() {
    run(one_thread(), async {
        let mut children = JoinSet::new();
        for n in 0..50 {
            children.spawn(async move {
                let mut child = tokio::process::Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut stdin = child.stdin.take().unwrap();
                let sent = pattern(n, 1 << 17);
                let expected = sent.clone();
                tokio::spawn(async move { stdin.write_all(&sent).await.unwrap() });
                let output = child.wait_with_output().await.unwrap();
                assert!(output.status.success());
                assert!(output.stdout == expected, "other bytes came back");
            });
        }
        children.join_all().await;
    });
}

#[cfg(unix)]
#[test]
fn a_child_process_is_read_and_waited_for() {
    run(several_threads(), async {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", "read line; echo got $line; exit 7"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"something\n")
            .await
            .unwrap();
        let mut output = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut output)
            .await
            .unwrap();
        assert_eq!(output, "got something\n");
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
    });
}

#[cfg(unix)]
#[test]
fn a_signal_raised_by_the_process_itself_arrives() {
    run(one_thread(), async {
        let mut signals = signal(SignalKind::user_defined1()).unwrap();
        for _ in 0..3 {
            // SAFETY: tokio has set a handler for the signal.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
            assert_eq!(signals.recv().await, Some(()));
        }
    });
}

#[cfg(unix)]
#[test]
fn unix_streams_carry_data_both_ways() {
    run(several_threads(), async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap()
        });
        let (mut reader, mut writer) = UnixStream::connect(&path).await.unwrap().into_split();
        let sent = pattern(1, LARGE);
        let expected = sent.clone();
        tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        assert!(received == expected, "other bytes came back");
        assert_eq!(server.await.unwrap(), LARGE as u64);
    });
}

#[cfg(unix)]
#[test]
fn unix_datagrams_keep_their_boundaries_and_senders() {
    run(one_thread(), async {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let sender = UnixDatagram::bind(&a).unwrap();
        let receiver = UnixDatagram::bind(&b).unwrap();
        // Far more than a socket's queue holds: sends have to wait.
        let sending = tokio::spawn(async move {
            for n in 1..=500 {
                sender.send_to(&pattern(n, n), &b).await.unwrap();
            }
        });
        let mut buffer = [0; 1024];
        for n in 1..=500 {
            let (len, from) = receiver.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], pattern(n, n));
            assert_eq!(from.as_pathname(), Some(a.as_path()));
        }
        sending.await.unwrap();
    });
}

#[cfg(windows)]
#[test]
fn named_pipes_serve_one_client_after_the_other() {
    use tokio::net::windows::named_pipe::{ClientOptions, ServerOptions};

    const ERROR_PIPE_BUSY: i32 = 231;

    run(several_threads(), async {
        let name = format!(r"\\.\pipe\mio-interop-{}", std::process::id());
        let mut server = ServerOptions::new()
            .first_pipe_instance(true)
            .create(&name)
            .unwrap();
        for client in 0..20 {
            let waiting = tokio::spawn(async move {
                server.connect().await.unwrap();
                let mut all = vec![0; LARGE];
                server.read_exact(&mut all).await.unwrap();
                server.write_all(&all).await.unwrap();
                // Until the client has closed: bytes that it has not read by then are lost.
                assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
                server.disconnect().unwrap();
                server
            });
            let sent = pattern(client, LARGE);
            // The pipe is busy until the server waits again.
            let mut stream = loop {
                match ClientOptions::new().open(&name) {
                    Ok(stream) => break stream,
                    Err(error) => assert_eq!(error.raw_os_error(), Some(ERROR_PIPE_BUSY)),
                }
                tokio::task::yield_now().await;
            };
            stream.write_all(&sent).await.unwrap();
            let mut received = vec![0; LARGE];
            stream.read_exact(&mut received).await.unwrap();
            assert!(received == sent, "other bytes came back");
            drop(stream);
            server = waiting.await.unwrap();
        }
    });
}

#[test]
fn readiness_is_waited_for_without_reading_or_writing() {
    run(several_threads(), async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (client, (server, _)) = (client.unwrap(), server.unwrap());
        let (mut written, mut received) = (0, Vec::new());
        let sent = pattern(9, LARGE);
        // As many bytes as fit, then all of them are read, and so on.
        while received.len() < sent.len() {
            client.writable().await.unwrap();
            while written < sent.len() {
                match client.try_write(&sent[written..]) {
                    Ok(len) => written += len,
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
            while received.len() < written {
                server.readable().await.unwrap();
                match server.try_read_buf(&mut received) {
                    Ok(len) => assert_ne!(len, 0),
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                }
            }
        }
        assert!(received == sent, "other bytes came through");
        drop(client);
        // The last known state may be out of date.
        let end = loop {
            server.readable().await.unwrap();
            match server.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                end => break end,
            }
        };
        assert_eq!(end.unwrap(), 0);
    });
}

/// Windows repeats the attempt for two seconds.
#[cfg(unix)]
#[test]
fn a_connection_that_nobody_takes_is_refused() {
    run(one_thread(), async {
        // It holds the port, so that no other program takes it, and does not listen.
        let deaf = TcpSocket::new_v4().unwrap();
        deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = deaf.local_addr().unwrap();
        for _ in 0..100 {
            let error = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn udp_goes_back_and_forth() {
    run(several_threads(), async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (len, from) = server.recv_from(&mut buffer).await.unwrap();
                server.send_to(&buffer[..len], from).await.unwrap();
            }
        });
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        let mut buffer = [0; 2048];
        // One at a time, so that none is lost because a queue is full.
        for n in 0..1_000 {
            let sent = pattern(n, 1 + n);
            client.send(&sent).await.unwrap();
            let len = client.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], sent);
        }
        serving.abort();
    });
}

#[test]
fn timeouts_end_at_their_time_and_not_before() {
    run(one_thread(), async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for millis in [0, 1, 20, 150] {
            let timeout = Duration::from_millis(millis);
            let start = Instant::now();
            assert!(tokio::time::timeout(timeout, listener.accept())
                .await
                .is_err());
            assert!(
                start.elapsed() >= timeout,
                "{millis} ms ended after {:?}",
                start.elapsed()
            );
            assert!(start.elapsed() < timeout + Duration::from_secs(5));
        }
    });
}

#[test]
fn another_thread_wakes_a_runtime_that_has_nothing_to_do() {
    run(one_thread(), async {
        for n in 0..200 {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            thread::spawn(move || sender.send(n));
            assert_eq!(receiver.await, Ok(n));
        }
    });
}

/// Connections that are all open at once, each with its own bytes, which a server sends back.
async fn echo_connections() {
    // Two descriptors for each, and two tests that may run at once.
    want_descriptors(2 * 2 * CONNECTIONS as u64 + 200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut echoes = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.unwrap();
            echoes.spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap()
            });
        }
        echoes.join_all().await.into_iter().sum::<u64>()
    });

    // No client sends before all are connected.
    let everybody = Arc::new(Barrier::new(CONNECTIONS));
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    let mut clients = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (everybody, connecting) = (everybody.clone(), connecting.clone());
        clients.spawn(async move {
            let turn = connecting.acquire().await.unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            // A byte in both directions: then the connection has left the listener's queue.
            stream.write_u8(7).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 7);
            drop(turn);
            let (mut reader, mut writer) = stream.into_split();
            everybody.wait().await;
            let len = if connection % 100 == 0 {
                LARGE
            } else {
                1 + connection * 5
            };
            let expected = pattern(connection, len);
            let sent = expected.clone();
            let writing = tokio::spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            assert!(
                received == expected,
                "connection {connection} got other bytes back"
            );
            writing.await.unwrap();
            1 + len as u64
        });
    }
    let sent: u64 = clients.join_all().await.into_iter().sum();
    assert_eq!(server.await.unwrap(), sent);
}

#[cfg(unix)]
fn set_nonblocking(fd: &impl AsRawFd) {
    // SAFETY: these calls only read and set flags of an open descriptor.
    let result = unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)
    };
    assert_eq!(result, 0);
}
