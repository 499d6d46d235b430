//! The second generation of the protocol, as far as a client of the first must know it: how to tell that another device
//! of the account has gone over to it.
//!
//! Promises: nothing here writes. Only what the account itself signed counts as a sign; a payload in namespace 0 proves
//! nothing, since anyone can store one: [`crate::envelope`] recognises it.
//!
//! Facts: v2.md 4.2 (record), 6.5 (device group), 9.1 (signs), 9.3 (what must not be done).

use crate::bt::{self, Value};
use crate::identity::{AccountId, ed25519_to_x25519, verify_ed25519, x25519_to_ed25519_positive};

/// Length of an ML-KEM-768 public key, in bytes.
const ML_KEM_PUBLIC: usize = 1184;

/// Account keys that an account has published in namespace -21 (sign S1): others will write to it in version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKeyRecord {
    /// X25519 public key.
    pub x25519: [u8; 32],
    /// First two bytes of the ML-KEM-768 key: names the generation in messages.
    pub indicator: [u8; 2],
}

/// Why a message of namespace 21 or -21 is no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No dictionary with the fields it needs.
    #[error("record is malformed: {0}")]
    Malformed(&'static str),
    /// Not signed by the account.
    #[error("signature does not verify")]
    BadSignature,
}

/// Reads a message of the account's namespace -21. Of several, the last valid one counts.
pub fn account_keys(account: &AccountId, data: &[u8]) -> Result<AccountKeyRecord, SignError> {
    let value = bt::parse(data).map_err(|_| SignError::Malformed("not bencode"))?;
    let ml_kem: [u8; ML_KEM_PUBLIC] = field(&value, b"M")?;
    let x25519 = field(&value, b"X")?;
    let key = x25519_to_ed25519_positive(account.x25519()).ok_or(SignError::BadSignature)?;
    check_signature(&key, &value, data)?;
    Ok(AccountKeyRecord {
        x25519,
        indicator: [ml_kem[0], ml_kem[1]],
    })
}

/// What is in the account's namespace 21.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceMessage {
    /// A group of devices (sign S2): at least one of version 2 is linked.
    Group {
        /// Which group, masked; absent from older ones.
        group_id: Option<[u8; 8]>,
    },
    /// A device asks to be linked. Proves nothing here.
    LinkRequest,
    /// Something of a later version.
    Unknown,
}

/// Reads a message of the account's namespace 21. A group of devices must be signed by `ed25519`, the account's key.
pub fn device_message(ed25519: &[u8; 32], data: &[u8]) -> Result<DeviceMessage, SignError> {
    let value = bt::parse(data).map_err(|_| SignError::Malformed("not bencode"))?;
    let kind = entry(&value, b"").ok_or(SignError::Malformed("no kind"))?;
    match kind {
        b"G" => {
            let group_id = entry(&value, b"@")
                .map(|id| id.try_into().map_err(|_| SignError::Malformed("@")))
                .transpose()?;
            check_signature(ed25519, &value, data)?;
            Ok(DeviceMessage::Group { group_id })
        }
        b"L" => Ok(DeviceMessage::LinkRequest),
        _ => Ok(DeviceMessage::Unknown),
    }
}

fn entry<'a>(value: &Value<'a>, key: &[u8]) -> Option<&'a [u8]> {
    value.as_dict()?.get(key)?.as_bytes()
}

fn field<const N: usize>(value: &Value<'_>, key: &'static [u8]) -> Result<[u8; N], SignError> {
    entry(value, key)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SignError::Malformed(
            std::str::from_utf8(key).unwrap_or_default(),
        ))
}

