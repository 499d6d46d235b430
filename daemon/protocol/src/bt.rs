//! Bencode: integers, byte strings, lists and dictionaries.
//!
//! [`parse`] is strict: it accepts only what [`Value::to_bytes`] writes, so a parsed document has one spelling.
//! [`parse_lenient`] accepts what the official library's value parser does. Both are total and bounded: nesting is
//! limited, and what is built is proportional to the input.
//!
//! Facts: config.md 2 (canonical form); the laxer rules are those of the vectors in `bt_encoding.json`.

use std::collections::BTreeMap;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// Most digits without leading zeros that are looked at; more cannot be in range.
const MAX_DIGITS: usize = 40;

/// A bencoded value; strings point into the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer. Strict parsing gives those of 64 signed bits, lenient parsing also up to `u64::MAX`.
    Int(i128),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A list.
    List(Vec<Value<'a>>),
    /// A dictionary, in the order of its keys' bytes.
    Dict(BTreeMap<&'a [u8], Value<'a>>),
}

/// Why bytes are not one bencoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtError {
    /// The input ends too early, or a string is shorter than it says.
    #[error("bencode is cut short")]
    Truncated,
    /// Something other than the start of a value.
    #[error("bencode is malformed")]
    Malformed,
    /// A number outside its range.
    #[error("bencoded number is out of range")]
    Range,
    /// Valid, but not in canonical form.
    #[error("bencode is not canonical")]
    NotCanonical,
    /// Nested too deeply.
    #[error("bencode is nested too deeply")]
    TooDeep,
    /// Bytes behind the value.
    #[error("bencode has trailing bytes")]
    Trailing,
}

impl<'a> Value<'a> {
    /// Canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Self::Bytes(bytes) => write_bytes(out, bytes),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    write_bytes(out, key);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// The string, if it is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The dictionary, if it is one.
    pub fn as_dict(&self) -> Option<&BTreeMap<&'a [u8], Value<'a>>> {
        match self {
            Self::Dict(entries) => Some(entries),
            _ => None,
        }
    }
}

/// Appends a byte string.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Splits the byte string at the start of `input` from the rest. Leading zeros in its length are accepted.
pub fn read_bytes(input: &[u8]) -> Result<(&[u8], &[u8]), BtError> {
    let mut reader = Reader {
        rest: input,
        strict: false,
    };
    let bytes = reader.bytes()?;
    Ok((bytes, reader.rest))
}

/// Parses one value in canonical form: sorted keys without repetition, no leading zeros, integers of 64 bits.
pub fn parse(input: &[u8]) -> Result<Value<'_>, BtError> {
    Reader {
        rest: input,
        strict: true,
    }
    .document()
}

/// Parses one value as the official library does: leading zeros, `-0`, integers up to `u64::MAX` and keys in any
/// order pass; of repeated keys the first counts.
pub fn parse_lenient(input: &[u8]) -> Result<Value<'_>, BtError> {
    Reader {
        rest: input,
        strict: false,
    }
    .document()
}

struct Reader<'a> {
    rest: &'a [u8],
    strict: bool,
}

impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Value<'a>, BtError> {
        let value = self.value(MAX_DEPTH)?;
        if self.rest.is_empty() {
            Ok(value)
        } else {
            Err(BtError::Trailing)
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, BtError> {
        let depth = depth.checked_sub(1).ok_or(BtError::TooDeep)?;
        match self.rest.first().ok_or(BtError::Truncated)? {
            b'0'..=b'9' => Ok(Value::Bytes(self.bytes()?)),
            b'i' => self.integer(),
            b'l' => {
                self.skip();
                let mut items = Vec::new();
                while !self.end()? {
                    items.push(self.value(depth)?);
                }
                Ok(Value::List(items))
            }
            b'd' => self.dict(depth),
            _ => Err(BtError::Malformed),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value<'a>, BtError> {
        self.skip();
        let mut entries = BTreeMap::new();
        while !self.end()? {
            let key = self.bytes()?;
            let in_order = entries
                .last_key_value()
                .is_none_or(|(last, _): (&&[u8], _)| *last < key);
            if self.strict && !in_order {
                return Err(BtError::NotCanonical);
            }
            let value = self.value(depth)?;
            entries.entry(key).or_insert(value);
        }
        Ok(Value::Dict(entries))
    }

    fn integer(&mut self) -> Result<Value<'a>, BtError> {
        self.skip();
        let negative = self.rest.first() == Some(&b'-');
        if negative {
            self.skip();
        }
        let magnitude = self.number(b'e')?;
        if negative && magnitude == 0 && self.strict {
            return Err(BtError::NotCanonical);
        }
        let number = if negative { -magnitude } else { magnitude };
        let highest = if self.strict {
            i128::from(i64::MAX)
        } else {
            i128::from(u64::MAX)
        };
        if (i128::from(i64::MIN)..=highest).contains(&number) {
            Ok(Value::Int(number))
        } else {
            Err(BtError::Range)
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], BtError> {
        let length = self.number(b':')?;
        let length = usize::try_from(length).map_err(|_| BtError::Range)?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(BtError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Decimal digits up to `end`, which is taken off too.
    fn number(&mut self, end: u8) -> Result<i128, BtError> {
        let digits = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (text, rest) = self.rest.split_at(digits);
        match rest.first() {
            None => return Err(BtError::Truncated),
            Some(byte) if *byte == end && digits > 0 => {}
            Some(_) => return Err(BtError::Malformed),
        }
        self.rest = &rest[1..];
        let significant = without_leading_zeros(text);
        if self.strict && significant.len() != digits && digits > 1 {
            return Err(BtError::NotCanonical);
        }
        if significant.len() > MAX_DIGITS {
            return Err(BtError::Range);
        }
        significant.iter().try_fold(0_i128, |number, digit| {
            number
                .checked_mul(10)
                .and_then(|number| number.checked_add(i128::from(digit - b'0')))
                .ok_or(BtError::Range)
        })
    }

    fn end(&mut self) -> Result<bool, BtError> {
        let at_end = *self.rest.first().ok_or(BtError::Truncated)? == b'e';
        if at_end {
            self.skip();
        }
        Ok(at_end)
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Owned shape from which a borrowed value is made.
    #[derive(Clone, Debug)]
    enum Tree {
        Int(i64),
        Bytes(Vec<u8>),
        List(Vec<Tree>),
        Dict(BTreeMap<Vec<u8>, Tree>),
    }

    impl Tree {
        fn value(&self) -> Value<'_> {
            match self {
                Self::Int(number) => Value::Int((*number).into()),
                Self::Bytes(bytes) => Value::Bytes(bytes),
                Self::List(items) => Value::List(items.iter().map(Self::value).collect()),
                Self::Dict(entries) => Value::Dict(
                    entries
                        .iter()
                        .map(|(key, item)| (key.as_slice(), item.value()))
                        .collect(),
                ),
            }
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Tree::Int),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Tree::Bytes),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
                prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..4), inner, 0..6)
                    .prop_map(Tree::Dict),
            ]
        })
    }

    /// Bytes that are more often nearly bencode than not.
    fn almost() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop::sample::select(b"idle0123456789:-ab\xff".to_vec()),
            0..60,
        )
    }

    proptest! {
        #[test]
        fn every_value_survives(tree in tree()) {
            let bytes = tree.value().to_bytes();
            prop_assert_eq!(parse(&bytes), Ok(tree.value()));
            prop_assert_eq!(parse_lenient(&bytes), Ok(tree.value()));
        }

        #[test]
        fn strict_accepts_only_its_own_spelling(input in almost()) {
            if let Ok(value) = parse(&input) {
                prop_assert_eq!(value.to_bytes(), input);
            }
        }

        #[test]
        fn lenient_accepts_more_and_agrees(input in almost()) {
            if let Ok(value) = parse(&input) {
                prop_assert_eq!(parse_lenient(&input), Ok(value));
            }
        }

        #[test]
        fn any_bytes_get_an_answer(input: Vec<u8>) {
            let _ = parse(&input);
            let _ = parse_lenient(&input);
            let _ = read_bytes(&input);
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_recursing() {
        let deep = vec![b'l'; 1_000_000];
        assert_eq!(parse_lenient(&deep), Err(BtError::TooDeep));
        let allowed = [vec![b'l'; MAX_DEPTH], vec![b'e'; MAX_DEPTH]].concat();
        assert!(parse(&allowed).is_ok());
    }

    #[test]
    fn long_numbers_end_in_an_error() {
        let long = [b"i".as_slice(), &vec![b'9'; 100_000], b"e"].concat();
        assert_eq!(parse_lenient(&long), Err(BtError::Range));
        let zeros = [b"i".as_slice(), &vec![b'0'; 1000], b"7e"].concat();
        assert_eq!(parse_lenient(&zeros), Ok(Value::Int(7)));
        assert_eq!(parse(&zeros), Err(BtError::NotCanonical));
    }
}
