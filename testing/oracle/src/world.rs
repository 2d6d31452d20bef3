//! The program's world: its sources, its queue, and how each step but polling is done.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Backend, Interest, Poll, Registry, Waker};

use crate::bits::{observe, observe_all, Bits};
use crate::exemptions;
use crate::handle::{self, raw, Exit, Handle, Outcome};
use crate::judge::{Check, Judge, Token};
use crate::object::Object;
use crate::program::{self, is_exit, Act, By, Door, Kind, Mode, Op, Owner, Spec, Step, Wanted};

/// Of the waker that ends a polling thread.
pub const STOP: Token = 1_000_000;

/// Tokens count up from here: they need more than half of the bits of a word.
const TOKENS: Token = 1 << (usize::BITS / 2 + 8);

/// A token as it is shown, counted from one.
pub fn shown(token: Token) -> Token {
    token & (TOKENS - 1)
}

/// What a program did and what came of it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Operation(String),
    /// What a poll returned. Where the back-off applies, this depends on the time.
    Events(String),
}

/// A descriptor that was closed behind its source: dropping this makes it what it was.
pub struct Behind {
    fd: RawFd,
    kept: OwnedFd,
}

impl Behind {
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// The number refers to the same as another descriptor.
    pub fn give_to(&self, other: &impl AsRawFd) {
        // SAFETY: it takes integers only; the number is nobody's but this one's meanwhile.
        let again = unsafe { libc::dup3(other.as_raw_fd(), self.fd, libc::O_CLOEXEC) };
        assert_eq!(again, self.fd, "{}", io::Error::last_os_error());
    }

