//! Messages go in and come out, and what is said about them is true.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use session_localnet::Faults;
use session_network::{MemoryCache, Network, NetworkError, StoredCopy, SystemClock};
use session_protocol::AccountKeys;
use session_protocol::storage::{Namespace, message_hash, request};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_retrieved_and_every_member_signed() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    // No waiting: the first call waits for the first path by itself.
    let receipts = network
        .store(isolation(), &owner(&keys), &[item("hello")])
        .await
        .unwrap();
    let receipt = receipts.into_iter().next().unwrap().unwrap();
    let members: HashSet<[u8; 32]> = {
        let swarm = session_protocol::swarm::nearest_swarm(
            &world
                .net
                .nodes()
                .iter()
                .map(|node| node.swarm_id)
                .collect::<Vec<_>>(),
            session_protocol::swarm::swarm_space(&owner(&keys)),
        );
        let nodes = world.net.nodes().iter();
        nodes
            .filter(|node| Some(node.swarm_id) == swarm)
            .map(|node| node.ed25519)
            .collect()
    };
    assert_eq!(receipt.confirmed.len(), members.len());
    assert_eq!(receipt.asked, members.len());
    assert_eq!(
        receipt.confirmed.iter().copied().collect::<HashSet<_>>(),
        members
    );
    assert!(receipt.missed.is_empty());
    assert!(members.contains(&receipt.node));
    assert_eq!(
        receipt.hash,
        message_hash(&owner(&keys), Namespace::DEFAULT, b"hello")
    );
    let expiry = receipt.expiry_ms.unwrap();
    assert!(expiry.abs_diff(network.now_ms() + TTL) < 60_000);

    let page = retrieve(&network, &keys).await;
    assert_eq!(texts(&page), ["hello"]);
    assert_eq!(page.messages[0].hash, receipt.hash);
    assert!(!page.more);
    assert!(members.contains(&page.node));

    // The path it came over does not contain the node it came from.
    connected(&network).await;
    for path in network.paths() {
        assert_eq!(path.hops.len(), 3);
        assert!(path.last_success_ms.is_some() && path.latency.is_some());
        if path.id == page.path_id {
            assert!(path.hops.iter().all(|hop| hop.ed25519 != page.node));
        }
    }
    network.shutdown().await;
    assert_eq!(
        network
            .store(isolation(), &owner(&keys), &[item("late")])
            .await,
        Err(NetworkError::Shutdown)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_a_result_for_each_item() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    let mut items: Vec<_> = (0..20).map(|number| item(&format!("m{number}"))).collect();
    // Too short to be kept: refused alone.
    items[7].ttl_ms = 1;
    let results = network
        .store(isolation(), &owner(&keys), &items)
        .await
        .unwrap();
    assert_eq!(results.len(), 20);
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(receipt) => {
                let hash = message_hash(&owner(&keys), Namespace::DEFAULT, &items[index].data);
                assert_eq!(receipt.hash, hash);
                assert!(receipt.confirmed.len() >= 4, "{receipt:?}");
            }
            Err(error) => {
                assert_eq!(index, 7);
                assert!(error.is_permanent() && error.had_path());
                assert!(matches!(error, NetworkError::Rejected { code: 403, .. }));
            }
        }
    }
    // Members differ in order, but each holds all of them.
    let mut found = texts(&retrieve(&network, &keys).await);
    found.sort_unstable();
    let mut stored: Vec<_> = (0..20)
        .filter(|n| *n != 7)
        .map(|n| format!("m{n}"))
        .collect();
    stored.sort_unstable();
    assert_eq!(found, stored);

    let many = vec![item("x"); 21];
    assert_eq!(
        network.store(isolation(), &owner(&keys), &many).await,
        Err(NetworkError::BadCount)
    );
    let mut large = item("");
    large.data = vec![0; 76_801].into();
    assert_eq!(
        network.store(isolation(), &owner(&keys), &[large]).await,
        Err(NetworkError::TooLarge)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_continues_at_its_own_node() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    for text in ["one", "two", "three"] {
        store(&network, &keys, text).await;
    }
    let mut cursors = HashMap::new();
    // Each member gives everything once and then nothing more.
    for _ in 0..40 {
        let page = network
            .retrieve(isolation(), &keys, Namespace::DEFAULT, &cursors, None)
            .await
            .unwrap();
        match cursors.contains_key(&page.node) {
            true => assert_eq!(texts(&page), Vec::<String>::new()),
            false => assert_eq!(page.messages.len(), 3),
        }
        if let Some(last) = page.messages.last() {
            cursors.insert(page.node, last.hash.clone());
        }
    }
    assert!(cursors.len() > 1, "always the same member was asked");
    store(&network, &keys, "four").await;
    let page = network
        .retrieve(isolation(), &keys, Namespace::DEFAULT, &cursors, None)
        .await
        .unwrap();
    assert!(texts(&page).ends_with(&["four".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_from_one_member_until_it_has_no_more() {
    let world = World::start().await;
    let mut config = world.config();
    // Nodes and client in one process, not optimised: a page takes its time.
    config.times.request = DEADLINE;
    config.times.store = DEADLINE;
    config.times.call = DEADLINE;
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let keys = account();
    // A page holds some 1.5 MB (network.md 4.8); this is two and a half.
    let big = |number: usize| {
        let mut large = item("");
        large.data = vec![u8::try_from(number).unwrap(); 70_000].into();
        large
    };
    for batch in 0..4 {
        let items: Vec<_> = (0..10).map(|n| big(batch * 10 + n)).collect();
        let results = network
            .store(isolation(), &owner(&keys), &items)
            .await
            .unwrap();
        assert!(results.iter().all(Result::is_ok));
    }
    let mut cursors = HashMap::new();
    let mut hashes = HashSet::new();
    let mut nodes = HashSet::new();
    let mut pages = 0;
    loop {
        let page = network
            .retrieve(isolation(), &keys, Namespace::DEFAULT, &cursors, None)
            .await
            .unwrap();
        pages += 1;
        nodes.insert(page.node);
        hashes.extend(page.messages.iter().map(|message| message.hash.clone()));
        let last = page.messages.last().unwrap().hash.clone();
        cursors.insert(page.node, last);
        if !page.more {
            break;
        }
    }
    assert_eq!(hashes.len(), 40);
    assert!(pages > 1, "one page held everything");
    assert_eq!(nodes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_reach_the_swarm_too() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    store(&network, &keys, "gone soon").await;
    let hash = message_hash(&owner(&keys), Namespace::DEFAULT, b"gone soon");
    let hashes = [hash];
    let reply = network
        .swarm_request(isolation(), &owner(&keys), &|_| {
            request::delete(&keys, &hashes)
        })
        .await
        .unwrap();
    let answers = session_protocol::storage::answer::members("delete", &reply.body).unwrap();
    let confirmed =
        session_protocol::storage::verify::delete(&answers, &owner(&keys), &hashes, |node| {
            reply.members.contains(node)
        });
    assert_eq!(confirmed.nodes.len(), reply.members.len());
    assert!(retrieve(&network, &keys).await.messages.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_what_is_told_and_storing_again_repairs_it() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    let members = retrieve_members(&world, &network, &keys).await;
    let (poor, rest) = members.split_first().unwrap();
    let control = world.net.control();
    control
        .set_node(
            world.index(poor),
            Faults {
                misses_forwards: true,
                ..Faults::default()
            },
        )
        .await
        .unwrap();
    // Stored through another member, so that this one gets nothing.
    let receipt = loop {
        let mut receipts = network
            .store(isolation(), &owner(&keys), &[item("kept")])
            .await
            .unwrap();
        let receipt = receipts.pop().unwrap().unwrap();
        if receipt.node != *poor && receipt.missed == [*poor] {
            break receipt;
        }
        control.lose_storage(world.index(poor)).await.unwrap();
    };
    assert_eq!(receipt.confirmed.len(), rest.len());
    control.reset().await.unwrap();
    let unknown = message_hash(&owner(&keys), Namespace::DEFAULT, b"never stored");
    let hashes = [receipt.hash.clone(), unknown];
    let holders = network.holders(isolation(), &keys, &hashes).await.unwrap();
    assert_eq!(holders.len(), members.len());
    for holder in &holders {
        let has: Vec<&String> = holder.expiries.keys().collect();
        match holder.node == *poor {
            true => assert!(has.is_empty()),
            false => assert_eq!(has, [&receipt.hash]),
        }
    }
    // The same bytes again: nobody has it twice.
    assert_eq!(store(&network, &keys, "kept").await, members.len());
    let holders = network.holders(isolation(), &keys, &hashes).await.unwrap();
    assert!(holders.iter().all(|holder| holder.expiries.len() == 1));
    let refused = network.holders(isolation(), &keys, &[]).await;
    assert_eq!(refused, Err(NetworkError::BadCount));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_stored_again_where_it_is_missing_and_lives_no_longer() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    let mut stored = network
        .store(isolation(), &owner(&keys), &[item("kept")])
        .await
        .unwrap();
    let receipt = stored.pop().unwrap().unwrap();
    let expiry_ms = receipt.expiry_ms.unwrap();
    let poor = receipt.confirmed[1];
    let control = world.net.control();
    control.lose_storage(world.index(&poor)).await.unwrap();
    let again = async || {
        let copy = StoredCopy {
            namespace: Namespace::DEFAULT,
            data: b"kept".as_slice().into(),
            expiry_ms,
        };
        let owner = owner(&keys);
        network
            .store_again(isolation(), &owner, &[copy], Some(poor))
            .await
    };
    // While it cannot, nobody is asked in its place; how often it could not counts for nothing afterwards.
    let unable = Faults::refuse();
    control.set_node(world.index(&poor), unable).await.unwrap();
    for _ in 0..3 {
        assert!(again().await.is_err());
    }
    // What others pass on does not reach it: only somebody who asks it itself can store there.
    let deaf = Faults::misses_forwards();
    control.set_node(world.index(&poor), deaf).await.unwrap();
    let mut again = again().await.unwrap();
    let again = again.pop().unwrap().unwrap();
    assert_eq!(again.node, poor);
    assert_eq!(
        (&again.hash, again.expiry_ms),
        (&receipt.hash, Some(expiry_ms))
    );
    assert!(again.missed.is_empty());
    let hashes = [receipt.hash.clone()];
    let holders = network.holders(isolation(), &keys, &hashes).await.unwrap();
    assert_eq!(holders.len(), receipt.confirmed.len());
    for holder in holders {
        assert_eq!(holder.expiries.get(&receipt.hash), Some(&expiry_ms));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_place_says_so_and_another_can_be_asked() {
    let world = World::start().await;
    let network = world.client();
    let keys = account();
    store(&network, &keys, "one").await;
    store(&network, &keys, "two").await;
    let page = retrieve(&network, &keys).await;
    let node = page.node;
    let last = page.messages.last().unwrap();
    let get = async |cursor: &str, beside| {
        let cursors: HashMap<_, _> = retrieve_members(&world, &network, &keys)
            .await
            .into_iter()
            .map(|member| (member, cursor.to_owned()))
            .collect();
        let asked = network.retrieve(isolation(), &keys, Namespace::DEFAULT, &cursors, beside);
        asked.await.unwrap()
    };
    let known = get(&last.hash, None).await;
    assert!(!known.cursor_lost);
    // Of another message the member knows nothing, and that alone does not show.
    let unknown = message_hash(&owner(&keys), Namespace::DEFAULT, b"never stored");
    let all = get(&unknown, Some(node)).await;
    assert_ne!(all.node, node);
    assert_eq!((all.messages.len(), all.cursor_lost), (2, false));
}

/// All members of the account's swarm.
async fn retrieve_members(world: &World, network: &Network, keys: &AccountKeys) -> Vec<[u8; 32]> {
    let home = retrieve(network, keys).await.node;
    let nodes = world.net.nodes();
    let swarm = nodes[world.index(&home)].swarm_id;
    let members = nodes.iter().filter(|node| node.swarm_id == swarm);
    members.map(|node| node.ed25519).collect()
}
