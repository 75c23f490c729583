// The first test process of npm test.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { load, workers } from "./workers.mjs";

test("every suite runs in one of the processes", () => {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.mjs"));
  assert.deepEqual(workers.flat().map((suite) => `${suite}.test.mjs`).sort(), files.sort());
});

await load(0);
