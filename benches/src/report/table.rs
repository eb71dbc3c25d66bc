//! Tables in Markdown.

/// A table whose first column is text and whose others are figures. Columns are as wide as they must be,
/// so that it can be read as it stands too.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count().max(4));
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let rule: [String; N] = std::array::from_fn(|i| {
        let dashes = "-".repeat(widths[i] - usize::from(i > 0));
        if i == 0 { dashes } else { dashes + ":" }
    });
    let line = |cells: [&str; N]| {
        let mut line = String::from("|");
        for (i, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
            let cell = if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            line = line + " " + &cell + " |";
        }
        line + "\n"
    };
    let mut text = line(head) + &line(rule.each_ref().map(String::as_str));
    text.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_it_is_markdown() {
        let rows = [["ours".to_owned(), "12 µs".to_owned()], ["theirs".to_owned(), "1".to_owned()]];
        let expected = "\
| name   |  time |
| ------ | ----: |
| ours   | 12 µs |
| theirs |     1 |
";
        assert_eq!(table(["name", "time"], &rows), expected);
    }
}
