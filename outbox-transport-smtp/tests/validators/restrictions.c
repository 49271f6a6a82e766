/* Reads a calendar from standard input and checks it with libical: the grammar of RFC 5545 and, by its METHOD, the
   restrictions of RFC 5546. Prints what libical finds and exits 1; exits 0 when it finds nothing. */
#include <libical/ical.h>
#include <stdio.h>
#include <string.h>

static int report(icalcomponent *component)
{
    int found = 0;
    icalproperty *property = icalcomponent_get_first_property(component, ICAL_ANY_PROPERTY);
    for (; property; property = icalcomponent_get_next_property(component, ICAL_ANY_PROPERTY)) {
        if (icalproperty_isa(property) == ICAL_XLICERROR_PROPERTY) {
            printf("%s: %s\n", icalcomponent_kind_to_string(icalcomponent_isa(component)),
                   icalproperty_get_value_as_string(property));
            found = 1;
        }
    }
    icalcomponent *child = icalcomponent_get_first_component(component, ICAL_ANY_COMPONENT);
    for (; child; child = icalcomponent_get_next_component(component, ICAL_ANY_COMPONENT)) {
        found |= report(child);
    }
    return found;
}

int main(void)
{
    static char text[1 << 20];
    size_t length = fread(text, 1, sizeof text - 1, stdin);
    if (strlen(text) != length) {
        printf("the calendar holds a NUL\n");
        return 1;
    }
    icalcomponent *calendar = icalparser_parse_string(text);
    if (!calendar || icalcomponent_isa(calendar) != ICAL_VCALENDAR_COMPONENT) {
        printf("not one calendar\n");
        return 1;
    }
    int valid = icalrestriction_check(calendar);
    int found = report(calendar);
    if (!valid && !found) {
        printf("a restriction is violated\n");
    }
    icalcomponent_free(calendar);
    return !valid || found;
}