    pub fn give_back(&self) {
        self.give_to(&self.kept);
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// How long a call may take while another thread polls, on a machine with other work.
const BLOCKED: Duration = Duration::from_millis(500);

pub struct World {
    pub backend: Backend,
    registry: Registry,
    slots: Vec<Mutex<Slot>>,
    judge: Mutex<Judge>,
    wakers: [Mutex<Option<(Token, Waker)>>; 2],
    /// How many polls have begun.
    pub polls: AtomicU64,
    next_token: AtomicUsize,
    log: Mutex<Vec<Entry>>,
    /// Whether a thread polls while steps are done.
    is_threaded: bool,
}

/// A source, or where one was.
struct Slot {
    index: usize,
    spec: Spec,
    open: Option<Open>,
}

struct Open {
    object: Arc<Object>,
    handle: Handle,
    registered: Option<(Token, By)>,
    /// It was deregistered by its descriptor and does not know.
    is_stale: bool,
    /// It has taken over the registration of a descriptor that had its number: one of a number.
    has_taken_over: bool,
}

/// What is wanted in the crate's words. kqueue has no priority.
fn interest(wanted: Wanted) -> Interest {
    let interest = match wanted.interest {
        program::Interest::Read => Interest::READABLE,
        program::Interest::Write => Interest::WRITABLE,
        program::Interest::Both => Interest::READABLE | Interest::WRITABLE,
        #[cfg(not(mio_model = "kqueue"))]
        program::Interest::ReadPriority => Interest::READABLE | Interest::PRIORITY,
        #[cfg(mio_model = "kqueue")]
        program::Interest::ReadPriority => Interest::READABLE,
    };
    match wanted.mode {
        Mode::Edge => interest,
        Mode::Level => interest.level(),
        Mode::OneShot => interest.oneshot(),
        Mode::LevelOneShot => interest.level().oneshot(),
        Mode::Exclusive => interest.exclusive(),
        Mode::ExclusiveLevel => interest.exclusive().level(),
        Mode::ExclusiveOneShot => interest.exclusive().oneshot(),
    }
}

impl World {
    pub fn new(backend: Backend, sources: &[Spec], is_threaded: bool) -> io::Result<(World, Poll)> {
        let poll = Poll::with_backend(backend)?;
        let world = World {
            backend,
            registry: poll.registry().try_clone()?,
            slots: Vec::new(),
            judge: Mutex::new(Judge::new(backend)),
            wakers: Default::default(),
            polls: AtomicU64::new(0),
            next_token: AtomicUsize::new(TOKENS + 1),
            log: Mutex::new(Vec::new()),
            is_threaded,
        };
        let mut world = world;
        for waker in 0..world.wakers.len() {
            world.new_waker(waker);
        }
        for (index, &spec) in sources.iter().enumerate() {
            let slot = Slot {
                index,
                spec,
                open: None,
            };
            world.slots.push(Mutex::new(slot));
            world.open(index);
        }
        Ok((world, poll))
    }

    pub fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap()
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn log(&self, entry: Entry) {
        self.log.lock().unwrap().push(entry);
    }

    pub fn take_log(&self) -> Vec<Entry> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn operation(&self, text: String) {
        self.log(Entry::Operation(text));
    }

    /// Whether what is registered by its descriptor is known by that number alone.
    fn goes_by_number(&self) -> bool {
        matches!(self.backend, Backend::Poll | Backend::EventPorts)
    }

    fn slot(&self, source: usize) -> MutexGuard<'_, Slot> {
        self.slots[source].lock().unwrap()
    }

    fn new_token(&self) -> Token {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// What the kernel says of each registration that it can be asked about. What asking would take
    /// away is taken from the log instead.
    pub fn observe(&self) -> HashMap<Token, Bits> {
        let mut tokens = Vec::new();
        let mut fds = Vec::new();
        let mut known = HashMap::new();
        for slot in &self.slots {
            let slot = slot.lock().unwrap();
            let Some(open) = &slot.open else { continue };
            let Some((token, _)) = open.registered else {
                continue;
            };
            if open.object.is_consumed_by_observing() {
                let pending = open.object.pending();
                known.insert(token, Bits::READ | pending);
            } else {
                tokens.push(token);
                fds.push(open.handle.fd());
            }
        }
        known.extend(tokens.into_iter().zip(observe_all(&fds)));
        known
    }

    /// Does a step that is not about polling.
    pub fn perform(&self, step: &Step) {
        match step {
            &Step::Register {
                source,
                by,
                interest,
                mode,
            } => self.register(source, by, Wanted { interest, mode }),
            &Step::Reregister {
                source,
                by,
                interest,
                mode,
            } => self.reregister(source, by, Wanted { interest, mode }),
            Step::Deregister { source, by } => self.deregister(*source, *by),
            Step::Drop(source) => self.drop_source(*source),
            Step::Open(source) => self.open(*source),
            Step::Wake(waker) => {
                let waker = self.waker(*waker);
                let (token, waker) = waker.as_ref().expect("there is always one");
                let polls = self.polls.load(Ordering::SeqCst);
                self.judge().wake(*token, polls);
                let woke = self.while_nobody_blocks("waking", || waker.wake());
                self.operation(format!("wake {}: {woke:?}", shown(*token)));
            }
            Step::NewWaker(waker) => self.new_waker(*waker),
            Step::Do { source, op, door } => {
                self.operate(*source, *op, *door);
            }
            Step::Peer { source, act } => self.peer(*source, *act),
            Step::Together(steps) => std::thread::scope(|scope| {
                for step in steps {
                    scope.spawn(|| self.perform(step));
                }
            }),
            Step::RegisterClosed => self.register_closed(),
            Step::OtherPoll(source) => {
                if let Err(problem) = self.other_poll(*source) {
                    self.judge()
                        .fail(Check::Registry, None, Bits::empty(), problem);
                }
            }
            Step::Poll(_)
            | Step::PollMicros(_)
            | Step::WakeDuring { .. }
            | Step::Settle
            | Step::Idle(_)
            | Step::Rest(_)
            | Step::Turns(_)
            | Step::Interrupt(_)
            | Step::Replace(_)
            | Step::Dead { .. }
            | Step::Rate { .. } => {
                unreachable!("a step about polling")
            }
        }
        if !self.is_threaded {
            let now = self.observe();
            let mut judge = self.judge();
            for (token, now) in now {
                let consumed = judge
                    .registration(token)
                    .is_some_and(|r| r.kind == Kind::Mounts);
                if !consumed {
                    judge.observed(token, now);
                }
            }
        }
    }

    fn waker(&self, waker: usize) -> MutexGuard<'_, Option<(Token, Waker)>> {
        self.wakers[waker % self.wakers.len()].lock().unwrap()
    }

    fn new_waker(&self, waker: usize) {
        let mut place = self.waker(waker);
        if let Some((token, old)) = place.take() {
            drop(old);
            let polls = self.polls.load(Ordering::SeqCst);
            self.judge().waker_dropped(token, polls);
        }
        let token = self.new_token();
        self.judge().waker_made(token);
        let new = Waker::new(&self.registry, mio::Token(token)).expect("makes a waker");
        *place = Some((token, new));
        self.operation(format!("new waker {}", shown(token)));
    }

    fn open(&self, source: usize) {
        let spec = self.slot(source).spec;
        let opened = if spec.kind == Kind::Duplicate {
            let before = source.checked_sub(1).map(|before| self.slot(before));
            let open = before.as_ref().and_then(|slot| slot.open.as_ref());
            open.filter(|open| {
                !open.object.is_consumed_by_observing() && !is_exit(open.object.kind)
            })
            .map(|open| (Arc::clone(&open.object), raw::dup(open.handle.fd())))
        } else if self.slot(source).open.is_none() {
            let (object, fd) = Object::open(spec.kind).expect("opens a source");
            Some((Arc::new(object), fd))
        } else {
            None
        };
        let mut slot = self.slot(source);
        if let (None, Some((object, fd))) = (&slot.open, opened) {
            let handle = match object.child_exit() {
                Some(exit) => Handle::Child(Exit::new(exit, fd)),
                None => Handle::new(spec.kind, spec.owner, fd),
            };
            slot.open = Some(Open {
                object,
                handle,
                registered: None,
                is_stale: false,
                has_taken_over: false,
            });
            self.operation(format!("open {source}: {:?}", spec.kind));
        }
    }

    /// A name for a source in the log.
    fn name(slot: &Slot) -> String {
        format!("{} ({:?})", slot.index, slot.spec.kind)
    }

    fn call(
        &self,
        open: &mut Open,
        by: By,
        call: impl FnOnce(&Registry, &mut dyn mio::event::Source) -> io::Result<()>,
    ) -> io::Result<()> {
        let fd = open.handle.fd();
        self.while_nobody_blocks("the registry", || {
            match open.handle.source().filter(|_| by == By::Source) {
                Some(source) => call(&self.registry, source),
                None => call(&self.registry, &mut SourceFd(&fd)),
            }
        })
    }

    /// No call waits until the poll of another thread is over.
    fn while_nobody_blocks<T>(&self, what: &str, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = call();
        let took = start.elapsed();
        if self.is_threaded && took > BLOCKED {
            let text = format!("{what} took {took:?} while a thread polled");
            self.judge().fail(Check::Blocked, None, Bits::empty(), text);
        }
        done
    }

    /// What cannot be registered leaves nothing behind.
    fn register_closed(&self) {
        // In one thread nobody opens anything in between.
        if self.is_threaded {
            return;
        }
        let fd = raw::dup(0).as_raw_fd();
        let token = mio::Token(self.new_token());
        let source = &mut SourceFd(&fd);
        let registered = self.registry.register(source, token, Interest::READABLE);
        let deregistered = self.registry.deregister(source);
        self.operation(format!(
            "register and deregister what is closed: {}, {}",
            told(&registered),
            told(&deregistered)
        ));
        // poll(2) takes everything, and reports it.
        let is_refused = self.backend != Backend::Poll;
        let error = registered.as_ref().err().map(io::Error::raw_os_error);
        let is_right = match is_refused {
            true => error == Some(Some(libc::EBADF)),
            false => error.is_none(),
        };
        if !is_right || deregistered.is_err() != is_refused {
            let text = format!("a closed descriptor: {registered:?}, then {deregistered:?}");
            self.judge()
                .fail(Check::Registry, None, Bits::empty(), text);
        }
    }

    /// A source has one poll at a time: it is not registered with another one as long as it is
    /// registered, which debug builds know on every backend, and it is when that has ended.
    fn other_poll(&self, source: usize) -> Result<(), String> {
        let mut slot = self.slot(source);
        let name = World::name(&slot);
        let Some(open) = &mut slot.open else {
            return Ok(());
        };
        let by_source = matches!(open.registered, Some((_, By::Source)));
        let is_odd = open.is_stale || open.has_taken_over || open.object.is_consumed_by_observing();
        if self.is_threaded || is_odd || (open.registered.is_some() && !by_source) {
            return Ok(());
        }
        let Some(source) = open.handle.source() else {
            return Ok(());
        };
        let [one, other] = [(); 2].map(|()| Poll::with_backend(self.backend).expect("a poll"));
        if by_source {
            let by_mistake = register_with(source, &one);
            let kind = by_mistake.as_ref().err().map(io::Error::kind);
            self.operation(format!("register {name} twice: {}", told(&by_mistake)));
            return match kind {
                Some(io::ErrorKind::AlreadyExists) => Ok(()),
                _ => Err(format!("{name} with two polls: {by_mistake:?}")),
            };
        }
        if let Err(error) = register_with(source, &one) {
            self.operation(format!("register {name} elsewhere: {:?}", error.kind()));
            return Ok(());
        }
        let error = |what: &str, error: io::Error| format!("{name}, {what}: {error}");
        // What one refuses, as epoll does a file, is not registered there.
        let mut file = mio::IoSource::new(tempfile::tempfile().expect("a file"));
        if let Err(by_one) = register_with(&mut file, &one) {
            let by_other = register_with(&mut file, &other).map_err(|error| error.kind());
            if by_other != Err(by_one.kind()) {
                return Err(format!("a file is {by_one}, and then {by_other:?}"));
            }
        }
        source
            .deregister(one.registry())
            .map_err(|e| error("deregistered", e))?;
        register_with(source, &other).map_err(|e| error("moved to another poll", e))?;
        let fd = other.as_raw_fd();
        drop(other);
        // SAFETY: it takes integers only.
        let is_open = unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
        register_with(source, &one)
            .map_err(|e| error("whose poll is gone, with another one", e))?;
        source
            .deregister(one.registry())
            .map_err(|e| error("deregistered again", e))?;
        self.operation(format!("register {name} with other polls"));
        match is_open && self.backend == Backend::Epoll {
            true => Err(format!("{name} keeps its poll's descriptor open")),
            false => Ok(()),
        }
    }

    /// Closes a source's descriptor behind it; the source finds out. Returns what the descriptor is
    /// again in the end, or nothing where the source is none of which that is known.
    pub fn close_behind(&self, source: usize) -> Option<(Token, Behind)> {
        let slot = self.slot(source);
        let open = slot.open.as_ref()?;
        let (token, _) = open.registered?;
        let is_known = self.judge().was_readable(token);
        if open.handle.has_only_methods() || !self.goes_by_number() || !is_known {
            return None;
        }
        let fd = open.handle.fd();
        let behind = Behind {
            fd,
            kept: raw::dup(fd),
        };
        self.judge().closed(token);
        // SAFETY: the handle owns it and is not used until it is there again; nobody opens anything
        // in between.
        unsafe { libc::close(fd) };
        let told = open
            .handle
            .through(Door::Known, Interest::READABLE, || -> io::Result<()> {
                Err(io::ErrorKind::WouldBlock.into())
            });
        debug_assert!(told.is_err());
        self.operation(format!("close behind {}", World::name(&slot)));
        Some((token, behind))
    }

    pub fn is_registered_by_source(&self, source: usize) -> bool {
        let slot = self.slot(source);
        let registered = slot.open.as_ref().and_then(|open| open.registered);
        matches!(registered, Some((_, By::Source)))
    }

    /// Registers a descriptor that is no source of the program, for reading. It has the number of a
    /// source, whose registration ends with that; the source does not know.
    pub fn register_another(&self, source: usize, fd: RawFd) -> Option<Token> {
        if let Some(open) = &mut self.slot(source).open {
            if let Some((token, _)) = open.registered.take() {
                self.judge().ended(token, self.polls.load(Ordering::SeqCst));
            }
            open.is_stale = true;
        }
        let token = self.new_token();
        let interest = program::Interest::Read;
        let mut judge = self.judge();
        judge.registered(token, Kind::UnixStream, Owner::Raw, interest.into());
        let source = &mut SourceFd(&fd);
        let registered = self
            .registry
            .register(source, mio::Token(token), Interest::READABLE);
        self.operation(format!(
            "register another one as {}: {}",
            shown(token),
            told(&registered)
        ));
        if let Err(error) = registered {
            judge.not_registered(token);
            let text = format!("who has the number of a closed descriptor: {error}");
            judge.fail(Check::Registry, None, Bits::empty(), text);
            return None;
        }
        Some(token)
    }

    pub fn deregister_another(&self, token: Token, fd: RawFd) {
        let deregistered = self.registry.deregister(&mut SourceFd(&fd));
        self.operation(format!(
            "deregister {}: {}",
            shown(token),
            told(&deregistered)
        ));
        let mut judge = self.judge();
        judge.ended(token, self.polls.load(Ordering::SeqCst));
        if let Err(error) = deregistered {
            let text = format!("who has the number of a closed descriptor: {error}");
            judge.fail(Check::Registry, None, Bits::empty(), text);
        }
    }

    /// What is wanted of a source, but for the mode where that promises nothing: of two exclusive
    /// registrations of one object the kernel tells one. A kqueue's of a child has no mode.
    fn possible(&self, open: &Open, wanted: Wanted) -> Wanted {
        let is_shared = Arc::strong_count(&open.object) > 1;
        let has_none = is_exit(open.object.kind) && self.backend == Backend::Kqueue;
        match is_shared || has_none {
            true => Wanted {
                mode: wanted.mode.without_exclusive(),
                ..wanted
            },
            false => wanted,
        }
    }

    /// What is documented to be refused is refused, unless there is something else to be said of
    /// it, and changes nothing.
    fn judge_refusal(
        &self,
        refusal: Refusal,
        or_else: Option<io::ErrorKind>,
        result: &io::Result<()>,
        text: &str,
    ) {
        let is_right = result.as_ref().is_err_and(|error| {
            let explains = error.to_string().contains(refusal.says);
            (error.kind() == refusal.kind && explains) || or_else == Some(error.kind())
        });
        if !is_right {
            let text = format!("{text}: {result:?} where {:?} is documented", refusal.kind);
            self.judge()
                .fail(Check::Registry, None, Bits::empty(), text);
        }
    }

    fn register(&self, source: usize, by: By, wanted: Wanted) {
        let mut slot = self.slot(source);
        let (spec, name) = (slot.spec, World::name(&slot));
        let Some(open) = &mut slot.open else { return };
        let by = open.handle.way(by);
        let wanted = self.possible(open, wanted);
        if open.is_stale && by == By::Source {
            let cleared = self.call(open, by, |registry, source| source.deregister(registry));
            open.is_stale = false;
            // It may have been registered by its descriptor again since.
            if let Some((token, _)) = open.registered.take_if(|_| cleared.is_ok()) {
                self.judge().ended(token, self.polls.load(Ordering::SeqCst));
            }
            self.operation(format!(
                "deregister {name}, which was by its descriptor: {}",
                told(&cleared)
            ));
        }
        let before = open.registered;
        let owner = if by == By::Fd { Owner::Raw } else { spec.owner };
        let token = self.new_token();
        self.judge()
            .registered(token, open.object.kind, owner, wanted);
        open.object.asked_by_registering(self.backend, true);
        let result = self.call(open, by, |registry, source| {
            source.register(registry, mio::Token(token), interest(wanted))
        });
        let text = format!("register {name} by {by:?} for {}", asked(wanted));
        self.operation(format!("{text} as {}: {}", shown(token), told(&result)));
        if let Some(refusal) = refusal(self.backend, open.object.kind, wanted, None) {
            self.judge().not_registered(token);
            let or_else = before.map(|_| io::ErrorKind::AlreadyExists);
            self.judge_refusal(refusal, or_else, &result, &text);
            return;
        }
        let polls = self.polls.load(Ordering::SeqCst);
        let mut judge = self.judge();
        match (&result, before) {
            (Ok(()), before) => {
                open.registered = Some((token, by));
                let had_taken_over = std::mem::take(&mut open.has_taken_over);
                if let Some((old, how)) = before {
                    judge.ended(old, polls);
                    let by_number = how == By::Fd || by == By::Fd || had_taken_over;
                    if self.backend != Backend::Kqueue && !(by_number && self.goes_by_number()) {
                        judge.fail(
                            Check::Registry,
                            Some(token),
                            Bits::empty(),
                            "registered twice".into(),
                        );
                    }
                }
            }
            (Err(error), Some((old, _))) => {
                judge.not_registered(token);
                if loses_registration(self.backend, error) {
                    judge.ended(old, polls);
                    open.registered = None;
                }
            }
            (Err(error), None) => {
                judge.not_registered(token);
                if !may_be_refused(self.backend, &open.object, wanted.interest, error) {
                    let text = format!("register {name}: {error}");
                    judge.fail(Check::Registry, None, Bits::empty(), text);
                }
            }
        }
    }

    fn reregister(&self, source: usize, by: By, wanted: Wanted) {
        let mut slot = self.slot(source);
        let (spec, name) = (slot.spec, World::name(&slot));
        let Some(open) = &mut slot.open else { return };
        let before = open.registered;
        let by = match before {
            Some((_, By::Fd)) => By::Fd,
            _ => open.handle.way(by),
        };
        if open.is_stale {
            return;
        }
        let wanted = self.possible(open, wanted);
        let owner = match before {
            Some((_, By::Source)) => spec.owner,
            _ if by == By::Source => spec.owner,
            _ => Owner::Raw,
        };
        let token = self.new_token();
        self.judge()
            .registered(token, open.object.kind, owner, wanted);
        open.object.asked_by_registering(self.backend, false);
        let result = self.call(open, by, |registry, source| {
            source.reregister(registry, mio::Token(token), interest(wanted))
        });
        let text = format!("reregister {name} by {by:?} for {}", asked(wanted));
        self.operation(format!("{text} as {}: {}", shown(token), told(&result)));
        let mode = before.map(|(token, _)| self.judge().mode(token));
        let former = Some(mode.unwrap_or_default());
        if let Some(refusal) = refusal(self.backend, open.object.kind, wanted, former) {
            self.judge().not_registered(token);
            let or_else = before.is_none().then_some(io::ErrorKind::NotFound);
            self.judge_refusal(refusal, or_else, &result, &text);
            return;
        }
        let polls = self.polls.load(Ordering::SeqCst);
        let mut judge = self.judge();
        match (&result, before) {
            (Ok(()), Some((old, how))) => {
                judge.ended(old, polls);
                open.registered = Some((token, how));
            }
            (Ok(()), None) => {
                open.registered = Some((token, by));
                // A number that was closed without being deregistered is still registered there. The source
                // takes that registration over.
                open.has_taken_over = true;
                if self.backend != Backend::Kqueue && !self.goes_by_number() {
                    judge.fail(
                        Check::Registry,
                        Some(token),
                        Bits::empty(),
                        "reregistered what was not".into(),
                    );
                }
            }
            (Err(error), Some((old, _))) if loses_registration(self.backend, error) => {
                judge.not_registered(token);
                judge.ended(old, polls);
                open.registered = None;
            }
            (Err(error), before) => {
                judge.not_registered(token);
                let expected = before.is_none() && error.kind() == io::ErrorKind::NotFound;
                if !expected && self.backend != Backend::Kqueue {
                    let text = format!("reregister {name}: {error}");
                    judge.fail(
                        Check::Registry,
                        before.map(|(token, _)| token),
                        Bits::empty(),
                        text,
                    );
                }
            }
        }
    }

    pub fn deregister(&self, source: usize, by: By) {
        let mut slot = self.slot(source);
        let name = World::name(&slot);
        let Some(open) = &mut slot.open else { return };
        let before = open.registered;
        let by = match before {
            Some((_, By::Fd)) => By::Fd,
            _ => open.handle.way(by),
        };
        let result = self.call(open, by, |registry, source| source.deregister(registry));
        self.operation(format!("deregister {name} by {by:?}: {}", told(&result)));
        let polls = self.polls.load(Ordering::SeqCst);
        let mut judge = self.judge();
        let was_stale = open.is_stale;
        if by == By::Source {
            open.is_stale = false;
        }
        match (&result, before) {
            (Ok(()), Some((token, how))) => {
                judge.ended(token, polls);
                open.registered = None;
                open.is_stale = how == By::Source && by == By::Fd;
            }
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound || was_stale => {}
            // A number that was closed without being deregistered. On kqueue that is a pipe's: see
            // `exemptions::outlives_its_descriptor`.
            (Ok(()), None) if self.goes_by_number() || judge.has_closed() => {}
            (other, _) => {
                let text = format!("deregister {name}: {other:?}");
                judge.fail(
                    Check::Registry,
                    before.map(|(token, _)| token),
                    Bits::empty(),
                    text,
                );
            }
        }
    }

    fn drop_source(&self, source: usize) {
        let is_shared = self.shares_its_object(source);
        if is_shared {
            // Where a duplicate stays open, epoll keeps the registration, as documented.
            let is_registered = self
                .slot(source)
                .open
                .as_ref()
                .is_some_and(|open| open.registered.is_some());
            if is_registered {
                self.deregister(source, By::Source);
            }
        }
        let mut slot = self.slot(source);
        let name = World::name(&slot);
        let Some(open) = slot.open.take() else { return };
        let (registered, was_raw, kind) = (open.registered, open.handle.is_raw(), open.object.kind);
        drop(open);
        self.operation(format!("drop {name}"));
        if let Some((token, by)) = registered {
            let polls = self.polls.load(Ordering::SeqCst);
            let mut judge = self.judge();
            let writes_only = judge.registration(token).is_some_and(|r| r.writes_only());
            let keeps_pipes = exemptions::outlives_its_descriptor(self.backend, kind, writes_only);
            match (self.goes_by_number() || keeps_pipes) && (was_raw || by == By::Fd) {
                true => judge.closed(token),
                false => judge.ended(token, polls),
            }
        }
    }

    fn shares_its_object(&self, source: usize) -> bool {
        let slot = self.slot(source);
        let Some(open) = &slot.open else { return false };
        matches!(open.object.kind, Kind::Eventfd | Kind::Timerfd)
            || Arc::strong_count(&open.object) > 1
    }

    fn peer(&self, source: usize, act: Act) {
        let slot = self.slot(source);
        let Some(open) = &slot.open else { return };
        if open.object.act(act, open.handle.fd()) {
            self.operation(format!("peer of {}: {act:?}", World::name(&slot)));
            let object = Arc::clone(&open.object);
            drop(slot);
            if object.is_consumed_by_observing() {
                self.mounts_changed();
            }
        }
    }

    /// All who watch the mounts have to hear of it.
    fn mounts_changed(&self) {
        for slot in &self.slots {
            let slot = slot.lock().unwrap();
            let Some(open) = &slot.open else { continue };
            if !open.object.is_consumed_by_observing() {
                continue;
            }
            open.object.set_pending(Bits::ERROR);
            if let Some((token, _)) = open.registered {
                self.judge().happened_unobserved(token);
            }
        }
    }

    /// An event has named these bits of a registration.
    pub fn reported(&self, token: Token, named: Bits) {
        if !named.contains(Bits::ERROR) {
            return;
        }
        for slot in &self.slots {
            let slot = slot.lock().unwrap();
            let open = slot.open.as_ref();
            if let Some(open) =
                open.filter(|open| open.registered.is_some_and(|(of, _)| of == token))
            {
                open.object.set_pending(Bits::empty());
            }
        }
    }

    /// Registers all that is registered anew, so that what is ready is reported.
    pub fn reregister_all(&self, wanted: Wanted) {
        for source in 0..self.slots.len() {
            let open = |slot: &Slot| {
                slot.open
                    .as_ref()
                    .is_some_and(|open| open.registered.is_some())
            };
            if open(&self.slot(source)) {
                self.reregister(source, By::Source, wanted);
            }
        }
    }

    /// The source that has this registration.
    pub fn source_of(&self, token: Token) -> Option<usize> {
        self.slots.iter().position(|slot| {
            let slot = slot.lock().unwrap();
            let registered = slot.open.as_ref().and_then(|open| open.registered);
            registered.is_some_and(|(of, _)| of == token)
        })
    }

    /// Whether two sources are one and its duplicate.
    pub fn are_duplicates(&self, one: usize, other: usize) -> bool {
        let object = |source: usize| {
            let slot = self.slot(source);
            slot.open.as_ref().map(|open| Arc::clone(&open.object))
        };
        match (object(one), object(other)) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one, &other),
            _ => false,
        }
    }

    /// Does an operation; its last outcome, and whether any of its calls did something. `None` where
    /// it means nothing for the source.
    pub fn operate(&self, source: usize, op: Op, door: Door) -> Option<(Outcome, bool)> {
        let slot = self.slot(source);
        let open = slot.open.as_ref()?;
        let (kind, fd) = (open.object.kind, open.handle.fd());
        if !is_applicable(kind, op) || (self.is_threaded && op == Op::AcceptWithoutDescriptors) {
            return None;
        }
        // To call its `WouldBlock` one of reading would not be true.
        let door = match op {
            Op::ErrorQueue => Door::Unknown,
            _ => door,
        };
        let (single, most) = match op {
            Op::Drain => (Op::Read(4096), 2000),
            Op::Fill => (Op::Write(4096), most_writes(kind)),
            other => (other, 1),
        };
        let (mut outcome, mut did_something) = (Outcome::Succeeded, false);
        for round in 0..most {
            if let Some((token, _)) = open.registered {
                self.judge().begin(token);
            }
            outcome = self
                .while_nobody_blocks("an operation", || self.call_once(open, single, door, round));
            did_something |= matches!(outcome, Outcome::Succeeded | Outcome::Short);
            if op == Op::AcceptWithoutDescriptors || single == op || outcome != Outcome::Succeeded {
                let text = format!("{single:?} through {door:?}");
                self.tell_judge(&slot, open, op, door, outcome, &text);
            } else if let Some((token, _)) = open.registered {
                self.judge()
                    .outcome(token, Bits::empty(), door, outcome, None, "");
            }
            if !matches!(outcome, Outcome::Succeeded | Outcome::Short) {
                break;
            }
        }
        if matches!(op, Op::Connect(_)) {
            open.object.connected(fd);
        }
        self.operation(format!(
            "{op:?} on {} through {door:?}: {outcome:?}",
            World::name(&slot)
        ));
        Some((outcome, did_something))
    }

    fn call_once(&self, open: &Open, op: Op, door: Door, round: usize) -> Outcome {
        let (kind, fd) = (open.object.kind, open.handle.fd());
        if door == Door::Method || open.handle.has_only_methods() {
            if let Some(outcome) = open.handle.method(op) {
                return outcome;
            }
        }
        let direction = handle::direction(op);
        let result = open
            .handle
            .through(door, direction, || system_call(open, kind, fd, op, round));
        match (op, result) {
            (Op::Read(_) | Op::ReadVectored(_), Ok(0)) if !is_datagram(kind) => Outcome::Ended,
            (_, other) => handle::of(other),
        }
    }

    fn tell_judge(
        &self,
        slot: &Slot,
        open: &Open,
        op: Op,
        door: Door,
        outcome: Outcome,
        text: &str,
    ) {
        let consumed = open.object.is_consumed_by_observing();
        let now = (!consumed).then(|| observe(open.handle.fd()));
        let direction = judged_direction(op);
        if let Some((token, by)) = open.registered {
            // What is registered by its descriptor is raw, whoever owns it.
            let _ = by;
            self.judge()
                .outcome(token, direction, door, outcome, now, text);
        }
        if outcome != Outcome::WouldBlock || self.is_threaded {
            return;
        }
        // A duplicate's readiness has ended as well; where the kernel does not see that, only raw
        // descriptors are probed.
        for (index, sibling) in self.slots.iter().enumerate() {
            if index == slot.index {
                continue;
            }
            let sibling = sibling.lock().unwrap();
            let Some(other) = &sibling.open else { continue };
            let Some((token, _)) = other.registered else {
                continue;
            };
            if !Arc::ptr_eq(&other.object, &open.object) {
                continue;
            }
            let mut judge = self.judge();
            let is_raw = judge
                .registration(token)
                .is_some_and(|r| r.owner == Owner::Raw);
            let by_kernel = matches!(self.backend, Backend::Epoll | Backend::Kqueue);
            if by_kernel || is_raw {
                judge.outcome(
                    token,
                    direction,
                    Door::Known,
                    outcome,
                    now,
                    "by a duplicate:",
                );
            }
        }
    }
}

