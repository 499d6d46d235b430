//! The commands, a module per subject: their arguments and what they do.
//!
//! A new command is a line in [`Command`], its arguments and function in a module here, an arm below, and a row for the
//! call it makes in `tests/it/rpcs.rs`.

pub mod account;
pub mod call;
pub mod change;
pub mod config;
mod daemon;
mod doctor;
pub mod events;
pub mod focus;
pub mod messages;
mod network;
pub mod search;
pub mod send;
pub mod settings;
pub mod tune;
pub mod vault;

use self::account::AccountCommand;
use self::vault::VaultCommand;
use crate::{args::Command, context::Context, failure::Failure};

/// Runs one command.
pub async fn run(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Status => daemon::status(context).await,
        Command::Version => daemon::version(context).await,
        Command::Shutdown => daemon::shutdown(context).await,
        Command::Completions { shell } => daemon::completions(context, shell),
        Command::Man { dir } => daemon::man(context, dir.as_deref()),
        Command::Doctor => doctor::doctor(context).await,
        Command::Config { command } => config::config(context, command),
        Command::Paths => network::paths(context).await,
        Command::Metrics => daemon::metrics(context).await,
        Command::Sync => network::sync(context).await,
        Command::Account(AccountCommand::Create { name }) => account::create(context, name).await,
        Command::Account(AccountCommand::Restore { name }) => account::restore(context, name).await,
        Command::Account(AccountCommand::Show) => account::show(context).await,
        Command::Account(AccountCommand::Phrase { yes }) => account::phrase(context, yes).await,
        Command::Focus(command) => focus::focus(context, command).await,
        Command::Settings(command) => settings::settings(context, command).await,
        Command::Account(AccountCommand::Rename { name }) => account::rename(context, name).await,
        Command::Account(AccountCommand::Delete { id, network, yes }) => {
            account::delete(context, &id, network, yes).await
        }
        Command::Lock => vault::lock(context).await,
        Command::Unlock { passphrase } => vault::unlock(context, passphrase).await,
        Command::Vault(VaultCommand::Status) => vault::status(context).await,
        Command::Vault(VaultCommand::Move { to, passphrase }) => {
            vault::move_to(context, to, passphrase).await
        }
        Command::Send(args) => send::send(context, args).await,
        Command::Invite(args) => send::invite(context, args).await,
        Command::Saved(args) => change::saved(context, args).await,
        Command::Call(args) => call::call(context, args).await,
        Command::Messages(args) => messages::messages(context, args).await,
        Command::Message(args) => messages::message(context, args).await,
        Command::Conversation(args) => messages::conversation(context, args).await,
        Command::Conversations(args) => messages::conversations(context, args).await,
        Command::Search(args) => search::search(context, args).await,
        Command::Explain(args) => search::explain(context, args).await,
        Command::Read(args) => change::read(context, args).await,
        Command::Unread(args) => change::unread(context, args).await,
        Command::Accept(args) => change::accept(context, args).await,
        Command::Decline(args) => change::decline(context, args).await,
        Command::Block(args) => change::block(context, args, true).await,
        Command::Unblock(args) => change::block(context, args, false).await,
        Command::Delete(args) => change::delete(context, args).await,
        Command::Set(args) => tune::set(context, args).await,
        Command::Typing(args) => tune::typing(context, args).await,
        Command::Expire(args) => tune::expire(context, args).await,
        Command::Clear(args) => tune::clear(context, args).await,
        Command::Retry(args) => change::retry(context, args).await,
        Command::Cancel(args) => change::cancel(context, args).await,
        Command::React(args) => change::react(context, args).await,
        Command::Events(args) => events::events(context, args).await,
    }
}
