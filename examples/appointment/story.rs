//! What the program tells on the terminal: the life of one sample appointment, from booking to mailbox.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chrono::{Days, Utc};
use serde_json::{Value, json};

use crate::client;
use crate::database::Database;
use crate::mailbox::Mailbox;
use crate::settings::Settings;

/// How long the sample may take from booking to mailbox.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints a line. Standard output may be a pipe that nobody reads any more, which is no reason to stop serving.
pub fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// Books the sample, waits until it is delivered, and tells about both. Fails if that takes too long.
pub async fn tell(
    api: SocketAddr,
    settings: &Settings,
    database: &dyn Database,
    mailbox: Option<&Mailbox>,
) -> Result<()> {
    let sample_to = &settings.sample_to;
    let started = Instant::now();
    let day = Utc::now().date_naive() + Days::new(1);
    let sample = json!({
        "name": "Ada Example",
        "email": sample_to,
        "startsAtUtc": format!("{day}T10:00:00Z"),
        "endsAtUtc": format!("{day}T10:30:00Z"),
        "notes": "The first appointment.\nBooked by the example itself.",
    });
    // The key makes the booking idempotent: a second start on the same day finds the sample of the first.
    let request = Request::post("/appointment")
        .header(header::CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", format!("sample of {day} for {sample_to}"))
        .body(Body::from(sample.to_string()))?;
    let (head, answer) = client::send(api, request).await?.into_parts();
    if head.status != StatusCode::CREATED {
        bail!(
            "the sample could not be booked: {}",
            answer["detail"].as_str().unwrap_or("no reason was given")
        );
    }
    let id = answer["id"].as_str().context("the API answered without an id")?;
    let message_id = answer["messageId"].as_str().context("the API answered without a messageId")?;
    if head.headers.contains_key("idempotency-replayed") {
        say("\n1. Booked already: an earlier start sent this POST today, with the same Idempotency-Key");
    } else {
        say("\n1. Booked: POST /appointment, for tomorrow 10:00 to 10:30 UTC");
    }
    let (kind, place) = database.name();
    say(format!("   Committed in one {kind} transaction:"));
    say(format!("     appointment  {id}"));
    say(format!("     message      {message_id}"));
    say(format!("     database     {place}"));

    let message = loop {
        let message = first_message(api, id).await?;
        if message["state"] == "delivered" {
            break message;
        }
        if started.elapsed() > PATIENCE {
            bail!("the sample was not delivered within {} s: {}", PATIENCE.as_secs(), why(&message));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    say("\n2. Delivered: the dispatcher read the message and sent it by SMTP");
    say(format!("     relay said   {}", message["receipt"].as_str().unwrap_or("(nothing)")));
    if let Some(mailbox) = mailbox {
        match mailbox.folder().find(message_id.parse()?).await? {
            Some(mail) => {
                say(format!("     mail         {}", mail.eml.display()));
                if let Some(ics) = mail.ics {
                    say(format!("     invitation   {}", ics.display()));
                }
            }
            None => say("     (an earlier start delivered it, and the mail was removed since)"),
        }
    }

    say(if settings.once { "\nStart again without --once to book another:" } else { "\nBook another:" });
    say(format!("  curl -i http://{api}/appointment -H 'Content-Type: application/json' \\"));
    say(format!(
        "    -d '{{\"name\":\"Bob\",\"email\":\"bob@example.org\",\"startsAtUtc\":\"{day}T14:00:00Z\",\"endsAtUtc\":\"{day}T14:30:00Z\",\"notes\":\"\"}}'"
    ));
    say(format!("See one, with the state of its messages:\n  curl http://{api}/appointment/{id}"));
    say(format!("Cancel it:\n  curl -X DELETE http://{api}/appointment/{id}"));
    Ok(())
}

/// The message of the booking itself, as `GET` shows it.
async fn first_message(api: SocketAddr, id: &str) -> Result<Value> {
    let request = Request::get(format!("/appointment/{id}")).body(Body::empty())?;
    let appointment = client::send(api, request).await?.into_body();
    Ok(appointment["messages"][0].clone())
}

fn why(message: &Value) -> String {
    let state = message["state"].as_str().unwrap_or("unknown");
    match message["lastFailure"].as_str() {
        Some(failure) => format!("its message is {state}; the last failure was: {failure}"),
        None => format!(
            "its message is {state} and no attempt was spent, so the relay cannot be used; the warnings above say why \
             (if there is none, it has not answered yet)"
        ),
    }
}
