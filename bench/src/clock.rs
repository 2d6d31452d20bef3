//! Measures sections of code, in time or in counts. The workloads do not know which.

use std::ffi::CString;

use crate::allocator;

/// The measurement of each section.
enum Mode {
    /// Measures nothing.
    Off,
    Time,
    /// Counts allocations; callgrind counts instructions, by the name of `section`.
    Count,
    /// Marks the begin and the end of a section for strace, by writing to a descriptor that does
    /// not exist.
    Marks {
        begin: CString,
        end: CString,
    },
}

pub struct Clock {
    mode: Mode,
    /// Ticks of the processor's counter, or allocations.
    total: u64,
    /// Of events, in ticks.
    delays: Vec<u64>,
}

impl Clock {
    /// For code that is run but not measured.
    pub fn off() -> Clock {
        Clock::of(Mode::Off)
    }

    pub fn timing() -> Clock {
        Clock::of(Mode::Time)
    }

    pub fn counting() -> Clock {
        Clock::of(Mode::Count)
    }

    pub fn marking(name: &str) -> Clock {
        let mark = |sign| CString::new(format!("{sign}{name}")).expect("a name has no NUL");
        Clock::of(Mode::Marks {
            begin: mark('>'),
            end: mark('<'),
        })
    }

    fn of(mode: Mode) -> Clock {
        Clock {
            mode,
            total: 0,
            delays: Vec::new(),
        }
    }

    /// The total since the last call.
    pub fn take(&mut self) -> u64 {
        std::mem::take(&mut self.total)
    }

    /// Adds delays that the workload has measured itself, because they begin on one thread and end on
    /// another.
    pub fn delayed(&mut self, delays: &[u64]) {
        self.delays.extend_from_slice(delays);
    }

    /// The delays since the last call.
    pub fn take_delays(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.delays)
    }

    /// Runs the code that is measured.
    #[inline(always)]
    pub fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        match &self.mode {
            Mode::Off => work(),
            Mode::Time => {
                let start = ticks();
                let result = measured_section(work);
                self.total += ticks().wrapping_sub(start);
                result
            }
            Mode::Count => {
                let before = allocator::count();
                let result = measured_section(work);
                self.total += allocator::count() - before;
                result
            }
            Mode::Marks { begin, end } => {
                write_mark(begin);
                let result = measured_section(work);
                write_mark(end);
                result
            }
        }
    }
}

/// A function of its own, so that callgrind can begin and stop to count at its edges.
#[inline(never)]
fn measured_section<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Called between two counts: callgrind writes down its count since the last call.
#[inline(never)]
pub fn counted_boundary() {
    std::hint::black_box(());
}

fn write_mark(mark: &CString) {
    // SAFETY: the kernel reads the bytes of the mark. The descriptor is invalid, so nothing is
    // written.
    unsafe { libc::write(-1, mark.as_ptr().cast(), mark.as_bytes().len()) };
}

/// A counter that increases evenly. Its unit does not matter, because only ratios are reported.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has this instruction.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        return START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
    }
}
