//! Group updates: invitations, promotions, and what members are told about each other.
//!
//! Facts: messages.md 4.5, 6.12, 11 (24, 25). Signatures of the group's admin are checked for their length here and
//! for their truth by who knows the group; where the time of the message is needed, it is the Envelope's.

use std::fmt;

use session_wire as wire;
use wire::group_update_message as update;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::error::{ContentError, required, required_enum};
use crate::identity::{AccountId, Identifier, Prefix};

/// A group update. Of several in one message the first in the order of their field numbers counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupUpdate {
    /// Invites the reader.
    Invite {
        /// The group, `03`.
        group: Identifier,
        /// Its name.
        name: String,
        /// What the reader needs to use the group's swarm.
        member_auth_data: Box<[u8; 100]>,
        /// By the group's key.
        admin_signature: [u8; 64],
    },
    /// Name, picture or timer changed.
    InfoChange {
        /// What changed.
        change: InfoChange,
        /// By the group's key.
        admin_signature: [u8; 64],
    },
    /// Members came, went or became admins.
    MemberChange {
        /// What happened to them.
        change: MemberChange,
        /// To whom.
        members: Vec<AccountId>,
        /// New members can read what was written before.
        history_shared: bool,
        /// By the group's key.
        admin_signature: [u8; 64],
    },
    /// Makes the reader an admin.
    Promote {
        /// Seed of the group's key.
        seed: GroupSeed,
        /// Name of the group.
        name: String,
    },
    /// The sender left; for the admins.
    MemberLeft,
    /// The sender joined.
    InviteResponse {
        /// Or declined.
        is_approved: bool,
    },
    /// Messages are to be deleted.
    DeleteMemberContent {
        /// All messages of these members.
        members: Vec<AccountId>,
        /// These messages.
        hashes: Vec<String>,
        /// By the group's key; without it only messages of the sender are meant.
        admin_signature: Option<[u8; 64]>,
    },
    /// The sender left; for the members.
    MemberLeftNotification,
}

/// What changed about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfoChange {
    /// The name, to this one.
    Name(String),
    /// The picture.
    Avatar,
    /// The timer, s; 0 is off.
    DisappearingMessages(u32),
}

/// What happened to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// They joined.
    Added,
    /// They were removed.
    Removed,
    /// They became admins.
    Promoted,
}

/// Seed of a group's key; wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct GroupSeed([u8; 32]);

impl GroupSeed {
    /// From the seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The seed.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for GroupSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupSeed")
    }
}

impl GroupUpdate {
    pub(super) fn read(message: &wire::GroupUpdateMessage) -> Result<Self, ContentError> {
        if let Some(invite) = &message.invite_message {
            return read_invite(invite);
        }
        if let Some(change) = &message.info_change_message {
            return read_info_change(change);
        }
        if let Some(change) = &message.member_change_message {
            return read_member_change(change);
        }
        if let Some(promote) = &message.promote_message {
            let seed = required("Promote.groupIdentitySeed", &promote.group_identity_seed)?;
            return Ok(Self::Promote {
                seed: GroupSeed(array("groupIdentitySeed", seed)?),
                name: required("Promote.name", &promote.name)?.clone(),
            });
        }
        if message.member_left_message.is_some() {
            return Ok(Self::MemberLeft);
        }
        if let Some(response) = &message.invite_response {
            return Ok(Self::InviteResponse {
                is_approved: *required("InviteResponse.isApproved", &response.is_approved)?,
            });
        }
        if let Some(delete) = &message.delete_member_content {
            let signature = delete.admin_signature.as_deref();
            return Ok(Self::DeleteMemberContent {
                members: accounts(&delete.member_session_ids)?,
                hashes: delete.message_hashes.clone(),
                admin_signature: signature
                    .map(|bytes| array("adminSignature", bytes))
                    .transpose()?,
            });
        }
        if message.member_left_notification_message.is_some() {
            return Ok(Self::MemberLeftNotification);
        }
        Err(ContentError::BadGroupUpdate("no known update"))
    }

