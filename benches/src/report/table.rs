//! Tables in Markdown.

/// A table whose first column is text and whose others are figures. Columns are as wide as they must be,
/// so that it can be read as it stands too.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    table_of(&head, rows)
}

/// The same with a number of columns that only the figures know. Rows are as long as the head.
pub fn table_of<R: AsRef<[String]>>(head: &[&str], rows: &[R]) -> String {
    let mut widths: Vec<_> = head.iter().map(|cell| cell.chars().count().max(4)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = cell.chars().count().max(*width);
        }
    }
    let rule = |(i, width): (usize, &usize)| {
        let dashes = "-".repeat(width - usize::from(i > 0));
        if i == 0 { dashes } else { dashes + ":" }
    };
    let rule: Vec<_> = widths.iter().enumerate().map(rule).collect();
    let line = |cells: &[&str]| {
        let mut line = String::from("|");
        for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let cell = if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            line = line + " " + &cell + " |";
        }
        line + "\n"
    };
    let texts = |cells: &[String]| line(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    let mut text = line(head) + &texts(&rule);
    text.extend(rows.iter().map(|row| texts(row.as_ref())));
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
