//! Contenders in turns, so that other load on the machine affects all of them alike.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::workloads::Run;

pub struct Contender {
    pub name: &'static str,
    pub run: Run,
}

/// The number of rounds, and their length.
#[derive(Copy, Clone, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// The approximate time of one contender in one round.
    pub batch: Duration,
}

/// The time of an operation of one contender, for each round, in ticks.
pub type Times = Vec<f64>;

pub fn measure(contenders: &mut [Contender], plan: Plan) -> Vec<Times> {
    let mut clock = Clock::timing();
    let operations: Vec<usize> = contenders
        .iter_mut()
        .map(|contender| fitting(&mut contender.run, &mut clock, plan.batch))
        .collect();
    let mut times = vec![Vec::with_capacity(plan.rounds); contenders.len()];
    in_turns(contenders, plan.rounds, |index, run| {
        run(&mut clock, operations[index]);
        times[index].push(clock.take() as f64 / operations[index] as f64);
    });
    times
}

/// The delays of the operations of one contender, for each round, in ticks.
pub type Delays = Vec<Histogram<u64>>;

pub fn measure_delays(
    contenders: &mut [Contender],
    rounds: usize,
    operations: usize,
) -> Vec<Delays> {
    let mut clock = Clock::timing();
    for contender in &mut *contenders {
        // This warms up.
        (contender.run)(&mut clock, operations);
        clock.take_delays();
    }
    let mut delays = vec![Vec::with_capacity(rounds); contenders.len()];
    in_turns(contenders, rounds, |index, run| {
        run(&mut clock, operations);
        let mut histogram = Histogram::new(3).expect("three digits are possible");
        for delay in clock.take_delays() {
            histogram.record(delay).expect("it grows");
        }
        delays[index].push(histogram);
    });
    delays
}

/// Calls a function for each contender in each round.
fn in_turns(contenders: &mut [Contender], rounds: usize, mut each: impl FnMut(usize, &mut Run)) {
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        // The order changes, because each contender finds the caches as the previous one has left
        // them.
        random.shuffle(&mut order);
        for &index in &order {
            each(index, &mut contenders[index].run);
        }
    }
}

/// The number of operations that take that long.
fn fitting(run: &mut Run, clock: &mut Clock, batch: Duration) -> usize {
    const MOST: usize = 1 << 16;
    let mut operations = 1;
    // This also warms up.
    run(clock, operations);
    loop {
        // More than once, because other load on the machine can take a processor away for longer than a
        // batch.
        let takes_long = (0..5).all(|_| {
            let start = Instant::now();
            run(clock, operations);
            start.elapsed() >= batch
        });
        if takes_long || operations >= MOST {
            clock.take();
            return operations;
        }
        operations *= 2;
    }
}

/// The quantile: `share` of the values are below it.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let part = place - place.floor();
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// xorshift: good enough for an order.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_values() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!(percentile(&values, 0.0), 1.0);
        assert_eq!(percentile(&values, 0.5), 3.0);
        assert_eq!(percentile(&values, 0.1), 1.4);
        assert_eq!(percentile(&values, 1.0), 5.0);
    }

    #[test]
    fn every_contender_has_a_time_in_every_round() {
        let contender = || Contender {
            name: "idle",
            run: Box::new(|clock: &mut Clock, operations| {
                clock.measure(|| std::hint::black_box(operations));
            }),
        };
        let plan = Plan {
            rounds: 7,
            batch: Duration::from_micros(1),
        };
        let times = measure(&mut [contender(), contender()], plan);
        assert_eq!(times.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7]);
    }

    #[test]
    fn an_order_has_everybody_once() {
        let mut order: Vec<usize> = (0..6).collect();
        let mut random = Random(1);
        for _ in 0..100 {
            random.shuffle(&mut order);
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        }
    }
}