fn register_with(source: &mut dyn mio::event::Source, poll: &Poll) -> io::Result<()> {
    let (token, both) = (mio::Token(0), Interest::READABLE | Interest::WRITABLE);
    source.register(poll.registry(), token, both)
}

/// A documented error.
struct Refusal {
    kind: io::ErrorKind,
    /// What its text says.
    says: &'static str,
}

/// The documented error of registering what cannot be registered, or of reregistering, where `former`
/// is the mode until then.
fn refusal(backend: Backend, kind: Kind, wanted: Wanted, former: Option<Mode>) -> Option<Refusal> {
    let Wanted { interest, mode } = wanted;
    let refusal = |kind, says| Some(Refusal { kind, says });
    if is_exit(kind) && interest == program::Interest::Write {
        return refusal(io::ErrorKind::InvalidInput, "");
    }
    if mode.is_exclusive() && backend != Backend::Epoll {
        return refusal(io::ErrorKind::Unsupported, "");
    }
    let is_exclusive = match former {
        None => {
            let goes_together = !mode.is_one_shot() && interest != program::Interest::ReadPriority;
            mode.is_exclusive() && !goes_together
        }
        Some(former) => mode.is_exclusive() || former.is_exclusive(),
    };
    match is_exclusive {
        true => refusal(io::ErrorKind::InvalidInput, "exclusive"),
        false => None,
    }
}

