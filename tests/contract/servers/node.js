// Node's http2 as a gateway: prints each path it has read to its end, refuses some, says goodbye now and then.
// node node.js PORT KEY_AND_CERTIFICATE MAX_STREAMS
const http2 = require("http2");
const fs = require("fs");
const [port, pem, limit] = process.argv.slice(2);
const text = fs.readFileSync(pem);
const log = fs.openSync(`${pem}.log`, "a");
const settings = { maxConcurrentStreams: Number(limit) };
const server = http2.createSecureServer({ key: text, cert: text, settings });
server.on("sessionError", () => {});
server.on("stream", (stream, headers) => {
  const session = stream.session;
  session.count = (session.count || 0) + 1;
  const path = headers[":path"];
  stream.on("error", () => {});
  if (session.count % 97 === 0) return stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  stream.resume();
  stream.on("end", () => {
    fs.writeSync(log, path + "\n");
    if (session.count % 89 === 0) return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    stream.respond({ ":status": path.endsWith("7") ? 410 : 200, "content-type": "application/json" });
    stream.end("{}");
  });
  if (session.count === 400) session.close(); // GOAWAY, and the open streams are answered
});
process.on("SIGTERM", () => process.exit(0));
server.listen(Number(port), "127.0.0.1");
