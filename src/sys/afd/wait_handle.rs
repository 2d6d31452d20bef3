//! Handles that can be waited for, as sources. A pool of the system waits, and calls back when one is
//! signalled: [SetThreadpoolWait](https://learn.microsoft.com/en-us/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-setthreadpoolwait).
//!
//! **Why this call.** A `WaitHandle` creates its wait object once. Arming it is one call, which allocates nothing and
//! does not block. A callback that was queued before the wait is disarmed still comes, with its signal.
//! `RegisterWaitForSingleObject` needs a new wait object for each signal, and its page does not say what happens to
//! callbacks that are queued when it is unregistered.
//!
//! **The stages of a registration.**
//!
//! ```text
//! Armed    the pool waits                      callback ──► Posted (Listed, if the packet cannot be posted)
//! Posted   a packet is on the port             its packet ► Spent (Listed, if level-triggered)
//! Listed   it is in the selector's ready list  noticed ───► Spent (Listed or Armed, if level-triggered)
//! Spent    it was reported                     reregister ► Listed or Armed
//! ```
//!
//! `register` and `reregister` probe the handle, with a wait whose timeout is zero: a handle that is signalled is
//! listed, and the pool is armed for the others only. So the first poll reports what is signalled when it
//! is registered. A level-triggered registration that was reported stays listed: the next `select` probes
//! it, and reports it again or arms the pool.
//!
//! **Signals.** A wait consumes the signal of some objects (an event that resets itself, one count of a
//! semaphore). So the signals that were taken, by the pool and by probes, are counted, and each event takes one
//! off the count. A callback that comes late (its registration has ended, or was armed again) counts, too.
//! What is left belongs to the next registration of this handle. Dropping the `WaitHandle`, or `into_inner`, loses it.
//!
//! **Stale packets.** A packet carries the number of its registration, which each `register` of a handle raises. A
//! registration that has ended has no number any more, so its packet is no event. Its entry in the ready
//! list is removed.
//!
//! **Memory.** The callback's context is no address, but a number that no other wait has, and [`ALL`] has
//! the waits by their numbers until they are dropped. So a callback accesses no freed memory, whenever it comes.
//! While it runs, it holds an `Arc` of the `Wait`. If that is the last one, the `Wait` contains no pool wait any more,
//! because [`End`] has taken it out before. So no thread of the pool ever waits for the pool.
//!
//! **Dropping** a pool wait disarms it and awaits the callback that runs. A callback takes two locks, [`ALL`] and
//! that of its `Wait`, and posts a packet. So whoever drops a pool wait holds neither.
//!
//! **Locks.** The selector's, then the wait's. [`ALL`] is held only to look up.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::io;
use std::mem;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};
use std::ptr;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectTypeInformation};
use windows_sys::Win32::Foundation::{WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    CloseThreadpoolWait, CreateThreadpoolWait, SetThreadpoolWait, WaitForSingleObject,
    WaitForThreadpoolWaitCallbacks, PTP_CALLBACK_INSTANCE, PTP_WAIT,
};
use windows_sys::Win32::System::WindowsProgramming::PUBLIC_OBJECT_TYPE_INFORMATION;

use super::super::Mistake;
use super::noticed::Noticed;
use super::port::{KernelEvent, Kind, Port};
use super::status::check;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

/// What a wait needs of the queue that it is registered with.
pub(crate) trait WaitQueue: Send + Sync {
    /// Where the packets go; `None` where the backend has no port.
    fn port(&self) -> Option<&Arc<Port>>;
    /// A handle was registered. Reserves capacity for its event.
    fn begin_wait(&self);
    /// A registered handle is signalled.
    fn notice(&self, wait: &Arc<Wait>, registration: u32);
    /// A handle was deregistered, which may be in the ready list.
    fn end_wait(&self, wait: &Arc<Wait>, is_listed: bool);
}

/// What a program holds of a wait.
pub(crate) struct WaitHandle {
    /// Before the handle, so that it is dropped first.
    end: End,
    handle: OwnedHandle,
}

/// Dropping it ends the wait.
struct End(Arc<Wait>);

/// What the pool and the selector share.
pub(crate) struct Wait {
    /// Open as long as there is a `WaitHandle`, and so as long as there is a registration.
    handle: Raw,
    state: Mutex<State>,
}

