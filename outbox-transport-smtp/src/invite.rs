//! [`CalendarInvite`]: one message about an appointment to one attendee.

use std::fmt;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use crate::text::{lines, one_line};
use crate::{MailError, Mailbox, ical};

/// An invitation to an appointment, its new time, or its cancellation, for one attendee (RFC 5546).
///
/// The appointment is one period of time in UTC. Its identity is the *uid*, which the caller chooses once and keeps
/// for the life of the appointment; each later message about it has a higher *sequence*. Receivers ignore a message
/// that is not newer than what they know.
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use outbox_transport_smtp::{CalendarInvite, MailError, Mailbox};
/// # fn main() -> Result<(), MailError> {
/// # let start = SystemTime::now();
/// let invite = CalendarInvite::request("0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org")
///     .organizer(Mailbox::new("studio@example.org")?.named("The studio")?)
///     .attendee(Mailbox::new("anna@example.com")?.named("Anna Berg")?)
///     .time(start, start + Duration::from_secs(30 * 60))
///     .summary("First lesson")
///     .alarm(Duration::from_secs(15 * 60))
///     .build()?;
/// # assert!(invite.to_ics().starts_with("BEGIN:VCALENDAR\r\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CalendarInvite {
    event: InviteEvent,
    ics: String,
}

/// What an invitation says, checked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct InviteEvent {
    pub(crate) kind: Kind,
    pub(crate) uid: String,
    pub(crate) sequence: u32,
    pub(crate) organizer: Mailbox,
    pub(crate) attendee: Mailbox,
    pub(crate) starts: DateTime<Utc>,
    pub(crate) ends: DateTime<Utc>,
    pub(crate) stamp: DateTime<Utc>,
    pub(crate) created: Option<DateTime<Utc>>,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) location: String,
    /// Minutes before the start.
    pub(crate) alarms: Vec<u64>,
}

/// What a message about an appointment does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Reschedule,
    Cancel,
}

impl Kind {
    /// The message type under which it lies in the outbox.
    pub(crate) const fn message_type(self) -> &'static str {
        match self {
            Self::Request => "invitation.request",
            Self::Reschedule => "invitation.reschedule",
            Self::Cancel => "invitation.cancel",
        }
    }
}

impl CalendarInvite {
    /// The longest summary and the longest location, in characters.
    pub const MAX_LINE: usize = 1_000;
    /// The longest description, in characters.
    pub const MAX_DESCRIPTION: usize = 32_000;
    /// The most alarms.
    pub const MAX_ALARMS: usize = 5;

    /// Starts a first invitation (sequence 0). `uid` names the appointment, in all the world: `<uuid>@your-domain`.
    pub fn request(uid: impl Into<String>) -> CalendarInviteBuilder {
        CalendarInviteBuilder::new(Kind::Request, uid.into(), 0)
    }

    /// Starts a message that replaces what was said about the appointment before. `sequence` must be above that of
    /// every message sent before about this uid.
    pub fn reschedule(uid: impl Into<String>, sequence: u32) -> CalendarInviteBuilder {
        CalendarInviteBuilder::new(Kind::Reschedule, uid.into(), sequence)
    }

    /// Starts a message that takes the appointment back. `sequence` must be above that of every message sent before
    /// about this uid. The alarms given are left out, as RFC 5546 wants it.
    pub fn cancel(uid: impl Into<String>, sequence: u32) -> CalendarInviteBuilder {
        CalendarInviteBuilder::new(Kind::Cancel, uid.into(), sequence)
    }

    /// The calendar object (`.ics`, RFC 5545), the same bytes that the mail carries; UTF-8 with CRLF line ends.
    #[must_use]
    pub fn to_ics(&self) -> &str {
        &self.ics
    }

    /// What receivers do with it: `REQUEST` or `CANCEL`.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        self.event.method()
    }

    /// The identity of the appointment.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.event.uid
    }

    /// The number of this message among those about the appointment.
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.event.sequence
    }

    /// Who invites.
    #[must_use]
    pub const fn organizer(&self) -> &Mailbox {
        &self.event.organizer
    }

    /// Who is invited.
    #[must_use]
    pub const fn attendee(&self) -> &Mailbox {
        &self.event.attendee
    }

    /// The title.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.event.summary
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.event.kind
    }
}

/// Without names, addresses and texts: a debug print must not carry personal data into a log.
impl fmt::Debug for CalendarInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalendarInvite")
            .field("method", &self.method())
            .field("uid", &self.uid())
            .field("sequence", &self.sequence())
            .finish_non_exhaustive()
    }
}

impl InviteEvent {
    pub(crate) const fn method(&self) -> &'static str {
        match self.kind {
            Kind::Request | Kind::Reschedule => "REQUEST",
            Kind::Cancel => "CANCEL",
        }
    }
}

/// Builds a [`CalendarInvite`]; [`build`](Self::build) checks everything.
#[derive(Clone)]
#[must_use = "call `build` for the invitation"]
pub struct CalendarInviteBuilder {
    kind: Kind,
    uid: String,
    sequence: u32,
    organizer: Option<Mailbox>,
    attendee: Option<Mailbox>,
    time: Option<(SystemTime, SystemTime)>,
    stamp: Option<SystemTime>,
    created: Option<SystemTime>,
    summary: String,
    description: String,
    location: String,
    alarms: Vec<Duration>,
}

