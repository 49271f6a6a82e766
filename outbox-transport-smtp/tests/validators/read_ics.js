// Reads a calendar from standard input with the npm package `ical.js`, and prints as JSON what it understood.
// ICAL_NODE_MODULES names the folder that holds the package.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

const find = createRequire(join(process.env.ICAL_NODE_MODULES, "reader.js"));

import(pathToFileURL(find.resolve("ical.js"))).then((loaded) => {
  const ICAL = loaded.default;
  const calendar = new ICAL.Component(ICAL.parse(readFileSync(0, "utf8")));
  const events = calendar.getAllSubcomponents("vevent");
  if (calendar.name !== "vcalendar" || events.length !== 1) {
    throw new Error(`${calendar.name} with ${events.length} events`);
  }
  const event = events[0];
  const value = (name) => event.getFirstPropertyValue(name);
  const text = (name) => value(name) ?? "";
  const utc = (name) => value(name).toICALString();
  console.log(
    JSON.stringify({
      method: calendar.getFirstPropertyValue("method"),
      properties: event.getAllProperties().map((property) => property.name.toUpperCase()).sort(),
      uid: text("uid"),
      sequence: value("sequence") ?? -1,
      summary: text("summary"),
      description: text("description"),
      location: text("location"),
      status: text("status"),
      start: utc("dtstart"),
      end: utc("dtend"),
      organizer: text("organizer"),
      attendee: text("attendee"),
      attendee_name: event.getFirstProperty("attendee").getFirstParameter("cn") ?? "",
      alarms: event.getAllSubcomponents("valarm").map((alarm) => alarm.getFirstPropertyValue("trigger").toSeconds()),
    }),
  );
});
