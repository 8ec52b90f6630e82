// What commands, replies and notices say. The protocol's page has it in words.
//
// Guarantees: a message that lacks something, or has something that cannot be, is refused with its name.
// Must not: know a carrier or a database.

import { Refused, secondsOf } from "./message.js";

const SAGA = /^[0-9a-f]{32}$/;
const STEP = /^[A-Za-z_][A-Za-z0-9_./[\]-]{0,3999}$/;
const REPLIES = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.replies$/;
const NUMBER = /^(0|[1-9][0-9]{0,8})$/;
const ROUNDS_MAX = 10_000;
const ATTEMPTS_MAX = 999_999_999;
const AFTER_MAX = 99_999_999;
const SAGAS_MAX = 1000;
const REASON_MAX = 2000;
const REPLIES_MAX = 220;
const ANY = /^/;

/** The command in a message's attributes. Throws Refused. */
export function commandOf(attributes, body) {
  const kind = attributes.amendskind;
  if (kind !== "action" && kind !== "undo") throw new Refused(`amendskind is ${kind}: no command`);
  const sentAt = attributes.time ? secondsOf(attributes.time) : 0;
  if (!(sentAt > 0)) throw new Refused("it lacks the attribute time, when it was sent");
  const known = attributes.amendsknown ?? "unknown";
  if (known !== "succeeded" && known !== "unknown") throw new Refused(`amendsknown is ${known}`);
  const replyTo = text(attributes, "amendsreplyto", REPLIES);
  if (replyTo.length > REPLIES_MAX) throw new Refused("amendsreplyto is too long");
  return {
    type: attributes.type,
    namespace: text(attributes, "amendsnamespace"),
    saga: text(attributes, "amendssaga", SAGA),
    key: text(attributes, "amendskey"),
    step: text(attributes, "amendsstep", STEP),
    phase: kind,
    data: body,
    token: text(attributes, "amendstoken"),
    reply_to: replyTo,
    sent_at: sentAt,
    round: number(attributes, "amendsround", 1, ROUNDS_MAX),
    attempt: number(attributes, "amendsattempt", 1, ATTEMPTS_MAX),
    closed: number(attributes, "amendsclosed", 0, ROUNDS_MAX),
    known: known === "succeeded",
    trace: pick(attributes, ["traceparent", "tracestate"]),
  };
}

/** The attributes and the body of the answer to a command. told: { outcome, result, reason, after, park, final }. */
export function replyTo(command, told, { id, source, time }) {
  const attributes = {
    id,
    type: command.type,
    source,
    time,
    subject: command.key,
    partitionkey: command.saga,
    amendskind: "reply",
    amendsnamespace: command.namespace,
    amendssaga: command.saga,
    amendskey: command.key,
    amendsstep: command.step,
    amendsround: String(command.round),
    amendsattempt: String(command.attempt),
    amendsphase: command.phase,
    amendsoutcome: told.outcome,
    amendstoken: command.token, // of the command that asked, also where the outcome is an old one
    ...command.trace,
  };
  if (told.after !== undefined) attributes.amendsafter = Math.min(Math.max(told.after, 0), AFTER_MAX).toFixed(3);
  if (told.park) attributes.amendspark = "true";
  if (told.final) attributes.amendsfinal = "true";
  const reason = { reason: [...(told.reason ?? "")].slice(0, REASON_MAX).join("") };
  return { attributes, body: told.outcome === "succeeded" ? (told.result ?? "null") : JSON.stringify(reason) };
}

/** The sagas that a notice says have ended. Throws Refused. */
export function endedOf(attributes, body) {
  if (attributes.amendskind !== "ended") throw new Refused("it is no notice that sagas have ended");
  const namespace = text(attributes, "amendsnamespace");
  let sagas;
  try {
    sagas = JSON.parse(body).sagas;
  } catch {
    sagas = undefined;
  }
  const fits = (saga) => typeof saga === "string" && SAGA.test(saga);
  if (!Array.isArray(sagas) || sagas.length > SAGAS_MAX || !sagas.every(fits)) {
    throw new Refused("its data is no list of sagas");
  }
  return { namespace, sagas };
}

function text(attributes, name, pattern = ANY) {
  const value = attributes[name];
  if (!value) throw new Refused(`it lacks the attribute ${name}`);
  if (!pattern.test(value)) throw new Refused(`${name} is ${value}, which none can be`);
  return value;
}

function number(attributes, name, least, most) {
  const value = attributes[name] ?? String(least);
  if (!NUMBER.test(value) || Number(value) < least || Number(value) > most) throw new Refused(`${name} is ${value}`);
  return Number(value);
}

function pick(attributes, names) {
  return Object.fromEntries(names.filter((name) => name in attributes).map((name) => [name, attributes[name]]));
}
