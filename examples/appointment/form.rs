//! From the JSON of a request to values that can be stored, or to a [`Problem`] that names every bad field.

use std::collections::HashSet;
use std::fmt;

use axum::http::StatusCode;
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};
use outbox::smtp::{MailError, Mailbox};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::problem::{FieldError, Problem};

const MAX_NAME: usize = 200;
const MAX_NOTES: usize = 4_000;
/// A body full of mistakes is not answered with an even larger one.
const MAX_ERRORS: usize = 20;
/// Of a field's name that a client made up, so much is repeated, in characters.
const MAX_FIELD: usize = 100;

/// What `POST /appointment` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAppointment {
    pub name: String,
    pub email: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub notes: String,
}

/// What `PUT /appointment/{id}` asks for: the times, and whatever else should change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reschedule {
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub name: Option<String>,
    pub email: Option<String>,
    pub notes: Option<String>,
}

impl NewAppointment {
    /// Reads the body of a booking.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut form = Form::read(body)?;
        let name = form.required("name", name);
        let email = form.required("email", email);
        let (starts_at, ends_at) = form.period();
        let notes = form.optional("notes", notes);
        form.finish()?;
        match (name, email, starts_at, ends_at) {
            (Some(name), Some(email), Some(starts_at), Some(ends_at)) => {
                Ok(Self { name, email, starts_at, ends_at, notes: notes.unwrap_or_default() })
            }
            // `finish` has refused a form with a missing field.
            _ => Err(Problem::internal()),
        }
    }
}

impl Reschedule {
    /// Reads the body of a reschedule.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut form = Form::read(body)?;
        let name = form.optional("name", name);
        let email = form.optional("email", email);
        let (starts_at, ends_at) = form.period();
        let notes = form.optional("notes", notes);
        form.finish()?;
        match (starts_at, ends_at) {
            (Some(starts_at), Some(ends_at)) => Ok(Self { starts_at, ends_at, name, email, notes }),
            _ => Err(Problem::internal()),
        }
    }
}

/// The fields of a JSON object while they are checked. Mistakes are collected, so that a client can mend them in
/// one go.
#[derive(Default)]
struct Form {
    fields: Vec<(String, Value)>,
    errors: Vec<FieldError>,
}

impl Form {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let Fields(given) = serde_json::from_slice(body).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the body is not a JSON object: {error}"))
        })?;
        let mut form = Self::default();
        let mut seen = HashSet::new();
        for (field, value) in given {
            if seen.insert(field.clone()) {
                form.fields.push((field, value));
            } else {
                form.refuse(&field, "is given twice");
            }
        }
        Ok(form)
    }

    fn optional<T>(&mut self, field: &str, check: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let index = self.fields.iter().position(|(name, _)| name == field)?;
        let (_, value) = self.fields.swap_remove(index);
        if value.is_null() {
            return None;
        }
        check(&value).map_err(|detail| self.refuse(field, detail)).ok()
    }

    fn required<T>(&mut self, field: &str, check: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let errors = self.errors.len();
        let value = self.optional(field, check);
        if value.is_none() && self.errors.len() == errors {
            self.refuse(field, "is missing");
        }
        value
    }

    fn period(&mut self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let starts_at = self.required("startsAtUtc", instant);
        let ends_at = self.required("endsAtUtc", instant);
        if let (Some(starts_at), Some(ends_at)) = (starts_at, ends_at)
            && ends_at <= starts_at
        {
            self.refuse("endsAtUtc", "must be after startsAtUtc, by a second at least");
        }
        (starts_at, ends_at)
    }

    /// Notes a mistake, unless there are plenty already.
    fn refuse(&mut self, field: &str, detail: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            let field = field.chars().take(MAX_FIELD).collect();
            self.errors.push(FieldError { field, detail: detail.into() });
        }
    }

    /// What nobody asked for is a mistake too: a misspelt field must not be ignored.
    fn finish(mut self) -> Result<(), Problem> {
        for (field, _) in std::mem::take(&mut self.fields) {
            self.refuse(&field, "is not a field of an appointment");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

fn name(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    at_most(text, MAX_NAME)?;
    without_control(text, |_| false, "must not hold control characters")?;
    let text = text.trim();
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn notes(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    at_most(text, MAX_NOTES)?;
    without_control(
        text,
        |c| matches!(c, '\r' | '\n'),
        "must not hold control characters other than line breaks",
    )?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// One address without a display name. The rules are those of the mail that will carry it.
fn email(value: &Value) -> Result<String, String> {
    let address = text(value)?;
    match Mailbox::new(address) {
        Ok(_) => Ok(address.to_owned()),
        Err(MailError::Address { reason }) => {
            Err(format!("must be one plain address like ada@example.org: {reason}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// RFC 3339. The field's name says UTC, so a time without an offset is taken as UTC. Calendars count whole seconds.
fn instant(value: &Value) -> Result<DateTime<Utc>, String> {
    let text = text(value)?;
    let parsed = DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()));
    parsed
        .ok()
        .and_then(|time| time.with_nanosecond(0))
        .filter(|time| (1970..=9999).contains(&time.year()))
        .ok_or_else(|| "must be a time like 2030-05-01T09:30:00Z, of the years 1970 to 9999".to_owned())
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a string".to_owned())
}

fn at_most(text: &str, limit: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length <= limit { Ok(()) } else { Err(format!("has {length} characters; the limit is {limit}")) }
}

fn without_control(text: &str, allowed: impl Fn(char) -> bool, detail: &str) -> Result<(), String> {
    let refused = text.chars().any(|c| c.is_control() && !allowed(c));
    if refused { Err(detail.to_owned()) } else { Ok(()) }
}

/// A JSON object as a list of its fields. A map would drop the first of two fields with one name in silence.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
