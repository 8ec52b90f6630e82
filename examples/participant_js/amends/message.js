// The envelope: a CloudEvent in binary mode, whatever carries it.
//
// Guarantees: what is read is what was written; nothing in a header can break out of it.
// Must not: know a carrier, or what a saga is.

export const PREFIXES = { http: "ce-", nats: "ce-", kafka: "ce_", rabbitmq: "cloudEvents_", redis: "ce_" };
const PERCENT_ENCODED = "ce-"; // the prefix of the bindings whose headers are printable ASCII
const ATTRIBUTES_MAX = 64;
const ATTRIBUTE_BYTES_MAX = 4096;
const NAME = /^[a-z0-9]{1,40}$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const INSTANT = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What came is no message, or none that may be taken. */
export class Refused extends Error {}

/** Attributes as headers: names and texts. */
export function toHeaders(attributes, prefix) {
  const headers = { [`${prefix}specversion`]: "1.0" };
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== "") headers[prefix + name] = value;
  }
  check(attributes);
  if (prefix === PERCENT_ENCODED) {
    for (const name of Object.keys(headers)) headers[name] = encode(headers[name]);
  }
  return headers;
}

/** The attributes that headers are. Headers of other names are left alone, as is the case of names. */
export function fromHeaders(headers, prefix) {
  const found = Object.create(null); // whatever a header is called, it is data
  for (const [name, value] of Object.entries(headers)) {
    const low = name.toLowerCase();
    if (low.startsWith(prefix.toLowerCase())) found[low.slice(prefix.length)] = value;
  }
  if (found.specversion !== "1.0") throw new Refused(`it has no ${prefix}specversion 1.0`);
  delete found.specversion;
  if (prefix === PERCENT_ENCODED) {
    for (const name of Object.keys(found)) found[name] = decode(name, found[name]);
  }
  for (const name of ["id", "type", "source"]) {
    if (!found[name]) throw new Refused(`it lacks the attribute ${name}`);
  }
  check(found);
  if (found.time) secondsOf(found.time);
  return found;
}

function check(attributes) {
  const entries = Object.entries(attributes).filter(([, value]) => value !== undefined);
  if (entries.length > ATTRIBUTES_MAX) throw new Refused(`it has ${entries.length} attributes`);
  for (const [name, value] of entries) {
    if (!NAME.test(name)) throw new Refused(`the attribute ${name}: a name is lower-case letters and digits`);
    if (typeof value !== "string" || CONTROL.test(value) || !value.isWellFormed()) {
      throw new Refused(`the attribute ${name} has characters that no header may have`);
    }
    if (Buffer.byteLength(value) > ATTRIBUTE_BYTES_MAX) throw new Refused(`the attribute ${name} is too long`);
  }
}

/** Blanks, quotes, percent signs and all that is not printable ASCII, percent-encoded. */
function encode(text) {
  const escape = (letter) => [...Buffer.from(letter)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`);
  return text.replace(/[^\u0021\u0023\u0024\u0026-\u007e]/gu, (letter) => escape(letter).join(""));
}

function decode(name, text) {
  let bare = text;
  if (bare.length > 1 && bare.startsWith('"') && bare.endsWith('"')) bare = bare.slice(1, -1).replace(/\\(.)/g, "$1");
  if (!bare.includes("%")) return bare;
  const raw = Buffer.from(bare);
  const bytes = [];
  for (let at = 0; at < raw.length; at += 1) {
    const pair = raw.toString("latin1", at + 1, at + 3);
    const escaped = raw[at] === 0x25 && /^[0-9A-Fa-f]{2}$/.test(pair);
    bytes.push(escaped ? parseInt(pair, 16) : raw[at]);
    if (escaped) at += 2;
  }
  try {
    return strict.decode(Uint8Array.from(bytes));
  } catch {
    throw new Refused(`the attribute ${name} is not percent-encoded UTF-8`);
  }
}

/** The instant that a text is, in seconds since 1970. Throws Refused. */
export function secondsOf(text) {
  const milliseconds = INSTANT.test(text) ? Date.parse(text.toUpperCase()) : NaN;
  if (Number.isNaN(milliseconds)) throw new Refused(`its time ${text} is no RFC 3339 instant with a zone`);
  return milliseconds / 1000;
}
