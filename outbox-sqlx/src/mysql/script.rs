//! [`Script`]: statements as text, several in one flight, without parameters.
//!
//! Nothing gets into one but numbers and hexadecimal digits, whatever the settings of the connection make of quotes and
//! backslashes.

use std::fmt::Write;
use std::time::Duration;

use outbox_core::MessageId;
use sqlx::{AssertSqlSafe, MySqlConnection, RawSql, SqlStr, raw_sql};
use tokio::time::timeout;

/// sqlx logs the text of a statement as a warning when it takes a second, unless it is told otherwise.
const BEFORE_IT_IS_LOGGED: Duration = Duration::from_millis(700);

/// A script whose words in braces are being filled in.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
}

impl Script {
    pub(super) fn new(file: &SqlStr) -> Self {
        Self { text: file.as_str().to_owned() }
    }

    /// Puts a number, or NULL, in the place of `{word}`.
    pub(super) fn number(self, word: &str, number: Option<i64>) -> Self {
        let text = number.map_or_else(|| "NULL".to_owned(), |number| number.to_string());
        self.fill(word, &text)
    }

    /// Puts a JSON list of numbers in the place of `{word}`, which stands in quotes.
    pub(super) fn list(self, word: &str, numbers: impl IntoIterator<Item = i64>) -> Self {
        self.fill(word, &json_list(numbers))
    }

    /// Puts a JSON list of pairs of numbers in the place of `{word}`, which stands in quotes.
    pub(super) fn pairs(self, word: &str, pairs: impl IntoIterator<Item = (i64, i64)>) -> Self {
        self.fill(word, &json_pairs(pairs))
    }

    /// Puts a value in the place of `{word}`.
    pub(super) fn value(self, word: &str, value: Value<'_>) -> Self {
        let mut text = String::new();
        value.write(&mut text);
        self.fill(word, &text)
    }

    /// Puts rows of values in the place of `{word}`.
    pub(super) fn rows<'v, const N: usize>(
        self,
        word: &str,
        rows: impl IntoIterator<Item = [Value<'v>; N]>,
    ) -> Self {
        let mut text = String::new();
        for row in rows {
            text.push_str(if text.is_empty() { "(" } else { ", (" });
            for (column, value) in row.into_iter().enumerate() {
                if column > 0 {
                    text.push(',');
                }
                value.write(&mut text);
            }
            text.push(')');
        }
        self.fill(word, &text)
    }

    /// Puts the condition that `seq` lies in one of `ranges` in the place of `{word}`.
    pub(super) fn ranges(self, word: &str, ranges: &[(i64, i64)]) -> Self {
        let conditions: Vec<String> =
            ranges.iter().map(|(from, to)| format!("seq BETWEEN {from} AND {to}")).collect();
        self.fill(word, &format!("({})", conditions.join(" OR ")))
    }

    /// The whole, ready to run.
    pub(super) fn run(self) -> RawSql {
        // Our own file, numbers and hexadecimal digits, no data.
        raw_sql(AssertSqlSafe(self.text))
    }

    /// Runs a script that carries data, on a connection of the application. It must be one statement without rows.
    ///
    /// As text, and not with parameters, for two reasons. A statement that is dropped while the server prepares it
    /// leaves sqlx waiting for ever at the next one on its connection (sqlx 0.9); text is sent and answered in one step.
    /// And many messages take one round trip, as one does.
    ///
    /// But the application's connection may log slow statements with their text. So nobody is kept waiting for this one
    /// for long: its answer is then taken together with that of another, which has nothing to tell.
    pub(super) async fn execute(self, conn: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        match timeout(BEFORE_IT_IS_LOGGED, self.run().execute(&mut *conn)).await {
            Ok(done) => done.map(drop),
            Err(_) => raw_sql("DO 0").execute(conn).await.map(drop),
        }
    }

    fn fill(self, word: &str, text: &str) -> Self {
        Self { text: self.text.replace(&format!("{{{word}}}"), text) }
    }
}

/// A value in a script.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    Number(Option<i64>),
    Bytes(&'v [u8]),
    Text(Option<&'v str>),
    Id(MessageId),
}

impl Value<'_> {
    fn write(self, script: &mut String) {
        match self {
            Self::Number(Some(number)) => {
                let _ = write!(script, "{number}");
            }
            Self::Number(None) | Self::Text(None) => script.push_str("NULL"),
            Self::Bytes(bytes) => hex(bytes, script),
            Self::Id(id) => hex(id.as_uuid().as_bytes(), script),
            Self::Text(Some(text)) => {
                script.push_str("_utf8mb4 ");
                hex(text.as_bytes(), script);
            }
        }
    }
}

fn hex(bytes: &[u8], script: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    script.reserve(3 + 2 * bytes.len());
    script.push_str("x'");
    for byte in bytes {
        script.push(char::from(DIGITS[usize::from(byte >> 4)]));
        script.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    script.push('\'');
}

/// `[1,2,3]`.
pub(super) fn json_list(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut text = String::from("[");
    for number in numbers {
        if text.len() > 1 {
            text.push(',');
        }
        let _ = write!(text, "{number}");
    }
    text.push(']');
    text
}

/// Pairs of numbers as the statements take them.
pub(super) fn json_pairs(pairs: impl IntoIterator<Item = (i64, i64)>) -> String {
    let mut text = String::from("[");
    for (first, second) in pairs {
        text.push_str(if text.len() > 1 { ",[" } else { "[" });
        let _ = write!(text, "{first},{second}]");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr;

    use super::*;

    #[test]
    fn only_numbers_and_hexadecimal_digits_get_in() {
        let script = Script::new(&"{a} {a} '{b}' {c} {d} {e} {f}".into_sql_str());
        let script = script.number("a", Some(-7)).list("b", [1, 2]).value("c", Value::Text(Some("';--é")));
        let script = script.number("d", None).ranges("e", &[(5, 6), (8, 8)]);
        let script = script.rows(
            "f",
            [[Value::Bytes(b"\0'"), Value::Text(None)], [Value::Bytes(b""), Value::Number(Some(1))]],
        );
        let expected = "-7 -7 '[1,2]' _utf8mb4 x'273b2d2dc3a9' NULL (seq BETWEEN 5 AND 6 OR seq BETWEEN 8 AND 8) \
                        (x'0027',NULL), (x'',1)";
        assert_eq!(script.text, expected);
    }
}
