//! The tests' common parts: safe functions for the calls, and processes and threads in which to
//! make them.

// No test file uses all of it.
#![allow(dead_code, unused_imports)]

use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use event_ports_model as model;
pub use event_ports_model::{
    port_event, PORT_ALERT_SET, PORT_ALERT_UPDATE, PORT_SOURCE_ALERT, PORT_SOURCE_FD,
    PORT_SOURCE_USER,
};

pub const FD: i32 = PORT_SOURCE_FD as i32;
pub const ZERO: Option<Duration> = Some(Duration::ZERO);
/// The time limit for an event that must come.
pub const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// The error of a call, by its `errno`.
pub type Result<T> = std::result::Result<T, i32>;

fn cvt(result: i32) -> Result<i32> {
    match result {
        -1 => Err(errno()),
        result => Ok(result),
    }
}

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

/// A port, which is closed when dropped.
pub struct Port(pub RawFd);

/// The result of `port_getn`.
#[derive(Debug)]
pub struct Answer {
    pub result: Result<()>,
    /// The number at `nget`.
    pub nget: u32,
    pub list: Vec<port_event>,
}

impl Answer {
    /// The events that were retrieved.
    pub fn events(&self) -> &[port_event] {
        &self.list[..self.nget as usize]
    }
}

impl Port {
    pub fn new() -> Port {
        Port(cvt(model::port_create()).unwrap())
    }

    pub fn associate(&self, fd: &impl AsRawFd, events: i16, user: usize) -> Result<()> {
        let object = fd.as_raw_fd() as usize;
        associate(self.0, FD, object, events.into(), user)
    }

    pub fn dissociate(&self, fd: &impl AsRawFd) -> Result<()> {
        dissociate(self.0, FD, fd.as_raw_fd() as usize)
    }

    pub fn send(&self, events: i32, user: usize) -> Result<()> {
        cvt(model::port_send(self.0, events, user as _)).map(drop)
    }

    pub fn alert(&self, flags: i32, events: i32, user: usize) -> Result<()> {
        cvt(model::port_alert(self.0, flags, events, user as _)).map(drop)
    }

    pub fn get(&self, timeout: Option<Duration>) -> Result<port_event> {
        let mut event = NO_EVENT;
        let timeout = timeout.map(timespec);
        // SAFETY: both pointers are valid.
        cvt(unsafe { model::port_get(self.0, &mut event, pointer(&timeout)) }).map(|_| event)
    }

    pub fn getn(&self, max: usize, nget: u32, timeout: Option<Duration>) -> Answer {
        self.getn_raw(max, nget, timeout.map(timespec))
    }

    pub fn getn_raw(&self, max: usize, mut nget: u32, timeout: Option<libc::timespec>) -> Answer {
        let mut list = vec![NO_EVENT; max.max(1)];
        let pointer = pointer(&timeout);
        // SAFETY: the list has capacity for `max` events, and the other pointers are valid.
        let result =
            unsafe { model::port_getn(self.0, list.as_mut_ptr(), max as u32, &mut nget, pointer) };
        Answer {
            result: cvt(result).map(drop),
            nget,
            list,
        }
    }

    /// All events that can be retrieved without waiting.
    pub fn now(&self) -> Vec<port_event> {
        let answer = self.getn(1000, 1, ZERO);
        assert!(matches!(answer.result, Ok(()) | Err(libc::ETIME)));
        answer.events().to_vec()
    }

    /// The words of the events that can be retrieved without waiting.
    pub fn users(&self) -> Vec<usize> {
        self.now().iter().map(user).collect()
    }

    pub fn is_readable(&self) -> bool {
        readable(self.0)
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        model::close(self.0);
    }
}

pub const NO_EVENT: port_event = port_event {
    portev_events: -1,
    portev_source: 0,
    portev_pad: 0,
    portev_object: 0,
    portev_user: null_mut(),
};

pub fn associate(port: RawFd, source: i32, object: usize, events: i32, user: usize) -> Result<()> {
    cvt(model::port_associate(
        port, source, object, events, user as _,
    ))
    .map(drop)
}

pub fn dissociate(port: RawFd, source: i32, object: usize) -> Result<()> {
    cvt(model::port_dissociate(port, source, object)).map(drop)
}

pub fn user(event: &port_event) -> usize {
    event.portev_user as usize
}

pub fn readable(fd: RawFd) -> bool {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer is valid for one entry.
    unsafe { libc::poll(&mut entry, 1, 0) };
    entry.revents & libc::POLLIN != 0
}

pub fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    }
}

fn pointer(timeout: &Option<libc::timespec>) -> *const libc::timespec {
    timeout.as_ref().map_or(null(), |timeout| timeout)
}

/// Two connected sockets that don't block.
pub fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

pub fn duplicate(fd: &impl AsRawFd) -> RawFd {
    // SAFETY: `fcntl` has no memory-safety preconditions with these arguments.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) }).unwrap()
}

pub fn thread_id() -> i32 {
    // SAFETY: `gettid` has no arguments and no memory-safety preconditions.
    unsafe { libc::gettid() }
}

/// Waits until a thread of this process is in ppoll(2), where the model waits.
pub fn until_waiting(thread: i32) {
    let path = format!("/proc/self/task/{thread}/syscall");
    let number = libc::SYS_ppoll.to_string();
    until(|| {
        let call = std::fs::read_to_string(&path).unwrap_or_default();
        call.split(' ').next() == Some(&number)
    });
}

pub fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG.unwrap();
    while !done() {
        assert!(Instant::now() < end, "waited for nothing");
        std::thread::yield_now();
    }
}

/// Runs a test in a process of its own, without other tests, and with these variables set.
pub fn alone(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    const MARK: &str = "EVENT_PORTS_MODEL_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--test-threads=1"]);
    command.env(MARK, "1").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "no test of that name: {text}");
}

/// Runs `body` in a forked child, and asserts that it returns true in time.
pub fn in_child(body: impl FnOnce() -> bool) {
    // SAFETY: the child makes only calls that are safe there, or that the tests show to be safe.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: `_exit` ends the process, and runs no code of the parent's.
        unsafe { libc::_exit(i32::from(!matches!(good, Ok(true)))) };
    }
    let mut status = -1;
    let mut waited = 0;
    let end = Instant::now() + LONG.unwrap();
    while waited == 0 && Instant::now() < end {
        // SAFETY: the pointer is valid.
        waited = unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) };
        std::thread::yield_now();
    }
    if waited == 0 {
        // SAFETY: the child is this test's, and was not waited for yet.
        unsafe { libc::kill(child, libc::SIGKILL) };
        panic!("the child hangs");
    }
    assert_eq!(status, 0, "the child failed");
}
