"""Reads a mail from standard input with Python's own `email` package, and prints its tree as JSON."""

import email
import email.policy
import json
import sys

mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTP)
parts = list(mail.walk())
defects = [repr(defect) for part in parts for defect in part.defects]
defects += [repr(defect) for part in parts for value in part.values() for defect in value.defects]
if defects:
    sys.exit(f"defects: {defects}")


def content(part):
    return None if part.is_multipart() else part.get_payload(decode=True).decode("utf-8")


json.dump(
    {
        "headers": [name for name in mail.keys()],
        "subject": mail["Subject"],
        "to_name": mail["To"].addresses[0].display_name,
        "to": [address.addr_spec for address in mail["To"].addresses],
        "parts": [[part.get_content_type(), part.get_param("method"), part.get_filename()] for part in parts],
        "contents": [content(part) for part in parts],
    },
    sys.stdout,
)