/// Checks the signature under `~`. It is over the encoded dictionary up to the length of that very key.
fn check_signature(key: &[u8; 32], value: &Value<'_>, data: &[u8]) -> Result<(), SignError> {
    let signature = entry(value, b"~").ok_or(SignError::Malformed("~"))?;
    let signature: &[u8; 64] = signature
        .try_into()
        .map_err(|_| SignError::Malformed("~"))?;
    // The value points into `data`; before it are its length and its key.
    let offset = signature.as_ptr().addr().wrapping_sub(data.as_ptr().addr());
    let signed = offset
        .checked_sub(b"1:~64:".len())
        .and_then(|end| data.get(..end))
        .ok_or(SignError::Malformed("~"))?;
    // A key of small order would verify anything.
    let usable = ed25519_to_x25519(key).is_some();
    (usable && verify_ed25519(key, signed, signature))
        .then_some(())
        .ok_or(SignError::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::AccountKeys;
    use crate::test_rng::Counting;
    use crate::xed25519;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn keys(byte: u8) -> AccountKeys {
        AccountKeys::from_ed25519_seed(&[byte; 32])
    }

    /// A dictionary with a signature of what comes before it, and `after` behind it.
    fn signed(
        entries: &[(&[u8], &[u8])],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
        after: &[(&[u8], &[u8])],
    ) -> Vec<u8> {
        let dict: BTreeMap<_, _> = entries
            .iter()
            .map(|(key, value)| (*key, Value::Bytes(value)))
            .collect();
        let mut bytes = Value::Dict(dict).to_bytes();
        bytes.pop();
        let signature = sign(&bytes);
        bt::write_bytes(&mut bytes, b"~");
        bt::write_bytes(&mut bytes, &signature);
        for (key, value) in after {
            bt::write_bytes(&mut bytes, key);
            bt::write_bytes(&mut bytes, value);
        }
        bytes.push(b'e');
        bytes
    }

    fn record(signer: &AccountKeys, length: usize, more: &[(&[u8], &[u8])]) -> Vec<u8> {
        let ml_kem: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut entries = vec![(b"M".as_slice(), ml_kem.as_slice()), (b"X", &[7; 32])];
        entries.extend_from_slice(more);
        let sign =
            |bytes: &[u8]| xed25519::sign(&mut Counting::default(), signer.x25519_secret(), bytes);
        signed(&entries, sign, &[])
    }

    #[test]
    fn published_keys_count_when_the_account_signed_them() {
        for byte in 1..9 {
            let own = keys(byte);
            let data = record(&own, ML_KEM_PUBLIC, &[]);
            assert_eq!(data.len(), 1302);
            let read = account_keys(&own.account_id(), &data).unwrap();
            assert_eq!((read.x25519, read.indicator), ([7; 32], [0, 1]));
            let other = keys(99).account_id();
            assert_eq!(account_keys(&other, &data), Err(SignError::BadSignature));
        }
    }

    #[test]
    fn records_of_later_versions_are_read_too() {
        let own = keys(1);
        let more = record(&own, ML_KEM_PUBLIC, &[(b"Z", b"new")]);
        assert!(account_keys(&own.account_id(), &more).is_ok());
        let sign =
            |bytes: &[u8]| xed25519::sign(&mut Counting::default(), own.x25519_secret(), bytes);
        let entries = [(b"M".as_slice(), &[1; ML_KEM_PUBLIC][..]), (b"X", &[7; 32])];
        let behind = signed(&entries, sign, &[(b"~P", b"unsigned")]);
        assert!(account_keys(&own.account_id(), &behind).is_ok());
    }

    #[test]
    fn malformed_records_are_refused() {
        let own = keys(1);
        let short = record(&own, ML_KEM_PUBLIC - 1, &[]);
        let read = |data: &[u8]| account_keys(&own.account_id(), data).unwrap_err();
        assert_eq!(read(&short), SignError::Malformed("M"));
        assert_eq!(read(b"de"), SignError::Malformed("M"));
        assert_eq!(read(b"x"), SignError::Malformed("not bencode"));
        let mut flipped = record(&own, ML_KEM_PUBLIC, &[]);
        flipped[100] ^= 1;
        assert_eq!(read(&flipped), SignError::BadSignature);
    }

    #[test]
    fn groups_of_devices_count_when_the_account_signed_them() {
        let own = keys(1);
        let group = |id: &[u8]| {
            let entries = [(b"".as_slice(), b"G".as_slice()), (b"@", id)];
            signed(&entries, |bytes| own.sign(bytes), &[])
        };
        let read = |data: &[u8]| device_message(&own.ed25519_public(), data);
        let group_id = Some([1; 8]);
        assert_eq!(read(&group(&[1; 8])), Ok(DeviceMessage::Group { group_id }));
        assert_eq!(read(&group(&[1; 7])), Err(SignError::Malformed("@")));
        let foreign = device_message(&keys(2).ed25519_public(), &group(&[1; 8]));
        assert_eq!(foreign, Err(SignError::BadSignature));
        assert_eq!(read(b"d0:1:Le"), Ok(DeviceMessage::LinkRequest));
        assert_eq!(read(b"d0:1:Xe"), Ok(DeviceMessage::Unknown));
        assert_eq!(read(b"de"), Err(SignError::Malformed("no kind")));
        assert_eq!(read(b"d0:1:Ge"), Err(SignError::Malformed("~")));
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(data: Vec<u8>) {
            let own = keys(1);
            prop_assert!(account_keys(&own.account_id(), &data).is_err());
            let read = device_message(&own.ed25519_public(), &data);
            let signed = matches!(read, Ok(DeviceMessage::Group { .. }));
            prop_assert!(!signed);
        }
    }
}
