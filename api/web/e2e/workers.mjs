// Divides the suites between two test processes, each with one server and one
// browser. The suites of a process run in this order: settings comes last, because
// it damages the audit log on purpose.
export const workers = [
  ["approval", "download", "accessibility"],
  ["keyboard", "session", "failure", "settings"],
];

export async function load(worker) {
  for (const suite of workers[worker]) await import(`./${suite}.test.mjs`);
}
