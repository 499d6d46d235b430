//! A local network in this process, with an account on it whose tasks a test starts one by one.

use std::time::Duration;

use session_localnet::{Control, Faults, Localnet, Options};
use session_network::{NetworkConfig, Times};
use session_protocol::swarm;
use sessiond::actions::send::{Draft, send};
use sessiond::sync::{deletions, outbox, repair};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::common::{Rig, keys, rig_on};

/// Ten times what anything here should take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Twelve nodes in swarms of five or more, and an account.
pub struct Home {
    pub net: Localnet,
    pub control: Control,
    pub rig: Rig,
    _dir: TempDir,
}

impl Home {
    /// The account of `keys(1)`. Looks after what it stored every 0.3 s.
    pub async fn start() -> Self {
        Self::with(None, |_| {}).await
    }

    /// The same in a swarm of two, that is with all members in one poll, and time to read them.
    pub async fn in_a_swarm_of_two() -> Self {
        Self::with(Some(2), |times| {
            times.request = DEADLINE;
            times.call = DEADLINE;
        })
        .await
    }

    /// The same with other times.
    pub async fn timed(change: impl FnOnce(&mut Times)) -> Self {
        Self::with(None, change).await
    }

    async fn with(swarm_size: Option<usize>, change: impl FnOnce(&mut Times)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        options.time_scale = 0.2;
        let net = session_localnet::start(options).await.unwrap();
        let control = net.control();
        let members = members(&control, 1);
        let others = control.nodes().into_iter().map(|node| node.swarm_id);
        let own = control.nodes()[members[0]].swarm_id;
        let other = others.into_iter().find(|id| *id != own).unwrap();
        for surplus in &members[swarm_size.unwrap_or(members.len())..] {
            control.move_node(*surplus, other).await.unwrap();
        }
        let mut config = NetworkConfig::from_toml(&net.network_file().unwrap()).unwrap();
        config.times.seed = DEADLINE;
        config.times.connect = DEADLINE;
        config.times.repair_min = Duration::from_millis(300);
        // Polls come when a test asks for them.
        config.times.poll = DEADLINE * 10;
        config.times.poll_active = DEADLINE * 10;
        config.times.resend_max = Duration::from_secs(1);
        change(&mut config.times);
        Self {
            control,
            net,
            rig: rig_on(1, config).await,
            _dir: dir,
        }
    }

    /// Starts what sends, deletes and looks after what was sent.
    pub fn work(&self) {
        tokio::spawn(outbox::run(self.rig.context.clone()));
        tokio::spawn(deletions::run(self.rig.context.clone()));
        tokio::spawn(repair::run(self.rig.context.clone()));
    }

    /// Indices of the nodes in the swarm of an account.
    pub fn members(&self, account: u8) -> Vec<usize> {
        members(&self.control, account)
    }

    /// Lets all members of the swarm of an account misbehave.
    pub async fn swarm_has(&self, account: u8, faults: Faults) {
        for member in self.members(account) {
            self.control.set_node(member, faults).await.unwrap();
        }
    }

    /// Writes a text; gives the message's ID.
    pub async fn write(&self, to: u8, body: &str) -> String {
        let recipient = keys(to).account_id();
        let draft = Draft {
            body: body.into(),
            token: body.into(),
            ..Draft::default()
        };
        let sent = self.rig.act(move |connection, actor| {
            Box::pin(async move { Ok(send(connection, actor, recipient, &draft).await?.0) })
        });
        let message = sent.await.unwrap();
        self.rig.context.outbox_filled.notify_one();
        message.public_id
    }

    /// Names of what a node holds.
    pub async fn hashes(&self, index: usize) -> Vec<String> {
        let held = self.control.held(index).await.unwrap();
        held.into_iter().map(|message| message.hash).collect()
    }

    /// Waits until the outbox is empty.
    pub async fn until_sent(&self) {
        until("everything is sent", async || {
            self.rig.one::<i64>("SELECT count(*) FROM outbox").await == 0
        })
        .await;
    }

    /// Ends tasks and network.
    pub async fn close(self) {
        self.rig.close().await;
    }
}

fn members(control: &Control, account: u8) -> Vec<usize> {
    let nodes = control.nodes();
    let mut ids: Vec<u64> = nodes.iter().map(|node| node.swarm_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let owner = keys(account).account_id().into();
    let of_account = swarm::nearest_swarm(&ids, swarm::swarm_space(&owner)).unwrap();
    (0..nodes.len())
        .filter(|index| nodes[*index].swarm_id == of_account)
        .collect()
}

/// An account whose swarm is not that of account 1.
pub fn stranger(home: &Home) -> u8 {
    let own = home.members(1);
    (2..200).find(|it| home.members(*it) != own).unwrap()
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
