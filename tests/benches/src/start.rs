//! Start to ready with the keys in a real keyring.

use anyhow::ensure;
use sessiond_client::v1;

use crate::keyring::Keyring;
use crate::process::{Home, create_account, network};
use crate::summary;

/// Prints the times, or says why not.
pub async fn run(rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let Some(keyring) = Keyring::start(dir.path())? else {
        println!(
            "start with a keyring: skipped, dbus-daemon and gnome-keyring-daemon are not installed"
        );
        return Ok(());
    };
    let (_network, file) = network(dir.path())?;
    let home = Home::new(dir.path(), &file, "a")?.with_keyring(&keyring);
    let (agent, client, _) = home.start().await?;
    create_account(&client).await?;
    drop(agent);
    let (mut answers, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (agent, client, begin) = home.start().await?;
        answers.push(begin.elapsed());
        let info = client.get_info(v1::GetInfoRequest::default()).await?;
        ready.push(begin.elapsed());
        ensure!(
            info.state() == v1::DaemonState::Ready,
            "not ready: {}",
            info.locked_reason
        );
        drop(agent);
    }
    summary::print("start to the socket, keys in a keyring", answers);
    summary::print("start to ready, keys in a keyring", ready);
    Ok(())
}
