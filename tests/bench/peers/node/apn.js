// @parse/node-apn: `provider.send` to 500 devices a call.
"use strict";

const apn = require("@parse/node-apn");
const measure = require("./measure");

const provider = new apn.Provider({
  token: { key: process.env.APNS_KEY, keyId: "ABC123DEFG", teamId: "TEAM123456" },
  production: true,
  address: process.env.SINK_HOST,
  port: Number(process.env.SINK_PORT),
});

async function main() {
  for (let start = 0; start < measure.requests; start += measure.chunk) {
    const tokens = [];
    for (let n = start; n < Math.min(start + measure.chunk, measure.requests); n++) tokens.push(measure.apnsToken(n));
    const note = new apn.Notification({ alert: { title: measure.title, body: measure.body }, payload: measure.data });
    note.topic = "com.example.app";
    const result = await provider.send(note, tokens);
    if (result.failed.length) throw new Error(JSON.stringify(result.failed[0]));
    measure.add(result.sent.length);
  }
  measure.tell("@parse/node-apn");
  await provider.shutdown();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