fn asked(wanted: Wanted) -> String {
    let Wanted { interest, mode } = wanted;
    match mode {
        Mode::Edge => format!("{interest:?}"),
        _ => format!("{interest:?}, {mode:?}"),
    }
}

/// kqueue refuses to watch for a direction that the descriptor does not have, if it is the only one;
/// and without user events a pipe without readers.
fn may_be_refused(
    backend: Backend,
    object: &Object,
    wanted: program::Interest,
    error: &io::Error,
) -> bool {
    let kind = object.kind;
    let is_gone = object.is_reaped() && error.kind() == io::ErrorKind::NotFound;
    let has_no_such_direction = match wanted {
        program::Interest::Write => matches!(
            kind,
            Kind::Receiver | Kind::Fifo | Kind::TcpListener | Kind::UnixListener
        ),
        program::Interest::Read | program::Interest::ReadPriority => is_writing_end(kind),
        program::Interest::Both => false,
    };
    backend == Backend::Kqueue && (has_no_such_direction || is_gone || has_no_way_to_watch(error))
}

/// As documented, nothing is registered where kqueue refuses something, not even what was before. That
/// something is registered already is not its word.
fn loses_registration(backend: Backend, error: &io::Error) -> bool {
    backend == Backend::Kqueue && error.kind() != io::ErrorKind::AlreadyExists
}

