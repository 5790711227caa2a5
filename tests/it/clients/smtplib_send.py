"""Sends one message with smtplib: SECURITY PORT AUTHORITY FROM TO FILE [USER PASSWORD]."""

import smtplib
import ssl
import sys

security, port, authority, sender, recipient, path = sys.argv[1:7]
with open(path, "rb") as file:
    message = file.read()
context = ssl.create_default_context(cafile=authority)
if security == "Implicit":
    smtp = smtplib.SMTP_SSL("localhost", int(port), timeout=30, context=context)
else:
    smtp = smtplib.SMTP("localhost", int(port), timeout=30)
with smtp:
    if security == "StartTls":
        smtp.starttls(context=context)
    if len(sys.argv) > 7:
        smtp.login(sys.argv[7], sys.argv[8])
    refused = smtp.sendmail(sender, [recipient], message)
    assert not refused, refused
