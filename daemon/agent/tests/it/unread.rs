//! Unread counts, mentions and the newest message are exact, whatever happens in whatever order: random histories
//! against a model in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use session_protocol::content::{Kind, Unsend, Visible};
use sessiond::actions::{Actor, read};
use sessiond::store::conversations::Selector;

use crate::common::{Rig, keys, ms, rig};
use crate::say::{Say, say};
use crate::shown::word;

/// One thing that happens, with times in steps of a second after the beginning.
#[derive(Clone, Debug)]
enum Step {
    /// A unit of messages: who (1 we, 2 the other side), when, whether it mentions us, whether it disappears.
    Hear(Vec<(u8, u8, bool)>),
    /// The author of a message at a time deletes it.
    Unsend(u8, u8),
    /// Read up to the message at a time, if there is one.
    Read(u8),
    /// Read everything.
    ReadAll,
    /// Mark as unread.
    MarkUnread,
    /// The message at a time disappears.
    Expire(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let message = (1_u8..=2, 0_u8..40, any::<bool>());
    prop_oneof![
        4 => prop::collection::vec(message, 1..6).prop_map(Step::Hear),
        2 => (1_u8..=2, 0_u8..40).prop_map(|(who, at)| Step::Unsend(who, at)),
        2 => (0_u8..40).prop_map(Step::Read),
        1 => Just(Step::ReadAll),
        1 => Just(Step::MarkUnread),
        2 => (0_u8..40).prop_map(Step::Expire),
    ]
}

/// What should be there.
#[derive(Default)]
struct Model {
    /// By author and time, in that order of time: mentions us, deleted. Ties go by arrival.
    messages: BTreeMap<(u8, u8), (usize, bool, bool)>,
    /// Those that disappeared; they do not come back.
    gone: BTreeSet<(u8, u8)>,
    arrived: usize,
    position: Option<u8>,
    marked: bool,
}

impl Model {
    fn read_to(&mut self, at: u8) {
        self.position = self.position.max(Some(at));
        self.marked = false;
    }

    fn counts(&self) -> (u32, u32) {
        let unread: Vec<bool> = self
            .messages
            .iter()
            .filter(|((at, who), (_, _, deleted))| {
                *who == 2 && !deleted && Some(*at) > self.position
            })
            .map(|(_, (_, mentions, _))| *mentions)
            .collect();
        let mentions = unread.iter().filter(|mentions| **mentions).count();
        (
            u32::try_from(unread.len()).unwrap(),
            u32::try_from(mentions).unwrap(),
        )
    }

    /// Words in order: by time, then by arrival.
    fn words(&self) -> Vec<String> {
        let mut all: Vec<(u8, usize, String)> = self
            .messages
            .iter()
            .map(|((at, who), (arrived, _, deleted))| {
                let word = if *deleted {
                    "(deleted)".to_owned()
                } else {
                    format!("{who}-{at}")
                };
                (*at, *arrived, word)
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, _, word)| word).collect()
    }
}

struct World {
    rig: Rig,
    start: i64,
    /// Every request to delete needs a time of its own.
    requests: i64,
    model: Model,
}

impl World {
    fn ms(&self, at: u8) -> i64 {
        self.start + i64::from(at) * 1_000
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Hear(messages) => self.hear(messages).await,
            Step::Unsend(who, at) => {
                self.requests += 1;
                let request = say(
                    *who,
                    self.start + 100_000 + self.requests,
                    Kind::Unsend(Unsend {
                        timestamp: u64::try_from(self.ms(*at)).unwrap(),
                        author: keys(*who).account_id(),
                    }),
                );
                self.rig.hear(&[request]).await;
                if let Some((_, mentions, deleted)) = self.model.messages.get_mut(&(*at, *who)) {
                    (*mentions, *deleted) = (false, true);
                }
            }
            Step::Read(at) => {
                let wanted = self.ms(*at);
                let found = self.rig.messages(2).await;
                if let Some(message) = found.iter().find(|it| ms(it.send_time.as_ref()) == wanted) {
                    self.read(Some(message.id.clone())).await;
                    self.model.read_to(*at);
                }
            }
            Step::ReadAll => {
                let newest = self
                    .model
                    .messages
                    .iter()
                    .filter(|((_, who), (_, _, deleted))| *who == 2 && !deleted)
                    .map(|((at, _), _)| *at)
                    .max();
                self.read(None).await;
                self.model.marked = false;
                if let Some(at) = newest {
                    self.model.read_to(at);
                }
            }
            Step::MarkUnread => {
                if self.write(None, true).await {
                    self.model.marked = true;
                }
            }
            Step::Expire(at) => {
                let ms = self.ms(*at);
                self.rig
                    .context
                    .db
                    .writer()
                    .call(move |connection| {
                        Box::pin(async move {
                            sqlx::query("UPDATE message SET expires_at = 1 WHERE sent_ms = ?")
                                .bind(ms)
                                .execute(connection)
                                .await?;
                            Ok(())
                        })
                    })
                    .await
                    .unwrap();
                sessiond::sync::expiry::sweep(&self.rig.context)
                    .await
                    .unwrap();
                let model = &mut self.model;
                let over = model.messages.keys().filter(|(time, _)| time == at);
                model.gone.extend(over.copied());
                model.messages.retain(|(time, _), _| time != at);
            }
        }
    }