    pub(super) fn write(&self) -> wire::GroupUpdateMessage {
        let mut message = wire::GroupUpdateMessage::default();
        match self {
            Self::Invite {
                group,
                name,
                member_auth_data,
                admin_signature,
            } => {
                message.invite_message = Some(update::Invite {
                    group_session_id: Some(group.to_string()),
                    name: Some(name.clone()),
                    member_auth_data: Some(member_auth_data.to_vec()),
                    admin_signature: Some(admin_signature.to_vec()),
                });
            }
            Self::InfoChange {
                change,
                admin_signature,
            } => {
                message.info_change_message = Some(write_info_change(change, admin_signature));
            }
            Self::MemberChange {
                change,
                members,
                history_shared,
                admin_signature,
            } => {
                use update::member_change::Type;
                let kind = match change {
                    MemberChange::Added => Type::Added,
                    MemberChange::Removed => Type::Removed,
                    MemberChange::Promoted => Type::Promoted,
                };
                message.member_change_message = Some(update::MemberChange {
                    r#type: Some(kind as i32),
                    member_session_ids: members.iter().map(ToString::to_string).collect(),
                    history_shared: Some(*history_shared),
                    admin_signature: Some(admin_signature.to_vec()),
                });
            }
            Self::Promote { seed, name } => {
                message.promote_message = Some(update::Promote {
                    group_identity_seed: Some(seed.0.to_vec()),
                    name: Some(name.clone()),
                });
            }
            Self::MemberLeft => message.member_left_message = Some(update::MemberLeft {}),
            Self::InviteResponse { is_approved } => {
                message.invite_response = Some(update::InviteResponse {
                    is_approved: Some(*is_approved),
                });
            }
            Self::DeleteMemberContent {
                members,
                hashes,
                admin_signature,
            } => {
                message.delete_member_content = Some(update::DeleteMemberContent {
                    member_session_ids: members.iter().map(ToString::to_string).collect(),
                    message_hashes: hashes.clone(),
                    admin_signature: admin_signature.map(Vec::from),
                });
            }
            Self::MemberLeftNotification => {
                message.member_left_notification_message = Some(update::MemberLeftNotification {});
            }
        }
        message
    }

    /// Whether it may carry a timer (messages.md 7.7).
    pub(super) fn expires(&self) -> bool {
        matches!(self, Self::InfoChange { .. } | Self::MemberChange { .. })
    }
}

