//! `set`, `clear`, `typing`, `expire`: what the user sets for a conversation, and emptying it.

use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use sessiond_client::v1::{
    ClearConversationRequest, Conversation, DisappearingMode, DisappearingSetting,
    GetAccountRequest, NotifyMode, SetDisappearingRequest, SetTypingRequest,
    UpdateConversationRequest, clear_conversation_request as clearing,
    set_disappearing_request as expiring, set_typing_request as telling,
    update_conversation_request as updating,
};

use super::change::show;
use crate::{account_id::AccountId, args, context::Context, failure::Failure, input};

/// Arguments of `set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Account ID of the other side; the own one for notes to self
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    #[command(flatten)]
    pub to: Wanted,
}

/// What to set.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Wanted {
    /// Name to show for them, which nobody else sees; empty takes it off
    #[arg(long, value_name = "NAME")]
    pub nickname: Option<String>,
    /// Pin it; higher numbers come first, 0 takes it off
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    pub pin: Option<u32>,
    /// Leave it out of the list until somebody writes again
    #[arg(long, conflicts_with = "pin")]
    pub hide: bool,
    /// Show it again
    #[arg(long, conflicts_with = "hide")]
    pub unhide: bool,
    /// Which messages raise a notification
    #[arg(long, value_name = "MODE")]
    pub notify: Option<Notify>,
    /// No notifications for so long, as 8h
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    pub mute: Option<Duration>,
    /// Notifications again
    #[arg(long, conflicts_with = "mute")]
    pub unmute: bool,
}

/// Which messages raise a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Notify {
    /// As the settings of the account say
    Default,
    All,
    None,
    Mentions,
}

/// Arguments of `clear`.
#[derive(Debug, Args)]
pub struct ClearArgs {
    /// Account ID of the other side; the own one for notes to self
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// When messages disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Off,
    AfterRead(Duration),
    AfterSend(Duration),
}

impl Timer {
    /// As the API has it for one message, where nothing means what the conversation says and off is a setting without a
    /// mode.
    pub fn of_message(self) -> DisappearingSetting {
        self.setting().unwrap_or_default()
    }

    /// As the API has it for a conversation; off is nothing.
    pub fn setting(self) -> Option<DisappearingSetting> {
        let (mode, timer) = match self {
            Self::Off => return None,
            Self::AfterRead(timer) => (DisappearingMode::AfterRead, timer),
            Self::AfterSend(timer) => (DisappearingMode::AfterSend, timer),
        };
        let timer = prost_types::Duration {
            seconds: i64::try_from(timer.as_secs()).unwrap_or(i64::MAX),
            nanos: 0,
        };
        Some(DisappearingSetting {
            mode: mode.into(),
            timer: Some(timer),
        })
    }
}

/// Reads `off`, `12h`, which is the same as `12h-after-send`, or `5m-after-read`.
pub fn timer(text: &str) -> Result<Timer, String> {
    if text == "off" {
        return Ok(Timer::Off);
    }
    match text.strip_suffix("-after-read") {
        Some(rest) => args::duration(rest).map(Timer::AfterRead),
        None => {
            let rest = text.strip_suffix("-after-send").unwrap_or(text);
            args::duration(rest).map(Timer::AfterSend)
        }
    }
}

/// Arguments of `expire`.
#[derive(Debug, Args)]
pub struct ExpireArgs {
    /// Account ID of the other side; the own one for notes to self
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// So long after sending (12h, 24h, 168h, 336h) or after reading (as 12h-after-read; also 5m, 1h), or off
    #[arg(value_parser = timer)]
    pub timer: Timer,
}

pub async fn expire(context: &mut Context, args: ExpireArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = SetDisappearingRequest {
        selector: Some(expiring::Selector::AccountId(args.with.to_string())),
        setting: args.timer.setting(),
        ..Default::default()
    };
    let answer = client.set_disappearing(request).await?;
    context.progress("Kept on this device; they are told of the change.");
    show(context, answer.conversation)
}

/// Arguments of `typing`.
#[derive(Debug, Args)]
pub struct TypingArgs {
    /// Account ID of the other side
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// You stopped
    #[arg(long)]
    pub stop: bool,
}

pub async fn typing(context: &mut Context, args: TypingArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = SetTypingRequest {
        selector: Some(telling::Selector::AccountId(args.with.to_string())),
        typing: !args.stop,
        ..Default::default()
    };
    let answer = client.set_typing(request).await?;
    if context.json {
        return context.object("SetTypingResponse", &answer);
    }
    context.progress(if answer.told {
        "Told."
    } else {
        "Not told: the setting is off, they are not accepted on both sides, or the network is away."
    });
    Ok(())
}

pub async fn set(context: &mut Context, args: SetArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut wanted = Conversation::default();
    let mut paths = Vec::new();
    let to = args.to;
    if let Some(nickname) = to.nickname {
        wanted.nickname = nickname;
        paths.push("nickname".to_owned());
    }
    if let Some(pin) = to.pin {
        wanted.pin_priority = pin;
        paths.push("pin_priority".to_owned());
    }
    if to.hide || to.unhide {
        wanted.hidden = to.hide;
        paths.push("hidden".to_owned());
    }
    if let Some(notify) = to.notify {
        wanted.set_notify_mode(match notify {
            Notify::Default => NotifyMode::Unspecified,
            Notify::All => NotifyMode::All,
            Notify::None => NotifyMode::None,
            Notify::Mentions => NotifyMode::Mentions,
        });
        paths.push("notify_mode".to_owned());
    }
    if to.mute.is_some() || to.unmute {
        let until = to.mute.map(|mute| SystemTime::now() + mute);
        wanted.mute_until_time = until.map(Into::into);
        paths.push("mute_until_time".to_owned());
    }
    let request = UpdateConversationRequest {
        selector: Some(updating::Selector::AccountId(args.with.to_string())),
        conversation: Some(wanted),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    };
    let answer = client.update_conversation(request).await?;
    show(context, answer.conversation)
}

const QUESTION: &str =
    "This deletes all messages of the conversation from this device, for good. Delete them?";

pub async fn clear(context: &mut Context, args: ClearArgs) -> Result<(), Failure> {
    if !args.yes && !input::confirmed(&mut context.terminal, QUESTION).await? {
        return Err(Failure::Usage(
            "nothing was deleted: say yes at the question, or give --yes".into(),
        ));
    }
    let client = context.connect().await?;
    let account = client.get_account(GetAccountRequest::default()).await?;
    let account = account.account.ok_or(Failure::Incomplete("the account"))?;
    let request = ClearConversationRequest {
        account: account.account_id,
        selector: Some(clearing::Selector::AccountId(args.with.to_string())),
    };
    let answer = client.clear_conversation(request).await?;
    if context.json {
        return context.object("ClearConversationResponse", &answer);
    }
    context.progress("Cleared.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_say_after_what() {
        let time = Duration::from_secs;
        for (text, expected) in [
            ("off", Timer::Off),
            ("12h", Timer::AfterSend(time(43_200))),
            ("12h-after-send", Timer::AfterSend(time(43_200))),
            ("1h-after-read", Timer::AfterRead(time(3_600))),
        ] {
            assert_eq!(timer(text), Ok(expected), "{text}");
        }
        for text in ["", "-after-read", "on", "5m-after", "read:5m"] {
            assert!(timer(text).is_err(), "{text}");
        }
    }
}
