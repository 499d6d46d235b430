//! Disappearing timers as messages carry them.
//!
//! Each message disappears by the fields it carries itself, which are its sender's setting at the time. In synced
//! settings the two modes have other numbers than here.
//!
//! Facts: messages.md 7.1, 7.3 (reading), 7.7 (kinds that carry another mode or none).

use session_wire as wire;
use wire::content::ExpirationType;

/// What starts a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpirationMode {
    /// The recipient's copy starts when it is read, the sender's when it is sent.
    AfterRead,
    /// All copies start when it is sent.
    AfterSend,
}

/// A timer that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiration {
    /// What starts it.
    pub mode: ExpirationMode,
    /// Seconds, above 0.
    pub timer_s: u32,
}

/// Kind of conversation, as far as timers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// With another account.
    OneToOne,
    /// With the own account.
    NoteToSelf,
    /// In a group.
    Group,
}

/// The fields as they came. A kind reads them through [`super::Read::expiration`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    mode: Option<i32>,
    timer_s: Option<u32>,
}

impl Fields {
    pub(super) fn of(content: &wire::Content) -> Self {
        Self {
            mode: content.expiration_type,
            timer_s: content.expiration_timer,
        }
    }

    /// Neither is there, as with old senders.
    pub(super) fn absent(self) -> bool {
        self.mode.is_none() && self.timer_s.is_none()
    }

    /// The timer in a conversation of this kind. A mode that nobody knows counts as a mode, as for the official
    /// desktop client: the sender wanted the message to go.
    pub(super) fn normalised(self, place: Place) -> Option<Expiration> {
        let timer_s = self.timer_s.filter(|timer| *timer > 0)?;
        let mode = self
            .mode
            .filter(|mode| *mode != ExpirationType::Unknown as i32)?;
        let after_send = place != Place::OneToOne || mode == ExpirationType::DeleteAfterSend as i32;
        let mode = if after_send {
            ExpirationMode::AfterSend
        } else {
            ExpirationMode::AfterRead
        };
        Some(Expiration { mode, timer_s })
    }
}

/// Sets the fields; without a timer they are written as being off.
pub(super) fn write(expiration: Option<Expiration>, content: &mut wire::Content) {
    let mode = match expiration.map(|expiration| expiration.mode) {
        None => ExpirationType::Unknown,
        Some(ExpirationMode::AfterRead) => ExpirationType::DeleteAfterRead,
        Some(ExpirationMode::AfterSend) => ExpirationType::DeleteAfterSend,
    };
    content.expiration_type = Some(mode as i32);
    content.expiration_timer = Some(expiration.map_or(0, |expiration| expiration.timer_s));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mode: Option<i32>, timer_s: Option<u32>, place: Place) -> Option<Expiration> {
        Fields { mode, timer_s }.normalised(place)
    }

    #[test]
    fn fields_are_normalised_by_messages_7_3() {
        use ExpirationMode::{AfterRead, AfterSend};
        let on = |mode| Some(Expiration { mode, timer_s: 60 });
        let all = [Place::OneToOne, Place::NoteToSelf, Place::Group];
        for place in all {
            for (mode, timer) in [
                (None, None),
                (Some(1), None),
                (Some(2), Some(0)),
                (Some(0), Some(60)),
                (None, Some(60)),
            ] {
                assert_eq!(read(mode, timer, place), None, "{mode:?} {timer:?}");
            }
        }
        assert_eq!(read(Some(1), Some(60), Place::OneToOne), on(AfterRead));
        assert_eq!(read(Some(2), Some(60), Place::OneToOne), on(AfterSend));
        assert_eq!(read(Some(9), Some(60), Place::OneToOne), on(AfterRead));
        assert_eq!(read(Some(1), Some(60), Place::NoteToSelf), on(AfterSend));
        assert_eq!(read(Some(1), Some(60), Place::Group), on(AfterSend));
    }
}
