// The inbox in PostgreSQL: one row per saga, step and round, for both halves of the step, in the service's own
// database, so that it is committed with the effect.
//
// Guarantees: an action and its compensation exclude each other; what was answered once is answered again.
// Must not: judge; the barrier does.

import { HORIZON_SECONDS, arrives } from "./barrier.js";

const TABLE = `
  SELECT pg_advisory_xact_lock(hashtextextended('amends_inbox', 0)); -- several processes may begin at once
  CREATE TABLE IF NOT EXISTS amends_inbox (
    namespace text NOT NULL, saga text NOT NULL, step text NOT NULL, round integer NOT NULL,
    action text, -- succeeded, rejected or tombstone; null only while the row is being made
    compensated boolean NOT NULL DEFAULT false,
    missing boolean NOT NULL DEFAULT false,
    command text, result text, reason text, -- what the action was asked, and what came of it
    ended_at timestamptz,
    PRIMARY KEY (namespace, saga, step, round)
  );
  CREATE INDEX IF NOT EXISTS amends_inbox_ended ON amends_inbox (ended_at) WHERE ended_at IS NOT NULL`;
const OWN = "namespace = $1 AND saga = $2 AND step = $3 AND round = $4";
const MAKE = `
  INSERT INTO amends_inbox (namespace, saga, step, round, action) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`;
const PURGE_ROWS = 1000;

/** Nobody knows whether the transaction was committed: take the command again, the inbox knows. */
export class Unsure extends Error {}

/** A definite no of a handler: the command had no effect and never will. */
export class Reject extends Error {}

function unsure(error) {
  // The server's own error means that it was rolled back; anything else may have hit the answer only.
  throw error.severity === "ERROR" ? error : new Unsure(`the commit was not answered: ${error.message}`);
}

export class Inbox {
  /** pool: of `pg`. seconds: how long a row that others hold is waited for, and a handler may take. */
  constructor(pool, { waitSeconds = 5, handlerSeconds = 30 } = {}) {
    this.pool = pool;
    this.limits = `
      SET LOCAL lock_timeout = '${waitSeconds}s';
      SET LOCAL idle_in_transaction_session_timeout = '${handlerSeconds}s'`;
  }

  /** Make the table where it is not there. */
  async prepare() {
    await this.pool.query(TABLE);
  }

  /**
   * Do what the barrier lets a command do; gives { outcome, result, reason } once it is on disk. handler: called with
   * the transaction, the command's data and, of an undo, the action's result. Throws what the handler throws, and
   * what the database does: then nothing stayed. Throws Unsure where the answer to the commit was lost.
   */
  async settle(command, handler) {
    const tx = await this.pool.connect();
    try {
      await tx.query("BEGIN ISOLATION LEVEL READ COMMITTED");
      await tx.query(this.limits);
      const told = await this.#inside(tx, command, handler);
      // A command that is let do nothing leaves no row of its own, unless the barrier says so.
      await tx.query(told.keep ? "COMMIT" : "ROLLBACK").catch(unsure);
      tx.release();
      return told;
    } catch (error) {
      await tx.query("ROLLBACK").then(() => tx.release(), (broken) => tx.release(broken));
      throw error;
    }
  }

  async #inside(tx, command, handler) {
    const id = [command.namespace, command.saga, command.step];
    // First make or lock the row, and read only then: whoever has it in hand is waited for.
    const made = await tx.query(MAKE, [...id, command.round, null]);
    await tx.query(`SELECT FROM amends_inbox WHERE ${OWN} FOR UPDATE`, [...id, command.round]);
    const isNew = made.rowCount === 1;
    for (;;) {
      const rows = await this.#rows(tx, id);
      const own = rows.get(command.round);
      if (isNew) rows.delete(command.round);
      const ruling = arrives(command, rows, Date.now() / 1000);
      if (ruling.verdict === "run") {
        if (await this.#bury(tx, id, ruling.writes)) return this.#run(tx, id, command, own, handler);
        continue; // a lower round was in somebody's hands, and is there now: judge anew
      }
      for (const [round, row] of ruling.writes ?? []) {
        await tx.query(`UPDATE amends_inbox SET action = $5, missing = $6 WHERE ${OWN}`, [...id, round, row.action, row.missing]);
      }
      return { outcome: ruling.outcome, result: own.result, reason: own.reason, keep: ruling.writes !== undefined };
    }
  }

  async #rows(tx, id) {
    const query = `SELECT round, action, compensated, missing, command, result, reason
      FROM amends_inbox WHERE namespace = $1 AND saga = $2 AND step = $3`;
    const found = await tx.query(query, id);
    return new Map(found.rows.map((row) => [row.round, row]));
  }

  /** Make tombstones of lower rounds; false if one of them was there already. */
  async #bury(tx, id, writes) {
    for (const [round, row] of writes ?? []) {
      const made = await tx.query(MAKE, [...id, round, row.action]);
      if (made.rowCount === 0) return false;
    }
    return true;
  }

  async #run(tx, id, command, own, handler) {
    if (command.phase === "undo") {
      // With what the action was asked and gave, never with what came along. If it fails, everything is undone.
      await handler(tx, JSON.parse(own.command), JSON.parse(own.result));
      await tx.query(`UPDATE amends_inbox SET compensated = true WHERE ${OWN}`, [...id, command.round]);
      return { outcome: "compensated", keep: true };
    }
    await tx.query("SAVEPOINT handler");
    const told = { outcome: "succeeded", result: "null", reason: "", keep: true };
    try {
      told.result = JSON.stringify((await handler(tx, JSON.parse(command.data))) ?? null);
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      await tx.query("ROLLBACK TO SAVEPOINT handler"); // the row stays locked, the effect goes
      Object.assign(told, { outcome: "rejected", result: null, reason: error.message });
    }
    const set = `UPDATE amends_inbox SET action = $5, command = $6, result = $7, reason = $8 WHERE ${OWN}`;
    await tx.query(set, [...id, command.round, told.outcome, command.data, told.result, told.reason]);
    return told;
  }

  /** These sagas have ended: their rows may go after the horizon. */
  async ended({ namespace, sagas }) {
    const set = `UPDATE amends_inbox SET ended_at = now()
      WHERE namespace = $1 AND saga = ANY ($2) AND ended_at IS NULL`;
    await this.pool.query(set, [namespace, sagas]);
  }

  /** Forget some of what is beyond the horizon. */
  async purge() {
    const old = `SELECT ctid FROM amends_inbox WHERE ended_at < now() - $1 * interval '1 second' LIMIT ${PURGE_ROWS}`;
    await this.pool.query(`DELETE FROM amends_inbox WHERE ctid IN (${old})`, [HORIZON_SECONDS]);
  }
}
