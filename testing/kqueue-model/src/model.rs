//! All kqueues of the process, under one lock.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Once;

use crate::os::{self, Result};
use crate::queue::Queue;

/// All kqueues. A kqueue is taken out of the list while it is used, so that a kqueue that it
/// watches can be used as well.
#[derive(Debug)]
pub(crate) struct Model {
    queues: Vec<Option<Box<Queue>>>,
}

static MODEL: Lock = Lock {
    mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    model: UnsafeCell::new(Model { queues: Vec::new() }),
};

/// The number of kqueues, so that `close` is fast if there is none. Relaxed: a program that passes
/// a descriptor from one thread to another orders more than this.
static QUEUES: AtomicUsize = AtomicUsize::new(0);

/// The model, if there is a kqueue, and if this thread is not in the model already (as in an
/// allocator that the model calls).
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
    /// Returns the descriptor of a new kqueue.
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

    /// The kqueue of a descriptor. The answer is valid until the kqueue is freed.
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
                // No epoll instance.
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

    /// Calls a function with a kqueue.
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

    /// The number of events that wait in a kqueue that another one watches, and the number that
    /// ever did.
    pub(crate) fn pending(&mut self, number: c_int) -> Result<(usize, u64)> {
        let index = self.find(number)?;
        Ok(self.with(index, |queue, others| queue.pending(others)))
    }

    /// Called before a thread waits: from now on the kqueue is not freed.
    pub(crate) fn begin_wait(&mut self, index: usize) {
        self.with(index, |queue, _| queue.waiters += 1);
    }

    /// Called after a thread has waited. Fails with EBADF if the kqueue was closed meanwhile.
    pub(crate) fn end_wait(&mut self, index: usize) -> Result<()> {
        self.with(index, |queue, _| queue.waiters -= 1);
        self.free_if_closed(index)
    }

    /// Removes what is stored of a descriptor, before it is closed. Returns true if it is a
    /// kqueue's: then `closed` must be called.
    pub(crate) fn closing(&mut self, number: c_int) -> bool {
        if number < 0 {
            return false;
        }
        for queue in self.queues.iter_mut().flatten() {
            queue.remove_descriptor(number);
        }
        self.known(number).is_some()
    }

    /// A descriptor of a kqueue was closed, perhaps its last one.
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
        // A thread that waits, if there is one, notices it and frees the kqueue.
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

    /// In a forked child, which inherits no kqueue: frees all, and closes their descriptors. This
    /// does not affect the parent.
    fn remove_all(&mut self) {
        for queue in self.queues.drain(..).flatten() {
            for number in &queue.numbers {
                os::close(*number);
            }
        }
        QUEUES.store(0, Ordering::Relaxed);
    }
}

/// Duplicates of a kqueue's descriptor, made by `dup` or similar calls that the model does not see.
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

/// A mutex that knows whether this thread has locked it, and can be held across a fork.
///
/// On a BSD the functions of the model are system calls, which a signal handler may make. So no
/// handler interrupts the thread that holds the lock.
struct Lock {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    model: UnsafeCell<Model>,
}

// SAFETY: the model is accessed only through a `Guard`, of which there is at most one, and `Model`
// is `Send`, as asserted below. The mutex may be shared between threads.
unsafe impl Sync for Lock {}

const fn assert_send<T: Send>() {}
const _: () = assert_send::<Model>();

thread_local! {
    /// Whether this thread holds the lock. It has no destructor, so it can be read at any time.
    static HELD: Cell<bool> = const { Cell::new(false) };
    /// This thread holds the lock because it forks. The rest is the state of the `Guard`.
    static FORKS: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

impl Lock {
    /// `None` if this thread holds it already.
    fn lock(&'static self) -> Option<Guard> {
        if HELD.get() {
            return None;
        }
        let mask = os::block_signals();
        // SAFETY: the mutex is initialised and never moved, and this thread does not hold it.
        unsafe { libc::pthread_mutex_lock(self.mutex.get()) };
        HELD.set(true);
        Some(Guard { lock: self, mask })
    }
}

/// The lock, while it is held.
pub(crate) struct Guard {
    lock: &'static Lock,
    /// The signals that this thread blocked before.
    mask: libc::sigset_t,
}

impl Deref for Guard {
    type Target = Model;

    fn deref(&self) -> &Model {
        // SAFETY: this thread holds the lock, and has no other guard.
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
    // SAFETY: the three functions stay valid for as long as the process lives, and may be called at
    // any time.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
}

/// No other thread is in the model while this one forks, so the child's copy is consistent.
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
        model.remove_all();
    }
}

fn guard_of_fork() -> Option<Guard> {
    let mask = FORKS.take()?;
    Some(Guard { lock: &MODEL, mask })
}
