//! `status`, `version`, `shutdown`, `completions`, `man`

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::{Value, json};
use sessiond_client::{
    ConnectError, Error,
    v1::{
        GetAccountRequest, GetInfoRequest, GetMetricsRequest, GetNetworkStatusRequest,
        ShutdownRequest,
    },
};

use crate::{
    args::Cli,
    context::Context,
    failure::Failure,
    format::{
        overview, safe,
        style::{BAD, paint},
    },
    json, version,
};

pub async fn status(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let info = client.get_info(GetInfoRequest::default()).await?;
    let network = client
        .get_network_status(GetNetworkStatusRequest::default())
        .await?;
    let account = match client.get_account(GetAccountRequest::default()).await {
        Ok(answer) => answer.account,
        // Part of how things stand, and `info` says so.
        Err(error) if matches!(error.reason(), Some("NO_ACCOUNT" | "LOCKED")) => None,
        Err(error) => return Err(error.into()),
    };
    if context.json {
        let mut all = json!({
            "info": json::value("GetInfoResponse", &info)?,
            "network": json::value("GetNetworkStatusResponse", &network)?,
        });
        if let Some(account) = &account {
            all["account"] = json::value("Account", account)?;
        }
        return context.value(&all);
    }
    let skew = version::skew(env!("CARGO_PKG_VERSION"), &info.version);
    let text = overview::overview(
        &info,
        &network,
        account.as_ref(),
        &context.clock,
        context.full,
    );
    context.print(&text)?;
    match skew {
        Some(skew) => context.print(&format!("{}\n", paint(BAD, skew))),
        None => Ok(()),
    }
}

pub async fn metrics(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = client.get_metrics(GetMetricsRequest::default()).await?;
    if context.json {
        return context.object("GetMetricsResponse", &answer);
    }
    context.print(&answer.text)
}

pub async fn version(context: &mut Context) -> Result<(), Failure> {
    let agent = match context.connect().await {
        Ok(client) => Some(client.get_info(GetInfoRequest::default()).await?.version),
        // That none runs is an answer here; one that cannot be used is not.
        Err(Failure::Agent(Error::Connect(
            ConnectError::NoSocket { .. } | ConnectError::Refused { .. } | ConnectError::Path(_),
        ))) => None,
        Err(failure) => return Err(failure),
    };
    let own = env!("CARGO_PKG_VERSION");
    if context.json {
        let skew = agent.as_deref().and_then(|agent| version::skew(own, agent));
        let agent = agent.clone().map_or(Value::Null, Value::String);
        return context.value(&json!({ "sessionctl": own, "sessiond": agent, "skew": skew }));
    }
    let shown = agent
        .as_deref()
        .map_or("not running".to_owned(), safe::line);
    context.print(&format!("sessionctl {own}\nsessiond   {shown}\n"))?;
    match agent.and_then(|agent| version::skew(own, &agent)) {
        Some(skew) => context.print(&format!("{}\n", paint(BAD, skew))),
        None => Ok(()),
    }
}

pub async fn shutdown(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = client.shutdown(ShutdownRequest::default()).await?;
    if context.json {
        return context.object("ShutdownResponse", &answer);
    }
    context.print("The agent ends.\n")
}

pub fn man(context: &mut Context, dir: Option<&Path>) -> Result<(), Failure> {
    let command = Cli::command();
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(context.terminal.out.write_all(&page)?);
    };
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command, dir)?;
    context.progress(&format!(
        "Read them with `man {}`.",
        dir.join("sessionctl.1").display()
    ));
    Ok(())
}

pub fn completions(context: &mut Context, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sessionctl", &mut script);
    Ok(context.terminal.out.write_all(&script)?)
}
