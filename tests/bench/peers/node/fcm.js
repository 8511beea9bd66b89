// firebase-admin: `sendEach`, 500 messages a call.
"use strict";

const http2 = require("http2");
const connect = http2.connect;
// The SDK has its host as a constant: its sessions are led to the sink. And it says ":scheme: https:", which nginx minds.
http2.connect = (_url, ...rest) => {
  const session = connect(`https://${process.env.SINK_HOST}:${process.env.SINK_PORT}`, ...rest);
  const request = session.request.bind(session);
  session.request = (headers, options) => request({ ...headers, ":scheme": "https" }, options);
  return session;
};

const { initializeApp } = require("firebase-admin/app");
const { getMessaging } = require("firebase-admin/messaging");
const measure = require("./measure");

const credential = { getAccessToken: async () => ({ access_token: "a".repeat(200), expires_in: 3600 }) };
initializeApp({ credential, projectId: "bench" });

async function main() {
  for (let start = 0; start < measure.requests; start += measure.chunk) {
    const messages = [];
    for (let n = start; n < Math.min(start + measure.chunk, measure.requests); n++) {
      messages.push({
        token: measure.fcmToken(n),
        notification: { title: measure.title, body: measure.body },
        data: measure.data,
      });
    }
    const result = await getMessaging().sendEach(messages);
    if (result.failureCount) throw result.responses.find((one) => !one.success).error;
    measure.add(result.successCount);
  }
  measure.tell("firebase-admin");
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
