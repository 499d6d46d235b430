//! Why a Content is refused, in reading and in writing.

/// Why a received Content is refused (messages.md 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// No known kind is in it; perhaps it has one of a later version.
    #[error("content carries no known kind")]
    NoKind,
    /// Nothing but a part that is not sent any more, or that belongs into another namespace.
    #[error("{0} is not read here")]
    Obsolete(&'static str),
    /// A required field is missing, or is an enum with an unknown value, which counts as missing.
    #[error("required field {0} is missing or unknown")]
    MissingField(&'static str),
    /// A visible message without anything to show.
    #[error("visible message has nothing to show")]
    NothingToShow,
    /// `syncTarget` is no account ID.
    #[error("sync target is no account ID")]
    BadSyncTarget,
    /// Flags beside that of an expiration timer update.
    #[error("flags contradict each other")]
    BadFlags,
    /// A message request response that does not approve.
    #[error("message request response does not approve")]
    NotApproved,
    /// A time that names no message, or that contradicts the signed one.
    #[error("{0} is no usable time")]
    BadTimestamp(&'static str),
    /// The author of the message that is meant is no identifier.
    #[error("{0} is no identifier")]
    BadAuthor(&'static str),
    /// A reaction with something other than one visible grapheme cluster.
    #[error("reaction is not one emoji")]
    BadEmoji,
    /// A call signal without what its type needs.
    #[error("call signal is malformed: {0}")]
    BadCall(&'static str),
    /// A group update with a field that cannot be right.
    #[error("group update is malformed: {0}")]
    BadGroupUpdate(&'static str),
}

impl ContentError {
    /// Short UPPER_SNAKE name, for counters and the quarantine.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoKind => "NO_KIND",
            Self::Obsolete(_) => "OBSOLETE",
            Self::MissingField(_) => "MISSING_FIELD",
            Self::NothingToShow => "NOTHING_TO_SHOW",
            Self::BadSyncTarget => "BAD_SYNC_TARGET",
            Self::BadFlags => "BAD_FLAGS",
            Self::NotApproved => "NOT_APPROVED",
            Self::BadTimestamp(_) => "BAD_TIMESTAMP",
            Self::BadAuthor(_) => "BAD_AUTHOR",
            Self::BadEmoji => "BAD_EMOJI",
            Self::BadCall(_) => "BAD_CALL",
            Self::BadGroupUpdate(_) => "BAD_GROUP_UPDATE",
        }
    }
}

/// Why a Content cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The body has more code points than are sent.
    #[error("body has {0} code points, more than are sent")]
    BodyTooLong(usize),
    /// A swarm would not store it.
    #[error("message has {0} bytes, more than a swarm stores")]
    TooLarge(usize),
    /// A receiver would refuse it.
    #[error(transparent)]
    Refused(#[from] ContentError),
}

/// The field, or the error that names it.
pub(super) fn required<'a, T>(
    name: &'static str,
    field: &'a Option<T>,
) -> Result<&'a T, ContentError> {
    field.as_ref().ok_or(ContentError::MissingField(name))
}

/// The enum's value, or the error that names the field.
pub(super) fn required_enum<E: TryFrom<i32>>(
    name: &'static str,
    field: Option<i32>,
) -> Result<E, ContentError> {
    field
        .and_then(|number| E::try_from(number).ok())
        .ok_or(ContentError::MissingField(name))
}

/// A time in ms that can name a message: no more than what a double holds exactly (messages.md 11, 11).
pub(crate) fn is_time(ms: u64) -> bool {
    (1..1 << 53).contains(&ms)
}

/// The same as an error that names the field.
pub(super) fn time(name: &'static str, ms: u64) -> Result<u64, ContentError> {
    is_time(ms)
        .then_some(ms)
        .ok_or(ContentError::BadTimestamp(name))
}
