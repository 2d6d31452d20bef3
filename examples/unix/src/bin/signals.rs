//! Ends on Ctrl-C (SIGINT) or SIGTERM, and counts SIGHUPs.
//!
//! Run `cargo run -p unix --bin signals`.

use std::io;

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

const SIGNALS: Token = Token(0);

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let registry = poll.registry();
    registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
    println!("waiting for signals");

    let mut hang_ups = 0;
    loop {
        poll.poll_until(&mut events, None)?;
        for event in &events {
            if event.token() != SIGNALS {
                continue; // the program's other sources
            }
            // All pending signals: one event may stand for several.
            for signal in signals.pending() {
                match signal {
                    SIGHUP => hang_ups += 1,
                    _ => {
                        println!("ended by signal {signal}, after {hang_ups} hang-ups");
                        return Ok(());
                    }
                }
            }
        }
    }
}
