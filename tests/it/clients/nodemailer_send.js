// Sends one message with nodemailer: SECURITY PORT AUTHORITY FROM TO FILE [USER PASSWORD].
const fs = require("fs");
const nodemailer = require("nodemailer");

const [security, port, authority, from, to, path, user, pass] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: "localhost",
  port: Number(port),
  secure: security === "Implicit",
  ignoreTLS: security === "Plain",
  requireTLS: security === "StartTls",
  tls: { ca: fs.readFileSync(authority) },
  auth: user ? { user, pass } : undefined,
});
transport.sendMail({ envelope: { from, to: [to] }, raw: fs.readFileSync(path) }).then(
  (info) => console.log(info.response),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
