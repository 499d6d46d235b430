//! What members of a group may do with its storage, and taking that back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed::{self, ExpireMode, NamespaceSelector};
use session_protocol::subaccount::{Permissions, Token};

use crate::support::{Account, Group, Member, Net, START_MS, assert_signed, with, without};

const READ: Permissions = Permissions::READ;
const WRITE: Permissions = Permissions::WRITE;
const DELETE: Permissions = Permissions::DELETE;

fn store(namespace: i16, data: &str) -> (Value, String) {
    let params = json!({
        "namespace": namespace, "data": STANDARD.encode(data), "timestamp": START_MS, "ttl": 60_000,
    });
    (params, signed::store(Namespace(namespace), START_MS))
}

fn retrieve(namespace: i16) -> (Value, String) {
    let params = json!({"namespace": namespace, "timestamp": START_MS});
    (params, signed::retrieve(Namespace(namespace), START_MS))
}

async fn status(net: &Net, index: usize, method: &str, by: &Member, what: (Value, String)) -> u16 {
    net.rpc(index, method, by.sign(what.0, what.1)).await.0
}

/// The group's first message: nodes remember revocations only for accounts that they hold something of.
async fn first_message(net: &Net, group: &Group) -> String {
    let (params, text) = store(11, "first");
    let entry = net.members(group.id())[0];
    let (status, answer) = net.rpc(entry, "store", group.sign(params, text)).await;
    assert_eq!(status, 200, "{answer}");
    answer["hash"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_permission_allows_what_it_says() {
    let net = Net::start().await;
    let group = Group::new();
    let index = net.members(group.id())[0];
    let hash = [first_message(&net, &group).await];
    for permissions in [
        READ,
        WRITE,
        DELETE,
        READ.with(WRITE),
        READ.with(WRITE).with(DELETE),
    ] {
        let member = group.member(permissions);
        let may = |needed: Permissions| if permissions.allows(needed) { 200 } else { 401 };
        let ask = async |method, what| status(&net, index, method, &member, what).await;
        let expiries = json!({"messages": hash, "timestamp": START_MS});
        assert_eq!(ask("retrieve", retrieve(11)).await, may(READ));
        let signed = signed::get_expiries(START_MS, &hash);
        assert_eq!(ask("get_expiries", (expiries, signed)).await, may(READ));
        assert_eq!(ask("store", store(11, "second")).await, may(WRITE));
        // An outbox loses what it holds.
        let outbox = store(-1, "profile");
        assert_eq!(ask("store", outbox).await, may(WRITE.with(DELETE)));
        let unknown = ["A".repeat(43)];
        let delete = (json!({"messages": unknown}), signed::delete(&unknown));
        assert_eq!(ask("delete", delete).await, may(DELETE));
        let two = NamespaceSelector::One(Namespace(2));
        for (method, name, text) in [
            ("delete_all", "timestamp", signed::delete_all(two, START_MS)),
            (
                "delete_before",
                "before",
                signed::delete_before(two, START_MS),
            ),
            ("expire_all", "expiry", signed::expire_all(two, START_MS)),
        ] {
            let params = json!({"namespace": 2, name: START_MS});
            assert_eq!(ask(method, (params, text)).await, may(DELETE), "{method}");
        }
    }
}

#[tokio::test]
async fn a_member_that_may_not_delete_only_prolongs() {
    let net = Net::start().await;
    let group = Group::new();
    let index = net.members(group.id())[0];
    let own = hex::encode(net.node(index).ed25519);
    let hash = [first_message(&net, &group).await];
    let expire = async |member: &Member, mode: ExpireMode, expiry: u64| {
        let params = json!({"messages": hash, "expiry": expiry});
        let params = match mode {
            ExpireMode::Set => params,
            mode => with(params, mode.signed_form(), json!(true)),
        };
        let text = signed::expire(mode, &[expiry], &hash);
        let (status, answer) = net.rpc(index, "expire", member.sign(params, text)).await;
        (status, answer["swarm"][&own]["updated"].clone())
    };
    let member = group.member(Permissions::MEMBER);
    let none = (200, json!([]));
    let moved = (200, json!(hash));
    // Signed without a flag, done as with `extend`.
    assert_eq!(
        expire(&member, ExpireMode::Set, START_MS + 30_000).await,
        none
    );
    assert_eq!(
        expire(&member, ExpireMode::Set, START_MS + 70_000).await,
        moved
    );
    assert_eq!(
        expire(&member, ExpireMode::Extend, START_MS + 80_000).await,
        moved
    );
    assert_eq!(
        expire(&member, ExpireMode::Shorten, START_MS + 9_000)
            .await
            .0,
        400
    );
    let trusted = group.member(Permissions::MEMBER.with(DELETE));
    assert_eq!(
        expire(&trusted, ExpireMode::Shorten, START_MS + 9_000).await,
        moved
    );
    assert_eq!(
        expire(&trusted, ExpireMode::Set, START_MS + 5_000).await,
        moved
    );
    let reader = group.member(READ);
    assert_eq!(
        expire(&reader, ExpireMode::Extend, START_MS + 90_000)
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn tokens_and_both_signatures_are_checked() {
    let net = Net::start().await;
    let (group, other) = (Group::new(), Group::new());
    let index = net.members(group.id())[0];
    let member = group.member(Permissions::MEMBER);
    let (params, text) = retrieve(11);
    let good = member.sign(params.clone(), text.clone());
    assert_eq!(net.rpc(index, "retrieve", good.clone()).await.0, 200);
    // The token in hex.
    let hexed = hex::encode(member.token().as_bytes());
    let hexed = with(good.clone(), "subaccount", json!(hexed));
    assert_eq!(net.rpc(index, "retrieve", hexed).await.0, 200);

    let failed = (401, json!("retrieve signature verification failed"));
    let of_other = other.member(Permissions::MEMBER);
    let forged = of_other.sign(params.clone(), text.clone());
    let forged = with(forged, "pubkey", json!(group.id().to_string()));
    assert_eq!(net.rpc(index, "retrieve", forged).await, failed);
    let second = group.member(Permissions::MEMBER).sign(params.clone(), text);
    for name in ["subaccount", "subaccount_sig", "signature"] {
        let mixed = with(good.clone(), name, second[name].clone());
        assert_eq!(net.rpc(index, "retrieve", mixed).await, failed, "{name}");
    }
    // More rights than the owner signed.
    let mut token = *member.token().as_bytes();
    token[1] |= 0x04;
    let more = with(good.clone(), "subaccount", json!(STANDARD.encode(token)));
    assert_eq!(net.rpc(index, "retrieve", more).await, failed);
    let other_text = member.sign(params, signed::retrieve(Namespace(12), START_MS));
    assert_eq!(net.rpc(index, "retrieve", other_text).await, failed);
    for bad in [
        without(good.clone(), "subaccount_sig"),
        with(good.clone(), "subaccount", json!("AAAA")),
        with(good.clone(), "subaccount", json!("!".repeat(48))),
        with(good.clone(), "subaccount_sig", json!("AAAA")),
        with(good, "subaccount", json!(5)),
    ] {
        assert_eq!(
            net.rpc(index, "retrieve", bad.clone()).await.0,
            400,
            "{bad}"
        );
    }
}

fn revocation(method: &str, timestamp: u64, tokens: &[Token]) -> (Value, Vec<u8>) {
    let (name, text) = match method {
        "revoke_subaccount" => ("revoke", signed::revoke_subaccount(timestamp, tokens)),
        _ => ("unrevoke", signed::unrevoke_subaccount(timestamp, tokens)),
    };
    let tokens: Vec<String> = tokens
        .iter()
        .map(|token| STANDARD.encode(token.as_bytes()))
        .collect();
    (json!({"timestamp": timestamp, name: tokens}), text)
}

async fn revoked(net: &Net, index: usize, group: &Group) -> Vec<String> {
    let params = json!({"timestamp": START_MS});
    let params = group.sign(params, signed::revoked_subaccounts(START_MS));
    let (status, answer) = net.rpc(index, "revoked_subaccounts", params).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["hf"], json!([19, 6]));
    serde_json::from_value(answer["revoked_subaccounts"].clone()).unwrap()
}

#[tokio::test]
async fn a_revoked_member_reads_only_that_it_was_removed() {
    let net = Net::start().await;
    let group = Group::new();
    let members = net.members(group.id());
    let (member, other) = (
        group.member(Permissions::MEMBER),
        group.member(Permissions::MEMBER),
    );
    let change = async |method: &str| {
        let (params, text) = revocation(method, START_MS, &[member.token()]);
        let (status, answer) = net.rpc(members[0], method, group.sign(params, text)).await;
        assert_eq!(status, 200, "{answer}");
        assert_signed(&net, &answer, |_| {
            signed::node_revoke(&group.id(), START_MS, &[member.token()])
        });
        answer
    };
    // Nodes that hold nothing of an account remember nothing about it either.
    change("revoke_subaccount").await;
    assert!(revoked(&net, members[1], &group).await.is_empty());
    first_message(&net, &group).await;
    change("revoke_subaccount").await;
    let listed = [STANDARD.encode(member.token().as_bytes())];
    assert_eq!(revoked(&net, members[1], &group).await, listed);
    for index in members.iter().copied() {
        assert_eq!(
            status(&net, index, "retrieve", &member, retrieve(11)).await,
            401
        );
        assert_eq!(
            status(&net, index, "retrieve", &member, retrieve(-11)).await,
            200
        );
        assert_eq!(
            status(&net, index, "store", &member, store(-11, "x")).await,
            401
        );
        assert_eq!(
            status(&net, index, "retrieve", &other, retrieve(11)).await,
            200
        );
    }
    let answer = change("unrevoke_subaccount").await;
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["count"], json!(1));
    }
    assert_eq!(
        status(&net, members[1], "retrieve", &member, retrieve(11)).await,
        200
    );
    let answer = change("unrevoke_subaccount").await;
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["count"], json!(0));
    }
}