/// A kqueue without user events has no way to watch a pipe without readers.
fn has_no_way_to_watch(error: &io::Error) -> bool {
    let has_user_events =
        std::env::var_os("KQUEUE_MODEL_WITHOUT_USER").is_none_or(|value| value != "1");
    error.kind() == io::ErrorKind::BrokenPipe && !has_user_events
}

fn told(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "Ok".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn is_socket(kind: Kind) -> bool {
    is_stream_socket(kind) || is_udp(kind) || matches!(kind, Kind::UnixDatagram | Kind::Seqpacket)
}

fn is_stream_socket(kind: Kind) -> bool {
    matches!(kind, Kind::Tcp | Kind::TcpUnconnected | Kind::UnixStream)
}

fn is_tcp(kind: Kind) -> bool {
    matches!(kind, Kind::Tcp | Kind::TcpUnconnected)
}

fn is_udp(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Udp | Kind::UdpRefused | Kind::UdpErrorQueue | Kind::UdpTimestamps
    )
}

/// Of a pipe.
fn is_writing_end(kind: Kind) -> bool {
    matches!(kind, Kind::Sender | Kind::FifoWriter)
}

fn is_listener(kind: Kind) -> bool {
    matches!(kind, Kind::TcpListener | Kind::UnixListener)
}

