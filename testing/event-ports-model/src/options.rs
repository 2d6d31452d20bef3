//! Where the real ports may be nastier than the model usually is: switches, read
//! from the environment by `port_create`.

use std::env;

/// What a port does where systems differ or the manual leaves it open.
pub struct Options {
    pub order: Order,
    /// POLLRDHUP exists, as on illumos; Solaris knows nothing of it.
    pub rdhup: bool,
    /// An event of a descriptor that was not ready when it was associated has one
    /// bit only, as when a driver announces one thing after the other.
    pub one_bit: bool,
    /// A call with a timeout of zero that finds too few events fails with ETIME, as
    /// the manual says, rather than succeeds with fewer, as the kernel's source does.
    pub zero_is_etime: bool,
    /// Where no event came in time, `nget` stays as it was, for which libev and libuv
    /// are prepared, rather than becomes 0, as the manual and the source say.
    pub late_nget_is_kept: bool,
    /// A wait ends, as the kernel's source has it when the system's time is set, before
    /// its own is up.
    pub time_is_set: bool,
    /// `process.max-port-events`: of associations and sent events together.
    pub max_events: usize,
    /// Nothing can be sent, as to a port that is full.
    pub refuses_to_send: bool,
}

/// In which order events are retrieved.
pub enum Order {
    /// As they came.
    Fifo,
    /// The last one first.
    Lifo,
    /// None; the state of the generator.
    Random(u64),
}

impl Options {
    pub fn from_environment() -> Options {
        Options {
            order: match choice("ORDER", &["fifo", "lifo", "random"]) {
                0 => Order::Fifo,
                1 => Order::Lifo,
                _ => Order::Random(0x9e37_79b9_7f4a_7c15),
            },
            rdhup: choice("RDHUP", &["1", "0"]) == 0,
            one_bit: choice("BITS", &["all", "one"]) == 1,
            zero_is_etime: choice("ZERO_TIMEOUT", &["ok", "etime"]) == 1,
            late_nget_is_kept: choice("LATE_NGET", &["told", "kept"]) == 1,
            time_is_set: choice("TIME", &["steady", "set"]) == 1,
            max_events: match env::var("EVENT_PORTS_MODEL_MAX_EVENTS") {
                Ok(number) => number
                    .parse()
                    .expect("EVENT_PORTS_MODEL_MAX_EVENTS is a number"),
                Err(_) => 0x10000,
            },
            refuses_to_send: choice("SEND", &["ok", "eagain"]) == 1,
        }
    }
}

/// Which of the values the variable has; the first one where it isn't set.
fn choice(name: &str, values: &[&str]) -> usize {
    let name = format!("EVENT_PORTS_MODEL_{name}");
    match env::var(&name) {
        Err(_) => 0,
        Ok(value) => values
            .iter()
            .position(|&one| one == value)
            .unwrap_or_else(|| panic!("{name} is one of {values:?}")),
    }
}
