//! The frame of every onion layer: little-endian length, blob, JSON (network.md 5.1).

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its own length says.
    #[error("frame is cut short")]
    Truncated,
    /// The blob does not fit the length field.
    #[error("blob is too long for a frame")]
    TooLong,
}

/// Puts blob and JSON into a frame.
pub fn encode(blob: &[u8], json: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(blob.len()).map_err(|_| FrameError::TooLong)?;
    let mut frame = Vec::with_capacity(4 + blob.len() + json.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(blob);
    frame.extend_from_slice(json);
    Ok(frame)
}

/// Splits a frame into blob and JSON text. The JSON is not looked at.
pub fn decode(frame: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let (length, rest) = frame
        .split_first_chunk::<4>()
        .ok_or(FrameError::Truncated)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| FrameError::Truncated)?;
    rest.split_at_checked(length).ok_or(FrameError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_network_12() {
        let frame = encode(b"ciphertext", br#"{"headers":""}"#).unwrap();
        assert_eq!(frame, b"\x0a\0\0\0ciphertext{\"headers\":\"\"}");
    }

    proptest! {
        #[test]
        fn every_frame_survives(blob: Vec<u8>, json: Vec<u8>) {
            let frame = encode(&blob, &json).unwrap();
            prop_assert_eq!(decode(&frame), Ok((blob.as_slice(), json.as_slice())));
        }

        #[test]
        fn any_bytes_get_an_answer(frame: Vec<u8>) {
            if let Ok((blob, json)) = decode(&frame) {
                prop_assert_eq!(encode(blob, json), Ok(frame.clone()));
            }
        }
    }
}
