// Sends one SMS with Twilio's Node library; argument and output are those of sms_send.py.
const twilio = require("twilio");

const job = JSON.parse(process.argv[2]);
const client = twilio(job.user, job.secret);
client.api.baseUrl = job.base;
client.messages
  .create({ to: job.to, from: job.from, body: job.text, statusCallback: job.callback })
  .then((message) => client.messages(message.sid).fetch())
  .then((message) => console.log(message.sid));
