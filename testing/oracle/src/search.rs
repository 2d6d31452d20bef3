//! Draws programs, runs them, and makes those that fail smaller.

use std::panic;
use std::time::{Duration, Instant};

use mio::Backend;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::bits::Bits;
use crate::exemptions::Exemption;
use crate::judge::{Check, Failure, Tally};
use crate::program::{programs, Kind, Mode, Modes, Polling, Program};

use crate::run::{delay_of_the_kernel, run, Ran, AT_ONCE};

/// The kinds that a backend is tried with.
pub fn kinds(backend: Backend, can_mount: bool) -> Vec<Kind> {
    let has = |kind: Kind| match kind {
        // What a system with kqueue does not have.
        Kind::UdpErrorQueue
        | Kind::UdpTimestamps
        | Kind::Eventfd
        | Kind::Timerfd
        | Kind::Inotify
        | Kind::Pidfd => backend != Backend::Kqueue,
        // Nor does the model of event ports: `ChildExit::new` says so.
        Kind::ChildExit | Kind::ZombieExit => backend != Backend::EventPorts,
        // The models ask the kernel by themselves and take the notice away.
        Kind::Mounts => can_mount && matches!(backend, Backend::Epoll | Backend::Poll),
        _ => true,
    };
    Kind::ALL.into_iter().filter(|&kind| has(kind)).collect()
}

/// Those that a thread that polls is tried with: where the kernel itself acts at once.
fn kinds_in_a_thread() -> Vec<Kind> {
    let is_socket_or_pipe = |kind: &Kind| {
        matches!(
            kind,
            Kind::Tcp
                | Kind::TcpListener
                | Kind::Udp
                | Kind::UdpRefused
                | Kind::UnixStream
                | Kind::UnixListener
                | Kind::UnixDatagram
                | Kind::Seqpacket
                | Kind::Receiver
                | Kind::Sender
                | Kind::Fifo
                | Kind::FifoWriter
        )
    };
    Kind::ALL.into_iter().filter(is_socket_or_pipe).collect()
}

pub struct Search {
    pub backend: Backend,
    pub can_mount: bool,
}

/// When a search ends, and what it does with what it has found.
pub struct Limits {
    pub time: Duration,
    pub most_found: usize,
    /// Whether programs that fail are made smaller.
    pub shrinks: bool,
}

#[derive(Default)]
pub struct Summary {
    pub programs: u64,
    pub tally: Tally,
    pub found: Vec<Failure>,
    /// Failures that did not happen again.
    pub once: u64,
    /// From a thread that waits on the backend, and from one that waits on an epoll of its own.
    pub delays: Vec<Duration>,
    pub delays_of_the_kernel: Vec<Duration>,
    pub time: Duration,
}

