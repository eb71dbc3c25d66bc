//! Words of a shell's command line: what is printed to be typed again must be read as it was meant.

use std::borrow::Cow;

/// `text` as one word of a POSIX shell.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    // Between single quotes nothing has a meaning but the quote that ends them.
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
#[cfg(unix)]
pub(crate) mod tests {
    use std::process::Command;

    use super::*;

    /// What a real shell makes of a command line.
    pub(crate) fn words(line: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {line}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn every_text_is_one_word_of_a_shell() {
        for text in [
            "plain-7.gguf",
            "",
            "/with space/x.gguf",
            "it's",
            "'",
            "''",
            "\"$HOME\" `id` $(id) \\",
            "~",
            "a;b&c|d>e<f(g)h{i,j}k*l?m[n]o!p#q^r",
            "tab\tand\nline",
            "Größe",
        ] {
            assert_eq!(words(&word(text)), [text], "{}", word(text));
        }
        assert_eq!(word("/models/plain-7.gguf"), "/models/plain-7.gguf", "no quotes without need");
    }
}
