//! Client tokens: a call that is repeated has its first outcome, whatever happened in between.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use sessiond_client::v1;
use tonic::Code;

use crate::harness::{Agent, Localnet, assert_refused, send_request};

#[tokio::test]
async fn a_token_answers_with_the_first_outcome() {
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let send = async |agent: &Agent, to: &str, body: &str| {
        let request = send_request(to, body, "token");
        let answer = agent.client().send_message(request).await?;
        Ok(answer.message.unwrap().id)
    };
    let reused = |outcome| assert_refused(outcome, Code::AlreadyExists, "CLIENT_TOKEN_REUSED");

    let first = send(&a, &b_id, "once").await.unwrap();
    assert_eq!(send(&a, &b_id, "once").await.unwrap(), first);
    reused(send(&a, &b_id, "twice").await);
    reused(send(&a, &a_id, "once").await);
    a.kill();
    a.up().await;
    assert_eq!(send(&a, &b_id, "once").await.unwrap(), first);
    reused(send(&a, &b_id, "twice").await);
    a.until_synced(&first).await;
    a.stop().await;
    a.up().await;
    assert_eq!(send(&a, &b_id, "once").await.unwrap(), first);

    // The same holds for making the account.
    assert_eq!(a.create("a").await, a_id);
    let other = v1::CreateAccountRequest {
        display_name: "other".to_owned(),
        client_token: "create".to_owned(),
    };
    reused(
        a.client()
            .create_account(other)
            .await
            .map(|_| String::new()),
    );

    b.until_messages(&a_id, 1).await;
    b.sync().await;
    assert_eq!(b.messages(&a_id).await.len(), 1);
    assert_eq!(a.messages(&b_id).await.len(), 1);
}

#[tokio::test]
async fn concurrent_sends_with_ten_tokens_make_ten_messages() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let sends = (0..100).map(|number| {
        let token = number % 10;
        let request = send_request(&b_id, &format!("number {token}"), &token.to_string());
        let client = a.client().clone();
        async move { (token, client.send_message(request).await.unwrap()) }
    });
    let mut ids: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for (token, answer) in join_all(sends).await {
        let id = answer.message.unwrap().id;
        ids.entry(token).or_default().insert(id);
    }
    assert_eq!(ids.len(), 10);
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    assert_eq!(a.messages(&b_id).await.len(), 10);
    for id in ids.values().flatten() {
        a.until_synced(id).await;
    }
    b.until_messages(&a_id, 10).await;
    b.sync().await;
    let arrived = b.messages(&a_id).await;
    let different: BTreeSet<&str> = crate::harness::bodies(&arrived).into_iter().collect();
    assert_eq!((arrived.len(), different.len()), (10, 10));
}
