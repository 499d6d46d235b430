//! Records: rows and entries as SQLite stores them (SQLite's file format, "Record Format").

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A value.
#[derive(Clone, PartialEq, ZeroizeOnDrop)]
pub enum Value {
    /// NULL
    Null,
    /// INTEGER
    Integer(i64),
    /// REAL
    Real(f64),
    /// TEXT
    Text(String),
    /// BLOB
    Blob(Vec<u8>),
}

impl Zeroize for Value {
    fn zeroize(&mut self) {
        match self {
            Self::Text(text) => text.zeroize(),
            Self::Blob(bytes) => bytes.zeroize(),
            Self::Integer(number) => number.zeroize(),
            Self::Real(number) => number.zeroize(),
            Self::Null => {}
        }
    }
}

impl Value {
    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Values in their order.
pub struct Record(pub Vec<Value>);

impl Record {
    /// Reads a record; `None` when it makes no sense as a whole.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut rest = payload;
        let size = usize::try_from(varint(&mut rest)?).ok()?;
        let mut header = payload.get(payload.len() - rest.len()..size)?;
        let mut body = payload.get(size..)?;
        let mut values = Vec::new();
        while !header.is_empty() {
            let kind = varint(&mut header)?;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => usize::try_from(kind).ok()?,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return None,
                _ => usize::try_from((kind - 12) / 2).ok()?,
            };
            let (bytes, after) = body.split_at_checked(length)?;
            body = after;
            values.push(match kind {
                0 => Value::Null,
                8 => Value::Integer(0),
                9 => Value::Integer(1),
                7 => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
                1..=6 => Value::Integer(integer(bytes)),
                _ if kind.is_multiple_of(2) => Value::Blob(bytes.to_vec()),
                _ => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
            });
        }
        Some(Self(values))
    }
}

/// A big-endian number with its sign.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |number: i64, byte| number << 8 | i64::from(*byte))
}

/// A number of one to nine bytes, which are taken from the front.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for count in 0..9 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        if count == 8 {
            return Some(number << 8 | u64::from(*first));
        }
        number = number << 7 | u64::from(first & 0x7f);
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_their_sign() {
        assert_eq!(integer(&[0xff]), -1);
        assert_eq!(integer(&[0x80, 0]), -32_768);
        assert_eq!(
            integer(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (1 << 47) - 1
        );
        assert_eq!(integer(&i64::MIN.to_be_bytes()), i64::MIN);
        let mut long = [0xff; 9].as_slice();
        assert_eq!(varint(&mut long), Some(u64::MAX));
        assert_eq!(varint(&mut [0x81, 0x00].as_slice()), Some(128));
        assert_eq!(varint(&mut [0x81].as_slice()), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            drop(Record::parse(&bytes));
        }
    }
}
