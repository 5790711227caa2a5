// An application's own server, as sms_receiver.py is: what Twilio's and both of Vonage's Node libraries believe.
const http = require("http");
const Nexmo = require("nexmo");
const { Auth } = require("@vonage/auth");
const { Vonage } = require("@vonage/server-sdk");
const twilio = require("twilio");

const SECRETS = JSON.parse(process.env.SECRETS);

function isBelievedByVonage(fields) {
  const { key, secret, method } = SECRETS.vonage;
  const { sms } = new Vonage(new Auth({ apiKey: key, apiSecret: "-" }));
  const algorithm = `${method.toUpperCase()}HMAC`;
  const old = Nexmo.generateSignature(method, secret, { ...fields });
  return sms.verifySignature(fields.sig, { ...fields }, secret, algorithm) && old === fields.sig;
}

const CHECKS = {
  twilio: (request, url, fields) =>
    twilio.validateRequest(SECRETS.twilio, request.headers["x-twilio-signature"] || "", url, fields),
  vonage: (request, url, fields) => isBelievedByVonage(fields),
};

const server = http.createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts).toString();
  const url = new URL(`http://${request.headers.host}${request.url}`);
  const fields = Object.fromEntries(body ? new URLSearchParams(body) : url.searchParams);
  let isBelieved = false;
  try {
    isBelieved = CHECKS[url.pathname.split("/")[1]](request, `http://${request.headers.host}${request.url}`, fields);
  } catch (error) {
    console.error(url.pathname, error);
  }
  if (isBelieved) console.log(JSON.stringify({ path: url.pathname, fields }));
  response.writeHead(isBelieved ? 200 : 403).end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
