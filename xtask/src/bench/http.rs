//! Compares one HTTP server on this crate with one on mio 1.2.5, under wrk, in turns of a second.
//!
//! The number of requests in a second means nothing on a machine with other load, of which wrk
//! itself is a part. The cost of a request does: the processor time of the server's threads, as the
//! kernel counts it, and the server's system calls.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::counts;
use crate::sh::Cmd;
use crate::{root, target, tools};

/// The number of turns of each server.
const TURNS: usize = 20;

const CONNECTIONS: [usize; 2] = [1, 64];

/// The names of the two: the folder with the manifest, and the name in the results.
const OURS: &str = "ours";
const REGISTRY: (&str, &str) = ("registry", "mio 1.2.5");

/// Measures, and writes lines in the format of mio-bench.
pub fn measure(out: &Path) -> Result<()> {
    tools::need("wrk", &["wrk"])?;
    tools::need("strace", &["strace"])?;
    let programs = [build(OURS)?, build(REGISTRY.0)?];
    let mut lines = String::from("workload\tclass\tbackend\tother\tp10\tq1\tmedian\tq3\ttarget\n");
    let mut line = |workload: &str, p10: f64, [q1, median, q3]: [f64; 3]| {
        let other = REGISTRY.1;
        println!("{workload}: {p10:.4} ({q1:.4} {median:.4} {q3:.4}) of {other}");
        lines += &format!(
            "{workload}\tscheduled\tepoll\t{other}\t{p10:.4}\t{q1:.4}\t{median:.4}\t{q3:.4}\t-\n"
        );
    };
    for connections in CONNECTIONS {
        let mut servers = Vec::new();
        for program in &programs {
            servers.push(Server::start(Command::new(program))?);
        }
        // Warms up both servers.
        for server in &servers {
            server.cost_of_requests(connections)?;
        }
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (server, costs) in servers.iter().zip(&mut costs) {
                costs.push(server.cost_of_requests(connections)?);
            }
        }
        let [ours, theirs] = &costs;
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        line(
            &format!("http/{connections}/processor-time"),
            percentile(ours, 0.1) / percentile(theirs, 0.1),
            [0.25, 0.5, 0.75].map(|share| percentile(&ratios, share)),
        );
        let [ours, theirs] = [
            calls(&programs[0], connections)?,
            calls(&programs[1], connections)?,
        ];
        println!(
            "system calls of a request: {ours:.3}, with {} {theirs:.3}",
            REGISTRY.1
        );
        let ratio = ours / theirs;
        line(&format!("http/{connections}/calls"), ratio, [ratio; 3]);
    }
    Ok(fs::write(out, lines)?)
}

fn build(which: &str) -> Result<PathBuf> {
    let folder = counts::workspace(root()).join("http").join(which);
    let target = target("bench-http").join(which);
    let cargo = |subcommand| {
        Cmd::cargo(subcommand)
            .dir(&folder)
            .target_dir(&target)
            .arg("--locked")
    };
    // This also shows whether the patch is in effect.
    let tree = cargo("tree").args(["-i", "mio"]).quiet()?;
    let tree = tree.successful_stdout()?;
    // A package from the registry is printed without a folder.
    let is_patched = tree.lines().next().is_some_and(|mio| mio.contains(" ("));
    if is_patched != (which == OURS) {
        bail!("bench/http/{which} uses another mio: {tree}");
    }
    cargo("build").arg("--release").run()?;
    Ok(target.join(format!("release/http-{which}")))
}

/// A server, which is ended when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(mut command: Command) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("the server does not start")?;
        let mut first_line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut first_line)?;
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        server.address = first_line
            .trim()
            .parse()
            .context("the server has not printed its address")?;
        Ok(server)
    }

    /// Makes requests for one second. Returns how many were answered.
    fn requests(&self, connections: usize) -> Result<u64> {
        let wrk = Cmd::new("wrk")
            .args(["-t1", "-d1s", "-c"])
            .arg(connections.to_string())
            .arg(format!("http://{}/", self.address));
        let printed = wrk.quiet()?.successful_stdout()?;
        requests(&printed)
            .with_context(|| format!("wrk has printed no number of requests: {printed}"))
    }

    /// The nanoseconds of processor time for one request, averaged over a second.
    fn cost_of_requests(&self, connections: usize) -> Result<f64> {
        let before = self.processor_time()?;
        let requests = self.requests(connections)?;
        Ok((self.processor_time()? - before) as f64 / requests as f64)
    }

    /// The processor time that its threads have used so far, in nanoseconds.
    fn processor_time(&self) -> Result<u64> {
        let mut all = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let printed = fs::read_to_string(thread?.path().join("schedstat"))?;
            let used = printed.split(' ').next().context("an empty schedstat")?;
            all += used.parse::<u64>()?;
        }
        Ok(all)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of the server's system calls for one request, averaged over a second under strace.
fn calls(program: &Path, connections: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    let mut strace = Command::new("strace");
    // strace is a grandchild, which ends together with its tracee, the child.
    strace.args(["-D", "-f", "-o"]).arg(&trace).arg(program);
    let server = Server::start(strace)?;
    let requests = server.requests(connections)?;
    drop(server);
    let text = whole(&trace)?;
    // Begins with the first connection.
    let served = text
        .lines()
        .skip_while(|line| !line.contains(" accept4("))
        .filter(|line| line.contains('(') && !line.contains("+++"));
    Ok(served.count() as f64 / requests as f64)
}

/// The text of a trace, after the tracee has ended.
fn whole(trace: &Path) -> Result<String> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(trace)?;
        if text.contains("+++ killed by ") {
            return Ok(text);
        }
        if Instant::now() > patience {
            bail!("strace has not seen the end of the server");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `  12345 requests in 1.00s, 1.23MB read`
fn requests(printed: &str) -> Option<u64> {
    let line = printed
        .lines()
        .find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The value at this quantile.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * (sorted.len() - 1) as f64).round();
    sorted[place as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_tells_how_many_requests() {
        let printed = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  \
                    Thread Stats   Avg\n  51234 requests in 1.10s, 6.25MB read\n\
                    Requests/sec:  46500.12\n";
        assert_eq!(requests(printed), Some(51234));
        assert_eq!(requests("unable to connect"), None);
    }

    #[test]
    fn percentiles_are_values() {
        let values = [3.0, 1.0, 2.0, 5.0, 4.0];
        assert_eq!(percentile(&values, 0.1), 1.0);
        assert_eq!(percentile(&values, 0.5), 3.0);
    }
}
