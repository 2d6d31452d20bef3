//! Counts that repeat exactly: instructions and system calls, which other programs count while this
//! one runs, and allocations.
//!
//! Everything runs twice, the second time with twice as many operations. The difference is the cost
//! of the operations alone.

use clap::Args as ClapArgs;

use crate::clock::{counted_boundary, Clock};
use crate::rows::{counted, Counted};

#[derive(ClapArgs)]
pub struct Args {
    /// Only this operation (may be given several times)
    #[arg(long, value_name = "OPERATION")]
    only: Vec<String>,
    /// Marks for strace where each operation begins and ends
    #[arg(long)]
    marks: bool,
}

/// The number of operations in the first run.
const OPERATIONS: usize = 64;

/// The number of operations that strace is shown.
const MARKED: usize = 4;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let operations: Vec<Counted> = counted()
        .into_iter()
        .filter(|counted| args.only.is_empty() || args.only.contains(&counted.name))
        .collect();
    anyhow::ensure!(!operations.is_empty(), "there is no such operation");
    if args.marks {
        show(operations);
    } else {
        count(operations);
    }
    Ok(())
}

fn count(operations: Vec<Counted>) {
    let mut clock = Clock::counting();
    counted_boundary();
    for Counted { name, contenders } in operations {
        for mut contender in contenders() {
            // Warms up.
            (contender.run)(&mut Clock::off(), 2 * OPERATIONS);
            for operations in [OPERATIONS, 2 * OPERATIONS] {
                (contender.run)(&mut clock, operations);
                counted_boundary();
                let allocations = clock.take();
                println!(
                    "run\t{name}\t{}\t{operations}\t{allocations}",
                    contender.name
                );
            }
        }
    }
}

fn show(operations: Vec<Counted>) {
    for Counted { name, contenders } in operations {
        for mut contender in contenders() {
            (contender.run)(&mut Clock::off(), MARKED);
            let mut clock = Clock::marking(&format!("{name} | {}", contender.name));
            for _ in 0..MARKED {
                (contender.run)(&mut clock, 1);
            }
        }
    }
}
