// The barrier: what a service does with a command that arrives. The table of the protocol's page, line by line.
//
// Guarantees: at most one effect of an action, none after its compensation.
// Must not: read or write the rows, nor a clock.

/** How long a row is kept beyond its saga's end, and a command is obeyed. */
export const HORIZON_SECONDS = 7 * 24 * 3600;
const TOMBSTONE = { action: "tombstone", compensated: false, missing: false };

/**
 * rows: of this saga and step, a Map from round to { action, compensated, missing }, without the command's own where
 * it was only just made. Gives { verdict, outcome, writes }: `run` calls the handler, `replay` gives the stored
 * outcome; writes: rounds whose row becomes what is said, of `run` before the handler is called.
 */
export function arrives(command, rows, now) {
  if (!(command.sent_at >= now - HORIZON_SECONDS)) return { verdict: "expired", outcome: "expired" };
  const own = rows.get(command.round);
  return command.phase === "action" ? actionArrives(command, own, rows) : undoArrives(command, own);
}

function actionArrives(command, own, rows) {
  const others = [...rows].filter(([round]) => round !== command.round);
  if (others.some(([round]) => round > command.round)) return { verdict: "fenced", outcome: "fenced" };
  if (own) {
    if (own.action === "tombstone" || own.compensated) return { verdict: "fenced", outcome: "fenced" };
    return { verdict: "replay", outcome: own.action };
  }
  const open = ([round, row]) => round > command.closed && row.action === "succeeded" && !row.compensated;
  if (others.some(open)) return { verdict: "earlier open", outcome: "earlier-open" };
  const writes = new Map();
  // From the highest down, so that no two commands wait for each other.
  for (let round = command.round - 1; round > 0; round -= 1) if (!rows.has(round)) writes.set(round, TOMBSTONE);
  return { verdict: "run", writes };
}

function undoArrives(command, own) {
  if (!own || own.action === "tombstone") {
    if (command.known || own?.missing) {
      const writes = new Map([[command.round, { ...TOMBSTONE, missing: true }]]);
      return { verdict: "missing", outcome: "missing", writes };
    }
    const writes = own ? undefined : new Map([[command.round, TOMBSTONE]]);
    return { verdict: "void", outcome: "void", writes };
  }
  if (own.action === "rejected") return { verdict: "void", outcome: "void" };
  return own.compensated ? { verdict: "replay", outcome: "compensated" } : { verdict: "run" };
}
