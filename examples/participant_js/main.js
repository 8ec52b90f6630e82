// A shipping service: `shipping.ship` sends a parcel, its undo calls it back.
//
//   DATABASE_URL=postgresql://… BROKER=nats://… node main.js
//
// PREFIX is that of the names at the broker. For tests that kill the process there, HOLD_AFTER_COMMIT=action
// (or undo) makes it stand still between the commit and the reply.

import pg from "pg";

import { Inbox, Reject } from "./amends/inbox.js";
import { Nats } from "./amends/nats.js";
import { Participant } from "./amends/participant.js";

const PURGE_MILLISECONDS = 60_000;
const say = (line) => process.stdout.write(`${line}\n`);

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
pool.on("error", (error) => console.error(`the database: ${error.message}`));
const inbox = new Inbox(pool);
const committed = async (command) => {
  if (process.env.HOLD_AFTER_COMMIT !== command.phase) return;
  say(`committed ${command.phase} of ${command.key}`);
  await new Promise(() => {});
};
const app = new Participant("shipping", inbox, { committed });

app.handles("ship", {
  async action(tx, { order, sku, quantity }) {
    const put = "INSERT INTO parcel (order_id, sku, quantity) VALUES ($1, $2, $3) RETURNING number";
    const { rows } = await tx.query(put, [order, sku, quantity]);
    if (sku === "atlantis") throw new Reject("no van goes to Atlantis"); // the parcel is gone with the transaction
    return { number: rows[0].number };
  },
  async undo(tx, { order }, { number }) {
    const recall = "UPDATE parcel SET recalled = recalled + 1 WHERE number = $1 AND order_id = $2";
    const { rowCount } = await tx.query(recall, [number, order]);
    if (rowCount !== 1) throw new Error(`there is no parcel ${number} of ${order}`);
  },
});

await inbox.prepare();
await pool.query(`
  CREATE TABLE IF NOT EXISTS parcel (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id text NOT NULL, sku text NOT NULL, quantity integer NOT NULL CHECK (quantity > 0),
    recalled integer NOT NULL DEFAULT 0
  )`);
const broker = await Nats.open(process.env.BROKER, process.env.PREFIX);
const purging = setInterval(() => inbox.purge().catch((error) => console.error(error.message)), PURGE_MILLISECONDS);

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    clearInterval(purging);
    await broker.close();
    await pool.end();
  });
}
await broker.listen("shipping.commands", (delivery) => app.take(delivery), () => say("listening"));
