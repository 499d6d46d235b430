//! Reading a second member: what only one member holds arrives, and a member that lost its place or its storage makes
//! no gap.

use session_network::{StoreItem, StoredCopy, StoredMessage};
use session_protocol::content::{Kind, Visible};
use session_protocol::storage::Namespace;
use sessiond::sync::poller::{Poller, poll};

use crate::common::keys;
use crate::local::{Home, until};
use crate::say::say;

impl Home {
    /// What account 2 says.
    fn said(&self, body: &str) -> StoredMessage {
        let kind = Kind::Visible(Box::new(Visible::text(body)));
        say(2, self.rig.context.now_ms(), kind).stored()
    }

    /// Puts something that account 2 says into the own swarm; gives it. All members get it.
    async fn told(&self, body: &str) -> StoredMessage {
        let context = &self.rig.context;
        let said = self.said(body);
        let item = StoreItem {
            namespace: Namespace::DEFAULT,
            data: said.data.clone().unwrap().into(),
            ttl_ms: 86_400_000,
        };
        let own = keys(1).account_id().into();
        let stored = context
            .network
            .store(context.isolation, &own, &[item])
            .await;
        let receipt = stored.unwrap().remove(0).unwrap();
        assert!(receipt.missed.is_empty());
        said
    }

    /// Puts it into the own swarm once more, at this member first.
    async fn again(&self, said: &StoredMessage, member: usize) {
        let context = &self.rig.context;
        let copy = StoredCopy {
            namespace: Namespace::DEFAULT,
            data: said.data.clone().unwrap().into(),
            expiry_ms: context.network.now_ms() + 86_400_000,
        };
        let own = keys(1).account_id().into();
        let at = Some(self.net.nodes()[member].ed25519);
        let stored = context
            .network
            .store_again(context.isolation, &own, &[copy], at)
            .await;
        stored.unwrap().remove(0).unwrap();
    }

    /// Reads the swarm once; `second`: two members of it.
    async fn poll(&self, second: bool) -> u32 {
        poll(&self.rig.context, second).await.unwrap().new_messages
    }

    /// How many members were read since the last such question; forgets how far.
    async fn members_read(&self) -> u64 {
        let forgotten = self.rig.context.db.writer().call(|connection| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM swarm_cursor");
                Ok(gone.execute(connection).await?.rows_affected())
            })
        });
        forgotten.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_twelfth_poll_reads_a_second_member() {
    let home = Home::in_a_swarm_of_two().await;
    home.told("hello").await;
    for (second, members) in [(false, 1), (true, 2), (false, 1)] {
        home.poll(second).await;
        assert_eq!(home.members_read().await, members);
    }
    let (poller, _) = Poller::spawn(home.rig.context.clone());
    // The first one comes by itself, since there is a path.
    until("the first poll", async || home.members_read().await == 1).await;
    let mut read = vec![1];
    for _ in 2..=36 {
        poller.poll().await.unwrap().unwrap();
        read.push(home.members_read().await);
    }
    let expected: Vec<u64> = (1..=36).map(|n| if n % 12 == 0 { 2 } else { 1 }).collect();
    assert_eq!(read, expected);
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_member_lost_comes_from_the_second() {
    let home = Home::in_a_swarm_of_two().await;
    let poor = home.members(1)[0];
    let mut expected = Vec::new();
    for number in 0..8 {
        let body = number.to_string();
        home.told(&body).await;
        home.control.lose_storage(poor).await.unwrap();
        // Whichever of the two comes first.
        assert_eq!(home.poll(true).await, 1, "{body}");
        expected.push(body);
    }
    assert_eq!(home.rig.words(2).await, expected);
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_starts_over_has_the_second_read_at_once() {
    let home = Home::in_a_swarm_of_two().await;
    let members = home.members(1);
    let (poor, rich) = (members[0], members[1]);
    let (first, second) = (home.told("a").await, home.told("b").await);
    let third = home.told("c").await;
    assert_eq!(home.poll(true).await, 3);
    let mut expected = vec!["a".to_owned(), "b".into(), "c".into()];
    let key = hex::encode(home.net.nodes()[poor].ed25519);
    let rearm = format!(
        "UPDATE swarm_cursor SET hash = '{}' WHERE node = x'{key}'",
        third.hash
    );
    let rearm: &'static str = rearm.leak();
    for number in 0..8 {
        // It lost where it was read last, and has what came before.
        home.control.lose_storage(poor).await.unwrap();
        home.again(&first, poor).await;
        home.again(&second, poor).await;
        home.rig.execute(rearm).await;
        // What comes then, only the other one gets.
        let frozen = session_localnet::Faults::misses_forwards();
        home.control.set_node(poor, frozen).await.unwrap();
        let body = number.to_string();
        home.again(&home.said(&body), rich).await;
        home.control.reset().await.unwrap();
        assert_eq!(home.hashes(poor).await.len(), 2);
        // An ordinary poll, of whichever of the two.
        assert_eq!(home.poll(false).await, 1, "{body}");
        expected.push(body);
    }
    assert_eq!(home.rig.words(2).await, expected);
    // What we stored there may be lost as well: that is looked after.
    let doubted = home.rig.context.copies_doubted.notified();
    tokio::time::timeout(std::time::Duration::from_secs(1), doubted)
        .await
        .expect("nobody was told");
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_everything_makes_no_gap_and_doubles_nothing() {
    let home = Home::in_a_swarm_of_two().await;
    let poor = home.members(1)[0];
    for body in ["a", "b"] {
        home.told(body).await;
    }
    home.poll(true).await;
    home.control.lose_storage(poor).await.unwrap();
    home.told("c").await;
    for _ in 0..6 {
        home.poll(false).await;
    }
    home.poll(true).await;
    assert_eq!(home.rig.words(2).await, ["a", "b", "c"]);
    home.close().await;
}