/// Required fields of every update that is there.
pub(super) fn check_required(message: &wire::GroupUpdateMessage) -> Result<(), ContentError> {
    if let Some(invite) = &message.invite_message {
        required("Invite.groupSessionId", &invite.group_session_id)?;
        required("Invite.name", &invite.name)?;
        required("Invite.memberAuthData", &invite.member_auth_data)?;
        required("Invite.adminSignature", &invite.admin_signature)?;
    }
    if let Some(change) = &message.info_change_message {
        required_enum::<update::info_change::Type>("InfoChange.type", change.r#type)?;
        required("InfoChange.adminSignature", &change.admin_signature)?;
    }
    if let Some(change) = &message.member_change_message {
        required_enum::<update::member_change::Type>("MemberChange.type", change.r#type)?;
        required("MemberChange.adminSignature", &change.admin_signature)?;
    }
    if let Some(promote) = &message.promote_message {
        required("Promote.groupIdentitySeed", &promote.group_identity_seed)?;
        required("Promote.name", &promote.name)?;
    }
    if let Some(response) = &message.invite_response {
        required("InviteResponse.isApproved", &response.is_approved)?;
    }
    Ok(())
}

fn read_invite(invite: &update::Invite) -> Result<GroupUpdate, ContentError> {
    let bad_group = ContentError::BadGroupUpdate("groupSessionId");
    let group = required("Invite.groupSessionId", &invite.group_session_id)?;
    let group: Identifier = group.parse().map_err(|_| bad_group)?;
    if group.prefix != Prefix::Group {
        return Err(bad_group);
    }
    let auth = required("Invite.memberAuthData", &invite.member_auth_data)?;
    Ok(GroupUpdate::Invite {
        group,
        name: required("Invite.name", &invite.name)?.clone(),
        member_auth_data: Box::new(array("memberAuthData", auth)?),
        admin_signature: signature(&invite.admin_signature)?,
    })
}

fn read_info_change(change: &update::InfoChange) -> Result<GroupUpdate, ContentError> {
    use update::info_change::Type;
    let kind: Type = required_enum("InfoChange.type", change.r#type)?;
    let admin_signature = signature(&change.admin_signature)?;
    let change = match kind {
        Type::Name => {
            let name = required("InfoChange.updatedName", &change.updated_name)?;
            InfoChange::Name(name.clone())
        }
        Type::Avatar => InfoChange::Avatar,
        // 0 may be left out: it is what the field reads as then.
        Type::DisappearingMessages => {
            InfoChange::DisappearingMessages(change.updated_expiration.unwrap_or(0))
        }
    };
    Ok(GroupUpdate::InfoChange {
        change,
        admin_signature,
    })
}

fn write_info_change(change: &InfoChange, admin_signature: &[u8; 64]) -> update::InfoChange {
    use update::info_change::Type;
    let (kind, name, expiration) = match change {
        InfoChange::Name(name) => (Type::Name, Some(name.clone()), None),
        InfoChange::Avatar => (Type::Avatar, None, None),
        InfoChange::DisappearingMessages(timer) => (Type::DisappearingMessages, None, Some(*timer)),
    };
    update::InfoChange {
        r#type: Some(kind as i32),
        updated_name: name,
        updated_expiration: expiration,
        admin_signature: Some(admin_signature.to_vec()),
    }
}

fn read_member_change(change: &update::MemberChange) -> Result<GroupUpdate, ContentError> {
    use update::member_change::Type;
    let kind: Type = required_enum("MemberChange.type", change.r#type)?;
    Ok(GroupUpdate::MemberChange {
        change: match kind {
            Type::Added => MemberChange::Added,
            Type::Removed => MemberChange::Removed,
            Type::Promoted => MemberChange::Promoted,
        },
        members: accounts(&change.member_session_ids)?,
        history_shared: change.history_shared.unwrap_or(false),
        admin_signature: signature(&change.admin_signature)?,
    })
}

fn accounts(texts: &[String]) -> Result<Vec<AccountId>, ContentError> {
    texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| ContentError::BadGroupUpdate("memberSessionIds"))
}

fn signature(field: &Option<Vec<u8>>) -> Result<[u8; 64], ContentError> {
    array("adminSignature", required("adminSignature", field)?)
}

fn array<const N: usize>(name: &'static str, bytes: &[u8]) -> Result<[u8; N], ContentError> {
    bytes
        .try_into()
        .map_err(|_| ContentError::BadGroupUpdate(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> update::Invite {
        update::Invite {
            group_session_id: Some(format!("03{}", "01".repeat(32))),
            name: Some("Group".into()),
            member_auth_data: Some(vec![1; 100]),
            admin_signature: Some(vec![2; 64]),
        }
    }

    fn reason(change: impl FnOnce(&mut wire::GroupUpdateMessage)) -> &'static str {
        let mut message = wire::GroupUpdateMessage::default();
        change(&mut message);
        GroupUpdate::read(&message).map_or_else(ContentError::reason, |_| "OK")
    }

    #[test]
    fn invitations_name_a_group_and_have_data_of_the_right_lengths() {
        let with = |change: fn(&mut update::Invite)| {
            let mut invite = invite();
            change(&mut invite);
            reason(|message| message.invite_message = Some(invite))
        };
        assert_eq!(with(|_| {}), "OK");
        let account = format!("05{}", "01".repeat(32));
        assert_eq!(
            reason(|message| {
                message.invite_message = Some(update::Invite {
                    group_session_id: Some(account),
                    ..invite()
                });
            }),
            "BAD_GROUP_UPDATE"
        );
        assert_eq!(
            with(|invite| invite.member_auth_data = Some(vec![1; 99])),
            "BAD_GROUP_UPDATE"
        );
        assert_eq!(
            with(|invite| invite.admin_signature = Some(vec![1; 63])),
            "BAD_GROUP_UPDATE"
        );
        assert_eq!(with(|invite| invite.name = None), "MISSING_FIELD");
    }

    #[test]
    fn promotions_carry_a_seed_that_is_not_printed() {
        let promote = |length: usize| {
            reason(|message| {
                message.promote_message = Some(update::Promote {
                    group_identity_seed: Some(vec![0xab; length]),
                    name: Some("Group".into()),
                });
            })
        };
        assert_eq!(promote(32), "OK");
        assert_eq!(promote(31), "BAD_GROUP_UPDATE");
        let printed = format!("{:?}", GroupSeed::new([0xab; 32]));
        assert_eq!(printed, "GroupSeed");
    }

    #[test]
    fn an_update_that_says_nothing_is_refused() {
        assert_eq!(reason(|_| {}), "BAD_GROUP_UPDATE");
    }
}
