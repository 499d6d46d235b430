//! In which order the rules for a new path are relaxed when no path fits them.
//!
//! Each step includes those before it. What costs least privacy goes first: sharing hops with circuits of another
//! isolation key, then trying known guards that did not answer, then a new guard, who learns our address, then nodes
//! that failed before. Two nodes in one /24, which one operator may run, come last and only where the user allows it
//! (design.md promise 6, network.md 6.3).

/// How far the rules were relaxed for a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LadderStep {
    /// Not at all.
    #[default]
    Strict,
    /// Hops of circuits of other isolation keys may be used.
    SharedHops,
    /// Known guards are tried although they did not answer a moment ago, because no path is left at all: most likely
    /// it is this machine that was offline.
    RetriedGuards,
    /// A guard is taken although enough are known.
    NewGuard,
    /// Nodes that failed before are used again.
    ForgivenNodes,
    /// Nodes in use may share their first three address bytes.
    SameSubnet,
}

impl LadderStep {
    /// All steps in order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Strict,
        Self::SharedHops,
        Self::RetriedGuards,
        Self::NewGuard,
        Self::ForgivenNodes,
        Self::SameSubnet,
    ];

    /// Stable name; `None` where nothing was relaxed.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Strict => None,
            Self::SharedHops => Some("SHARED_HOPS"),
            Self::RetriedGuards => Some("RETRIED_GUARDS"),
            Self::NewGuard => Some("NEW_GUARD"),
            Self::ForgivenNodes => Some("FORGIVEN_NODES"),
            Self::SameSubnet => Some("SAME_SUBNET"),
        }
    }
}
