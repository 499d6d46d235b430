//! The account and its vaults: moving at any moment, and coming back without one.

use std::path::Path;
use std::time::Duration;

use sessiond_client::v1;
use tonic::Code;

use crate::harness::{Agent, Localnet, PASSPHRASE, Rng, assert_refused, bodies, ctl, run, until};

/// Endings of the vault files in a state directory.
fn vault_files(dir: &Path) -> Vec<String> {
    let mut endings: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let ending = path.extension()?.to_str()?.to_owned();
            ["vault", "credential"]
                .contains(&&*ending)
                .then_some(ending)
        })
        .collect();
    endings.sort();
    endings
}

#[tokio::test]
async fn a_move_survives_every_death() {
    let kills: u32 = std::env::var("SESSIOND_E2E_KILLS").map_or(8, |text| {
        text.parse().expect("SESSIOND_E2E_KILLS is a number")
    });
    let mut rng = Rng::from_environment();
    let net = Localnet::start().await;
    let mut a = Agent::new(&net.room, "a", &net.file);
    a.credential("a credential of systemd's\n");
    a.up().await;
    let id = a.create("a").await;
    let move_to = |vault: &str| v1::MoveVaultRequest {
        vault: vault.to_owned(),
        ..Default::default()
    };
    // How long moves take here says when it is worth to kill.
    let begin = std::time::Instant::now();
    a.client().move_vault(move_to("credential")).await.unwrap();
    a.client().move_vault(move_to("passphrase")).await.unwrap();
    let both = u64::try_from(begin.elapsed().as_millis()).unwrap();
    for kill in 0..kills {
        let client = a.client().clone();
        let moving = tokio::spawn(async move {
            for vault in ["credential", "passphrase"].iter().cycle() {
                if client.move_vault(move_to(vault)).await.is_err() {
                    break;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(rng.within(1..both + 2))).await;
        a.kill();
        moving.await.unwrap();
        let left = vault_files(&a.state_dir());
        assert!(!left.is_empty(), "kill {kill}: nothing opens the account");
        a.up().await;
        a.until_ready().await;
        let account = a.client().get_account(v1::GetAccountRequest::default());
        assert_eq!(account.await.unwrap().account.unwrap().account_id, id);
        let status = until("one vault is left", async || {
            let request = v1::GetVaultRequest::default();
            let status = a.client().get_vault(request).await.unwrap();
            status.leftover_vault.is_empty().then_some(status)
        })
        .await;
        assert_eq!(status.problem, "");
        let ending = match status.vault.as_str() {
            "passphrase" => "vault",
            other => other,
        };
        println!("kill {kill}: {left:?}, then {ending}");
        assert_eq!(vault_files(&a.state_dir()), [ending], "kill {kill}");
    }
}

#[tokio::test]
async fn another_passphrase_by_the_command_line() {
    let net = Localnet::start().await;
    let (mut a, id) = Agent::with_account(&net, "a").await;
    let moved = ["vault", "move", "passphrase", "--passphrase"];
    let moved = run(ctl(&a.socket(), &moved), b"another one").await;
    assert_eq!(moved.code, Some(0), "{}", moved.err);
    let status = run(ctl(&a.socket(), &["vault", "status"]), b"").await;
    assert_eq!(status.code, Some(0), "{}", status.err);
    assert!(
        status.out.contains("no (WRONG_PASSPHRASE)"),
        "{}",
        status.out
    );
    a.stop().await;
    a.up().await;
    assert_eq!(a.info().await.locked_reason, "WRONG_PASSPHRASE");
    for (input, code) in [("wrong", 1), (PASSPHRASE, 1), ("another one\n", 0)] {
        let unlocked = run(ctl(&a.socket(), &["unlock"]), input.as_bytes()).await;
        assert_eq!(unlocked.code, Some(code), "{input}: {}", unlocked.err);
    }
    let account = a.client().get_account(v1::GetAccountRequest::default());
    assert_eq!(account.await.unwrap().account.unwrap().account_id, id);
}

/// The database key lies sealed beside the database: its phrase opens it, and no other.
#[tokio::test]
async fn the_phrase_reopens_history() {
    let net = Localnet::start().await;
    let (mut a, id) = Agent::with_account(&net, "a").await;
    let note = a.send_stored(&id, "from before").await;
    let phrases = a.phrases().await;
    let other = ["abbey"; 13].join(" ");
    a.stop().await;

    // The vault is lost.
    for file in std::fs::read_dir(a.state_dir()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "vault") {
            std::fs::remove_file(path).unwrap();
        }
    }
    a.up().await;
    assert_eq!(a.info().await.locked_reason, "VAULT_EMPTY");
    let create = a.client().create_account(Default::default()).await;
    assert_refused(create, Code::FailedPrecondition, "LOCKED");
    let refused = a.try_restore(&other).await;
    assert_refused(refused, Code::FailedPrecondition, "ACCOUNT_EXISTS");
    assert_eq!(a.restore(&phrases.recovery_phrase).await, id);
    let messages = a.messages(&id).await;
    assert_eq!(bodies(&messages), ["from before"]);
    assert_eq!(messages[0].id, note.id, "the same database");
    a.stop().await;
    a.up().await;
    assert_eq!(
        a.message(&note.id).await.id,
        note.id,
        "the vault has the keys again"
    );
    a.stop().await;

    // Now all that is known about it is its database.
    for file in ["daemon.db", "daemon.db-wal", "daemon.db-shm"] {
        let _ = std::fs::remove_file(a.state_dir().join(file));
    }
    a.up().await;
    assert_eq!(a.info().await.state(), v1::DaemonState::NoAccount);
    let create = a.client().create_account(Default::default()).await;
    assert_refused(create, Code::FailedPrecondition, "VAULT_NOT_READY");
    let refused = a.try_restore(&other).await;
    assert_refused(refused, Code::FailedPrecondition, "VAULT_NOT_READY");
    assert_eq!(a.restore(&phrases.bip39_phrase).await, id);
    assert_eq!(a.message(&note.id).await.id, note.id, "the same database");
    a.stop().await;
    a.up().await;
    assert_eq!(a.message(&note.id).await.id, note.id);
}
