//! All kqueues of the process, under one lock.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Once;

use crate::os::{self, Result};
use crate::queue::Queue;

/// All kqueues. While one of them is worked at it is taken out of the list, so that a kqueue
/// which it watches can be worked at, too.
#[derive(Debug)]
pub(crate) struct Model {
    queues: Vec<Option<Box<Queue>>>,
}

static MODEL: Lock = Lock {
    mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    model: UnsafeCell::new(Model { queues: Vec::new() }),
};

/// How many kqueues there are, for `close`, which is none of the model's business mostly.
/// Relaxed: whoever passes a descriptor from one thread to another orders more than this.
static QUEUES: AtomicUsize = AtomicUsize::new(0);

/// The model, where there is a kqueue, and this thread is not in the model already, as an allocator
/// is that the model calls.
pub(crate) fn lock_if_used() -> Option<Guard> {
    if QUEUES.load(Ordering::Relaxed) == 0 {
        return None;
    }
    MODEL.lock()
}

pub(crate) fn lock() -> Guard {
    MODEL
        .lock()
        .expect("kqueue or kevent called by an allocator")
}

impl Model {
    /// A new kqueue's descriptor.
    pub(crate) fn open(&mut self) -> Result<c_int> {
        FORK.call_once(watch_forks);
        let queue = Box::new(Queue::open()?);
        let number = queue.numbers[0];
        match self.queues.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(queue),
            None => self.queues.push(Some(queue)),
        }
        QUEUES.fetch_add(1, Ordering::Relaxed);
        Ok(number)
    }

    /// Which kqueue a descriptor refers to. The answer is good until the kqueue is freed.
    pub(crate) fn find(&mut self, number: c_int) -> Result<usize> {
        if let Some(index) = self.known(number) {
            return Ok(index);
        }
        for (index, queue) in self.queues.iter_mut().enumerate() {
            let Some(queue) = queue else {
                continue;
            };
            match queue.is_at(number) {
                Ok(()) => {
                    queue.numbers.push(number);
                    return Ok(index);
                }
                // Another epoll instance.
                Err(libc::ENOENT) => {}
                // Nothing like it.
                Err(_) => break,
            }
        }
        Err(libc::EBADF)
    }

    fn known(&self, number: c_int) -> Option<usize> {
        self.queues
            .iter()
            .position(|queue| matches!(queue, Some(queue) if queue.numbers.contains(&number)))
    }

    /// Works at a kqueue.
    pub(crate) fn with<R>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Queue, &mut Model) -> R,
    ) -> R {
        let mut queue = self.queues[index].take().expect("a kqueue that was freed");
        let result = work(&mut queue, self);
        self.queues[index] = Some(queue);
        result
    }

    /// How many events wait in a kqueue that is watched by another one, and how many have.
    pub(crate) fn pending(&mut self, number: c_int) -> Result<(usize, u64)> {
        let index = self.find(number)?;
        Ok(self.with(index, |queue, others| queue.pending(others)))
    }

    /// Before a thread waits: the kqueue is not freed from now on.
    pub(crate) fn begin_wait(&mut self, index: usize) {
        self.with(index, |queue, _| queue.waiters += 1);
    }

    /// After a thread has waited. EBADF when the kqueue was closed meanwhile.
    pub(crate) fn end_wait(&mut self, index: usize) -> Result<()> {
        self.with(index, |queue, _| queue.waiters -= 1);
        self.free_if_closed(index)
    }

    /// What is known of a number goes, before the number is closed. True where it is a kqueue's:
    /// `closed` has to be called then.
    pub(crate) fn closing(&mut self, number: c_int) -> bool {
        if number < 0 {
            return false;
        }
        for queue in self.queues.iter_mut().flatten() {
            queue.forget(number);
        }
        self.known(number).is_some()
    }

    /// A descriptor of a kqueue was closed, perhaps the last one.
    pub(crate) fn closed(&mut self, number: c_int) {
        let Some(index) = self.known(number) else {
            return;
        };
        self.with(index, |queue, _| {
            queue.numbers.retain(|other| *other != number);
            if queue.numbers.is_empty() {
                find_duplicates(queue);
            }
        });
        // Who waits, if anybody, finds out and frees it.
        let _ = self.free_if_closed(index);
    }

    fn free_if_closed(&mut self, index: usize) -> Result<()> {
        let Some(queue) = &mut self.queues[index] else {
            return Err(libc::EBADF);
        };
        if !queue.numbers.is_empty() {
            return Ok(());
        }
        if queue.waiters > 0 {
            queue.wake_waiters();
        } else {
            self.queues[index] = None;
            QUEUES.fetch_sub(1, Ordering::Relaxed);
        }
        Err(libc::EBADF)
    }

    /// In a forked child, which inherits no kqueue: frees all, and closes their descriptors.
    /// That is no change to what the parent has.
    fn forget_all(&mut self) {
        for queue in self.queues.drain(..).flatten() {
            for number in &queue.numbers {
                os::close(*number);
            }
        }
        QUEUES.store(0, Ordering::Relaxed);
    }
}