#[tokio::test]
async fn fifty_revocations_are_kept_the_latest() {
    let net = Net::start().await;
    let group = Group::new();
    let index = net.members(group.id())[0];
    first_message(&net, &group).await;
    let tokens: Vec<Token> = (0..51_u8).map(|n| Token::from_bytes([n; 36])).collect();
    let revoke = async |tokens: &[Token]| {
        let (params, text) = revocation("revoke_subaccount", START_MS, tokens);
        let params = group.sign(params, text);
        net.rpc(index, "revoke_subaccount", params).await.0
    };
    assert_eq!(revoke(&tokens).await, 400);
    assert_eq!(revoke(&[]).await, 400);
    assert_eq!(revoke(&tokens[..50]).await, 200);
    assert_eq!(revoke(&tokens[50..]).await, 200);
    let expected: Vec<String> = tokens[1..]
        .iter()
        .map(|token| STANDARD.encode(token.as_bytes()))
        .collect();
    assert_eq!(revoked(&net, index, &group).await, expected);
}

#[tokio::test]
async fn only_the_owner_revokes() {
    let net = Net::start().await;
    let group = Group::new();
    let index = net.members(group.id())[0];
    let stranger = net.strangers(group.id())[0];
    let all = READ.with(WRITE).with(DELETE);
    let member = group.member(all);
    for method in ["revoke_subaccount", "unrevoke_subaccount"] {
        let (params, text) = revocation(method, START_MS, &[member.token()]);
        let failed = json!(format!("{method} signature verification failed"));
        let by_member = member.sign(params.clone(), &text);
        assert_eq!(
            net.rpc(index, method, by_member).await,
            (401, failed.clone())
        );
        let unsigned = without(group.sign(params.clone(), &text), "signature");
        assert_eq!(net.rpc(index, method, unsigned).await.0, 400);
        let good = group.sign(params, &text);
        assert_eq!(net.rpc(stranger, method, good).await.0, 421);
        let (params, text) = revocation(method, START_MS - 60_001, &[member.token()]);
        let late = json!(format!("{method} timestamp too far from current time"));
        let refused = net.rpc(index, method, group.sign(params, text)).await;
        assert_eq!(refused, (406, late));
    }
    let text = signed::revoked_subaccounts(START_MS);
    let by_member = member.sign(json!({"timestamp": START_MS}), &text);
    assert_eq!(
        net.rpc(index, "revoked_subaccounts", by_member).await.0,
        401
    );
    // Verified against the account's own key bytes: nothing fits those of a person's account.
    let account = Account::new();
    let params = account.sign(json!({"timestamp": START_MS}), &text);
    let holder = net.members(account.id())[0];
    let failed = json!("revoked_subaccounts signature verification failed");
    let refused = net.rpc(holder, "revoked_subaccounts", params).await;
    assert_eq!(refused, (401, failed));
}
