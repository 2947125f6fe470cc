"""What Python's strict parser and dkimpy say about messages: one JSON object a file, in the order given.

Arguments: a file of lines "name value" with TXT records, then message files.
"""

import email
import email.policy
import json
import sys

import dkim

records = {}
with open(sys.argv[1], encoding="ascii") as lines:
    for line in lines:
        name, value = line.rstrip("\n").split(" ", 1)
        records[name.encode() + b"."] = value.encode()


def look_up(name, timeout=5):
    return records.get(name)


def defects_of(message):
    found = []
    for part in message.walk():
        found += [repr(defect) for defect in part.defects]
        for name in part.keys():
            for value in part.get_all(name):
                found += [f"{name}: {defect!r}" for defect in getattr(value, "defects", [])]
    return found


for path in sys.argv[2:]:
    with open(path, "rb") as file:
        raw = file.read()
    message = email.message_from_bytes(raw, policy=email.policy.strict.clone(raise_on_defect=False))
    verified = []
    for index in range(len(message.get_all("DKIM-Signature") or [])):
        try:
            verified.append(dkim.DKIM(raw).verify(idx=index, dnsfunc=look_up))
        except dkim.DKIMException as error:
            verified.append(str(error))
    plain = message.get_body(("plain",))
    html = message.get_body(("html",))
    print(json.dumps({
        "defects": defects_of(message),
        "verified": verified,
        "subject": str(message["Subject"]),
        "from": str(message["From"].addresses[0].display_name),
        "text": plain.get_content() if plain else "",
        "html": html.get_content() if html else "",
    }))