/// Whether a read of nothing is no end.
fn is_datagram(kind: Kind) -> bool {
    is_udp(kind) || kind == Kind::UnixDatagram || is_listener(kind)
}

/// So that filling what never blocks comes to an end.
fn most_writes(kind: Kind) -> usize {
    if is_udp(kind) {
        4
    } else {
        1000
    }
}

fn is_applicable(kind: Kind, op: Op) -> bool {
    match op {
        _ if is_exit(kind) => false,
        Op::Read(_) | Op::Drain => !is_writing_end(kind),
        Op::ReadVectored(_) => is_socket(kind) || matches!(kind, Kind::Receiver | Kind::Fifo),
        Op::Peek(_) => is_socket(kind),
        // Not a terminal, whose data a worker of the kernel's moves when it likes.
        Op::Write(_) | Op::Fill => is_socket(kind) || is_writing_end(kind) || kind == Kind::Eventfd,
        Op::WriteVectored(_) => is_socket(kind) || is_writing_end(kind),
        Op::AcceptWithoutDescriptors => is_listener(kind),
        Op::TakeError => is_socket(kind) || is_listener(kind),
        Op::ErrorQueue => matches!(kind, Kind::UdpErrorQueue | Kind::UdpTimestamps),
        Op::Urgent | Op::Disconnect => is_tcp(kind),
        // What hangs up beside an error: sockets with an error queue.
        Op::Shutdown(_) => is_socket(kind) && !matches!(kind, Kind::Udp | Kind::UdpRefused),
        Op::Connect(_) => kind == Kind::TcpUnconnected,
    }
}

