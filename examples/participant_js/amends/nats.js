// NATS JetStream as the carrier: a queue is a work-queue stream with one subject and the one consumer `listeners`.
//
// Guarantees: a publish that returns is confirmed by the stream; what is not acked comes again; a server that is away
// is waited for.
// Must not: look into a message's data.

import { setTimeout as sleep } from "node:timers/promises";

import { AckPolicy, RetentionPolicy, DiscardPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers as newHeaders } from "@nats-io/transport-node";

import { PREFIXES, fromHeaders } from "./message.js";

const CONSUMER = "listeners";
const CLAIM_NANOSECONDS = 30e9; // what is not acked, nor said to be in progress, comes again after this
const IN_FLIGHT = 50;
const STREAM_NOT_FOUND = 10059;

export class Nats {
  /** url: nats://user:password@host:port. prefix: of every name at the broker. */
  static async open(url, prefix = "amends", log = console.error) {
    const { host, username, password } = new URL(url);
    const nc = await connect({
      servers: host,
      user: username === "" ? undefined : decodeURIComponent(username),
      pass: password === "" ? undefined : decodeURIComponent(password),
      maxReconnectAttempts: -1,
      waitOnFirstConnect: true,
    });
    return new Nats(nc, prefix, log);
  }

  constructor(nc, prefix, log) {
    this.nc = nc;
    this.prefix = prefix;
    this.log = log;
    this.js = jetstream(nc);
    this.stopping = false;
    this.busy = new Set();
  }

  /** Hand what comes to a queue to `take`, until `close`. listening: called when it begins. */
  async listen(queue, take, listening = () => {}) {
    while (!this.stopping) {
      try {
        const manager = await jetstreamManager(this.nc);
        await this.#stream(manager, queue);
        await this.#consumer(manager, queue);
        const consumer = await this.js.consumers.get(this.#streamOf(queue), CONSUMER);
        const claim = (await consumer.info()).config.ack_wait / 1e6;
        this.messages = await consumer.consume({ max_messages: IN_FLIGHT });
        listening();
        for await (const message of this.messages) {
          const work = this.#work(queue, message, take, claim / 3).finally(() => this.busy.delete(work));
          this.busy.add(work);
        }
      } catch (error) {
        if (!this.stopping) this.log(`${queue}: ${error.message}`);
      }
      if (!this.stopping) await sleep(1000); // the server is away, or has lost its data
    }
  }

  /** Take nothing more, let what is in hand be answered, and disconnect. */
  async close() {
    this.stopping = true;
    await this.messages?.close();
    await Promise.all(this.busy);
    await this.nc.drain();
  }

  async #work(queue, message, take, milliseconds) {
    const progress = setInterval(() => message.working(), milliseconds);
    const given = {};
    for (const [name, values] of message.headers ?? []) given[name] = values[0];
    try {
      await take({
        read: () => ({ attributes: fromHeaders(given, PREFIXES.nats), body: message.string() }),
        publish: (to, makeHeaders, body, id) => this.#publish(to, makeHeaders(PREFIXES.nats), body, id),
        ack: async () => message.ack(),
        retry: async (seconds) => message.nak(seconds * 1000),
        bury: async (reason) => {
          await this.#bury(queue, given, message.data, reason);
          message.ack();
        },
      });
    } finally {
      clearInterval(progress);
    }
  }

  async #publish(to, given, body, id) {
    const headers = newHeaders();
    for (const [name, value] of Object.entries(given)) headers.set(name, value);
    await this.js.publish(`${this.prefix}.${to}`, body, { headers, msgID: id });
  }

  async #bury(queue, given, body, reason) {
    await this.#stream(await jetstreamManager(this.nc), `${queue}.dead`);
    const own = Object.fromEntries(Object.entries(given).filter(([name]) => !name.startsWith("Nats-")));
    const why = {
      "ce-amendsdeadreason": encodeURIComponent(reason.slice(0, 300).toWellFormed()),
      "ce-amendsdeadfrom": queue,
      "ce-amendsdeadtime": new Date().toISOString(),
    };
    await this.#publish(`${queue}.dead`, { ...own, ...why }, body, undefined);
  }

  async #stream(manager, queue) {
    try {
      await manager.streams.info(this.#streamOf(queue));
    } catch (error) {
      if (error.code !== STREAM_NOT_FOUND) throw error;
      await manager.streams.add({
        name: this.#streamOf(queue),
        subjects: [`${this.prefix}.${queue}`],
        retention: RetentionPolicy.Workqueue,
        discard: DiscardPolicy.New,
        duplicate_window: 120e9,
      });
    }
  }

  async #consumer(manager, queue) {
    // Made as the others make it; one that is there already, with other options, is used as it is.
    const stream = this.#streamOf(queue);
    await manager.consumers.info(stream, CONSUMER).catch(() =>
      manager.consumers.add(stream, {
        durable_name: CONSUMER,
        ack_policy: AckPolicy.Explicit,
        ack_wait: CLAIM_NANOSECONDS,
        max_deliver: -1,
        max_ack_pending: -1,
      }),
    );
  }

  #streamOf(queue) {
    return `${this.prefix}.${queue}`.replaceAll(".", "+");
  }
}
