//! Nothing readable at rest, and no secret in the log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use session_protocol::phrase;
use sessiond::vault::{Ask, DatabaseKey, VaultKind, Vaults};

use crate::harness::{Agent, Localnet};

/// What must be nowhere: by what it is and its bytes.
pub type Secrets = Vec<(&'static str, Vec<u8>)>;

const SENT: &str = "the eagle has landed at the old mill";
const RECEIVED: &str = "bring the blue suitcase before dawn";

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}

/// Bytes as characters of the same numbers: the standard library searches text fast in a test build, too.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[track_caller]
pub fn assert_clean(path: &Path, secrets: &Secrets) {
    let text = latin1(&fs::read(path).unwrap());
    for (what, secret) in secrets {
        assert!(
            !text.contains(&latin1(secret)),
            "{} holds {what}",
            path.display()
        );
    }
}

/// Adds bytes and what people and programs would write them as.
pub fn add_bytes(secrets: &mut Secrets, what: &'static str, bytes: &[u8]) {
    let hex = hex::encode(bytes);
    secrets.push((what, bytes.to_vec()));
    secrets.push((what, hex.to_uppercase().into_bytes()));
    secrets.push((what, hex.into_bytes()));
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    secrets.push((what, list.join(", ").into_bytes()));
}

/// Messages, keys and phrases of an agent that runs.
async fn secrets_of(agent: &Agent) -> Secrets {
    let mut secrets = keys_of(agent).await;
    for text in [SENT, RECEIVED] {
        add_bytes(&mut secrets, "a text", text.as_bytes());
    }
    secrets
}

/// Keys and phrases of an agent that runs.
pub async fn keys_of(agent: &Agent) -> Secrets {
    let mut secrets: Secrets = Vec::new();
    let phrases = agent.phrases().await;
    for phrase in [&phrases.recovery_phrase, &phrases.bip39_phrase] {
        let words: Vec<&str> = phrase.split(' ').collect();
        for three in words.windows(3) {
            for separator in [" ", ",", "\", \"", "\0"] {
                secrets.push(("words of the phrase", three.join(separator).into_bytes()));
            }
        }
    }
    let seed = phrase::decode(&phrases.recovery_phrase)
        .unwrap_or_else(|error| panic!("a phrase: {error}"));
    add_bytes(&mut secrets, "the seed", seed.as_bytes());
    add_bytes(&mut secrets, "the Ed25519 seed", &*seed.ed25519_seed());
    let state_dir = agent.state_dir();
    let vaults = Vaults::new(&state_dir, Some(agent.passphrase_file()), None);
    let file = files(&state_dir)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "vault"));
    let handle = file
        .unwrap()
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let record = vaults
        .load(VaultKind::Passphrase, &handle, None, Ask::Nobody)
        .await
        .unwrap_or_else(|error| panic!("a record: {error}"));
    assert_eq!(record.seed.as_bytes(), seed.as_bytes());
    add_bytes(
        &mut secrets,
        "the database key",
        record.database_key.as_bytes(),
    );
    secrets
}

/// Handle and database key of an agent's account.
pub async fn secrets(agent: &Agent) -> (String, DatabaseKey) {
    let dir = agent.state_dir();
    let handle = fs::read_dir(&dir)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .find_map(|name| Some(name.strip_suffix(".vault")?.to_owned()))
        .unwrap();
    let vaults = Vaults::new(&dir, Some(agent.passphrase_file()), None);
    let record = vaults
        .load(VaultKind::Passphrase, &handle, None, Ask::Nobody)
        .await
        .unwrap_or_else(|error| panic!("a record: {error}"));
    (handle, record.database_key)
}

/// Account IDs, which may be in no file, but may be in a log that was asked for everything.
pub fn account_ids(ids: &[&str]) -> Secrets {
    let mut secrets: Secrets = Vec::new();
    for id in ids {
        let bytes = hex::decode(&id[2..]).unwrap();
        add_bytes(&mut secrets, "an account ID", &bytes);
    }
    secrets
}

#[tokio::test]
async fn nothing_readable_at_rest() {
    let net = Localnet::start().await;
    let mut a = Agent::new(&net.room, "a", &net.file);
    a.log_with("trace");
    a.up().await;
    let a_id = a.create("Alice the agent").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let sent = a.send(&b_id, SENT).await;
    b.send(&a_id, RECEIVED).await;
    let unsealed = a.send(&a_id, SENT).await;
    a.until_messages(&b_id, 2).await;
    a.until_synced(&sent.id).await;
    a.until_synced(&unsealed.id).await;
    let secrets = secrets_of(&a).await;
    let ids = account_ids(&[&a_id, &b_id]);
    let check_files = || {
        let dir = a_dir(&net);
        let all = files(&dir);
        assert!(
            all.iter().any(|path| path.ends_with("daemon.db")),
            "{all:?}"
        );
        assert!(all.len() >= 4, "{all:?}");
        for path in all {
            assert_clean(&path, &secrets);
            assert_clean(&path, &ids);
            assert_clean(&path, &vec![("the name", b"Alice the agent".to_vec())]);
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert_eq!(mode(&dir), 0o700);
    };
    // While it runs, with its WAL; as a crash leaves it; and after a clean end.
    check_files();
    a.kill();
    check_files();
    a.up().await;
    a.send(&b_id, SENT).await;
    a.kill();
    check_files();
    a.up().await;
    a.stop().await;
    check_files();

    let log = fs::read_to_string(a.log()).unwrap();
    assert!(log.contains("TRACE"), "the log is not as full as it can be");
    assert_clean(&a.log(), &secrets);
    assert!(
        !log.to_lowercase().contains("pragma key"),
        "the log holds the statement with the key"
    );
}

fn a_dir(net: &Localnet) -> PathBuf {
    net.room.path().join("a")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What everybody logs, who changes nothing: no text, no account ID, no key, no node's address.
#[tokio::test]
async fn the_usual_log_names_nobody() {
    let net = Localnet::start().await;
    let mut a = Agent::new(&net.room, "a", &net.file);
    a.log_with("info");
    a.up().await;
    let a_id = a.create("Alice").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let sent = a.send(&b_id, SENT).await;
    b.send(&a_id, RECEIVED).await;
    a.until_messages(&b_id, 2).await;
    a.until_synced(&sent.id).await;
    let mut secrets = secrets_of(&a).await;
    secrets.extend(account_ids(&[&a_id, &b_id]));
    let request = sessiond_client::v1::ListPathsRequest {};
    let paths = a.client().list_paths(request).await.unwrap().paths;
    assert!(!paths.is_empty());
    for hop in paths.iter().flat_map(|path| &path.hops) {
        secrets.push(("a node's key", hop.node_key.clone().into_bytes()));
        secrets.push(("a node's address", hop.ip_address.clone().into_bytes()));
    }
    a.stop().await;
    assert!(fs::read_to_string(a.log()).unwrap().contains("ready"));
    assert_clean(&a.log(), &secrets);
}