impl CalendarInviteBuilder {
    const fn new(kind: Kind, uid: String, sequence: u32) -> Self {
        Self {
            kind,
            uid,
            sequence,
            organizer: None,
            attendee: None,
            time: None,
            stamp: None,
            created: None,
            summary: String::new(),
            description: String::new(),
            location: String::new(),
            alarms: Vec::new(),
        }
    }

    /// Sets who invites. Required. The mail goes out from this address, and answers of calendar programs come to it.
    pub fn organizer(mut self, organizer: Mailbox) -> Self {
        self.organizer = Some(organizer);
        self
    }

    /// Sets who is invited. Required. The mail goes to this address.
    pub fn attendee(mut self, attendee: Mailbox) -> Self {
        self.attendee = Some(attendee);
        self
    }

    /// Sets when the appointment starts and ends. Required. Parts of a second are dropped.
    pub fn time(mut self, starts: SystemTime, ends: SystemTime) -> Self {
        self.time = Some((starts, ends));
        self
    }

    /// Sets the title. Required. One line.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// Sets the text. Line breaks of every kind become one kind.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the place. One line.
    pub fn location(mut self, location: impl Into<String>) -> Self {
        self.location = location.into();
        self
    }

    /// Adds a reminder this long before the start, in whole minutes.
    pub fn alarm(mut self, before: Duration) -> Self {
        self.alarms.push(before);
        self
    }

    /// Sets when this message was written (`DTSTAMP`, `LAST-MODIFIED`); now, if it is not set. Among messages of
    /// one sequence, receivers take the later one.
    pub fn stamp(mut self, stamp: SystemTime) -> Self {
        self.stamp = Some(stamp);
        self
    }

    /// Sets when the appointment was made. A request takes the time of its stamp; a reschedule or cancel
    /// says nothing about it unless it is set.
    pub fn created(mut self, created: SystemTime) -> Self {
        self.created = Some(created);
        self
    }

    /// The finished invitation. Building it twice from the same values, the stamp among them, gives the same bytes.
    ///
    /// # Errors
    /// [`MailError`] names the field that is missing, too long, or wrong.
    pub fn build(self) -> Result<CalendarInvite, MailError> {
        let event = self.check()?;
        let ics = ical::render(&event)?;
        Ok(CalendarInvite { event, ics })
    }

    fn check(self) -> Result<InviteEvent, MailError> {
        let organizer = self.organizer.ok_or(MailError::Missing { field: "organizer" })?;
        let attendee = self.attendee.ok_or(MailError::Missing { field: "attendee" })?;
        let (starts, ends) = self.time.ok_or(MailError::Missing { field: "time" })?;
        let (starts, ends) = (utc("start", starts)?, utc("end", ends)?);
        let stamp = utc("stamp", self.stamp.unwrap_or_else(SystemTime::now))?;
        let created = self.created.map(|created| utc("created", created)).transpose()?;
        let summary = one_line("summary", &self.summary, CalendarInvite::MAX_LINE)?;
        let mut minutes: Vec<u64> = self.alarms.iter().map(|before| before.as_secs() / 60).collect();
        minutes.sort_unstable();
        minutes.dedup();

        if !(1..=255).contains(&self.uid.len()) || !self.uid.chars().all(|c| c.is_ascii_graphic()) {
            return Err(MailError::Uid);
        }
        // RFC 5545 3.3.8: integers have 32 bits with a sign.
        if self.kind != Kind::Request && !(1..=i32::MAX.unsigned_abs()).contains(&self.sequence) {
            return Err(MailError::Sequence);
        }
        if organizer.is_same_address(&attendee) {
            return Err(MailError::OrganizerIsAttendee);
        }
        if ends <= starts {
            return Err(MailError::EndNotAfterStart);
        }
        if summary.is_empty() {
            return Err(MailError::Missing { field: "summary" });
        }
        if minutes.len() > CalendarInvite::MAX_ALARMS
            || minutes.iter().any(|minutes| *minutes > 366 * 24 * 60)
        {
            return Err(MailError::Alarms);
        }
        Ok(InviteEvent {
            kind: self.kind,
            uid: self.uid,
            sequence: self.sequence,
            organizer,
            attendee,
            starts,
            ends,
            stamp,
            created: created.or((self.kind == Kind::Request).then_some(stamp)),
            summary,
            description: lines("description", &self.description, CalendarInvite::MAX_DESCRIPTION)?,
            location: one_line("location", &self.location, CalendarInvite::MAX_LINE)?,
            alarms: if self.kind == Kind::Cancel { Vec::new() } else { minutes },
        })
    }
}

/// Without names, addresses and texts.
impl fmt::Debug for CalendarInviteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalendarInviteBuilder")
            .field("uid", &self.uid)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// The moment in whole seconds, if calendars can write it: years have four digits.
pub(crate) fn utc(field: &'static str, moment: SystemTime) -> Result<DateTime<Utc>, MailError> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    seconds
        .filter(|seconds| *seconds < YEAR_10000)
        .and_then(|seconds| DateTime::from_timestamp(seconds.try_into().ok()?, 0))
        .ok_or(MailError::Time { field })
}
