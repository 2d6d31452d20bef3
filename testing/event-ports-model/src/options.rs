//! Switches in the environment, which `port_create` reads: behaviour of real ports that is harder
//! to handle than the model's usual one.

use std::env;

/// The behaviour of a port where systems differ or the manual leaves it open.
pub struct Options {
    pub order: Order,
    /// POLLRDHUP exists, as on illumos. Solaris does not have it.
    pub rdhup: bool,
    /// The event of a descriptor that was not ready when it was associated has one bit only, as if
    /// a driver reported one condition after another.
    pub one_bit: bool,
    /// A call with a timeout of zero that finds too few events fails with ETIME, as in the manual.
    /// Otherwise it succeeds with fewer, as in the kernel's source.
    pub zero_is_etime: bool,
    /// If no event came in time, `nget` does not change, for which libev and libuv are prepared.
    /// Otherwise it becomes 0, as in the manual and in the source.
    pub late_nget_is_kept: bool,
    /// A wait ends before its timeout, as in the kernel's source after the system's clock was set.
    pub time_is_set: bool,
    /// `process.max-port-events`: for associations and sent events together.
    pub max_events: usize,
    /// Nothing can be sent, as to a full port.
    pub refuses_to_send: bool,
}

/// The order in which events are retrieved.
pub enum Order {
    /// First in, first out.
    Fifo,
    /// Last in, first out.
    Lifo,
    /// Random, with the state of the generator.
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

/// The value of the variable, among those allowed. The first one if it is not set.
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
