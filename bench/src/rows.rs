//! The workloads, the contenders of each, and the targets.

use std::time::Duration;

use crate::results::Class::{self, Scheduled, Single};
use crate::rounds::Contender;
use crate::subject::Subject;
use crate::subjects::{
    Level, Libevent, Libuv, Mio, OneShot, Polling, Raw, RawPoll, Upstream, ON_POLL,
};
use crate::workloads::connections::{accept, read_and_write, short_lived, First};
use crate::workloads::echo::{between_threads, echo, Tcp, Unix, Until};
use crate::workloads::latency::latency;
use crate::workloads::pool::{pool, Ends};
use crate::workloads::turn::{glance, turn};
use crate::workloads::{floors, rearming, registering, timeouts, waking, Run};

pub struct Row {
    /// `GROUP/VARIANT`.
    pub name: String,
    pub class: Class,
    /// Whether the process has another thread meanwhile. Workloads without one come first, because
    /// the C library's preparations for threads last until the process ends.
    pub with_threads: bool,
    pub figure: Figure,
    /// The target: the other subject, and the maximum ratio.
    pub targets: Vec<(&'static str, f64)>,
    /// Prepares the workload for all contenders; this crate comes first.
    pub contenders: Box<dyn Fn() -> Vec<Contender>>,
}

/// What is measured.
pub enum Figure {
    /// The cost of an operation.
    Cost {
        /// The approximate time of one contender in a round.
        batch: Duration,
    },
    /// The delays of operations: percentiles of them.
    Delays {
        /// How many in a round: few, so that a turn is about as long as the scheduler lets a thread run.
        operations: usize,
    },
}

const UPSTREAM: &str = Upstream::NAME;
const RAW: &str = Raw::NAME;

/// A list of contenders: the workload for each of the subjects.
macro_rules! contenders {
    ($S:ident => $workload:expr; $($Subject:ident),+) => {
        Box::new(move || vec![$({
            type $S = $Subject;
            Contender { name: <$S as Subject>::NAME, run: $workload }
        }),+])
    };
    ($S:ident => $workload:expr) => {
        contenders!($S => $workload; Mio, Upstream, Raw, Polling, Libuv, Libevent)
    };
}

/// The contenders, and a floor: an operation that each of them includes.
fn with_floor(
    contenders: Box<dyn Fn() -> Vec<Contender>>,
    name: &'static str,
    floor: fn() -> Run,
) -> Box<dyn Fn() -> Vec<Contender>> {
    Box::new(move || {
        let mut all = contenders();
        all.push(Contender { name, run: floor() });
        all
    })
}

fn row(
    name: impl Into<String>,
    class: Class,
    targets: &[(&'static str, f64)],
    contenders: Box<dyn Fn() -> Vec<Contender>>,
) -> Row {
    Row {
        name: name.into(),
        class,
        with_threads: class == Scheduled,
        figure: Figure::Cost {
            batch: match class {
                Single => Duration::from_micros(40),
                // Long enough for a thread that was asleep to get its share.
                Scheduled => Duration::from_millis(3),
            },
        },
        targets: targets.to_vec(),
        contenders,
    }
}

/// The contenders, the others of which have this name if they are this crate.
fn named(
    contenders: Box<dyn Fn() -> Vec<Contender>>,
    name: &'static str,
) -> Box<dyn Fn() -> Vec<Contender>> {
    Box::new(move || {
        let mut all = contenders();
        for contender in &mut all[1..] {
            if contender.name == Mio::NAME {
                contender.name = name;
            }
        }
        all
    })
}

/// This crate with edges, beside one of its modes.
const EDGES: &str = "mio, edges";

/// Percentiles of delays. This crate takes part twice, which shows how much is chance.
fn latency_row(name: &str, contenders: Box<dyn Fn() -> Vec<Contender>>) -> Row {
    let mut latency = row(
        name,
        Scheduled,
        &[(UPSTREAM, 1.05)],
        named(contenders, "mio, again"),
    );
    latency.figure = Figure::Delays { operations: 100 };
    latency
}

/// `pool/…` and its contenders: the same on both backends.
fn pools(prefix: &str) -> [Row; 2] {
    [1, 8].map(|messages| {
        let contenders = move || {
            let mut all = vec![Contender {
                name: OneShot::NAME,
                run: pool::<OneShot>(messages, Ends::Reregistering),
            }];
            let edges = contenders!(S => pool::<S>(messages, Ends::WouldBlock); Mio, Upstream);
            all.extend(edges());
            all
        };
        let name = format!("{prefix}/{messages}-messages");
        row(name, Scheduled, &[], named(Box::new(contenders), EDGES))
    })
}

/// All workloads of this build, in the order in which they are measured.
pub fn all() -> Vec<Row> {
    let mut rows = if ON_POLL { on_poll() } else { on_epoll() };
    rows.sort_by_key(|row| row.with_threads);
    rows
}

fn on_epoll() -> Vec<Row> {
    let mut rows = Vec::new();
    let timeouts = [
        ("zero", Some(Duration::ZERO)),
        ("none", None),
        ("5s", Some(Duration::from_secs(5))),
    ];
    for ready in [1, 64, 1024] {
        for (name, timeout) in timeouts {
            let mut targets = vec![(RAW, 1.02)];
            let name = format!("turn/{ready}/{name}");
            let contenders = || contenders!(S => turn::<S>(ready, 0, timeout));
            rows.push(row(name.clone(), Single, &targets, contenders()));
            if ready == 1 {
                targets.push((UPSTREAM, 0.97));
            }
            let mut with_threads = row(name + "/threads", Single, &targets, contenders());
            with_threads.with_threads = true;
            rows.push(with_threads);
        }
    }
    // Not a whole number of milliseconds, which needs a newer and more expensive call.
    let timeout = Some(Duration::from_micros(4_999_500));
    rows.push(row(
        "turn/1/4999.5ms",
        Single,
        &[],
        contenders!(S => turn::<S>(1, 0, timeout)),
    ));
    rows.push(row(
        "turn/0/zero",
        Single,
        &[(RAW, 1.02)],
        contenders!(S => glance::<S>()),
    ));
    for idle in [0, 1_000, 10_000, 100_000] {
        rows.push(row(
            format!("idle/{idle}"),
            Single,
            &[(RAW, 1.02)],
            // The others know their descriptors by number only.
            contenders!(S => turn::<S>(1, idle, None); Mio, Upstream, Raw, Polling),
        ));
    }

    let at_the_limit = &[(RAW, 1.02)];
    rows.push(row(
        "register/add",
        Single,
        at_the_limit,
        contenders!(S => registering::add::<S>(); Mio, Upstream, Raw, Polling, Libevent),
    ));
    rows.push(row(
        "register/modify",
        Single,
        at_the_limit,
        contenders!(S => registering::modify::<S>(); Mio, Upstream, Raw, Polling, Libevent),
    ));
    rows.push(row(
        "register/remove",
        Single,
        at_the_limit,
        contenders!(S => registering::remove::<S>(); Mio, Upstream, Raw, Polling, Libevent),
    ));
    rows.push(row(
        "register/all-with-waits",
        Single,
        at_the_limit,
        contenders!(S => registering::all_with_waits::<S>()),
    ));
    rows.push(row(
        "registry/clone",
        Single,
        &[],
        contenders!(S => registering::clone_registry::<S>(); Mio, Upstream),
    ));

    rows.push(row(
        "wake/pending",
        Single,
        &[(UPSTREAM, 0.02)],
        with_floor(
            contenders!(S => waking::pending::<S>()),
            "an atomic",
            floors::atomic,
        ),
    ));
    rows.push(row(
        "wake/first",
        Single,
        &[],
        contenders!(S => waking::first::<S>()),
    ));
    rows.push(row(
        "wake/and-wait",
        Single,
        &[],
        contenders!(S => waking::and_wait::<S>()),
    ));
    rows.push(row(
        "wake/idle-thread",
        Scheduled,
        &[],
        contenders!(S => waking::idle_thread::<S>()),
    ));
    rows.push(row(
        "messages/1-thread",
        Scheduled,
        &[(UPSTREAM, 0.05)],
        contenders!(S => waking::messages::<S>(1)),
    ));
    rows.push(row(
        "messages/4-threads",
        Scheduled,
        &[],
        contenders!(S => waking::messages::<S>(4)),
    ));
    for messages in rows.iter_mut().rev().take(2) {
        // How many messages come together varies at random, and averages out.
        messages.figure = Figure::Cost {
            batch: Duration::from_millis(15),
        };
    }

    let asked = [
        (10, None),
        (50, Some(0.12)),
        (200, Some(0.27)),
        (500, Some(0.55)),
        (1500, Some(0.77)),
        (2300, None),
    ];
    for (micros, target) in asked {
        let targets: Vec<_> = target.map(|most| (UPSTREAM, most)).into_iter().collect();
        let timeout = Duration::from_micros(micros);
        let mut waits = row(
            format!("timeout/{micros}us"),
            Scheduled,
            &targets,
            contenders!(S => timeouts::timeout::<S>(timeout)),
        );
        waits.with_threads = false;
        rows.push(waits);
    }

    for connections in [1, 64, 512] {
        let end = Until::Blocked;
        rows.push(row(
            format!("echo/tcp/{connections}"),
            Single,
            at_the_limit,
            contenders!(S => echo::<S, Tcp>(connections, end)),
        ));
        rows.push(row(
            format!("echo/unix/{connections}"),
            Single,
            at_the_limit,
            contenders!(S => echo::<S, Unix>(connections, end)),
        ));
        rows.push(row(
            format!("echo/tcp/{connections}/threads"),
            Scheduled,
            &[],
            contenders!(S => between_threads::<S, Tcp>(connections)),
        ));
        rows.push(row(
            format!("echo/unix/{connections}/threads"),
            Scheduled,
            &[],
            contenders!(S => between_threads::<S, Unix>(connections)),
        ));
    }
    rows.push(row(
        "echo/tcp/64/short-reads",
        Single,
        at_the_limit,
        contenders!(S => echo::<S, Tcp>(64, Until::Short)),
    ));
    for connections in [1, 64, 512] {
        let end = Until::Blocked;
        let contenders =
            contenders!(S => echo::<S, Tcp>(connections, end); Level, Libuv, Mio, Upstream, Raw);
        rows.push(row(
            format!("level/echo/tcp/{connections}"),
            Single,
            &[(Libuv::NAME, 1.0)],
            named(contenders, EDGES),
        ));
    }
    rows.extend(pools("pool"));
    rows.push(latency_row(
        "latency/2000",
        contenders!(S => latency::<S>(2000, 256); Mio, Upstream, Raw, Mio),
    ));
    rows.push(row(
        "connection/accept",
        Single,
        at_the_limit,
        contenders!(S => accept::<S>()),
    ));
    rows.push(row(
        "connection/read-write",
        Single,
        at_the_limit,
        contenders!(S => read_and_write::<S>()),
    ));
    let mut with_threads = row(
        "connection/read-write/threads",
        Single,
        at_the_limit,
        contenders!(S => read_and_write::<S>()),
    );
    with_threads.with_threads = true;
    rows.push(with_threads);
    rows.push(row(
        "connection/short-lived",
        Single,
        at_the_limit,
        contenders!(S => short_lived::<S>(First::Register)),
    ));
    rows.push(row(
        "connection/short-lived/read-first",
        Single,
        at_the_limit,
        contenders!(S => short_lived::<S>(First::Read)),
    ));
    rows
}

/// The three Rust crates, on poll(2).
fn on_poll() -> Vec<Row> {
    let mut rows = vec![
        row(
            "poll-register/all",
            Single,
            &[(UPSTREAM, 0.03)],
            with_floor(
                contenders!(S => registering::all::<S>(); Mio, Upstream, Polling, RawPoll),
                "three locks",
                floors::three_locks,
            ),
        ),
        row(
            "poll-rearm/would-block",
            Single,
            &[(UPSTREAM, 0.05)],
            with_floor(
                contenders!(S => rearming::rearm::<S>(); Mio, Upstream),
                "a lock",
                floors::one_lock,
            ),
        ),
    ];
    if let Some(rearming) = rows.last_mut() {
        // The measured part is small.
        rearming.figure = Figure::Cost {
            batch: Duration::from_micros(500),
        };
    }
    for ready in [1, 64] {
        for idle in [0, 64, 1000] {
            rows.push(row(
                format!("poll-turn/{ready}/{idle}-idle"),
                Single,
                &[(UPSTREAM, 0.8)],
                contenders!(S => rearming::turn::<S>(ready, idle); Mio, Upstream, Polling, RawPoll),
            ));
        }
        rows.push(row(
            format!("poll-turn/{ready}/6000-idle"),
            Single,
            &[(UPSTREAM, 0.8)],
            // All contenders have descriptors of their own, and a process may have 20,000.
            contenders!(S => rearming::turn::<S>(ready, 6000); Mio, Upstream, RawPoll),
        ));
    }
    rows.extend([
        row(
            "poll-turn/0",
            Single,
            &[],
            contenders!(S => glance::<S>(); Mio, Upstream, Polling, RawPoll),
        ),
        row(
            "poll-wake/pending",
            Single,
            &[(UPSTREAM, 0.02)],
            with_floor(
                contenders!(S => waking::pending::<S>(); Mio, Upstream, Polling),
                "an atomic",
                floors::atomic,
            ),
        ),
        row(
            "poll-wake/and-wait",
            Single,
            &[],
            contenders!(S => waking::and_wait::<S>(); Mio, Upstream, Polling),
        ),
        row(
            "poll-messages/1-thread",
            Scheduled,
            &[(UPSTREAM, 0.05)],
            // polling's poll(2) loses wake-ups here, and would wait for ever.
            contenders!(S => waking::messages::<S>(1); Mio, Upstream),
        ),
        row(
            "poll-echo/tcp/64",
            Single,
            &[],
            contenders!(S => echo::<S, Tcp>(64, Until::Blocked); Mio, Upstream, Polling, RawPoll),
        ),
        row(
            "poll-level/echo/tcp/64",
            Single,
            &[],
            named(
                contenders!(
                    S => echo::<S, Tcp>(64, Until::Blocked); Level, Mio, Upstream, RawPoll
                ),
                EDGES,
            ),
        ),
        latency_row(
            "poll-latency/2000",
            contenders!(S => latency::<S>(2000, 256); Mio, Upstream, RawPoll, Mio),
        ),
    ]);
    rows.extend(pools("poll-pool"));
    rows
}

/// An operation whose instructions, system calls and allocations are counted.
pub struct Counted {
    pub name: String,
    pub contenders: Box<dyn Fn() -> Vec<Contender>>,
}

/// All operations of this build.
pub fn counted() -> Vec<Counted> {
    let counted = |name: &str, contenders| Counted {
        name: name.to_owned(),
        contenders,
    };
    if ON_POLL {
        return vec![
            counted(
                "poll(2): turn/0/zero",
                contenders!(S => glance::<S>(); Mio, Upstream),
            ),
            counted(
                "poll(2): wake/and-wait",
                contenders!(S => waking::and_wait::<S>(); Mio, Upstream),
            ),
            counted(
                "poll(2): register/all",
                contenders!(S => registering::all::<S>(); Mio, Upstream),
            ),
            counted(
                "poll(2): rearm/would-block",
                contenders!(S => rearming::rearm::<S>(); Mio, Upstream),
            ),
            counted(
                "poll(2): turn/1",
                contenders!(S => rearming::turn::<S>(1, 0); Mio, Upstream),
            ),
            counted(
                "poll(2): turn/64/64-idle",
                contenders!(S => rearming::turn::<S>(64, 64); Mio, Upstream),
            ),
            counted(
                "poll(2): wake/pending",
                contenders!(S => waking::pending::<S>(); Mio, Upstream),
            ),
        ];
    }
    let zero = Some(Duration::ZERO);
    let seconds = Some(Duration::from_secs(5));
    vec![
        counted(
            "turn/0/zero",
            contenders!(S => glance::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "turn/1/zero",
            contenders!(S => turn::<S>(1, 0, zero); Mio, Upstream, Raw),
        ),
        counted(
            "turn/1/none",
            contenders!(S => turn::<S>(1, 0, None); Mio, Upstream, Raw),
        ),
        counted(
            "turn/1/5s",
            contenders!(S => turn::<S>(1, 0, seconds); Mio, Upstream, Raw),
        ),
        counted(
            "turn/64/none",
            contenders!(S => turn::<S>(64, 0, None); Mio, Upstream, Raw),
        ),
        counted(
            "turn/1024/none",
            contenders!(S => turn::<S>(1024, 0, None); Mio, Upstream, Raw),
        ),
        counted(
            "register/add",
            contenders!(S => registering::add::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "register/modify",
            contenders!(S => registering::modify::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "register/remove",
            contenders!(S => registering::remove::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "registry/clone",
            contenders!(S => registering::clone_registry::<S>(); Mio, Upstream),
        ),
        counted(
            "wake/pending",
            contenders!(S => waking::pending::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "wake/first",
            contenders!(S => waking::first::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "wake/and-wait",
            contenders!(S => waking::and_wait::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "connection/accept",
            contenders!(S => accept::<S>(); Mio, Upstream, Raw),
        ),
        counted(
            "connection/read-write",
            contenders!(S => read_and_write::<S>(); Mio, Upstream, Raw),
        ),
    ]
}
