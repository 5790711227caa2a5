"""Does all that an application does with Twilio's Python library, against the base URL in BASE_URL.

SMS_USER and SMS_PASS are the account. CALLBACKS is a JSON list of requests that came back: url, body and signature of
each. Ends with one line of JSON: what the library itself signs and writes, for our side to read.
"""

import datetime
import json
import os
from urllib.parse import parse_qsl

from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.twiml.messaging_response import MessagingResponse

USER, PASSWORD = os.environ["SMS_USER"], os.environ["SMS_PASS"]
TO, POOL = "+4512345678", "MG" + "0a" * 16


def connect(user=USER, password=PASSWORD, account=USER):
    client = Client(user, password, account)
    client.api.base_url = os.environ["BASE_URL"]
    return client


def refused(code, status, call):
    try:
        call()
    except TwilioRestException as e:
        assert (e.code, e.status) == (code, status), e
        assert e.msg, e
    else:
        raise AssertionError(f"{code} was expected")


client = connect()
messages = client.messages

refused(20003, 401, lambda: connect(password="wrong").messages.create(to=TO, from_="Example", body="x"))
refused(20003, 401, lambda: connect(user="SK" + "0" * 32, password="wrong").messages("SM1").fetch())
refused(21604, 400, lambda: messages.create(to="", from_="Example", body="x"))
refused(21603, 400, lambda: messages.create(to=TO, body="x"))
refused(21602, 400, lambda: messages.create(to=TO, from_="Example", body=""))
refused(21617, 400, lambda: messages.create(to=TO, from_="Example", body="a" * 1601))
refused(21621, 400, lambda: messages.create(to=TO, from_="+4587654321", body="x", media_url=["https://a.example/b.png"]))
refused(21655, 400, lambda: messages.create(to=TO, from_="Example", content_sid="HX" + "0" * 32))
refused(21609, 400, lambda: messages.create(to=TO, from_="Example", body="x", status_callback="nowhere"))
refused(90007, 400, lambda: messages.create(to=TO, from_="Example", body="x", validity_period=36001))
refused(35111, 400, lambda: messages.create(to=TO, messaging_service_sid=POOL, body="x", schedule_type="fixed"))
refused(20404, 404, lambda: messages("SM" + "f" * 32).fetch())
refused(20404, 404, lambda: messages("SMnothing").fetch())

first = messages.create(
    to=TO, from_="Example", body="Hej æ & co\n+1", status_callback="https://a.example/s?x=1&y=æ",
    validity_period=60, smart_encoded=True, provide_feedback=False, attempt=1,
)
assert first.status == "queued" and first.direction == "outbound-api", first.status
assert first.body == "Hej æ & co\n+1" and first.to == TO and first.from_ == "Example"
assert first.account_sid == USER and first.sid.startswith("SM") and len(first.sid) == 34
assert first.error_code is None and first.num_segments == "1" and first.num_media == "0"
assert first.date_created.tzinfo is not None and first.date_sent is None
pool = messages.create(to=TO, messaging_service_sid=POOL, body="x")
assert (pool.status, pool.num_segments, pool.messaging_service_sid) == ("accepted", "0", POOL)
later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
scheduled = messages.create(to=TO, messaging_service_sid=POOL, body="x", schedule_type="fixed", send_at=later)
assert scheduled.status == "scheduled", scheduled.status
by_key = connect(user="SK" + "0" * 32).messages.create(to=TO, from_="Example", body="with a key")
made = [by_key.sid, scheduled.sid, pool.sid, first.sid]

fetched = messages(first.sid).fetch()
assert (fetched.sid, fetched.body, fetched.status) == (first.sid, first.body, "queued")
assert fetched.uri.endswith(f"/Messages/{first.sid}.json")
listed = [m.sid for m in messages.list(page_size=1)]
assert listed == made, (listed, made)
assert [m.sid for m in messages.list(limit=2, to=TO)] == made[:2]
today = datetime.datetime.now(datetime.timezone.utc)
assert messages.list(to="+4500000000", date_sent_before=today, date_sent=today) == []

refused(20009, 409, lambda: messages(first.sid).delete())
assert messages(first.sid).update(status="canceled").status == "canceled"
refused(30409, 400, lambda: messages(first.sid).update(status="canceled"))
redacted = messages(first.sid).update(body="")
assert (redacted.body, redacted.status) == ("", "canceled")
assert messages(first.sid).delete() is True
refused(20404, 404, lambda: messages(first.sid).fetch())

assert client.api.accounts(USER).fetch().status == "active"
assert client.api.accounts(USER).balance.fetch().currency == "USD"
assert client.incoming_phone_numbers.list() == []

validator = RequestValidator(PASSWORD)
for callback in json.loads(os.environ["CALLBACKS"]):
    form = dict(parse_qsl(callback["body"], keep_blank_values=True))
    assert validator.validate(callback["url"], form, callback["signature"]), callback
    assert not validator.validate(callback["url"] + "x", form, callback["signature"]), callback

reply = MessagingResponse()
reply.message("Tak & æ", to=TO, from_="Example", status_callback="https://a.example/s?a=1&b=2")
reply.message().body("Nested <text>")
reply.redirect("https://a.example/more")
form = json.loads(os.environ["FORM"])
print(json.dumps({"twiml": str(reply), "signature": validator.compute_signature(os.environ["HOOK"], form)}))
