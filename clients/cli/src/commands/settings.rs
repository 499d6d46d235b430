//! `settings`: what the user chose for the account.

use clap::Subcommand;
use sessiond_client::v1::{
    GetSettingsRequest, NotificationPrivacy, NotifyMode, Settings, UpdateSettingsRequest,
};

use crate::{context::Context, failure::Failure, format::table};

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// Show all settings
    Show,
    /// Change settings, as NAME=VALUE
    ///
    /// read-receipts, typing-indicators, media-saved-notices and notification-silent are on or off; notification-privacy is default,
    /// name-and-text, name-only, count-only or none; notify-mode is all, none or mentions.
    Set {
        /// What to change
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = change)]
        changes: Vec<Change>,
    },
}

/// One setting and its new value.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    ReadReceipts(bool),
    TypingIndicators(bool),
    NotificationSilent(bool),
    MediaSavedNotices(bool),
    NotificationPrivacy(NotificationPrivacy),
    NotifyMode(NotifyMode),
}

const PRIVACY: [(&str, NotificationPrivacy); 5] = [
    ("default", NotificationPrivacy::Unspecified),
    ("name-and-text", NotificationPrivacy::NameAndText),
    ("name-only", NotificationPrivacy::NameOnly),
    ("count-only", NotificationPrivacy::CountOnly),
    ("none", NotificationPrivacy::None),
];
const MODES: [(&str, NotifyMode); 3] = [
    ("all", NotifyMode::All),
    ("none", NotifyMode::None),
    ("mentions", NotifyMode::Mentions),
];

fn change(text: &str) -> Result<Change, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write it as NAME=VALUE, for example read-receipts=on")?;
    let switch = || match value {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(format!("{name} is on or off")),
    };
    match name {
        "read-receipts" => switch().map(Change::ReadReceipts),
        "typing-indicators" => switch().map(Change::TypingIndicators),
        "notification-silent" => switch().map(Change::NotificationSilent),
        "media-saved-notices" => switch().map(Change::MediaSavedNotices),
        "notification-privacy" => one_of(name, &PRIVACY, value).map(Change::NotificationPrivacy),
        "notify-mode" => one_of(name, &MODES, value).map(Change::NotifyMode),
        _ => Err(format!(
            "there is no setting {name}; there are read-receipts, typing-indicators, notification-privacy, \
             notify-mode, notification-silent and media-saved-notices"
        )),
    }
}

fn one_of<T: Copy>(name: &str, all: &[(&str, T)], value: &str) -> Result<T, String> {
    let found = all.iter().find(|(known, _)| *known == value);
    found.map(|(_, it)| *it).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        format!("{name} is one of {}", names.join(", "))
    })
}

fn name_of<T: PartialEq>(
    all: &[(&'static str, T)],
    value: &T,
    otherwise: &'static str,
) -> &'static str {
    all.iter()
        .find(|(_, it)| it == value)
        .map_or(otherwise, |(name, _)| name)
}

impl Change {
    fn apply(&self, settings: &mut Settings) -> &'static str {
        match *self {
            Self::ReadReceipts(on) => {
                settings.read_receipts = on;
                "read_receipts"
            }
            Self::TypingIndicators(on) => {
                settings.typing_indicators = on;
                "typing_indicators"
            }
            Self::NotificationSilent(on) => {
                settings.notification_silent = on;
                "notification_silent"
            }
            Self::MediaSavedNotices(on) => {
                settings.media_saved_notices_off = !on;
                "media_saved_notices_off"
            }
            Self::NotificationPrivacy(privacy) => {
                settings.set_notification_privacy(privacy);
                "notification_privacy"
            }
            Self::NotifyMode(mode) => {
                settings.set_notify_mode(mode);
                "notify_mode"
            }
        }
    }
}

/// Runs `settings`.
pub async fn settings(context: &mut Context, command: SettingsCommand) -> Result<(), Failure> {
    let client = context.connect().await?;
    let settings = match command {
        SettingsCommand::Show => {
            let answer = client.get_settings(GetSettingsRequest::default()).await?;
            answer.settings
        }
        SettingsCommand::Set { changes } => {
            let mut wanted = Settings::default();
            let paths = changes
                .iter()
                .map(|change| change.apply(&mut wanted).to_owned())
                .collect();
            let request = UpdateSettingsRequest {
                settings: Some(wanted),
                update_mask: Some(prost_types::FieldMask { paths }),
                ..UpdateSettingsRequest::default()
            };
            client.update_settings(request).await?.settings
        }
    };
    let settings = settings.ok_or(Failure::Incomplete("the settings"))?;
    if context.json {
        return context.object("Settings", &settings);
    }
    context.print(&shown(&settings))
}

fn shown(settings: &Settings) -> String {
    let switch = |on| if on { "on" } else { "off" };
    let rows = [
        ["read-receipts", switch(settings.read_receipts)],
        ["typing-indicators", switch(settings.typing_indicators)],
        [
            "notification-privacy",
            name_of(&PRIVACY, &settings.notification_privacy(), "default"),
        ],
        [
            "notify-mode",
            name_of(&MODES, &settings.notify_mode(), "all"),
        ],
        ["notification-silent", switch(settings.notification_silent)],
        [
            "media-saved-notices",
            switch(!settings.media_saved_notices_off),
        ],
    ]
    .map(|row| row.map(str::to_owned));
    table::table(["SETTING", "VALUE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_mistakes_explained() {
        assert_eq!(change("read-receipts=on"), Ok(Change::ReadReceipts(true)));
        assert_eq!(
            change("notify-mode=mentions"),
            Ok(Change::NotifyMode(NotifyMode::Mentions))
        );
        for (text, word) in [
            ("read-receipts", "NAME=VALUE"),
            ("read-receipts=maybe", "on or off"),
            ("notification-privacy=x", "count-only"),
            ("colour=red", "read-receipts"),
        ] {
            let error = change(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn every_value_is_shown_as_it_is_written() {
        let mut settings = Settings::default();
        for (name, privacy) in PRIVACY {
            settings.set_notification_privacy(privacy);
            assert!(shown(&settings).contains(name));
        }
    }
}
