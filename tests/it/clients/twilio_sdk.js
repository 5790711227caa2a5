// Does all that an application does with Twilio's Node library, against the base URL in BASE_URL; the environment and the
// last line of output are those of twilio_sdk.py.
const assert = require("assert");
const twilio = require("twilio");

const { BASE_URL, SMS_USER, SMS_PASS, CALLBACKS, FORM, HOOK } = process.env;
const to = "+4512345678";
const pool = "MG" + "0a".repeat(16);

function connect(user = SMS_USER, password = SMS_PASS) {
  const client = twilio(user, password, { accountSid: SMS_USER });
  client.api.baseUrl = BASE_URL;
  return client;
}

async function refused(code, status, call) {
  try {
    await call();
  } catch (e) {
    assert.deepStrictEqual([e.code, e.status], [code, status], String(e));
    assert.ok(e.message);
    return;
  }
  assert.fail(`${code} was expected`);
}

async function main() {
  const client = connect();
  const messages = client.messages;
  const create = (more) => messages.create({ to, from: "Example", body: "x", ...more });
  await refused(20003, 401, () => connect(SMS_USER, "wrong").messages.create({ to, from: "Example", body: "x" }));
  await refused(21604, 400, () => create({ to: "" }));
  await refused(21603, 400, () => create({ from: undefined }));
  await refused(21602, 400, () => create({ body: "" }));
  await refused(21617, 400, () => create({ body: "a".repeat(1601) }));
  await refused(21621, 400, () => create({ mediaUrl: ["https://a.example/b.png"] }));
  await refused(21655, 400, () => create({ body: undefined, contentSid: "HX" + "0".repeat(32) }));
  await refused(20404, 404, () => messages("SM" + "f".repeat(32)).fetch());

  const first = await create({ body: "Hej æ & co\n+1", statusCallback: "https://a.example/s?x=1&y=2", validityPeriod: 60 });
  assert.deepStrictEqual(
    [first.status, first.body, first.to, first.from, first.accountSid, first.direction, first.numSegments, first.errorCode],
    ["queued", "Hej æ & co\n+1", to, "Example", SMS_USER, "outbound-api", "1", null],
  );
  assert.ok(first.dateCreated instanceof Date && !isNaN(first.dateCreated));
  const accepted = await create({ from: undefined, messagingServiceSid: pool });
  assert.deepStrictEqual([accepted.status, accepted.numSegments], ["accepted", "0"]);
  const sendAt = new Date(Date.now() + 86400e3);
  const scheduled = await create({ from: undefined, messagingServiceSid: pool, sendAt, scheduleType: "fixed" });
  assert.strictEqual(scheduled.status, "scheduled");
  const byKey = await connect("SK" + "0".repeat(32)).messages.create({ to, from: "Example", body: "with a key" });
  const made = [byKey.sid, scheduled.sid, accepted.sid, first.sid];

  assert.strictEqual((await messages(first.sid).fetch()).body, first.body);
  assert.deepStrictEqual((await messages.list({ pageSize: 1 })).map((m) => m.sid), made);
  assert.deepStrictEqual((await messages.list({ limit: 2, to })).map((m) => m.sid), made.slice(0, 2));
  assert.deepStrictEqual(await messages.list({ to: "+4500000000", dateSentAfter: new Date(0) }), []);

  await refused(20009, 409, () => messages(first.sid).remove());
  assert.strictEqual((await messages(first.sid).update({ status: "canceled" })).status, "canceled");
  await refused(30409, 400, () => messages(first.sid).update({ status: "canceled" }));
  assert.strictEqual((await messages(first.sid).update({ body: "" })).body, "");
  assert.strictEqual(await messages(first.sid).remove(), true);
  await refused(20404, 404, () => messages(first.sid).fetch());

  assert.strictEqual((await client.api.accounts(SMS_USER).fetch()).status, "active");
  assert.strictEqual((await client.api.accounts(SMS_USER).balance.fetch()).currency, "USD");
  assert.deepStrictEqual(await client.incomingPhoneNumbers.list(), []);

  for (const { url, body, signature } of JSON.parse(CALLBACKS)) {
    const form = Object.fromEntries(new URLSearchParams(body));
    assert.ok(twilio.validateRequest(SMS_PASS, signature, url, form), url);
    assert.ok(!twilio.validateRequest(SMS_PASS, signature, url + "x", form), url);
  }
  const reply = new twilio.twiml.MessagingResponse();
  reply.message({ to, from: "Example", statusCallback: "https://a.example/s?a=1&b=2" }, "Tak & æ");
  reply.message().body("Nested <text>");
  reply.redirect("https://a.example/more");
  const signature = twilio.getExpectedTwilioSignature(SMS_PASS, HOOK, JSON.parse(FORM));
  console.log(JSON.stringify({ twiml: reply.toString(), signature }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