/// One of a sequence of seeds that have nothing to do with each other (splitmix64).
pub fn seed_of(master: u64, index: u64) -> u64 {
    let mut z = master.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whether a thread that waits for the kernel alone hears of it late now, one time in five: the machine
/// has other work, and what is late says nothing.
fn is_late_itself() -> bool {
    (0..5).any(|_| delay_of_the_kernel() > AT_ONCE / 8)
}

impl Search {
    /// The program of a seed, in the form that can be made smaller.
    fn tree(&self, seed: u64) -> Box<dyn ValueTree<Value = Program>> {
        let mut bytes = [0; 32];
        for (index, part) in bytes.chunks_mut(8).enumerate() {
            part.copy_from_slice(&seed_of(seed, index as u64).to_le_bytes());
        }
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let (mut kinds, polling) = match seed % 5 {
            0 => (kinds_in_a_thread(), Polling::InAThread),
            _ => (kinds(self.backend, self.can_mount), Polling::InTurn),
        };
        if self.backend == Backend::Kqueue {
            // One that is not connected is ready for nothing there.
            kinds.extend([Kind::TcpUnconnected; 2]);
        }
        let modes = match seed / 5 % 3 {
            0 => Modes::All {
                has_exclusive: self.backend == Backend::Epoll,
            },
            _ => Modes::Edges,
        };
        programs(&kinds, polling, modes)
            .boxed()
            .new_tree(&mut runner)
            .expect("nothing is rejected")
    }

    pub fn program(&self, seed: u64) -> Program {
        self.tree(seed).current()
    }

    /// Runs a program. One that panics has failed.
    pub fn run(&self, program: &Program) -> Ran {
        let ran = panic::catch_unwind(|| run(program, self.backend));
        ran.unwrap_or_else(|why| {
            let text = why.downcast_ref::<String>().cloned();
            let text = text.or(why.downcast_ref::<&str>().map(|text| text.to_string()));
            Ran {
                failures: vec![Failure {
                    check: Check::Panicked,
                    source: None,
                    bits: Bits::empty(),
                    text: text.unwrap_or_default(),
                }],
                tally: Tally::default(),
                log: Vec::new(),
                delays: Vec::new(),
            }
        })
    }

    /// Runs programs until the time is over, or one fails and that is enough.
    pub fn search(&self, master: u64, limits: &Limits) -> Summary {
        let start = Instant::now();
        let mut summary = Summary::default();
        while start.elapsed() < limits.time && summary.found.len() < limits.most_found {
            let seed = seed_of(master, summary.programs);
            let tree = self.tree(seed);
            let program = tree.current();
            let ran = self.run(&program);
            summary.programs += 1;
            summary.tally.add(&ran.tally);
            if program.polling == Polling::InAThread && summary.programs % 50 == 0 {
                summary.delays_of_the_kernel.push(delay_of_the_kernel());
            }
            summary.delays.extend(ran.delays);
            let Some(failure) = ran.failures.into_iter().next() else {
                continue;
            };
            let Some(rate) = self.confirm(&program, &failure) else {
                summary.once += 1;
                // Late once is a busy machine.
                if failure.check != Check::Late {
                    println!("once only, seed {seed:#x}: {failure}");
                }
                continue;
            };
            println!(
                "FOUND {failure}\n      seed {seed:#x}, {} of {} runs",
                rate.0, rate.1
            );
            let (program, failure) = match limits.shrinks {
                true => self.shrink(tree, failure),
                false => (program, failure),
            };
            if limits.shrinks {
                println!("      as {failure}\n{}", program.to_text());
            }
            summary.found.push(failure);
        }
        summary.time = start.elapsed();
        summary
    }

    /// Whether it fails again: one that has a thread and was late in half of twenty runs, any other
    /// in two of three. Ends as soon as that is clear; returns how often it failed, of how many runs.
    pub fn confirm(&self, program: &Program, failure: &Failure) -> Option<(usize, usize)> {
        let (most, needed) = match failure.check {
            Check::Late => (20, 10),
            _ if program.polling == Polling::InAThread => (10, 2),
            _ => (3, 2),
        };
        let (mut again, mut runs) = (0, 0);
        while again < needed && again + (most - runs) >= needed {
            runs += 1;
            let fails = self.fails_alike(program, failure).is_some();
            let is_late = matches!(failure.check, Check::Late | Check::Overslept);
            again += usize::from(fails && !(is_late && is_late_itself()));
        }
        (again >= needed).then_some((again, runs))
    }

    fn fails_alike(&self, program: &Program, failure: &Failure) -> Option<Failure> {
        let failures = self.run(program).failures;
        let kind = |failure: &Failure| failure.source.map(|(kind, _)| kind);
        failures
            .into_iter()
            .find(|other| other.check == failure.check && kind(other) == kind(failure))
    }

    /// Makes a program smaller for as long as it fails alike.
    fn shrink(
        &self,
        mut tree: Box<dyn ValueTree<Value = Program>>,
        mut failure: Failure,
    ) -> (Program, Failure) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut smallest = tree.current();
        if !tree.simplify() {
            return (smallest, failure);
        }
        while Instant::now() < deadline {
            let candidate = tree.current();
            let failed = match candidate.polling {
                Polling::InTurn => self.fails_alike(&candidate, &failure),
                Polling::InAThread => (0..5).find_map(|_| self.fails_alike(&candidate, &failure)),
            };
            let goes_on = match failed {
                Some(now) => {
                    (smallest, failure) = (candidate, now);
                    tree.simplify()
                }
                None => tree.complicate(),
            };
            if !goes_on {
                break;
            }
        }
        self.tidy(&mut smallest, &failure);
        (smallest, failure)
    }

    /// Leaves out steps and sources that are not needed, one by one.
    fn tidy(&self, program: &mut Program, failure: &Failure) {
        let is_needed = |candidate: &Program| match candidate.polling {
            Polling::InTurn => self.fails_alike(candidate, failure).is_none(),
            Polling::InAThread => (0..5).all(|_| self.fails_alike(candidate, failure).is_none()),
        };
        for index in (0..program.steps.len()).rev() {
            let mut without = program.clone();
            without.steps.remove(index);
            if !is_needed(&without) {
                *program = without;
            }
        }
        for source in (0..program.sources.len()).rev() {
            if program.sources.len() > 1 {
                let without = program.without_source(source);
                if !is_needed(&without) {
                    *program = without;
                }
            }
        }
    }
}

