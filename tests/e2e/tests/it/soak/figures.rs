//! What a process holds, over time, and whether it becomes more.

use std::fmt;
use std::time::Duration;

use sessiond_client::v1;

use crate::harness::Agent;

/// Looks at a moment of rest: the least of them counts, since a poll may be under way in any of them.
const LOOKS: usize = 10;
const BETWEEN: Duration = Duration::from_millis(150);

/// What is counted, its unit, and by how much the last third may exceed the first. Freed memory stays with the
/// allocator, and caches fill until they reach their limits; threads of the blocking pool end 10 s after their last work.
const COUNTED: [(&str, u64); 6] = [
    ("RssAnon, KiB", 12 * 1024),
    ("open files", 6),
    ("threads", 10),
    ("tasks", 10),
    // The one of the follower and nothing else.
    ("event streams", 0),
    ("files in the state directory", 2),
];

/// Every figure at each moment of rest.
#[derive(Default)]
pub struct Figures {
    rests: Vec<[u64; COUNTED.len()]>,
}

impl Figures {
    /// Reads those of an agent that is at rest.
    pub async fn add_at_rest(&mut self, agent: &Agent) {
        let mut least = [u64::MAX; COUNTED.len()];
        for _ in 0..LOOKS {
            let now = read(agent).await;
            for (least, now) in least.iter_mut().zip(now) {
                *least = now.min(*least);
            }
            tokio::time::sleep(BETWEEN).await;
        }
        self.rests.push(least);
    }

    /// How many moments of rest there were.
    pub fn count(&self) -> usize {
        self.rests.len()
    }

    /// Nothing has become more than its slack allows.
    pub fn must_be_flat(&self) {
        assert!(self.rests.len() >= 4, "too short to say anything: {self}");
        for (place, (name, slack)) in COUNTED.iter().enumerate() {
            let (first, last) = self.thirds(place);
            assert!(
                last <= first + slack,
                "{name}: from {first} to {last}\n{self}"
            );
        }
    }

    /// Medians of the first and of the last third of a figure; the first quarter of all is warming up.
    fn thirds(&self, place: usize) -> (u64, u64) {
        let warm = &self.rests[self.rests.len().div_ceil(4)..];
        let third = warm.len().div_ceil(3);
        let median = |rests: &[[u64; COUNTED.len()]]| {
            let mut all: Vec<u64> = rests.iter().map(|rest| rest[place]).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        (median(&warm[..third]), median(&warm[warm.len() - third..]))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} moments of rest", self.rests.len())?;
        for (place, (name, slack)) in COUNTED.iter().enumerate() {
            let (first, last) = self.thirds(place);
            let all = self.rests.iter().map(|rest| rest[place]);
            let most = all.clone().max().unwrap_or_default();
            write!(
                out,
                "\n{name}: {first} in the first third, {last} in the last (slack {slack}), most {most};"
            )?;
            // A long series is shown by every n-th of its members.
            for figure in all.step_by(self.rests.len().div_ceil(24)) {
                write!(out, " {figure}")?;
            }
        }
        Ok(())
    }
}

async fn read(agent: &Agent) -> [u64; COUNTED.len()] {
    let process = format!("/proc/{}", agent.pid());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let line = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_ascii_whitespace().next());
        value.unwrap().parse().unwrap()
    };
    let entries = |dir: &std::path::Path| std::fs::read_dir(dir).unwrap().count() as u64;
    let metrics = agent.client().get_metrics(v1::GetMetricsRequest {}).await;
    let metrics = metrics.unwrap().text;
    let gauge = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    [
        line("RssAnon:"),
        entries(format!("{process}/fd").as_ref()),
        line("Threads:"),
        gauge("sessiond_tasks "),
        gauge("sessiond_event_streams "),
        entries(&agent.state_dir()),
    ]
}