/// Duplicates of a kqueue's descriptor, made by `dup` and the like without the model's knowledge.
fn find_duplicates(queue: &mut Queue) {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let duplicates = numbers.filter(|number| queue.is_at(*number).is_ok());
    let duplicates: Vec<c_int> = duplicates.collect();
    queue.numbers.extend(duplicates);
}

// ------------------------------------------------------------------- the lock

/// A mutex that knows whether this thread has it, and can be held across a fork.
///
/// The functions of the model are system calls on a BSD, which a signal handler may make. So no
/// handler interrupts the thread that has the lock.
struct Lock {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    model: UnsafeCell<Model>,
}

// SAFETY: the model is reached through a `Guard` only, and there is one at a time; `Model` is
// `Send`, as asserted below. The mutex is made for being shared.
unsafe impl Sync for Lock {}

const fn assert_send<T: Send>() {}
const _: () = assert_send::<Model>();

thread_local! {
    /// This thread has the lock. Without a destructor, it can be read at any time.
    static HELD: Cell<bool> = const { Cell::new(false) };
    /// This thread has the lock because it forks; what `Guard` has to know.
    static FORKS: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

impl Lock {
    /// `None` where this thread has it already.
    fn lock(&'static self) -> Option<Guard> {
        if HELD.get() {
            return None;
        }
        let mask = os::block_signals();
        // SAFETY: the mutex is initialized, is never moved, and is not this thread's already.
        unsafe { libc::pthread_mutex_lock(self.mutex.get()) };
        HELD.set(true);
        Some(Guard { lock: self, mask })
    }
}

/// The lock, held.
pub(crate) struct Guard {
    lock: &'static Lock,
    /// The signals that this thread blocked before.
    mask: libc::sigset_t,
}

impl Deref for Guard {
    type Target = Model;

    fn deref(&self) -> &Model {
        // SAFETY: this thread has the lock, and no other guard.
        unsafe { &*self.lock.model.get() }
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Model {
        // SAFETY: as above.
        unsafe { &mut *self.lock.model.get() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        HELD.set(false);
        // SAFETY: this thread locked it.
        unsafe { libc::pthread_mutex_unlock(self.lock.mutex.get()) };
        os::restore_signals(&self.mask);
    }
}

// ---------------------------------------------------------------------- forks

static FORK: Once = Once::new();

fn watch_forks() {
    // SAFETY: the three functions are there for as long as the process is, and may be called at
    // any time.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
}

/// No other thread is in the model while this one forks, so that the child gets it whole.
unsafe extern "C" fn before_fork() {
    if let Some(guard) = MODEL.lock() {
        FORKS.set(Some(guard.mask));
        mem::forget(guard);
    }
}

unsafe extern "C" fn in_parent() {
    drop(guard_of_fork());
}

unsafe extern "C" fn in_child() {
    if let Some(mut model) = guard_of_fork() {
        model.forget_all();
    }
}

fn guard_of_fork() -> Option<Guard> {
    let mask = FORKS.take()?;
    Some(Guard { lock: &MODEL, mask })
}