/// The direction of which `WouldBlock` says that it has ended. The error queue is none, whatever is
/// said of it at the door.
fn judged_direction(op: Op) -> Bits {
    match op {
        Op::Read(_)
        | Op::ReadVectored(_)
        | Op::Peek(_)
        | Op::Drain
        | Op::AcceptWithoutDescriptors => Bits::READ,
        Op::Write(_) | Op::WriteVectored(_) | Op::Fill | Op::Connect(_) => Bits::WRITE,
        Op::Urgent => Bits::PRIORITY,
        Op::TakeError | Op::ErrorQueue | Op::Shutdown(_) | Op::Disconnect => Bits::empty(),
    }
}

fn system_call(open: &Open, kind: Kind, fd: RawFd, op: Op, round: usize) -> io::Result<usize> {
    match op {
        Op::Read(_) if is_listener(kind) => raw::accept(fd).map(|_| 1),
        Op::Read(n) | Op::ReadVectored(n) if is_socket(kind) => raw::recv(fd, n, 0),
        Op::Read(_) if kind == Kind::Inotify => raw::read(fd, 4096),
        Op::Read(n) | Op::ReadVectored(n) => raw::read(fd, n.max(8)),
        Op::Peek(n) => raw::recv(fd, n, libc::MSG_PEEK),
        // To fill a counter, all that it takes at once; then one more.
        Op::Write(4096) if kind == Kind::Eventfd => {
            raw::write_u64(fd, if round == 0 { u64::MAX - 1 } else { 1 })
        }
        Op::Write(_) if kind == Kind::Eventfd => raw::write_u64(fd, 1),
        Op::Write(n) | Op::WriteVectored(n) if is_socket(kind) => raw::send(fd, n, 0),
        Op::Write(n) | Op::WriteVectored(n) => raw::write(fd, n),
        Op::AcceptWithoutDescriptors => raw::without_descriptors(|| raw::accept(fd)).map(|_| 1),
        Op::TakeError => raw::take_error(fd).map(|()| 0),
        Op::ErrorQueue => raw::error_queue(fd),
        Op::Urgent => raw::recv(fd, 1, libc::MSG_OOB),
        Op::Shutdown(half) => raw::shutdown(fd, half),
        Op::Connect(to) => match open.object.address(to) {
            Some(address) => raw::connect(fd, &address),
            None => Ok(0),
        },
        Op::Disconnect => raw::disconnect(fd),
        Op::Drain | Op::Fill => unreachable!("done call by call"),
    }
}