#[derive(Copy, Clone)]
struct Raw(RawHandle);

// SAFETY: the pointer is the number of a handle, which nothing dereferences, and every thread of the
// process may use a handle.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

struct State {
    /// Made when it is registered first, and dropped by [`End`].
    pool: Option<PoolWait>,
    registration: Option<Registration>,
    /// The number of the last registration.
    registrations: u32,
    /// How many signals were taken and are still to be reported.
    taken: u32,
}

struct Registration {
    /// No other one of this wait has it. (A packet would have to outlast 2^32 of them.)
    number: u32,
    token: Token,
    interest: Interest,
    stage: Stage,
    /// The `select` that has reported it last.
    reported_by: Option<u32>,
    queue: Weak<dyn WaitQueue>,
    port: Weak<Port>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    Armed,
    Posted,
    Listed,
    Spent,
}

impl WaitHandle {
    pub(crate) fn new(handle: OwnedHandle) -> WaitHandle {
        let wait = Arc::new(Wait {
            handle: Raw(handle.as_raw_handle()),
            state: Mutex::new(State {
                pool: None,
                registration: None,
                registrations: 0,
                taken: 0,
            }),
        });
        WaitHandle {
            end: End(wait),
            handle,
        }
    }

    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }

    /// Registers it. Whatever fails, fails before there is a registration.
    pub(crate) fn register<Q: WaitQueue + 'static>(
        &mut self,
        queue: &Arc<Q>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        check_interest(interest)?;
        let Some(port) = queue.port() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let wait = &self.end.0;
        let listed = {
            let mut state = wait.lock();
            if state.is_registered() {
                return Err(Mistake::AlreadyRegistered.into());
            }
            // That of a queue that is gone.
            state.end();
            self.prepare(&mut state)?;
            let stage = wait.probe_or_arm(&mut state)?;
            state.registrations = state.registrations.wrapping_add(1);
            let number = state.registrations;
            let queue: Weak<Q> = Arc::downgrade(queue);
            state.registration = Some(Registration {
                number,
                token,
                interest,
                stage,
                reported_by: None,
                queue,
                port: Arc::downgrade(port),
            });
            (stage == Stage::Listed).then_some(number)
        };
        queue.begin_wait();
        if let Some(number) = listed {
            queue.notice(wait, number);
        }
        Ok(())
    }

    /// Makes the pool's wait, unless there is one.
    fn prepare(&self, state: &mut State) -> io::Result<()> {
        if state.pool.is_none() {
            if is_mutex(self.handle())? {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a mutex is no source: the thread that waits for it would own it",
                ));
            }
            state.pool = Some(PoolWait::new(&self.end.0)?);
        }
        Ok(())
    }

    /// Replaces token and interest. What is still to be reported is reported with the new ones.
    pub(crate) fn reregister<Q: WaitQueue>(
        &mut self,
        queue: &Arc<Q>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        check_interest(interest)?;
        let wait = &self.end.0;
        let listed = {
            let mut state = wait.lock();
            let stage = match state.registration_at(queue)?.stage {
                Stage::Spent => Some(wait.probe_or_arm(&mut state)?),
                Stage::Armed | Stage::Posted | Stage::Listed => None,
            };
            let registration = state.registration_at(queue)?;
            registration.token = token;
            registration.interest = interest;
            registration.stage = stage.unwrap_or(registration.stage);
            (stage == Some(Stage::Listed)).then_some(registration.number)
        };
        if let Some(number) = listed {
            queue.notice(wait, number);
        }
        Ok(())
    }

    pub(crate) fn deregister<Q: WaitQueue>(&mut self, queue: &Arc<Q>) -> io::Result<()> {
        let ended = {
            let mut state = self.end.0.lock();
            state.registration_at(queue)?;
            state.end()
        };
        self.end.forget(ended);
        Ok(())
    }

    pub(crate) fn into_handle(self) -> OwnedHandle {
        drop(self.end);
        self.handle
    }
}

