//! Whether a long history is slower: the same calls on 1,000 conversations with 10,000 messages and with 1,000,000.
//!
//! A real agent serves its socket; its database was filled before through the agent's own statements and triggers, so
//! that index and counts are what years of use would have left.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use session_protocol::{AccountKeys, AccountSeed};
use sessiond::random::opaque_id;
use sessiond::store::entries::{self, NewMessage};
use sessiond::store::{AccountDb, DaemonDb, conversations};
use sessiond::vault::{VaultKind, Vaults};
use sessiond_client::{Client, new_client_token, v1};
use tokio::sync::watch;

use crate::process::{Home, network};
use crate::summary;
use crate::texts::{self, Random};

const CONVERSATIONS: u64 = 1_000;
/// Messages in one transaction while filling, and in one statement.
const TRANSACTION: u64 = 20_000;
const STATEMENT: u64 = 500;
/// Time between two messages, ms: a million of them span two years.
const STEP_MS: i64 = 60_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// What was measured, in the order of printing.
type Figures = Vec<(&'static str, Vec<Duration>)>;

/// Writes the history and returns how many bytes a message takes on disk.
async fn fill(home: &Home, messages: u64) -> anyhow::Result<f64> {
    let dir = home.state_dir();
    let daemon_db = DaemonDb::open(&dir).await?;
    let row = daemon_db.account().await?.context("no account")?;
    daemon_db.close().await;
    let vaults = Vaults::new(&dir, Some(home.passphrase_file()), None);
    let record = vaults
        .load_at_start(VaultKind::Passphrase, &row.handle)
        .await?;
    let own = AccountKeys::from_seed(&record.seed).account_id();
    let path = AccountDb::path(&dir, &row.handle);
    let (stop, stopped) = watch::channel(false);
    let db = AccountDb::open(&path, &record.database_key, &row.network, stopped).await?;
    let peers: Vec<String> = (1..=CONVERSATIONS).map(peer).collect();
    let names = peers.clone();
    let rows = db
        .writer()
        .call(move |connection| {
            Box::pin(async move { conversations::ensure(connection, &own, &names, 1).await })
        })
        .await?;
    let ids: std::collections::HashMap<String, i64> =
        rows.into_iter().map(|row| (row.peer, row.id)).collect();
    let ids: Vec<i64> = peers
        .iter()
        .filter_map(|peer| ids.get(peer).copied())
        .collect();
    let before = std::fs::metadata(&path)?.len();
    let newest = 1_780_000_000_000_i64;
    let mut random = Random::new(1);
    let mut done = 0;
    while done < messages {
        let count = TRANSACTION.min(messages - done);
        let mut groups = Vec::new();
        for at in (done..done + count).step_by(STATEMENT as usize) {
            let until = (at + STATEMENT).min(done + count);
            groups.push(
                (at..until)
                    .map(|number| {
                        // A few conversations have most of the messages.
                        let share =
                            random.below(1_000) * random.below(1_000) * CONVERSATIONS / 1_000_000;
                        let sent_ms = newest - (messages - number) as i64 * STEP_MS;
                        let outgoing = random.below(3) == 0;
                        let rare = if number % (messages / 10).max(1) == 7 {
                            " xylophone"
                        } else {
                            ""
                        };
                        NewMessage {
                            public_id: opaque_id(),
                            conversation: ids[share as usize],
                            author: if outgoing {
                                own.to_string()
                            } else {
                                peers[share as usize].clone()
                            },
                            outgoing,
                            sent_ms,
                            kind: "TEXT".to_owned(),
                            body: Some(texts::text(&mut random) + rare),
                            send_state: if outgoing { 3 } else { 1 },
                            sync_state: if outgoing { 3 } else { 1 },
                            stored: Some((opaque_id() + &opaque_id(), sent_ms + 1_209_600_000)),
                            stored_ms: Some(sent_ms + 200),
                            counts: !outgoing,
                            ..NewMessage::default()
                        }
                    })
                    .collect::<Vec<_>>(),
            );
        }
        db.writer()
            .call(move |connection| {
                Box::pin(async move {
                    for group in groups {
                        entries::add(&mut *connection, &group, newest).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        done += count;
    }
    // What receiving would have kept up to date: the newest message, the activity, and one in a hundred unread.
    db.writer()
        .call(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE conversation SET
                         last_message = (SELECT receive_seq FROM message WHERE conversation = conversation.id
                                         ORDER BY order_ms DESC, receive_seq DESC LIMIT 1),
                         last_activity_ms = coalesce((SELECT max(order_ms) FROM message
                                                      WHERE conversation = conversation.id), 1),
                         last_read_ms = coalesce((SELECT max(order_ms) FROM message
                                                  WHERE conversation = conversation.id), 1) - 3600000,
                         approved = 1, approved_me = 1",
                )
                .execute(&mut *connection)
                .await?;
                sqlx::query(
                    "UPDATE conversation SET unread = (SELECT count(*) FROM message
                         WHERE conversation = conversation.id AND counts = 1 AND sent_ms > last_read_ms)",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    stop.send_replace(true);
    db.close(DEADLINE).await;
    let size = std::fs::metadata(&path)?.len();
    Ok(size.saturating_sub(before) as f64 / messages as f64)
}

fn peer(number: u64) -> String {
    let mut seed = [3; 16];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    AccountKeys::from_seed(&AccountSeed::from_bytes(seed))
        .account_id()
        .to_string()
}

async fn time<T>(
    count: usize,
    mut call: impl AsyncFnMut(usize) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Duration>> {
    // Once for the pages that every such call needs.
    call(0).await?;
    let mut times = Vec::with_capacity(count);
    for round in 0..count {
        let begin = Instant::now();
        call(round).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

fn in_conversation(number: usize, page_token: String) -> v1::ListMessagesRequest {
    v1::ListMessagesRequest {
        conversation: Some(v1::list_messages_request::Conversation::AccountId(peer(
            number as u64 % 20 + 1,
        ))),
        page_token,
        ..Default::default()
    }
}

async fn measure(home: &Home, rounds: usize) -> anyhow::Result<Figures> {
    let mut ready = Vec::new();
    for _ in 0..5 {
        let (process, client, begin) = home.start().await?;
        client.get_account(Default::default()).await?;
        ready.push(begin.elapsed());
        // A killed one would have its database examined while the next one is measured.
        client.shutdown(v1::ShutdownRequest {}).await?;
        process.until_ended()?;
    }
    let (_process, client, _) = home.start().await?;
    let search = |query: &str, within: Option<usize>| v1::SearchMessagesRequest {
        query: query.to_owned(),
        conversation: within.map(|number| {
            v1::search_messages_request::Conversation::AccountId(peer(number as u64 % 20 + 1))
        }),
        ..Default::default()
    };
    let mut figures: Figures = vec![("start to ready (Argon2id of 64 MiB in it)", ready)];
    let mut add = |name, times| figures.push((name, times));
    let list = time(rounds, async |_| {
        let page = client.list_conversations(Default::default()).await?;
        ensure!(page.conversations.len() == 50, "a short page");
        Ok(())
    });
    add("first page of conversations", list.await?);
    let unread = time(rounds, async |_| {
        let request = v1::ListConversationsRequest {
            page_size: 1,
            ..Default::default()
        };
        let page = client.list_conversations(request).await?;
        ensure!(page.unread_count > 0, "nothing unread");
        Ok(())
    });
    add("unread total", unread.await?);
    let newest = time(rounds, async |round| {
        Ok(client
            .list_messages(in_conversation(round, String::new()))
            .await?)
    });
    add("message page, newest", newest.await?);
    let deep = deep_tokens(&client).await?;
    let pages = time(rounds, async |round| {
        let token = deep.get(round % deep.len()).cloned().unwrap_or_default();
        Ok(client
            .list_messages(in_conversation(round % 20, token))
            .await?)
    });
    add("message page, deep", pages.await?);
    for (name, query, within) in [
        ("search, rare word", "xylophone", None),
        ("search, common word", &*(texts::word(0) + " "), None),
        (
            "search, two common words",
            &*format!("{} {}", texts::word(0), texts::word(1)),
            None,
        ),
        (
            "search, common word in a conversation",
            &*texts::word(0),
            Some(()),
        ),
        (
            "search, beginning of common words",
            &*texts::word(75)[..3].to_owned(),
            None,
        ),
        ("search, nothing found", "quux", None),
    ] {
        let hits = time(rounds, async |round| {
            let page = client
                .search_messages(search(query, within.map(|()| round)))
                .await?;
            ensure!(page.results.is_empty() == (query == "quux"), "{query}");
            Ok(())
        });
        add(name, hits.await?);
    }
    let own = client
        .get_account(Default::default())
        .await?
        .account
        .context("no account")?
        .account_id;
    let insert = time(rounds, async |_| {
        let request = v1::SendMessageRequest {
            recipient: own.clone(),
            text: Some(v1::TextContent {
                body: "a note to myself".to_owned(),
                ..Default::default()
            }),
            client_token: new_client_token()?,
            ..Default::default()
        };
        Ok(client.send_message(request).await?)
    });
    add("insert: send, until committed", insert.await?);
    Ok(figures)
}

/// A place half-way into each of the 20 largest conversations.
async fn deep_tokens(client: &Client) -> anyhow::Result<Vec<String>> {
    let mut tokens = Vec::new();
    for number in 0..20 {
        let mut token = String::new();
        // Far from the newest page, or the last page that goes on.
        for _ in 0..40 {
            let page = v1::ListMessagesRequest {
                page_size: 200,
                ..in_conversation(number, token.clone())
            };
            let next = client.list_messages(page).await?.next_page_token;
            if next.is_empty() {
                break;
            }
            token = next;
        }
        tokens.push(token);
    }
    Ok(tokens)
}

async fn at(messages: u64, rounds: usize) -> anyhow::Result<(Figures, f64)> {
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let (_network, file) = network(dir.path())?;
    let home = Home::new(dir.path(), &file, "s")?;
    let (process, client, _) = home.start().await?;
    client.create_account(Default::default()).await?;
    client.shutdown(v1::ShutdownRequest {}).await?;
    process.until_ended()?;
    let begin = Instant::now();
    let bytes = fill(&home, messages).await?;
    println!(
        "{messages} messages written in {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    Ok((measure(&home, rounds).await?, bytes))
}

/// Prints p50 and p99 of each call on both sizes, and how they grow.
pub async fn run(messages: u64, rounds: usize) -> anyhow::Result<()> {
    let small_count = (messages / 100).max(1);
    let (small, small_bytes) = at(small_count, rounds).await?;
    let (large, large_bytes) = at(messages, rounds).await?;
    println!(
        "{CONVERSATIONS} conversations, {small_count} beside {messages} messages; ms\n{:<44} {:>8} {:>8}   {:>8} {:>8}   growth of p50",
        "", "p50", "p99", "p50", "p99"
    );
    for ((name, mut small), (_, mut large)) in small.into_iter().zip(large) {
        small.sort_unstable();
        large.sort_unstable();
        let (before, after) = (summary::at(&small, 50), summary::at(&large, 50));
        println!(
            "{name:<44} {before:8.2} {:8.2}   {after:8.2} {:8.2}   {:4.2}",
            summary::at(&small, 99),
            summary::at(&large, 99),
            after / before
        );
    }
    println!("bytes a message on disk, with indexes: {small_bytes:.0} and {large_bytes:.0}");
    Ok(())
}
