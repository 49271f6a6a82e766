//! [`MailError`]: why a mail or an invitation could not be built.

use outbox_core::InvalidMessage;
use thiserror::Error;

/// Why a mail or an invitation could not be built: what is wrong with which field. Holds no address and no content.
///
/// Everything is refused before the message is enqueued, so nothing odd is ever stored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MailError {
    /// A required field was not given, or is empty.
    #[error("{field} is missing; set it")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A text is longer than its limit.
    #[error("{field} is {length} characters long; the limit is {limit}")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// Its length in characters.
        length: usize,
        /// The limit in characters.
        limit: usize,
    },
    /// A text holds a control character (NUL, escape, and in texts of one line a line break).
    #[error("{field} holds a control character; remove it")]
    ControlCharacter {
        /// The field's name.
        field: &'static str,
    },
    /// Not one plain mail address.
    #[error("not a mail address that can be used: {reason}")]
    Address {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A moment outside the years 1970 to 9999.
    #[error("{field} lies outside the years 1970 to 9999")]
    Time {
        /// The field's name.
        field: &'static str,
    },
    /// The appointment ends before it starts, or lasts less than a second.
    #[error("the appointment must end after it starts")]
    EndNotAfterStart,
    /// The identity of an appointment must be printable ASCII without spaces.
    #[error("the uid must be 1 to 255 printable ASCII characters without spaces, such as <uuid>@example.org")]
    Uid,
    /// A reschedule or a cancel with the sequence of the first request, which receivers would ignore, or a sequence
    /// beyond what a calendar can write.
    #[error("a reschedule or cancel needs a sequence of 1 to 2147483647, above that of what was sent before")]
    Sequence,
    /// Too many alarms, or one too long before the start.
    #[error("an invitation has at most 5 alarms, each at most 366 days before the start")]
    Alarms,
    /// Organizer and attendee are the same; Outlook throws such mail away.
    #[error("organizer and attendee are the same address; the organizer needs no invitation")]
    OrganizerIsAttendee,
    /// Sender and recipient of the mail are not organizer and attendee of its invitation.
    #[error(
        "the mail must go from the organizer to the attendee of its invitation, or receivers distrust it"
    )]
    NotTheInvitations,
    /// The rendered mail or calendar failed the check of the finished text: a defect of this library.
    #[error("the rendered {what} is not well formed ({flaw}); please report it")]
    Malformed {
        /// `mail` or `calendar`.
        what: &'static str,
        /// What the check found.
        flaw: &'static str,
    },
    /// The message around the mail is not valid.
    #[error("the mail cannot be enqueued")]
    Message(#[from] InvalidMessage),
}
