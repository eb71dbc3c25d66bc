//! Numbers and text for people.

use std::time::Duration;

use console::measure_text_width;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something, whose name in the plural ends in s.
pub(crate) fn counted(number: impl Into<u64>, one: &str) -> String {
    let number = number.into();
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A time in the unit that keeps it short.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Tokens in a time, a second; 0 for no time.
pub(crate) fn rate(tokens: impl Into<u64>, time: Duration) -> f64 {
    let tokens = tokens.into();
    if tokens == 0 || time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}

/// What a terminal shows as written: control characters, of which a model may generate any, become
/// spaces.
pub(crate) fn harmless(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|character| if character.is_control() { ' ' } else { character })
}

/// The end of `text` on one line of at most `columns` columns: after an ellipsis when something is cut,
/// with one space where it has several or a new line.
pub(crate) fn tail(text: &str, columns: usize) -> String {
    let width = |character: char| measure_text_width(character.encode_utf8(&mut [0; 4]));
    let mut text: Vec<char> = harmless(text).collect();
    text.dedup_by(|next, before| (*next, *before) == (' ', ' '));
    if text.iter().map(|character| width(*character)).sum::<usize>() <= columns {
        return text.into_iter().collect();
    }
    let mut room = columns.saturating_sub(1);
    let mut start = text.len();
    while let Some(before) = start.checked_sub(1)
        && let Some(left) = room.checked_sub(width(text[before]))
    {
        (start, room) = (before, left);
    }
    let ellipsis = (columns > 0).then_some('…');
    ellipsis.into_iter().chain(text[start..].iter().copied()).collect()
}

/// `text` in lines of at most `columns` columns where its words allow it, each after `indent`.
pub(crate) fn paragraphs(text: &str, indent: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.trim_end().trim_start_matches(['\r', '\n']).lines() {
        let line: String = harmless(line).collect();
        let mut used = 0;
        out.push_str(indent);
        for (index, word) in line.trim_end().split(' ').enumerate() {
            let width = measure_text_width(word);
            if index > 0 && used + 1 + width > columns {
                out.push('\n');
                out.push_str(indent);
                used = 0;
            } else if index > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += width;
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_are_short() {
        let numbers = [0_u32, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        let counts = [0_u32, 1, 1_000].map(|count| counted(count, "block"));
        assert_eq!(counts, ["0 blocks", "1 block", "1,000 blocks"]);
        let times = [740, 2_340, 212_400, 5_030_000].map(|us| time(Duration::from_micros(us)));
        assert_eq!(times, ["740 µs", "2.3 ms", "212 ms", "5.0 s"]);
    }

    #[test]
    fn no_tokens_or_no_time_are_no_rate() {
        assert!(rate(10_u32, Duration::from_secs(4)).total_cmp(&2.5).is_eq());
        assert!(rate(10_u32, Duration::ZERO).total_cmp(&0.0).is_eq());
    }

    #[test]
    fn a_tail_fits_and_says_that_it_is_one() {
        assert_eq!(tail("a sky", 5), "a sky");
        assert_eq!(tail("a blue sky", 5), "… sky");
        assert_eq!(tail("a\n\nblue\x1b[31m", 12), "a blue [31m");
        assert_eq!(tail("blue", 1), "…");
        assert_eq!(tail("blue", 0), "");
        // Two columns each: the one that would stand half outside is left out.
        assert_eq!(tail("天空是蓝", 6), "…是蓝");
    }

    #[test]
    fn lines_break_between_words_and_where_the_model_broke_them() {
        assert_eq!(
            paragraphs("one two three\n\n- four\n", "  ", 7),
            "  one two\n  three\n\n  - four\n"
        );
        assert_eq!(paragraphs("extraordinary", " ", 4), " extraordinary\n");
        assert_eq!(paragraphs("a\x1b[2Jb", "", 80), "a [2Jb\n");
        assert_eq!(paragraphs("\n\n", "  ", 80), "");
        assert_eq!(paragraphs("\n\n  a\n", "", 80), "  a\n");
    }
}
