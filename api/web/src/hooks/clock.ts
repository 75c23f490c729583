// The server's time: what it says of deadlines is not held against a clock that is
// wrong.
let ahead = 0;

/** Less is the way of an answer, and its header's whole seconds. */
const noticeable = 3_000;

/** Takes the time of an answer (RFC 9110, section 6.6.1). */
export function setClock(date: string | null) {
  const off = Date.parse(date ?? "") + 500 - Date.now();
  if (!Number.isNaN(off)) ahead = Math.abs(off) > noticeable ? off : 0;
}

/** Milliseconds since 1970, as the server has it. */
export const now = () => Date.now() + ahead;
