// The test vectors of the protocol: what this service reads and writes is what the page says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { HORIZON_SECONDS, arrives } from "../amends/barrier.js";
import { PREFIXES, Refused, fromHeaders, toHeaders } from "../amends/message.js";
import { commandOf, endedOf, replyTo } from "../amends/wire.js";

const VECTORS = new URL("../../../docs/protocol/vectors/", import.meta.url);
const load = (kind) => JSON.parse(readFileSync(new URL(`${kind}.json`, VECTORS), "utf8"));

for (const kind of ["action", "undo"]) {
  for (const vector of load(kind)) {
    const read = () => commandOf(fromHeaders(vector.headers, PREFIXES[vector.carrier]), vector.body);
    test(`${kind}: ${vector.name}`, () => {
      if (vector.refused) {
        assert.throws(read, Refused);
        return;
      }
      const command = read();
      const { sent_at: sentAt, ...meaning } = vector.means;
      assert.ok(Math.abs(command.sent_at - Date.parse(sentAt) / 1000) < 0.001);
      delete command.sent_at;
      assert.deepEqual({ ...command, data: JSON.parse(command.data) }, meaning);
    });
  }
}

for (const vector of load("ended")) {
  const read = () => endedOf(fromHeaders(vector.headers, PREFIXES[vector.carrier]), vector.body);
  test(`ended: ${vector.name}`, () => {
    if (vector.refused) assert.throws(read, Refused);
    else assert.deepEqual(read(), vector.means);
  });
}

for (const vector of load("reply").filter((each) => each.means && !each.reads_only)) {
  test(`reply: ${vector.name}`, () => {
    const prefix = PREFIXES[vector.carrier];
    const { word, data, ...means } = vector.means;
    const given = fromHeaders(vector.headers, prefix);
    const command = { ...means, type: given.type, trace: { traceparent: given.traceparent } };
    const told = { ...means, outcome: word, result: JSON.stringify(data), after: means.after ?? undefined };

    const reply = replyTo(command, told, { id: given.id, source: given.source, time: given.time });

    const expected = Object.entries(vector.headers).filter(([name]) => name.startsWith(prefix));
    assert.deepEqual(toHeaders(reply.attributes, prefix), Object.fromEntries(expected));
    assert.deepEqual(JSON.parse(reply.body), JSON.parse(vector.body));
  });
}

for (const vector of load("barrier")) {
  test(`barrier: ${vector.name}`, () => {
    const now = 1_772_359_200;
    const command = { ...vector.command, sent_at: vector.command.old ? now - HORIZON_SECONDS - 1 : now };
    const rows = new Map(Object.entries(vector.rows).map(([round, row]) => [Number(round), row]));

    const ruling = arrives(command, rows, now);

    assert.equal(ruling.verdict, vector.verdict);
    assert.equal(ruling.outcome, vector.outcome);
    assert.deepEqual(Object.fromEntries(ruling.writes ?? []), vector.writes ?? {});
  });
}