    async fn hear(&mut self, messages: &[(u8, u8, bool)]) {
        let said: Vec<Say> = messages
            .iter()
            .map(|(who, at, mentions)| {
                let body = if *mentions {
                    format!("{who}-{at} @{}", keys(1).account_id())
                } else {
                    format!("{who}-{at}")
                };
                let kind = Kind::Visible(Box::new(Visible::text(body)));
                let message = say(*who, self.ms(*at), kind);
                if *who == 1 {
                    message.copied_to(2)
                } else {
                    message
                }
            })
            .collect();
        self.rig.hear(&said).await;
        for (who, at, mentions) in messages {
            let model = &mut self.model;
            let name = (*at, *who);
            if !model.messages.contains_key(&name) && !model.gone.contains(&name) {
                let mentions = *mentions && *who == 2;
                model
                    .messages
                    .insert((*at, *who), (model.arrived, mentions, false));
                model.arrived += 1;
                if *who == 1 {
                    model.read_to(*at);
                }
            }
        }
    }

    async fn read(&self, up_to: Option<String>) {
        self.write(up_to, false).await;
    }

    /// False when there is no conversation yet.
    async fn write(&self, up_to: Option<String>, mark: bool) -> bool {
        if self.rig.conversation(2).await.is_none() {
            return false;
        }
        let actor = Actor {
            own: self.rig.context.account_id(),
            name: String::new(),
            profile_s: 0,
            now_ms: self.rig.context.now_ms(),
        };
        self.rig
            .context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    let selector = Selector::Peer(keys(2).account_id().to_string());
                    if mark {
                        read::mark_unread(connection, &actor, &selector)
                            .await
                            .unwrap();
                    } else {
                        read::mark_read(connection, &actor, &selector, up_to.as_deref())
                            .await
                            .unwrap();
                    }
                    Ok(())
                })
            })
            .await
            .unwrap();
        true
    }

    async fn check(&self, step: &Step) {
        let Some(conversation) = self.rig.conversation(2).await else {
            assert!(self.model.messages.is_empty());
            return;
        };
        let counts = (conversation.unread_count, conversation.unread_mention_count);
        assert_eq!(counts, self.model.counts(), "after {step:?}");
        assert_eq!(
            conversation.marked_unread, self.model.marked,
            "after {step:?}"
        );
        let bare = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
        let words: Vec<String> = self.rig.words(2).await.into_iter().map(bare).collect();
        assert_eq!(words, self.model.words(), "after {step:?}");
        let last = conversation.last_message.as_ref().map(word).map(bare);
        assert_eq!(last, words.last().cloned(), "after {step:?}");
        let unread = self.rig.messages(2).await;
        let unread = unread
            .iter()
            .filter(|it| !it.read && word(it) != "(deleted)")
            .count();
        assert_eq!(unread, conversation.unread_count as usize, "after {step:?}");
    }
}

#[test]
fn counts_are_exact_after_every_step() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(24);
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 200,
        ..Config::default()
    });
    runner
        .run(&prop::collection::vec(step(), 1..25), |steps| {
            runtime.block_on(async {
                let rig = rig().await;
                let mut world = World {
                    start: rig.context.now_ms() - 1_000_000,
                    requests: 0,
                    model: Model::default(),
                    rig,
                };
                for step in &steps {
                    world.take(step).await;
                    world.check(step).await;
                }
            });
            Ok(())
        })
        .unwrap();
}
