//! What the checks of health say about a database that does not answer.

use sessiond::health::{self, Level, Subject};

use crate::vaults::Home;

#[tokio::test]
async fn a_database_that_does_not_answer_is_told_as_a_check() {
    let home = Home::new();
    let agent = home.start().await;
    let names = |health: &health::Health| {
        let subjects = health.checks.iter().map(|check| check.subject);
        subjects.collect::<Vec<_>>()
    };
    // Each is there without an account, too.
    let health = health::examine(&agent).await;
    assert_eq!(names(&health), Subject::ALL);
    assert_eq!(health.of(Subject::Sending), Level::Warning);
    let account = agent.create_account(None, "name".into(), String::new());
    let account = account.await.unwrap();
    assert_eq!(
        health::examine(&agent).await.of(Subject::Sending),
        Level::Ok
    );

    let writer = account.context().db.writer();
    writer
        .call(|connection| {
            Box::pin(async move {
                sqlx::query("ALTER TABLE outbox RENAME TO elsewhere")
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let health = health::examine(&agent).await;
    assert_eq!(names(&health), Subject::ALL);
    let sending = health.checks.last().unwrap();
    assert_eq!(
        (sending.level, sending.reason),
        (Level::Failed, "DATABASE_NOT_READ")
    );
    assert_eq!(health.of(Subject::Vault), Level::Ok);
    agent.close().await;
}
