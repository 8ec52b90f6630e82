// The participant: takes what comes to its service's queue, and answers it.
//
// Guarantees: a delivery is acked when its reply, or its dead letter, is confirmed by the broker, and not before.
// Must not: know a broker.

import { randomUUID } from "node:crypto";

import { Reject, Unsure } from "./inbox.js";
import { Refused, toHeaders } from "./message.js";
import { commandOf, endedOf, replyTo } from "./wire.js";

export class Participant {
  /** committed: awaited between the commit and the reply, for tests that kill the process there. */
  constructor(service, inbox, { committed = async () => {}, log = console.error } = {}) {
    this.service = service;
    this.inbox = inbox;
    this.committed = committed;
    this.log = log;
    this.commands = new Map();
  }

  /** action: async (tx, command) => result; undo: async (tx, command, result). `Reject` is a definite no. */
  handles(name, { action, undo }) {
    this.commands.set(`${this.service}.${name}`, { action, undo });
  }

  /** Take one delivery; raises nothing. */
  async take(delivery) {
    try {
      await this.#answer(delivery);
      await delivery.ack();
    } catch (error) {
      if (error instanceof Refused) {
        await delivery.bury(error.message).catch(() => delivery.retry(1));
        return;
      }
      this.log(`a delivery is taken again: ${error.stack}`); // the broker is away, most likely
      await delivery.retry(1);
    }
  }

  async #answer(delivery) {
    const { attributes, body } = delivery.read();
    if (attributes.amendskind === "ended") {
      await this.inbox.ended(endedOf(attributes, body));
      return;
    }
    const command = commandOf(attributes, body);
    const { attributes: reply, body: data } = replyTo(command, await this.#settle(command), {
      id: randomUUID(), // new for every reply, also where the outcome is an old one
      source: this.service,
      time: new Date().toISOString(),
    });
    await delivery.publish(command.reply_to, (prefix) => toHeaders(reply, prefix), data, reply.id);
  }

  async #settle(command) {
    const handler = this.commands.get(command.type)?.[command.phase];
    if (handler === undefined) {
      // One side has another version of the contract: the saga's operator has to know.
      return { outcome: "failed", reason: `nobody here handles the ${command.phase} of ${command.type}`, park: true };
    }
    try {
      const told = await this.inbox.settle(command, handler);
      await this.committed(command);
      return told;
    } catch (error) {
      if (error instanceof Unsure) throw error;
      // Nothing stayed, and nothing is stored: when the command comes again it is tried again. A no to an undo is for
      // a person.
      this.log(`${command.type} of ${command.key} failed: ${error.message}`);
      return { outcome: "failed", reason: error.message, after: error.after, park: error instanceof Reject };
    }
  }
}