impl Summary {
    pub fn print(&self) {
        let tally = &self.tally;
        println!(
            "{} programs in {:.0} s, {} polls, {} events, {} wake-ups, {} rates; {} failed once only",
            self.programs,
            self.time.as_secs_f64(),
            tally.polls,
            tally.events,
            tally.wakes,
            tally.rates,
            self.once,
        );
        for (kind, judged) in &tally.judged {
            let discarded = tally.discarded.get(kind).copied().unwrap_or(0);
            println!(
                "  {:16} {judged:8} judged, {discarded:6} discarded",
                format!("{kind:?}")
            );
        }
        let by_mode = tally.by_mode.iter();
        let by_mode: Vec<String> = by_mode.map(|(mode, n)| format!("{mode:?} {n}")).collect();
        println!("  by mode: {}", by_mode.join(", "));
        for exemption in Exemption::ALL {
            let [backend, source, what, why] = exemption.row();
            let count = tally.exempted.of(exemption);
            if count > 0 {
                println!("  exempt {count} times ({backend}, {source}): {what}: {why}");
            }
        }
        let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
        if let Some([mine, kernel]) = self.median_delays() {
            println!(
                "  {} delays to a waiting thread, median {:.3} ms; on an epoll of its own {:.3} ms",
                self.delays.len(),
                ms(mine),
                ms(kernel),
            );
        }
    }

    /// Modes of which each run judges something.
    pub fn modes(backend: Backend) -> Vec<Mode> {
        let mut modes = vec![Mode::Level, Mode::OneShot];
        modes.extend((backend == Backend::Epoll).then_some(Mode::Exclusive));
        modes
    }

    /// The medians: of the backend, and of an epoll without anything in between.
    pub fn median_delays(&self) -> Option<[Duration; 2]> {
        let median = |delays: &[Duration]| {
            let mut delays = delays.to_vec();
            delays.sort();
            delays.get(delays.len() / 2).copied()
        };
        Some([median(&self.delays)?, median(&self.delays_of_the_kernel)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Spec, Step};
    use crate::world::Entry;

    fn search() -> Search {
        // Mounting needs a namespace of its own, which threads of tests do not have.
        let backend = *Backend::available().first().expect("there is a backend");
        Search {
            backend,
            can_mount: false,
        }
    }

    #[test]
    fn a_seed_is_always_the_same_program() {
        for index in 0..50 {
            let seed = seed_of(1, index);
            let (one, other) = (search().program(seed), search().program(seed));
            assert_eq!(one.to_text(), other.to_text());
            assert_eq!(Program::from_text(&one.to_text()).unwrap(), one);
        }
    }

    /// But for the events of backends that back off, which depend on the time.
    #[test]
    fn a_program_in_turn_has_the_same_log_each_time() {
        let operations = |program: &Program| -> Vec<Entry> {
            let edges = matches!(search().backend, Backend::Epoll | Backend::Kqueue);
            let entries = search().run(program).log.into_iter();
            let counts = |entry: &Entry| edges || matches!(entry, Entry::Operation(_));
            entries.filter(counts).collect()
        };
        let mut compared = 0;
        for index in 0..400 {
            let program = search().program(seed_of(2, index));
            // How many events there are while time passes is a matter of time.
            let by_time = |step: &Step| {
                matches!(
                    step,
                    Step::Rate { .. }
                        | Step::Rest(_)
                        | Step::Dead { .. }
                        | Step::Turns(_)
                        | Step::WakeDuring { .. }
                        | Step::PollMicros(_)
                        | Step::Poll(1..)
                )
            };
            // A worker of the kernel moves its data, and signals when it likes.
            let has_worker = |spec: &Spec| spec.kind == Kind::Pty;
            if program.polling == Polling::InAThread
                || program.steps.iter().any(by_time)
                || program.sources.iter().any(has_worker)
            {
                continue;
            }
            compared += 1;
            assert_eq!(
                operations(&program),
                operations(&program),
                "{}",
                program.to_text()
            );
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn a_program_without_a_source_names_the_others_as_before() {
        let program = search().program(seed_of(3, 1));
        let sources = program.sources.len();
        for gone in 0..sources {
            let without = program.without_source(gone);
            assert_eq!(without.sources.len(), sources - 1);
            assert!(without.steps.len() <= program.steps.len());
        }
    }
}
