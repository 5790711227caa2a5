// Actions of Vonage's Node libraries, new and old: a JSON list of jobs as the only argument, a line of JSON for each.
//
// In: library (vonage, nexmo), action (send, balance, check), base, key, secret, signature {secret, method} or
// null, fields. Out: {"answer": ...} or {"error": text}.
async function vonage(job) {
  const { signature } = job;
  const { Auth } = require("@vonage/auth");
  const { Vonage } = require("@vonage/server-sdk");
  const auth = new Auth({ apiKey: job.key, apiSecret: job.secret });
  const client = new Vonage(auth, { restHost: job.base });
  if (job.action === "check") {
    const algorithm = { md5hash: "MD5HASH", md5: "MD5HMAC", sha1: "SHA1HMAC", sha256: "SHA256HMAC", sha512: "SHA512HMAC" };
    return client.sms.verifySignature(job.fields.sig, job.fields, signature.secret, algorithm[signature.method]);
  }
  if (job.action === "balance") return client.accounts.getBalance();
  const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
  const fields = Object.fromEntries(Object.entries(job.fields).map(([name, value]) => [camel(name), value]));
  try {
    return await client.sms.send(fields);
  } catch (error) {
    const told = error.getMessages ? JSON.stringify(error.getMessages()) : "";
    throw new Error(`${error.message} ${told}`);
  }
}

function nexmo(job) {
  const { signature } = job;
  const Nexmo = require("nexmo");
  if (job.action === "check") {
    return Nexmo.generateSignature(signature.method, signature.secret, job.fields) === job.fields.sig;
  }
  const url = new URL(job.base);
  const client = new Nexmo(
    {
      apiKey: job.key,
      apiSecret: job.secret,
      signatureSecret: signature && signature.secret,
      signatureMethod: signature && signature.method,
    },
    { restHost: url.hostname, port: Number(url.port) },
  );
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(new Error(JSON.stringify(error))) : resolve(answer));
    if (job.action === "balance") return client.account.checkBalance(done);
    const { from, to, text, ...options } = job.fields;
    client.message.sendSms(from, to, text, options, done);
  });
}

async function main() {
  for (const job of JSON.parse(process.argv[2])) {
    try {
      console.log(JSON.stringify({ answer: await { vonage, nexmo }[job.library](job) }));
    } catch (error) {
      console.log(JSON.stringify({ error: String(error.message || error) }));
    }
  }
}

main();
