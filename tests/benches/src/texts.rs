//! Messages as people write them, more or less: few words are common, most are rare, and most messages are short.

/// A small generator of numbers: what is measured is the same in every run.
pub struct Random(u64);

impl Random {
    /// Always the same row of numbers for a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

/// How many different words there are.
const WORDS: u64 = 20_000;

/// The word with that number; 0 is the most common.
pub fn word(number: u64) -> String {
    const HEADS: &[u8] = b"bdfgklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    let mut rest = number;
    let mut word = String::new();
    loop {
        let syllable = rest % 70;
        word.push(char::from(HEADS[(syllable / 5) as usize]));
        word.push(char::from(VOWELS[(syllable % 5) as usize]));
        rest /= 70;
        if rest == 0 {
            break word;
        }
        rest -= 1;
    }
}

/// 1 to 24 words, 9 on average; word 0 is in about every fourth message.
pub fn text(random: &mut Random) -> String {
    let count = 1
        + random.below(12)
        + if random.below(4) == 0 {
            random.below(12)
        } else {
            0
        };
    let words: Vec<String> = (0..count)
        .map(|_| {
            // Log-uniform: the frequency of a word falls with its number.
            let exponent = random.below(1_000) as f64 / 1_000.0;
            let number = (WORDS as f64).powf(exponent) - 1.0;
            word(number as u64)
        })
        .collect();
    words.join(" ")
}
