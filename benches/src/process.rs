//! What processes use, from /proc: CPU time by thread, memory, and what the rest of the machine was doing.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use fs_err as fs;

/// /proc counts in these, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and its children have used since they started.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Seconds of CPU, threads that have ended included.
    pub cpu: f64,
    /// Seconds of CPU of the threads that live, by name; a name's threads are summed. What ONNX Runtime starts bears the
    /// name of the thread that started it: the first thread's own time is under `main`.
    pub threads: BTreeMap<String, f64>,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Its highest value.
    pub peak: u64,
}

impl Usage {
    /// Of a process and its children.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut usage = Self {
            cpu: cpu_of(pid)?,
            ..Self::default()
        };
        for line in fs::read_to_string(format!("/proc/{pid}/status"))?.lines() {
            match line.split_once(':') {
                Some(("VmRSS", size)) => usage.resident = kibibytes(size),
                Some(("VmHWM", size)) => usage.peak = kibibytes(size),
                _ => {}
            }
        }
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            // A thread may end between one line and the next.
            let Ok(spent) = fs::read_to_string(task.join("schedstat")) else {
                continue;
            };
            let name = if task.ends_with(pid.to_string()) {
                "main".to_owned()
            } else {
                fs::read_to_string(task.join("comm"))
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            };
            let nanoseconds: f64 = first_number(&spent);
            *usage.threads.entry(name).or_default() += nanoseconds / 1e9;
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
                // So may a child.
                usage.add(&Self::of(child).unwrap_or_default());
            }
        }
        Ok(usage)
    }

    fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.resident += other.resident;
        self.peak += other.peak;
        for (name, seconds) in &other.threads {
            *self.threads.entry(name.clone()).or_default() += seconds;
        }
    }

    /// What was used between `earlier` and now; memory as it is now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |name: &String| earlier.threads.get(name).copied().unwrap_or(0.0);
        let threads = self.threads.iter();
        Self {
            cpu: self.cpu - earlier.cpu,
            threads: threads
                .map(|(name, seconds)| (name.clone(), seconds - before(name)))
                .collect(),
            ..*self
        }
    }
}

/// Seconds of CPU that this process has used, without its children.
///
/// # Errors
/// There is no /proc.
pub fn own_cpu() -> io::Result<f64> {
    cpu_of(std::process::id())
}

/// Seconds of user and system time.
fn cpu_of(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it.
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = fields.get(11..13).unwrap_or_default().iter();
    Ok(ticks.map(|t| first_number(t)).sum::<f64>() / TICKS_PER_SECOND)
}

fn first_number(text: &str) -> f64 {
    let first = text.split_whitespace().next();
    first.and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

fn kibibytes(size: &str) -> u64 {
    first_number(size) as u64 * 1024
}

/// The machine at a moment: seconds that all its cores were busy, stolen time included.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    at: Instant,
    busy: f64,
}

impl Machine {
    /// Now.
    ///
    /// # Errors
    /// There is no /proc/stat.
    pub fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let all = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal
        let fields: Vec<f64> = all
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(first_number)
            .collect();
        let idle: f64 = fields.get(3..5).unwrap_or_default().iter().sum();
        Ok(Self {
            at: Instant::now(),
            busy: (fields.iter().sum::<f64>() - idle) / TICKS_PER_SECOND,
        })
    }

    /// Cores that were busy on average since `earlier`, less `own` seconds of CPU.
    #[must_use]
    pub fn others_since(&self, earlier: &Self, own: f64) -> f64 {
        let seconds = (self.at - earlier.at).as_secs_f64();
        ((self.busy - earlier.busy - own) / seconds).max(0.0)
    }
}
