//! The list of active nodes in binary form, as newer nodes give it (network.md 1.5).
//!
//! 51 bytes a node: Ed25519 key 32, swarm id 8 and, all big-endian, IPv4 address 4, HTTPS port 2, OMQ port 2, version 3.
//! The X25519 key follows from the Ed25519 key.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::answer::{MalformedAnswer, NodeRecord};
use crate::identity::ed25519_to_x25519;

/// Bytes of a node.
const RECORD: usize = 51;

/// Nodes differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn malformed(what: &'static str) -> MalformedAnswer {
    MalformedAnswer {
        method: "active_nodes_bin",
        what,
    }
}

/// Reads the answer within an onion answer: base64 of the records.
pub fn active_nodes(body: &Value) -> Result<Vec<NodeRecord>, MalformedAnswer> {
    let text = body.as_str().ok_or(malformed("no text"))?;
    let bytes = BASE64.decode(text).map_err(|_| malformed("no base64"))?;
    from_bytes(&bytes)
}

/// Reads the records themselves. Nodes that have not yet published where they are, are left out.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<NodeRecord>, MalformedAnswer> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(malformed("not a multiple of 51 bytes"));
    }
    Ok(records.iter().filter_map(record).collect())
}

fn record(bytes: &[u8; RECORD]) -> Option<NodeRecord> {
    let (ed25519, rest) = bytes.split_first_chunk::<32>()?;
    let (swarm_id, rest) = rest.split_first_chunk::<8>()?;
    let (ip, rest) = rest.split_first_chunk::<4>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (omq_port, _version) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let blank = *ed25519 == [0; 32] || *ip == [0; 4] || port == 0 || *omq_port == [0; 2];
    if blank {
        return None;
    }
    Some(NodeRecord {
        ip: (*ip).into(),
        port,
        ed25519: *ed25519,
        x25519: ed25519_to_x25519(ed25519)?,
        swarm_id: Some(u64::from_be_bytes(*swarm_id)),
        requested_unlock_height: 0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::AccountKeys;

    fn encode(seed: u8) -> ([u8; RECORD], AccountKeys) {
        let keys = AccountKeys::from_ed25519_seed(&[seed; 32]);
        let mut record = [0; RECORD];
        record[..32].copy_from_slice(&keys.ed25519_public());
        record[32..40].copy_from_slice(&0xf4ff_ffff_ffff_fffe_u64.to_be_bytes());
        record[40..44].copy_from_slice(&[203, 0, 113, seed]);
        record[44..46].copy_from_slice(&22_021_u16.to_be_bytes());
        record[46..48].copy_from_slice(&22_020_u16.to_be_bytes());
        record[48..].copy_from_slice(&[2, 11, 0]);
        (record, keys)
    }

    #[test]
    fn records_are_read_and_blank_ones_left_out() {
        let (first, keys) = encode(1);
        let (second, _) = encode(2);
        let mut bytes = [first, second].concat();
        for blank in [0..32, 40..44, 44..46, 46..48] {
            let (mut record, _) = encode(3);
            record[blank].fill(0);
            bytes.extend(record);
        }
        // No point of the curve.
        let (mut record, _) = encode(3);
        record[..32].fill(0xff);
        record[0] = 2;
        bytes.extend(record);
        let nodes = from_bytes(&bytes).unwrap();
        assert_eq!(nodes.len(), 2);
        assert_eq!(
            nodes[0],
            NodeRecord {
                ip: [203, 0, 113, 1].into(),
                port: 22_021,
                ed25519: keys.ed25519_public(),
                x25519: keys.x25519_public(),
                swarm_id: Some(0xf4ff_ffff_ffff_fffe),
                requested_unlock_height: 0,
            }
        );
        for text in [
            BASE64.encode(&bytes),
            BASE64.encode(&bytes).replace('=', ""),
        ] {
            assert_eq!(active_nodes(&text.into()).unwrap(), nodes);
        }
        assert!(from_bytes(&bytes[1..]).is_err());
        assert!(active_nodes(&Value::from("*")).is_err());
        assert!(active_nodes(&Value::Null).is_err());
        assert_eq!(from_bytes(&[]), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,80}") {
            let read = from_bytes(&bytes);
            prop_assert_eq!(read.is_ok(), bytes.len() % RECORD == 0);
            drop(active_nodes(&Value::from(text)));
            prop_assert_eq!(active_nodes(&Value::from(BASE64.encode(&bytes))), read);
        }
    }
}
