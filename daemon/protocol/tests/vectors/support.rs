//! Reading of cases, counting of results, and replay of recorded randomness.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;

use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use session_protocol::{AccountId, AccountKeys};

/// One case. Its readers panic when a field is missing or of another type, which fails the case.
#[derive(Clone, Copy)]
pub struct Case<'a>(pub &'a Value);

impl<'a> Case<'a> {
    pub fn value(&self, name: &str) -> &'a Value {
        self.get(name).unwrap_or_else(|| panic!("no field {name}"))
    }

    /// `None` when absent or null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn object(&self, name: &str) -> Case<'a> {
        Case(self.value(name))
    }

    pub fn list(&self, name: &str) -> impl Iterator<Item = Case<'a>> {
        let list = self.value(name).as_array();
        list.unwrap_or_else(|| panic!("{name} is no list"))
            .iter()
            .map(Case)
    }

    pub fn kind(&self) -> Option<&'a str> {
        self.get("type").map(|_| self.text("type"))
    }

    pub fn text(&self, name: &str) -> &'a str {
        let text = self.value(name).as_str();
        text.unwrap_or_else(|| panic!("{name} is no text"))
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        self.list(name)
            .map(|item| item.as_text().to_owned())
            .collect()
    }

    pub fn as_text(&self) -> &'a str {
        self.0.as_str().expect("no text")
    }

    pub fn number(&self, name: &str) -> u64 {
        let number = self.value(name).as_u64();
        number.unwrap_or_else(|| panic!("{name} is no number"))
    }

    pub fn flag(&self, name: &str) -> bool {
        let flag = self.value(name).as_bool();
        flag.unwrap_or_else(|| panic!("{name} is no flag"))
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name)
            .try_into()
            .unwrap_or_else(|_| panic!("{name} has not {N} bytes"))
    }

    /// Keys of a field with a 32-byte Ed25519 seed.
    pub fn keys(&self, name: &str) -> AccountKeys {
        AccountKeys::from_ed25519_seed(&self.array(name))
    }

    pub fn account_id(&self, name: &str) -> AccountId {
        self.text(name)
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Draws of a list of hex strings.
    pub fn draws(&self, name: &str) -> Replay {
        Replay(
            self.list(name)
                .map(|draw| hex::decode(draw.as_text()).expect("hex"))
                .collect(),
        )
    }
}

/// Counts of a file or of all files.
#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<String>,
    skipped: BTreeMap<&'static str, usize>,
}

impl Report {
    pub fn pass(&mut self) {
        self.passed += 1;
    }

    pub fn skip(&mut self, reason: &'static str) {
        self.skip_many(reason, 1);
    }

    pub fn skip_many(&mut self, reason: &'static str, number: usize) {
        *self.skipped.entry(reason).or_default() += number;
    }

    pub fn skipped(&self) -> usize {
        self.skipped.values().sum()
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        for (reason, number) in other.skipped {
            self.skip_many(reason, number);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)?;
        if !self.failures.is_empty() {
            write!(f, ", {} FAILED", self.failures.len())?;
        }
        if !self.skipped.is_empty() {
            let reasons: Vec<String> = self
                .skipped
                .iter()
                .map(|(reason, number)| format!("{number} {reason}"))
                .collect();
            write!(f, ", {} skipped ({})", self.skipped(), reasons.join("; "))?;
        }
        Ok(())
    }
}

/// Gives recorded draws in order. A draw of another length, or one too many, fails the case.
pub struct Replay(VecDeque<Vec<u8>>);

impl Replay {
    pub fn of<const N: usize>(draws: [Vec<u8>; N]) -> Self {
        Self(draws.into())
    }

    pub fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// Fails the case when a recorded draw was not made.
    pub fn finish(self) {
        assert!(self.0.is_empty(), "{} draws were not made", self.0.len());
    }
}

impl TryRng for Replay {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("no number was recorded")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("no number was recorded")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let draw = self.0.pop_front().expect("one draw too many");
        assert_eq!(draw.len(), bytes.len(), "length of a draw");
        bytes.copy_from_slice(&draw);
        Ok(())
    }
}

impl TryCryptoRng for Replay {}
