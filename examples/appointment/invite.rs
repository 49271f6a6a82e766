//! From an appointment to the message that tells the guest.

use std::time::Duration;

use outbox::NewMessage;
use outbox::smtp::{CalendarInvite, EmailMessage, MailError, Mailbox};

use crate::booking::Appointment;

/// The topic under which invitations lie in the outbox; the dispatcher routes it to the mail relay.
pub const TOPIC: &str = "invitations";

/// What happened to an appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Booked,
    Rescheduled,
    Cancelled,
}

impl Change {
    /// The iTIP method that calendars understand (RFC 5546): a reschedule is a request with a higher sequence.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Booked | Self::Rescheduled => "REQUEST",
            Self::Cancelled => "CANCEL",
        }
    }
}

/// The message: a mail with a calendar invitation, rendered here and now. What is stored are its final bytes, so
/// every attempt sends the same mail, and a change to this function never alters what is already waiting.
pub fn message(appointment: &Appointment, change: Change, organizer: &str) -> Result<NewMessage, MailError> {
    // Stable for the life of the appointment: by it, calendars know which entry to move or to remove. The mail takes
    // it for its key, too, so the outbox delivers the messages of one appointment in their order.
    let uid = format!("{}@appointments.example.org", appointment.id);
    let invite = match change {
        Change::Booked => CalendarInvite::request(uid),
        Change::Rescheduled => CalendarInvite::reschedule(uid, appointment.sequence),
        Change::Cancelled => CalendarInvite::cancel(uid, appointment.sequence),
    };
    let summary = format!("Appointment for {}", appointment.name);
    let invite = invite
        .organizer(Mailbox::new(organizer)?.named("Bookings")?)
        .attendee(Mailbox::new(&appointment.email)?.named(&appointment.name)?)
        .time(appointment.starts_at.into(), appointment.ends_at.into())
        .summary(&summary)
        .description(&appointment.notes)
        .alarm(Duration::from_secs(15 * 60))
        .build()?;

    let (subject, opening) = match change {
        Change::Booked => (format!("Invitation: {summary}"), "your appointment is booked."),
        Change::Rescheduled => (format!("Changed: {summary}"), "your appointment has changed."),
        Change::Cancelled => (format!("Cancelled: {summary}"), "your appointment is cancelled."),
    };
    let from = appointment.starts_at.format("%A, %-d %B %Y, %H:%M");
    let to = appointment.ends_at.format("%A, %-d %B %Y, %H:%M");
    let text = format!(
        "Hello {},\n\n{opening}\n\n  from {from} UTC\n  to   {to} UTC\n\n{}\n",
        appointment.name, appointment.notes
    );
    let message = EmailMessage::invitation(invite).subject(subject).text(text).build()?.to_message(TOPIC)?;
    Ok(message.build()?)
}
