//! An invitation as iCalendar text (RFC 5545, RFC 5546).

use chrono::Duration;
use icalendar::{
    Alarm, Attendee, CUType, Calendar, Component, Event, EventLike, EventStatus, PartStat, Property, Role,
};

use crate::invite::{InviteEvent, Kind};
use crate::{MailError, Mailbox, content_line};

/// The calendar object of one event: the same event gives the same bytes.
///
/// The calendar crate escapes texts and prints the lines. It prints raw what it takes for its own (CR and LF in
/// parameters and addresses), fills in a missing `UID` or `DTSTAMP` at random and now, and folds a little late;
/// therefore every value comes in checked, everything is set, and the print is folded anew and checked.
pub(crate) fn render(event: &InviteEvent) -> Result<String, MailError> {
    let vevent = vevent(event);
    let mut calendar = Calendar::empty();
    for property in [
        ("VERSION", "2.0"),
        ("PRODID", "-//outbox//outbox-transport-smtp//EN"),
        ("CALSCALE", "GREGORIAN"),
        ("METHOD", event.method()),
    ] {
        calendar.append_property(property);
    }
    let properties = calendar.properties.len() + count(&vevent);
    calendar.push(vevent);
    content_line::finish(&calendar.to_string(), properties)
}

fn vevent(event: &InviteEvent) -> Event {
    let status = match event.kind {
        Kind::Request | Kind::Reschedule => EventStatus::Confirmed,
        Kind::Cancel => EventStatus::Cancelled,
    };
    let mut vevent = Event::new();
    vevent
        .uid(&event.uid)
        .sequence(event.sequence)
        .timestamp(event.stamp)
        .last_modified(event.stamp)
        .starts(event.starts)
        .ends(event.ends)
        .summary(&event.summary)
        .status(status)
        .add_property("TRANSP", "OPAQUE")
        .append_property(organizer(&event.organizer))
        .attendee(attendee(event));
    if let Some(created) = event.created {
        vevent.created(created);
    }
    if !event.description.is_empty() {
        vevent.description(&event.description);
    }
    if !event.location.is_empty() {
        vevent.location(&event.location);
    }
    for minutes in &event.alarms {
        vevent.alarm(alarm(event, *minutes));
    }
    vevent.done()
}

fn organizer(organizer: &Mailbox) -> Property {
    let mut property = Property::new("ORGANIZER", mailto(organizer));
    if let Some(name) = organizer.name() {
        property.add_parameter("CN", &content_line::parameter(name));
    }
    property.done()
}

fn attendee(event: &InviteEvent) -> Attendee {
    Attendee {
        cn: event.attendee.name().map(content_line::parameter),
        cutype: Some(CUType::Individual),
        role: Some(Role::ReqParticipant),
        part_stat: Some(PartStat::NeedsAction),
        // A cancellation asks for no answer.
        rsvp: (event.kind != Kind::Cancel).then_some(true),
        ..Attendee::new(mailto(&event.attendee))
    }
}

fn alarm(event: &InviteEvent, minutes: u64) -> Alarm {
    let mut alarm = Alarm::display(&event.summary, Duration::zero());
    alarm
        // In minutes: some calendars read no other unit.
        .add_property("TRIGGER", format!("-PT{minutes}M"))
        .uid(&format!("{}-alarm-{minutes}", event.uid))
        .timestamp(event.stamp);
    alarm
}

/// A `mailto` URI (RFC 6068). Of what an address may hold, it encodes what a URI may not.
fn mailto(mailbox: &Mailbox) -> String {
    let mut uri = String::from("mailto:");
    for c in mailbox.address().to_string().chars() {
        match c {
            '%' | '/' | '?' | '#' | '&' | '=' | '^' | '`' | '{' | '|' | '}' => {
                uri.push_str(&format!("%{:02X}", u32::from(c)))
            }
            c => uri.push(c),
        }
    }
    uri
}

fn count<C: Component>(component: &C) -> usize {
    let own = component.properties().len();
    let multi: usize = component.multi_properties().values().map(Vec::len).sum();
    own + multi + component.components().iter().map(count).sum::<usize>()
}
