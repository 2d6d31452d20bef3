//! How late this machine is. A thread that sleeps measures by how much it wakes too late; and the kernel
//! says for how long a thread was ready to run and did not. On a machine with other work a poll may be as
//! late.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SLEEP: Duration = Duration::from_millis(2);

/// A poll is compared with what was measured from so long before it.
const NEAR: Duration = Duration::from_secs(1);

/// What a poll may take beyond five times its timeout on a machine that is never late: it looks at
/// thousands of descriptors, and shares a lock with eight threads.
const SLACK: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Clock {
    /// When a sleep ended, and how late.
    slept: Mutex<VecDeque<(Instant, Duration)>>,
}

/// Starts the thread, which never ends.
pub fn start() -> Arc<Clock> {
    let clock = Arc::new(Clock::default());
    let own = Arc::clone(&clock);
    thread::spawn(move || loop {
        let start = Instant::now();
        thread::sleep(SLEEP);
        let now = Instant::now();
        let mut slept = own.slept.lock().unwrap();
        slept.push_back((now, now - start - SLEEP));
        if slept.len() > 4096 {
            slept.pop_front();
        }
    });
    clock
}

impl Clock {
    /// Says what is wrong with a poll that took from `start` to `end`, of which the thread was ready to
    /// run, and did not, for `not_run`.
    pub fn judge(
        &self,
        (start, end): (Instant, Instant),
        not_run: Duration,
        timeout: Duration,
    ) -> Option<String> {
        let took = end - start - not_run.min(end - start);
        if took <= timeout * 5 + SLACK {
            return None;
        }
        // A sleep that began with the poll has ended by then.
        thread::sleep(SLEEP * 5);
        let slept = self.slept.lock().unwrap();
        let near = slept.iter().filter(|(at, _)| *at + NEAR > start);
        let late = near.map(|(_, late)| *late).max().unwrap_or_default();
        let allowed = timeout * 5 + SLACK + late * 5;
        (took > allowed).then(|| {
            format!(
                "a poll of {timeout:?} took {took:?} beside {not_run:?} without a processor, while \
                 sleeping was {late:?} late"
            )
        })
    }
}

/// For how long this thread was ready to run and did not.
pub struct NotRun(Option<File>);

impl NotRun {
    pub fn of_this_thread() -> NotRun {
        NotRun(File::open("/proc/thread-self/schedstat").ok())
    }

    /// In all; zero where the kernel does not say.
    pub fn get(&self) -> Duration {
        let mut text = [0; 64];
        let read = self
            .0
            .as_ref()
            .and_then(|file| file.read_at(&mut text, 0).ok());
        let text = std::str::from_utf8(&text[..read.unwrap_or(0)]).unwrap_or_default();
        let nanos = text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}
