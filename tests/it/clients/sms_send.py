"""Sends one SMS as an application does that reads what became of it: Twilio's library, or requests for the APIs without one.

The only argument is JSON: api, base, user, secret, from, to, text, callback, and sid for what is to be deleted. Prints the
id that it was given.
"""

import json
import sys

import requests
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

JOB = json.loads(sys.argv[1])
BASE, SECRET, FROM, TO, TEXT, CALLBACK = (JOB[key] for key in ("base", "secret", "from", "to", "text", "callback"))


def twilio():
    client = Client(JOB["user"], SECRET)
    client.api.base_url = BASE
    if JOB.get("sid"):
        return forget(client, JOB["sid"])
    message = client.messages.create(to=TO, from_=FROM, body=TEXT, status_callback=CALLBACK)
    assert client.messages(message.sid).fetch().sid == message.sid
    return message.sid


def forget(client, sid):
    assert client.messages(sid).update(body="").body == ""
    assert client.messages(sid).delete()
    assert sid not in [message.sid for message in client.messages.list(to=TO)]
    try:
        client.messages(sid).fetch()
    except TwilioRestException as error:
        return error.code
    raise AssertionError("a deleted message is still there")


def gatewayapi():
    message = {"sender": FROM.lstrip("+"), "message": TEXT, "callback_url": CALLBACK,
               "recipients": [{"msisdn": int(TO.lstrip("+"))}]}
    answer = requests.post(BASE + "/rest/mtsms", auth=(SECRET, ""), json=message)
    answer.raise_for_status()
    return answer.json()["ids"][0]


def waybill():
    message = {"from": FROM, "to": TO, "text": TEXT, "callback": CALLBACK}
    answer = requests.post(BASE + "/v1/sms", headers={"Authorization": "Bearer " + SECRET}, json=message)
    answer.raise_for_status()
    return answer.json()["id"]


def kannel():
    fields = {"username": JOB["user"], "password": SECRET, "from": FROM, "to": TO, "text": TEXT, "charset": "UTF-8",
              "coding": "0", "dlr-mask": "31", "dlr-url": CALLBACK + "?type=%d&to=%p"}
    answer = requests.get(BASE + "/cgi-bin/sendsms", params=fields)
    assert (answer.status_code, answer.text) == (202, "0: Accepted for delivery"), answer.text
    return answer.text


print({"twilio": twilio, "gatewayapi": gatewayapi, "waybill": waybill, "kannel": kannel}[JOB["api"]]())
