//! The arguments, and the help that goes with them.
//!
//! One line per command here; its own arguments stand beside it in [`crate::commands`].

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use jiff::SignedDuration;

use crate::commands::{
    account::AccountCommand,
    call::CallArgs,
    change::{DeclineArgs, DeleteArgs, ReactArgs, ReadArgs},
    config::ConfigCommand,
    events::EventsArgs,
    focus::FocusCommand,
    messages::{ConversationArgs, ConversationsArgs, MessageArgs, MessagesArgs},
    search::{ExplainArgs, SearchArgs},
    send::{InviteArgs, SendArgs},
    settings::SettingsCommand,
    tune::{ClearArgs, ExpireArgs, SetArgs, TypingArgs},
    vault::VaultCommand,
};

/// What the exit codes mean, as `--help` shows it.
pub const EXIT_CODES: &str = "\
Exit codes:
    0  done (also: `events --follow` ended by Ctrl-C, or the reader of the output went away)
    1  refused or failed (`doctor`: something is wrong)
    2  wrong usage, or a configuration file that is not right
    3  no agent to talk to
    4  locked: the agent's vault has not given the keys
  130  Ctrl-C at a prompt

Environment:
  SESSIOND_SOCKET  socket of the agent, unless --socket is given
  SESSIONCTL_FULL  true: show whole IDs
  SESSIOND_CONFIG  configuration file instead of $XDG_CONFIG_HOME/sessiond/config.toml; empty: none
  XDG_RUNTIME_DIR  holds sessiond/sessiond.sock; /run/user/UID is tried when it is not set
  NO_COLOR         no colours, even on a terminal";

/// Talks to sessiond, the agent that is your Session account.
#[derive(Debug, Parser)]
#[command(name = "sessionctl", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Socket of the agent
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print the API's messages as JSON, one object a line; errors as one object on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Show whole IDs
    #[arg(long, global = true)]
    pub full: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the agent, its account and the network stand
    ///
    /// With --json one object with the keys `info`, `network` and, if there is one, `account`.
    Status,
    /// Show the onion paths, hop by hop
    Paths,
    /// Fetch and push now instead of at the next poll
    Sync,
    /// Make, bring back or show the account
    #[command(subcommand)]
    Account(AccountCommand),
    /// Lock: fetch and send nothing until `unlock`, and keep no key and no text in memory
    ///
    /// Stays until `unlock` or a restart of the service. Swarms keep messages for 14 days: a longer
    /// lock misses some.
    Lock,
    /// Open the account that is locked; a passphrase, where one is needed, is asked for or read from stdin
    ///
    /// Where the keys are in the desktop's keyring, or the agent was started with a passphrase file,
    /// nothing is read.
    Unlock {
        /// Read the passphrase, even where the agent might have it otherwise
        #[arg(long)]
        passphrase: bool,
    },
    /// Show where the keys are kept, or move them
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Send a text
    Send(SendArgs),
    /// Invite somebody to a community
    Invite(InviteArgs),
    /// Show a conversation, the newest messages last
    Messages(MessagesArgs),
    /// Show one message
    Message(MessageArgs),
    /// Find messages by their words, the newest first
    Search(SearchArgs),
    /// Show the way of a message: sealed, stored, by whom, over which path, and what went wrong
    Explain(ExplainArgs),
    /// List the conversations: pinned ones first, then the newest activity; hidden ones only when asked for
    Conversations(ConversationsArgs),
    /// Show one conversation, with everything that is set for it
    Conversation(ConversationArgs),
    /// Mark a conversation as read; tells the other side if receipts are on
    Read(ReadArgs),
    /// Show a conversation as unread until it is read again
    Unread(ConversationArgs),
    /// Accept somebody who wrote; answering does the same
    Accept(ConversationArgs),
    /// Decline somebody who wrote; nobody is told
    Decline(DeclineArgs),
    /// Hear nothing more from somebody; nobody is told
    Block(ConversationArgs),
    /// Hear from somebody again
    Unblock(ConversationArgs),
    /// Delete a message's content
    Delete(DeleteArgs),
    /// Set a nickname, pin, hide or mute a conversation
    Set(SetArgs),
    /// Tell somebody that you type
    Typing(TypingArgs),
    /// Let new messages of yours disappear in a conversation
    Expire(ExpireArgs),
    /// Delete all messages of a conversation from this device
    Clear(ClearArgs),
    /// Send a message again that could not be sent
    Retry(MessageArgs),
    /// Take a message back that waits to be sent
    Cancel(MessageArgs),
    /// Say that you kept a file of a message: its author is told, unless you turned that off
    Saved(MessageArgs),
    /// Take a step of a call, for a program that has media
    ///
    /// What the other side does comes as `call` events: sessionctl --json events --follow
    Call(CallArgs),
    /// Put an emoji on a message, or take it off
    React(ReactArgs),
    /// Say that you look at a conversation: nothing is notified there
    #[command(subcommand)]
    Focus(FocusCommand),
    /// Show or change what you chose for the account: receipts, typing, notifications
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Print the event log
    ///
    /// Where the output starts: after --after; else, with --as, after what was acknowledged last
    /// under that name (a new name starts at the end and is remembered from then on); else at the
    /// oldest event kept, or with --follow at the end.
    Events(EventsArgs),
    /// Show the versions of this program and of the agent
    Version,
    /// End the agent
    Shutdown,
    /// Check everything between this program and the network, and say what to do about it
    ///
    /// Ends with 0 when nothing is wrong; a warning is not wrong. With --json one object per check with the keys `check`,
    /// `state` (OK, WARNING, FAILED, SKIPPED), `detail` and `advice`.
    Doctor,
    /// Print what the agent counts and measures, as OpenMetrics text; no identifiers
    ///
    /// For the textfile collector of the Prometheus node exporter or any other scraper.
    Metrics,
    /// Show or change the configuration file of sessiond and sessionctl
    Config {
        /// What to do; without it everything is shown
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, or write those of all commands into a directory
    ///
    /// For example: sessionctl man --dir ~/.local/share/man/man1
    Man {
        /// Where to write sessionctl.1, sessionctl-account.1 and so on
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// A year: whoever waits longer has lost track.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// A time as 30s, 5m or 1h.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let explain = || format!("{text:?} is not a time such as 30s, 5m or 1h");
    let duration: SignedDuration = match text.parse::<u32>() {
        Ok(seconds) => SignedDuration::from_secs(seconds.into()),
        Err(_) => text.parse().map_err(|_| explain())?,
    };
    let duration = Duration::try_from(duration).map_err(|_| explain())?;
    if duration.is_zero() || duration > LONGEST_WAIT {
        return Err("the time must be more than nothing and at most a year".into());
    }
    Ok(duration)
}

/// Name of a subscriber.
pub(crate) fn subscriber(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 letters, digits, dots, underscores or dashes".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound_and_everything_is_explained() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        command.build();
        let mut all = vec![command];
        while let Some(command) = all.pop() {
            assert!(
                command.get_about().is_some(),
                "{} has no help",
                command.get_name()
            );
            for arg in command.get_arguments() {
                assert!(
                    arg.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
            all.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [("30s", 30), ("30", 30), ("5m", 300), ("1h30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "0", "0s", "-5s", "x", "999999h", "1 year"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_of_subscribers() {
        assert!(subscriber("backup_1.x-y").is_ok());
        for text in ["", "a b", "ä", &"a".repeat(65)] {
            assert!(subscriber(text).is_err(), "{text:?}");
        }
    }
}
