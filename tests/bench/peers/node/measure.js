// What the peers in Node share.
"use strict";

const fs = require("fs");
const path = require("path");

const requests = Number(process.env.REQUESTS);
let done = 0;
let from = 0;
let cpu;
let began;

module.exports = {
  requests,
  chunk: 500,
  title: "Hello! Who joined?",
  body: "3 people you may know joined this week",
  data: { screen: "people", deep_link: "app://people", run: "r".repeat(20), campaign: "bench", arm: "question" },
  fcmToken: (number) => `${number.toString(16).padStart(22, "0")}:APA91b${number.toString(16).padStart(113, "0")}`,
  apnsToken: (number) => number.toString(16).padStart(64, "0"),
  // So many answers more; the clocks start after the first tenth.
  add(count) {
    done += count;
    if (!from && done >= requests / 10) {
      from = done;
      cpu = process.cpuUsage();
      began = process.hrtime.bigint();
    }
  },
  tell(name) {
    const used = process.cpuUsage(cpu);
    console.log(JSON.stringify({
      requests: done - from,
      cpu_s: (used.user + used.system) / 1e6,
      wall_s: Number(process.hrtime.bigint() - began) / 1e9,
      peak_rss_mb: Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]) / 1024,
      version: JSON.parse(fs.readFileSync(path.join(__dirname, "node_modules", name, "package.json"))).version,
    }));
  },
};
