//! Whether this program and the agent fit together.
//!
//! They are released together, so equal versions always fit. Before 1.0 another minor version may have broken the API
//! (CHANGELOG.md has a line for each break); from 1.0 on another major one. Within that an older agent lacks calls, which it
//! answers with UNIMPLEMENTED, and a newer one has some that this program does not know.

/// What is to be said about the two versions; nothing when they are equal.
#[must_use]
pub fn skew(own: &str, agent: &str) -> Option<&'static str> {
    if own == agent {
        return None;
    }
    Some(match (parse(own), parse(agent)) {
        (Some(own), Some(agent)) if api(own) == api(agent) && own < agent => {
            "The agent is newer than this program: upgrade sessionctl to use all of it."
        }
        (Some(own), Some(agent)) if api(own) == api(agent) && own > agent => {
            "The agent is older than this program, as after an upgrade: end it with `sessionctl shutdown` and start it again."
        }
        (Some(own), Some(agent)) if own < agent => {
            "The agent is newer than this program and may not understand it: upgrade sessionctl."
        }
        (Some(own), Some(agent)) if own > agent => {
            "The agent is older than this program and may not understand it: end it with `sessionctl shutdown` and start the \
             new one."
        }
        _ => {
            "The agent and this program have different versions and may not understand each other."
        }
    })
}

type Version = (u64, u64, u64);

/// What must be equal for two versions to understand each other.
fn api(version: Version) -> (u64, u64) {
    match version {
        (0, minor, _) => (0, minor),
        (major, ..) => (major, 0),
    }
}

fn parse(text: &str) -> Option<Version> {
    let core = text.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_versions() {
        let said = |own, agent| skew(own, agent).unwrap();
        assert_eq!(skew("0.1.0", "0.1.0"), None);
        assert!(said("0.1.0", "0.1.1").contains("newer than this program: upgrade"));
        assert!(said("0.1.1", "0.1.0").contains("after an upgrade"));
        assert!(said("0.1.9", "0.2.0").contains("newer than this program and may not"));
        assert!(said("0.2.0", "0.1.9").contains("older than this program and may not"));
        assert!(said("1.2.0", "1.10.0").contains("newer than this program: upgrade"));
        assert!(said("2.0.0", "1.10.0").contains("older than this program and may not"));
        for odd in ["", "1", "x.y.z", "1.2.3.4", "0.1.0-rc1"] {
            assert!(said("0.1.0", odd).contains("different versions"), "{odd}");
        }
    }
}
