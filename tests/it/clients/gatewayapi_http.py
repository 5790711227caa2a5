"""GatewayAPI as its documentation shows it, with requests and requests_oauthlib, and Waybill's own
dialect; then what comes back is verified with the libraries of others.

BASE_URL and TOKEN come from the environment, the callbacks as JSON from the standard input. Any
surprise is an exception; at the end it prints one JSON line."""

import json
import os
import sys

import requests

BASE = os.environ["BASE_URL"]
TOKEN = os.environ["TOKEN"]
SMS = BASE + "/rest/mtsms"
NUMBER = 4512345678


def message(**fields):
    return dict({"sender": "Example", "message": "Hej æ & co =?\n+ 😀",
                 "recipients": [{"msisdn": NUMBER}], "userref": "ref-1"}, **fields)


def expect(response, status):
    assert response.status_code == status, (response.request.url, response.status_code, response.text)
    return response.json() if response.content else None


def accepted(response, objects=1):
    body = expect(response, 200)
    assert len(body["ids"]) == objects and all(type(one) is int for one in body["ids"]), body
    assert type(body["usage"]["total_cost"]) is float, body
    assert type(body["usage"]["currency"]) is str and set(body["usage"]["countries"]) == {"DK"}, body
    return body["ids"]


def every_form():
    """All of these are the same message."""
    basic = (TOKEN, "")
    form = {"sender": "Example", "message": message()["message"], "userref": "ref-1",
            "recipients.0.msisdn": NUMBER}
    yield accepted(requests.post(SMS, params={"token": TOKEN}, json=message()))
    yield accepted(requests.post(SMS, auth=basic, json=message()))
    yield accepted(requests.post(SMS, auth=("anybody", TOKEN), json=message()))
    yield accepted(requests.post(SMS, headers={"Authorization": "Token " + TOKEN}, json=message()))
    yield accepted(requests.post(SMS, auth=basic, data=form))
    yield accepted(requests.post(SMS, data=dict(form, token=TOKEN)))
    yield accepted(requests.post(SMS, params=dict(form, user="x", password=TOKEN)))
    yield accepted(requests.get(SMS, params=dict(form, token=TOKEN)))
    yield accepted(requests.post(SMS, auth=basic, json=[message(), message()]), 2)
    yield accepted(requests.post(BASE + "/d/gatewayapi/rest/mtsms", auth=basic, json=message()))


def oauth():
    from requests_oauthlib import OAuth1Session

    for secret, status in ((TOKEN, 200), ("wrong", 401)):
        session = OAuth1Session("key", client_secret=secret)
        expect(session.post(SMS, json=message()), status)
        expect(session.post(SMS, params={"a": "ø +%&="}, json=message()), status)
        expect(session.post(BASE + "/d/gatewayapi/rest/mtsms", json=message()), status)
        expect(session.get(BASE + "/rest/me"), status)
        form = {"message": "a b+c&d=e%æ", "recipients.0.msisdn": NUMBER}
        expect(session.post(SMS, data=form), status)


def refusals():
    basic = (TOKEN, "")
    assert expect(requests.post(SMS, auth=("wrong", ""), json=message()), 401)["code"] == "0x0229"
    twice = [{"msisdn": NUMBER}, {"msisdn": NUMBER}]
    body = expect(requests.post(SMS, auth=basic, json=message(recipients=twice)), 422)
    assert body["code"] == "0x0310" and body["incident_uuid"] and body["variables"], body
    expect(requests.post(SMS, auth=basic, data="{", headers={"Content-Type": "application/json"}), 422)


def states():
    basic = (TOKEN, "")
    numbers = [{"msisdn": NUMBER}, {"msisdn": NUMBER + 1}]
    [number] = accepted(requests.post(SMS, auth=basic, json=message(recipients=numbers)))
    body = expect(requests.get(f"{SMS}/{number}", auth=basic), 200)
    assert [one["msisdn"] for one in body[0]["recipients"]] == [NUMBER, NUMBER + 1], body
    assert {one["dsnstatus"] for one in body[0]["recipients"]} == {"BUFFERED"}, body
    expect(requests.delete(f"{SMS}/{number}", auth=basic), 204)
    expect(requests.delete(f"{SMS}/{number}", auth=basic), 410)
    expect(requests.delete(f"{SMS}/999999", auth=basic), 404)
    expect(requests.get(BASE + "/rest/me", auth=basic), 200)


def message_api():
    single = {"sender": "Example", "message": "a", "recipient": NUMBER, "reference": "ref-1"}
    headers = {"Authorization": "Token " + TOKEN}
    body = expect(requests.post(BASE + "/mobile/single", headers=headers, json=single), 202)
    assert len(body["msg_id"]) == 26 and body["recipient"] == NUMBER, body
    assert body["reference"] == "ref-1", body


def native():
    headers = {"Authorization": "Bearer " + TOKEN}
    sms = BASE + "/v1/sms"
    one = {"to": f"+{NUMBER}", "from": "Example", "text": message()["message"], "reference": "ref-1"}
    body = expect(requests.post(sms, headers=headers, json=one), 201)
    assert set(body) == {"id", "status", "segments"} and body["status"] == "pending", body
    expect(requests.post(sms, headers=headers, data=one), 201)
    listed = expect(requests.post(sms, headers=headers, json=dict(one, to=[one["to"]])), 201)
    assert type(listed) is list, listed
    assert expect(requests.get(f"{sms}/{body['id']}", headers=headers), 200)["text"] == one["text"]
    expect(requests.post(f"{sms}/{body['id']}/stop", headers=headers), 200)
    expect(requests.delete(f"{sms}/{body['id']}", headers=headers), 409)
    wrong = requests.post(sms, headers=headers, json=dict(one, hodl="30s"))
    assert expect(wrong, 400)["errors"][0]["field"] == "hodl", wrong.text
    nobody = requests.post(sms, json=one)
    expect(nobody, 401)
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer"), nobody.headers


def callbacks():
    import jwt
    import standardwebhooks

    for one in json.load(sys.stdin):
        headers, body, secret = one["headers"], one["body"], one["secret"]
        if "x-gwapi-signature" in headers:
            claims = jwt.decode(headers["x-gwapi-signature"], secret, algorithms=["HS256"])
            assert claims == json.loads(body), one
        else:
            standardwebhooks.Webhook(secret).verify(body, headers)


ids = [one for listed in every_form() for one in listed]
oauth()
refusals()
states()
message_api()
native()
try:
    callbacks()
    verified = True
except ImportError:
    verified = False
print(json.dumps({"ids": ids, "verified": verified}))
