"""Reads a calendar from standard input with the Python package `icalendar`, and prints as JSON what it understood."""

import json
import sys

from icalendar import Calendar

calendar = Calendar.from_ical(sys.stdin.buffer.read())
events = [component for component in calendar.walk() if component.name == "VEVENT"]
broken = [str(error) for component in calendar.walk() for error in component.errors]
if broken or len(events) != 1:
    sys.exit(f"{len(events)} events; broken lines: {broken}")
event = events[0]


def text(name):
    return str(event[name]) if name in event else ""


def utc(name):
    return event[name].dt.strftime("%Y%m%dT%H%M%S%Z").replace("UTC", "Z")


json.dump(
    {
        "method": str(calendar["METHOD"]),
        "properties": sorted(name for name, _ in event.property_items(recursive=False) if name not in ("BEGIN", "END")),
        "uid": text("UID"),
        "sequence": int(event.get("SEQUENCE", -1)),
        "summary": text("SUMMARY"),
        "description": text("DESCRIPTION"),
        "location": text("LOCATION"),
        "status": text("STATUS"),
        "start": utc("DTSTART"),
        "end": utc("DTEND"),
        "organizer": text("ORGANIZER"),
        "attendee": text("ATTENDEE"),
        "attendee_name": str(event["ATTENDEE"].params.get("CN", "")),
        "alarms": [int(alarm["TRIGGER"].dt.total_seconds()) for alarm in event.walk("VALARM")],
    },
    sys.stdout,
)
