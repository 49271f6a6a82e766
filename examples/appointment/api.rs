//! The HTTP API: four verbs on `/appointment`. See README.md beside this folder for what each answers.

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use outbox::smtp::MailError;
use outbox::{MessageDetail, MessageId, MessageState};
use serde::Serialize;
use uuid::Uuid;

use crate::booking::{Appointment, BookingError, Bookings, Receipt, SentMessage};
use crate::form::{NewAppointment, Reschedule};
use crate::problem::Problem;

/// 4,000 characters of notes, each written as `\ud83d\ude00`, still fit.
const MAX_BODY: usize = 64 * 1024;
/// A request that takes longer is given up: reading its body, waiting for the database, everything.
const DEADLINE: Duration = Duration::from_secs(20);

/// The routes.
pub fn router(bookings: Bookings) -> Router {
    Router::new()
        .route("/appointment", post(book))
        .route("/appointment/{id}", get(show).put(reschedule).delete(cancel))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing here; try POST /appointment")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not know the method; see Allow")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(within_deadline))
        .with_state(bookings)
}

/// What every change answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptBody {
    id: Uuid,
    message_id: MessageId,
}

impl From<Receipt> for ReceiptBody {
    fn from(receipt: Receipt) -> Self {
        Self { id: receipt.appointment, message_id: receipt.message }
    }
}

async fn book(
    State(bookings): State<Bookings>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let new = NewAppointment::read(&json(&headers, body)?)?;
    let receipt = bookings.book(new, key).await?;
    let location = format!("/appointment/{}", receipt.appointment);
    let mut response =
        (StatusCode::CREATED, [(header::LOCATION, location)], Json(ReceiptBody::from(receipt)))
            .into_response();
    if receipt.repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn reschedule(
    State(bookings): State<Bookings>,
    AppointmentId(id): AppointmentId,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReceiptBody>, Problem> {
    let to = Reschedule::read(&json(&headers, body)?)?;
    Ok(Json(bookings.reschedule(id, to).await?.into()))
}

async fn cancel(
    State(bookings): State<Bookings>,
    AppointmentId(id): AppointmentId,
) -> Result<Json<ReceiptBody>, Problem> {
    Ok(Json(bookings.cancel(id).await?.into()))
}

async fn show(
    State(bookings): State<Bookings>,
    AppointmentId(id): AppointmentId,
) -> Result<Json<AppointmentBody>, Problem> {
    let (appointment, messages) = bookings.show(id).await?;
    Ok(Json(AppointmentBody::new(appointment, messages)))
}

/// What `GET` answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppointmentBody {
    id: Uuid,
    name: String,
    email: String,
    starts_at_utc: DateTime<Utc>,
    ends_at_utc: DateTime<Utc>,
    notes: String,
    status: &'static str,
    sequence: u32,
    messages: Vec<MessageBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody {
    message_id: MessageId,
    sequence: u32,
    method: String,
    /// `null` once the history was purged.
    state: Option<MessageState>,
    /// Attempts that failed.
    failed_attempts: u32,
    last_failure: Option<String>,
    receipt: Option<String>,
}

impl AppointmentBody {
    fn new(appointment: Appointment, messages: Vec<(SentMessage, Option<MessageDetail>)>) -> Self {
        let Appointment { id, name, email, starts_at, ends_at, notes, sequence, cancelled } = appointment;
        Self {
            id,
            name,
            email,
            starts_at_utc: starts_at,
            ends_at_utc: ends_at,
            notes,
            status: if cancelled { "cancelled" } else { "booked" },
            sequence,
            messages: messages.into_iter().map(MessageBody::from).collect(),
        }
    }
}

impl From<(SentMessage, Option<MessageDetail>)> for MessageBody {
    fn from((sent, detail): (SentMessage, Option<MessageDetail>)) -> Self {
        let SentMessage { id, sequence, method } = sent;
        let (summary, receipt) = detail.map(|detail| (detail.summary, detail.receipt)).unzip();
        Self {
            message_id: id,
            sequence,
            method,
            state: summary.as_ref().map(|summary| summary.state),
            failed_attempts: summary.as_ref().map_or(0, |summary| summary.tally.attempts),
            last_failure: summary.and_then(|summary| summary.last_failure).map(|failure| failure.text),
            receipt: receipt.flatten(),
        }
    }
}

impl From<BookingError> for Problem {
    fn from(error: BookingError) -> Self {
        match error {
            BookingError::NotFound => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            BookingError::Cancelled => Self::new(StatusCode::CONFLICT, error.to_string()),
            BookingError::KeyReused => {
                Self::field("Idempotency-Key", "was used for another request; use a fresh one")
            }
            BookingError::OtherGuest => {
                Self::field("email", "cannot change; cancel the appointment and book a new one")
            }
            BookingError::Invitation(MailError::OrganizerIsAttendee) => {
                Self::field("email", "is our own address; we do not invite ourselves")
            }
            _ => {
                tracing::error!(error = &error as &dyn Error, "a request failed");
                if error.is_temporary() { Self::unavailable() } else { Self::internal() }
            }
        }
    }
}

/// The `{id}` of the path. What is no UUID names no appointment.
struct AppointmentId(Uuid);

impl<S: Send + Sync> FromRequestParts<S> for AppointmentId {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| BookingError::NotFound.into())
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells a client that its POST had been answered before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let plain = |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|b| matches!(b, b' '..=b'~'));
    match (key.to_str().ok().filter(plain), keys.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::field(
            "Idempotency-Key",
            "must be given once, as 1 to 255 printable ASCII characters",
        )),
    }
}

fn json(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON; send it with Content-Type: application/json",
        ));
    }
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes"))
        }
        status => Problem::new(status, "the body could not be read to its end"),
    })
}

async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the request took too long; send it again with the same Idempotency-Key",
        )
        .into_response(),
    }
}
