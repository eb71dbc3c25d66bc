//! From the bytes of tokens to text that may be shown: a character that is not whole yet, and text that
//! may turn out to be a stop string, are held back.
//!
//! What comes out depends on the bytes alone, not on how they were cut into tokens.

use std::str;

/// The text of one request.
#[derive(Debug)]
pub(crate) struct TextFilter {
    stops: Vec<String>,
    /// The start of a character: at most 3 bytes between calls.
    bytes: Vec<u8>,
    /// Whole characters that are or may be the start of a stop string.
    held: String,
    stopped: bool,
}

impl TextFilter {
    /// A filter for non-empty stop strings.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        debug_assert!(stops.iter().all(|stop| !stop.is_empty()));
        Self { stops, bytes: Vec::new(), held: String::new(), stopped: false }
    }

    /// Where the next token's bytes are to be appended, before [`advance`](Self::advance).
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends to `out` what has become certain. Returns the index of the stop string that is now
    /// complete: the one that ends first, of these the one that starts first. `out` then ends where it
    /// starts, and the text after it is gone.
    pub(crate) fn advance(&mut self, out: &mut String) -> Option<usize> {
        self.decode(false);
        if let Some((start, index)) = self.first_stop() {
            out.push_str(&self.held[..start]);
            self.held.clear();
            self.bytes.clear();
            self.stopped = true;
            return Some(index);
        }
        let certain = self.held.len() - self.partial_stop();
        out.extend(self.held.drain(..certain));
        None
    }

    /// What is still held back, when no more bytes come. A character that was never completed becomes
    /// U+FFFD; after a stop there is nothing.
    pub(crate) fn finish(&mut self) -> String {
        if !self.stopped {
            self.decode(true);
        }
        std::mem::take(&mut self.held)
    }

    /// Moves whole characters from `bytes` to `held`; bytes that are no UTF-8 become U+FFFD, as in
    /// [`String::from_utf8_lossy`].
    fn decode(&mut self, last: bool) {
        let mut from = 0;
        loop {
            let rest = &self.bytes[from..];
            match str::from_utf8(rest) {
                Ok(text) => {
                    self.held.push_str(text);
                    from = self.bytes.len();
                    break;
                }
                Err(error) => {
                    let (valid, _) = rest.split_at(error.valid_up_to());
                    // `valid` is UTF-8 by what the error says; lossy spares an unwrap.
                    self.held.push_str(&String::from_utf8_lossy(valid));
                    from += valid.len();
                    match error.error_len() {
                        Some(bad) => from += bad,
                        None if last => from = self.bytes.len(),
                        None => break,
                    }
                    self.held.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
        self.bytes.drain(..from);
    }

    /// Start and index of the stop string in `held` that ends first.
    fn first_stop(&self) -> Option<(usize, usize)> {
        self.stops
            .iter()
            .enumerate()
            .filter_map(|(index, stop)| self.held.find(stop.as_str()).map(|start| (start, index)))
            .min_by_key(|(start, index)| (start + self.stops[*index].len(), *start))
    }

    /// Bytes at the end of `held` that a stop string starts with. They split no character: they begin as
    /// the stop string does, with the first byte of one, and end where `held` ends.
    fn partial_stop(&self) -> usize {
        let held = self.held.as_bytes();
        self.stops
            .iter()
            .map(|stop| {
                let stop = stop.as_bytes();
                (1..stop.len().min(held.len() + 1))
                    .rev()
                    .find(|len| held.ends_with(&stop[..*len]))
                    .unwrap_or(0)
            })
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and stop of `bytes` when they come in pieces that end at `cuts`.
    fn run(stops: &[&str], bytes: &[u8], cuts: &[usize]) -> (String, Option<usize>) {
        let mut filter = TextFilter::new(stops.iter().map(ToString::to_string).collect());
        let mut out = String::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            filter.bytes_mut().extend_from_slice(&bytes[from..to]);
            from = to;
            if let Some(index) = filter.advance(&mut out) {
                assert_eq!(filter.finish(), "");
                return (out, Some(index));
            }
        }
        out.push_str(&filter.finish());
        (out, None)
    }

    /// Every way to cut `bytes` into up to three pieces, and into single bytes.
    fn every_cut(stops: &[&str], bytes: &[u8], expected: (&str, Option<usize>)) {
        let expected = (expected.0.to_owned(), expected.1);
        let all: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(run(stops, bytes, &all), expected);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                assert_eq!(run(stops, bytes, &[first, second]), expected, "cut {first}, {second}");
            }
        }
    }

    #[test]
    fn a_stop_string_ends_the_text_wherever_it_is_cut() {
        every_cut(&["STOP"], b"to be STOP or not", ("to be ", Some(0)));
        every_cut(&["STOP"], b"STSTOP", ("ST", Some(0)));
        every_cut(&["\n\n", "User:"], b"hi\nUser: x\n\n", ("hi\n", Some(1)));
        every_cut(&["aab"], b"aaab", ("a", Some(0)));
    }

    #[test]
    fn the_stop_that_ends_first_wins() {
        every_cut(&["abcd", "bc"], b"abcd", ("a", Some(1)));
        every_cut(&["bc", "abc"], b"abc", ("", Some(1)));
        every_cut(&["same", "same"], b"same", ("", Some(0)));
    }

    #[test]
    fn a_stop_that_does_not_come_is_given_back() {
        every_cut(&["STOP"], b"STO", ("STO", None));
        every_cut(&["STOP"], b"STOST", ("STOST", None));
    }

    #[test]
    fn characters_are_whole_or_replaced() {
        every_cut(&[], "zażółć 🦀!".as_bytes(), ("zażółć 🦀!", None));
        every_cut(&["🦀"], "a🦁🦀b".as_bytes(), ("a🦁", Some(0)));
        every_cut(&[], b"a\xF0\x9F\xA6", ("a\u{FFFD}", None));
        every_cut(&["\u{FFFD}"], b"a\xFFb", ("a", Some(0)));
        every_cut(&[], b"\xFF\xFEa\xE2\x28", ("\u{FFFD}\u{FFFD}a\u{FFFD}(", None));
    }

    #[test]
    fn nothing_is_held_longer_than_needed() {
        let mut filter = TextFilter::new(vec!["STOP".to_owned()]);
        let mut out = String::new();
        filter.bytes_mut().extend_from_slice("é ST".as_bytes());
        assert_eq!(filter.advance(&mut out), None);
        assert_eq!(out, "é ");
        filter.bytes_mut().extend_from_slice(b"A");
        assert_eq!(filter.advance(&mut out), None);
        assert_eq!(out, "é STA");
    }
}