impl End {
    /// The queue forgets a registration that has ended.
    fn forget(&self, ended: Option<Registration>) {
        if let Some(registration) = ended {
            if let Some(queue) = registration.queue.upgrade() {
                queue.end_wait(&self.0, registration.stage == Stage::Listed);
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (ended, pool) = {
            let mut state = self.0.lock();
            (state.registration.take(), state.pool.take())
        };
        // Without a lock: this disarms it, and awaits a callback that runs.
        drop(pool);
        self.forget(ended);
    }
}

impl fmt::Debug for WaitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is free again when the program's code writes what is formatted.
        let registered = {
            let state = self.end.0.lock();
            let registration = state.registration.as_ref();
            let registration = registration.filter(|its| its.queue.strong_count() > 0);
            registration.map(|its| (its.token, its.interest))
        };
        let mut shown = f.debug_struct("WaitHandle");
        shown.field("handle", &self.handle);
        if let Some((token, interests)) = registered {
            shown.field("token", &token).field("interests", &interests);
        }
        shown.finish_non_exhaustive()
    }
}

/// A handle is readable when it is signalled, and never writable.
fn check_interest(interest: Interest) -> io::Result<()> {
    match interest.is_readable() {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The wait whose packet was taken off a port.
pub(super) fn of_packet(packet: KernelEvent) -> Option<Arc<Wait>> {
    debug_assert_eq!(packet.kind(), Some(Kind::Signal));
    find(packet.word())
}

impl Wait {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool's wait has ended with a signal.
    fn signalled(self: &Arc<Self>) {
        let (queue, number) = {
            let mut state = self.lock();
            state.taken = state.taken.saturating_add(1);
            let word = state.pool.as_ref().map_or(0, |pool| pool.number);
            let Some(registration) = &mut state.registration else {
                return;
            };
            if registration.stage != Stage::Armed {
                return;
            }
            // The lock is held: whoever takes the packet finds this stage.
            registration.stage = Stage::Posted;
            let number = registration.number;
            let posted = match registration.port.upgrade() {
                Some(port) => port.post(Kind::Signal, number, word),
                // With its queue.
                None => return,
            };
            if posted.is_ok() {
                return;
            }
            registration.stage = Stage::Listed;
            (registration.queue.clone(), number)
        };
        // The kernel had no memory for the packet: the next `select` looks into the list.
        if let Some(queue) = queue.upgrade() {
            queue.notice(self, number);
        }
    }

    /// Takes a signal, unless one was taken that is still to be reported; arms the pool if there is none.
    fn probe_or_arm(&self, state: &mut State) -> io::Result<Stage> {
        if state.taken == 0 {
            // SAFETY: the call accesses no memory of the process. The handle is open: the callers are methods of the
            // `WaitHandle`, and `noticed`, which has found a registration. The `WaitHandle` ends that under the lock
            // that is held here, before it closes the handle.
            match unsafe { WaitForSingleObject(self.handle.0, 0) } {
                WAIT_OBJECT_0 => state.taken = 1,
                WAIT_FAILED => return Err(io::Error::last_os_error()),
                _ => {
                    if let Some(pool) = &state.pool {
                        pool.arm(self.handle);
                    }
                    return Ok(Stage::Armed);
                }
            }
        }
        Ok(Stage::Listed)
    }

    /// What it has to report: its packet was taken off the port, or its entry off the ready list.
    pub(super) fn noticed(&self, number: u32, select: u32) -> Noticed {
        let mut state = self.lock();
        let is_due = |its: &&mut Registration| {
            its.number == number && matches!(its.stage, Stage::Posted | Stage::Listed)
        };
        let Some(registration) = state.registration.as_mut().filter(is_due) else {
            return Noticed::Nothing;
        };
        registration.stage = Stage::Listed;
        if registration.reported_by == Some(select) {
            return Noticed::Later;
        }
        // A level-triggered one is listed when it was reported. That it could be registered says that the
        // probe works.
        if let Ok(Stage::Armed) = self.probe_or_arm(&mut state) {
            if let Some(registration) = &mut state.registration {
                registration.stage = Stage::Armed;
            }
            return Noticed::Nothing;
        }
        state.taken = state.taken.saturating_sub(1);
        let Some(registration) = &mut state.registration else {
            return Noticed::Nothing;
        };
        registration.reported_by = Some(select);
        let event = Event::new(registration.token, Readiness::IN);
        let interest = registration.interest;
        if interest.is_level() && !interest.is_oneshot() {
            return Noticed::LevelEvent(event);
        }
        registration.stage = Stage::Spent;
        Noticed::Event(event)
    }
}

impl State {
    /// Whether it is registered with a queue that is there.
    fn is_registered(&self) -> bool {
        let registration = self.registration.as_ref();
        registration.is_some_and(|its| its.queue.strong_count() > 0)
    }

    /// Its registration with this queue.
    fn registration_at<Q: WaitQueue>(&mut self, queue: &Arc<Q>) -> io::Result<&mut Registration> {
        let is_its = |registration: &&mut Registration| {
            let its: *const dyn WaitQueue = registration.queue.as_ptr();
            ptr::eq(its.cast(), Arc::as_ptr(queue))
        };
        let registration = self.registration.as_mut().filter(is_its);
        registration.ok_or_else(|| Mistake::NotRegistered.into())
    }

    /// Ends the registration. Its signals stay.
    fn end(&mut self) -> Option<Registration> {
        let registration = self.registration.take()?;
        if let (Stage::Armed, Some(pool)) = (registration.stage, &self.pool) {
            pool.disarm();
        }
        Some(registration)
    }
}

/// Whether it is a mutex, whose wait makes a thread its owner.
fn is_mutex(handle: BorrowedHandle<'_>) -> io::Result<bool> {
    /// As the kernel lays it out: the name of the type is behind it.
    #[repr(C)]
    struct Information {
        about: PUBLIC_OBJECT_TYPE_INFORMATION,
        name: [u16; 64],
    }

    let mut information = Information {
        about: PUBLIC_OBJECT_TYPE_INFORMATION::default(),
        name: [0; 64],
    };
    // SAFETY: the call writes at most the given size to `information`, which is of that size and may have any
    // contents: its fields are integers and a raw pointer. The handle is open, because it is borrowed.
    check(unsafe {
        NtQueryObject(
            handle.as_raw_handle(),
            ObjectTypeInformation,
            ptr::addr_of_mut!(information).cast(),
            mem::size_of::<Information>() as u32,
            ptr::null_mut(),
        )
    })?;
    let name = information.about.TypeName;
    if name.Buffer.is_null() {
        return Ok(false);
    }
    // SAFETY: the call has succeeded, so `Buffer` points to `Length` bytes of UTF-16, which it has written into
    // `information`. Nothing writes to them as long as `name` is used.
    let name = unsafe { slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
    Ok(name.iter().copied().eq("Mutant".encode_utf16()))
}

/// A wait of the pool.
struct PoolWait {
    wait: PTP_WAIT,
    /// The callback's context, and the key in [`ALL`].
    number: usize,
}

/// The waits that the pool may call back.
static ALL: OnceLock<Mutex<All>> = OnceLock::new();

#[derive(Default)]
struct All {
    last: usize,
    waits: HashMap<usize, Weak<Wait>>,
}

fn all() -> MutexGuard<'static, All> {
    let all = ALL.get_or_init(Mutex::default);
    // No panic leaves it half changed.
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(number: usize) -> Option<Arc<Wait>> {
    all().waits.get(&number)?.upgrade()
}

impl All {
    /// A number that no wait has, and on 64-bit none has had.
    fn insert(&mut self, wait: Weak<Wait>) -> usize {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.waits.contains_key(&self.last) {
                self.waits.insert(self.last, wait);
                return self.last;
            }
        }
    }
}

impl PoolWait {
    fn new(wait: &Arc<Wait>) -> io::Result<PoolWait> {
        let number = all().insert(Arc::downgrade(wait));
        // SAFETY: `called_back` is of the callback's type, and takes any context: it looks the number up. The
        // environment is null, which stands for the process's own pool.
        let pool_wait =
            unsafe { CreateThreadpoolWait(Some(called_back), number as *mut c_void, ptr::null()) };
        if pool_wait == 0 {
            let error = io::Error::last_os_error();
            all().waits.remove(&number);
            return Err(error);
        }
        Ok(PoolWait {
            wait: pool_wait,
            number,
        })
    }

    /// The pool waits for one signal of this handle.
    fn arm(&self, handle: Raw) {
        // SAFETY: the wait is not closed before `self` is dropped. The handle is open, as in `probe_or_arm`, and stays
        // open until the wait is disarmed: its owner, the `WaitHandle`, drops `End` first, which drops `self`. The
        // timeout is null, which stands for none.
        unsafe { SetThreadpoolWait(self.wait, handle.0, ptr::null()) };
    }

    /// The pool does not wait any more. A callback that is queued still comes.
    fn disarm(&self) {
        // SAFETY: the wait is not closed before `self` is dropped. A null handle stands for none.
        unsafe { SetThreadpoolWait(self.wait, ptr::null_mut(), ptr::null()) };
    }
}

impl Drop for PoolWait {
    fn drop(&mut self) {
        self.disarm();
        all().waits.remove(&self.number);
        // After this no callback of the wait runs, so that a library (cdylib) with this code in it can be unloaded.
        // SAFETY: the wait is open. No callback of this wait is below this frame: a callback drops no `PoolWait`
        // (see the head of this file), and so does not await itself.
        unsafe { WaitForThreadpoolWaitCallbacks(self.wait, 1) };
        // SAFETY: the wait is open, and nothing uses it after this: `self` is being dropped.
        unsafe { CloseThreadpoolWait(self.wait) };
    }
}

/// Called on a thread of the pool.
unsafe extern "system" fn called_back(
    _: PTP_CALLBACK_INSTANCE,
    number: *mut c_void,
    _: PTP_WAIT,
    _: u32,
) {
    if let Some(wait) = find(number as usize) {
        wait.signalled();
    }
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::FromRawHandle;

    use windows_sys::Win32::System::Threading::{CreateEventW, SetEvent};

    use super::*;

    const ONE: Token = Token(1);

    /// A test double of a queue.
    struct Double {
        port: Arc<Port>,
        listed: Mutex<Vec<u32>>,
    }

    impl Double {
        fn new() -> Arc<Double> {
            Double::with(Port::open().unwrap())
        }

        fn with(port: Port) -> Arc<Double> {
            Arc::new(Double {
                port: Arc::new(port),
                listed: Mutex::default(),
            })
        }

        /// The numbers of the registrations with a packet on the port.
        fn packets(&self) -> Vec<u32> {
            let mut packets = Vec::with_capacity(16);
            self.port.dequeue(&mut packets, 16, 0).unwrap();
            packets.iter().map(KernelEvent::number).collect()
        }

        fn take_listed(&self) -> Vec<u32> {
            mem::take(&mut self.listed.lock().unwrap())
        }
    }

    impl WaitQueue for Double {
        fn port(&self) -> Option<&Arc<Port>> {
            Some(&self.port)
        }

        fn begin_wait(&self) {}

        fn notice(&self, _: &Arc<Wait>, registration: u32) {
            self.listed.lock().unwrap().push(registration);
        }

        fn end_wait(&self, _: &Arc<Wait>, _: bool) {}
    }

    /// An event that a wait resets, not signalled.
    fn event() -> WaitHandle {
        // SAFETY: attributes and name are null, which stands for none. The call opens the handle, and nothing
        // else owns it.
        WaitHandle::new(unsafe {
            let event = CreateEventW(ptr::null(), 0, 0, ptr::null());
            assert!(!event.is_null());
            OwnedHandle::from_raw_handle(event)
        })
    }

    fn register(handle: &mut WaitHandle, queue: &Arc<Double>) {
        handle.register(queue, ONE, Interest::READABLE).unwrap();
    }

    fn reregister(handle: &mut WaitHandle, queue: &Arc<Double>) {
        handle.reregister(queue, ONE, Interest::READABLE).unwrap();
    }

    fn is_event(noticed: &Noticed) -> bool {
        matches!(noticed, Noticed::Event(event) if event.token() == ONE)
    }

    #[test]
    fn its_token_is_shown_as_long_as_there_is_its_queue() {
        let queue = Double::new();
        let mut handle = event();
        assert!(!format!("{handle:?}").contains("Token"));
        register(&mut handle, &queue);
        assert!(format!("{handle:?}").contains("Token(1)"));
        drop(queue);
        assert!(!format!("{handle:?}").contains("Token"));
    }

    #[test]
    fn each_signal_that_was_taken_is_an_event() {
        let queue = Double::new();
        let mut handle = event();
        register(&mut handle, &queue);
        let wait = Arc::clone(&handle.end.0);
        // The second one comes late, after the wait was armed again.
        wait.signalled();
        wait.signalled();
        assert_eq!(queue.packets(), [1], "one packet of one registration");
        assert!(is_event(&wait.noticed(1, 1)));
        assert!(!is_event(&wait.noticed(1, 1)));

        reregister(&mut handle, &queue);
        assert_eq!(queue.take_listed(), [1]);
        assert!(is_event(&wait.noticed(1, 2)));
        reregister(&mut handle, &queue);
        assert!(queue.take_listed().is_empty());
        assert!(queue.packets().is_empty());
        assert!(!is_event(&wait.noticed(1, 3)));
    }

    #[test]
    fn a_signal_after_the_end_of_a_registration_belongs_to_the_next() {
        let queue = Double::new();
        let mut handle = event();
        register(&mut handle, &queue);
        handle.deregister(&queue).unwrap();
        handle.end.0.signalled();
        assert!(queue.packets().is_empty());
        register(&mut handle, &queue);
        assert_eq!(queue.take_listed(), [2]);
        assert!(is_event(&handle.end.0.noticed(2, 1)));
    }

    #[test]
    fn a_packet_of_a_registration_before_is_stale() {
        let (one, two) = (Double::new(), Double::new());
        let mut handle = event();
        register(&mut handle, &one);
        handle.end.0.signalled();
        handle.deregister(&one).unwrap();
        assert!(!is_event(&handle.end.0.noticed(1, 1)));
        register(&mut handle, &two);
        assert_eq!(one.packets(), [1]);
        assert!(!is_event(&handle.end.0.noticed(1, 1)));
        assert!(is_event(&handle.end.0.noticed(2, 1)));
    }

    /// As if the kernel had no memory.
    #[test]
    fn a_signal_whose_packet_cannot_be_posted_is_listed() {
        let queue = Double::with(Port::broken());
        let mut handle = event();
        register(&mut handle, &queue);
        handle.end.0.signalled();
        assert_eq!(queue.take_listed(), [1]);
        assert!(is_event(&handle.end.0.noticed(1, 1)));
    }

    #[test]
    fn one_select_reports_a_level_triggered_handle_once() {
        let queue = Double::new();
        let mut handle = event();
        let level = Interest::READABLE.level();
        handle.register(&queue, ONE, level).unwrap();
        let wait = Arc::clone(&handle.end.0);
        wait.signalled();
        wait.signalled();
        assert!(matches!(wait.noticed(1, 7), Noticed::LevelEvent(_)));
        assert!(matches!(wait.noticed(1, 7), Noticed::Later));
        assert!(matches!(wait.noticed(1, 8), Noticed::LevelEvent(_)));
        assert_eq!(queue.packets(), [1]);
        // Not signalled any more: the pool waits again.
        assert!(matches!(wait.noticed(1, 9), Noticed::Nothing));
        // SAFETY: the handle is open.
        assert_ne!(unsafe { SetEvent(handle.handle().as_raw_handle()) }, 0);
        let mut packets = Vec::with_capacity(16);
        queue.port.dequeue(&mut packets, 16, 10_000).unwrap();
        assert_eq!(packets.len(), 1);
        let its = of_packet(packets[0]).unwrap();
        assert!(Arc::ptr_eq(&its, &wait));
        assert!(matches!(its.noticed(1, 10), Noticed::LevelEvent(_)));
    }

    #[test]
    fn a_callback_after_its_wait_was_dropped_finds_nothing() {
        let queue = Double::new();
        let mut handle = event();
        register(&mut handle, &queue);
        let number = handle.end.0.lock().pool.as_ref().unwrap().number;
        assert!(find(number).is_some());
        let wait = Arc::downgrade(&handle.end.0);
        drop(handle);
        assert!(!all().waits.contains_key(&number));
        assert_eq!(wait.strong_count(), 0);
        // SAFETY: the function uses the number alone.
        unsafe { called_back(0, number as *mut c_void, 0, 0) };
        assert!(queue.packets().is_empty());
    }
}
