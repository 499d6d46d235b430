//! Padding of a Content before encryption.
//!
//! Facts: messages.md 2.2. Written by today's rule; the older rule is only read. Group messages pad otherwise.

/// Padded contents have a length that is a multiple of this, in bytes.
pub const BLOCK: usize = 160;

/// Pads as writers do today: 0x80, then 1 to 160 zero bytes.
pub fn pad(content: &[u8]) -> Vec<u8> {
    let zeros = BLOCK - (content.len() + 1) % BLOCK;
    let mut padded = Vec::with_capacity(content.len() + 1 + zeros);
    padded.extend_from_slice(content);
    padded.push(0x80);
    padded.resize(content.len() + 1 + zeros, 0);
    padded
}

/// Takes the padding off; reads both rules. What has no 0x80 before its zeros was never padded and is
/// returned whole: a content may well end in zero bytes.
pub fn unpad(padded: &[u8]) -> &[u8] {
    let end = padded
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    match padded[..end].split_last() {
        Some((0x80, content)) => content,
        _ => padded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_agree_with_messages_12_5() {
        for (length, padded) in [
            (0, 160),
            (1, 160),
            (158, 160),
            (159, 320),
            (160, 320),
            (319, 480),
        ] {
            assert_eq!(pad(&vec![1; length]).len(), padded);
        }
    }

    #[test]
    fn what_was_never_padded_stays_whole() {
        for content in [b"a\0\0".as_slice(), b"\0\0", b"abc", b""] {
            assert_eq!(unpad(content), content);
        }
    }

    proptest! {
        #[test]
        fn padding_comes_off(content: Vec<u8>) {
            let padded = pad(&content);
            prop_assert_eq!(padded.len() % BLOCK, 0);
            prop_assert_eq!(unpad(&padded), content);
        }

        #[test]
        fn the_older_rule_is_read(mut content: Vec<u8>) {
            let unpadded = content.clone();
            content.push(0x80);
            content.resize(content.len().next_multiple_of(BLOCK), 0);
            prop_assert_eq!(unpad(&content), unpadded);
        }
    }
}
